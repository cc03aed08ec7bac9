//! The conversation with systemd's manager over D-Bus.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use zbus::export::futures_core::Stream;
use zbus::message::Type;
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, MessageStream};
use zbus_systemd::systemd1::{ManagerProxy, ServiceProxy, UnitProxy};

use super::unit;
use crate::platform::host::supervise::InstanceId;

/// How often is looked for a job whose end was perhaps not told.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A connection that is made anew when it broke.
#[derive(Default)]
pub(super) struct Bus {
    connection: Mutex<Option<Connection>>,
    reloads: Reloads,
}

#[derive(Default)]
struct Reloads {
    asked: Mutex<u64>,
    done: tokio::sync::Mutex<u64>,
}

/// A unit as systemd tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// `active`, `activating`, `deactivating`, `inactive`, `failed`, …
    pub active: String,
    /// More exactly: `auto-restart`, `dead`, …
    pub sub: String,
    /// Its first process; 0: it has none.
    pub main: u32,
    /// How often it was started again.
    pub restarts: u32,
    /// Its file is newer than what systemd read of it.
    pub stale: bool,
    /// Its control group, from the root of the hierarchy; empty: it has none.
    pub group: String,
    /// How its first process ended: 1 with a code, 2 and 3 by a signal, 0 not at all.
    pub ended: i32,
    /// The code or the signal.
    pub status: i32,
    /// `success`, `exit-code`, `timeout`, …
    pub result: String,
}

impl Unit {
    /// Whether nothing of it runs, and nothing will by itself.
    pub(super) fn is_off(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed" | "")
    }

    /// Whether it ended by itself and waits for its next start.
    pub(super) fn waits(&self) -> bool {
        self.sub == "auto-restart"
    }
}

impl Bus {
    async fn connection(&self) -> zbus::Result<Connection> {
        if let Some(connection) = self.known() {
            return Ok(connection);
        }
        let new = Connection::system().await?;
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
        Ok(new)
    }

    fn known(&self) -> Option<Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the next call connect anew.
    pub(super) fn forget_connection(&self) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) async fn manager(&self) -> zbus::Result<ManagerProxy<'static>> {
        ManagerProxy::builder(&self.connection().await?).cache_properties(CacheProperties::No).build().await
    }

    /// The version's number, as 252.
    pub(super) async fn version(&self) -> zbus::Result<u32> {
        let text = self.manager().await?.version().await?;
        let digits: String =
            text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        Ok(digits.parse().unwrap_or(0))
    }

    /// Whether the machine is being shut down.
    pub(super) async fn goes_down(&self) -> zbus::Result<bool> {
        Ok(self.manager().await?.system_state().await? == "stopping")
    }

    /// A unit as it is now; one without a file is off.
    pub(super) async fn unit(&self, name: &str) -> zbus::Result<Unit> {
        let path = self.manager().await?.load_unit(name.to_owned()).await?;
        let connection = self.connection().await?;
        let unit =
            UnitProxy::builder(&connection).path(path.clone()).cache_properties(CacheProperties::No).build().await?;
        let service =
            ServiceProxy::builder(&connection).path(path).cache_properties(CacheProperties::No).build().await?;
        Ok(Unit {
            active: unit.active_state().await?,
            sub: unit.sub_state().await?,
            stale: unit.need_daemon_reload().await?,
            main: service.main_pid().await?,
            restarts: service.n_restarts().await?,
            group: service.control_group().await?,
            ended: service.exec_main_code().await?,
            status: service.exec_main_status().await?,
            result: service.result().await?,
        })
    }

    /// Starts or stops units, all at once, and returns when systemd is done with the last one: those whose job came to nothing, with what
    /// systemd calls that.
    pub(super) async fn run_jobs(&self, units: &[String], job: Job) -> zbus::Result<Vec<(String, String)>> {
        let manager = self.manager().await?;
        let mut removed = pin!(manager.receive_job_removed().await?);
        let mut waiting: BTreeSet<(String, String)> = BTreeSet::new();
        for unit in units {
            let mode = "replace".to_owned();
            let path = match job {
                Job::Start => manager.start_unit(unit.clone(), mode).await?,
                Job::Stop => manager.stop_unit(unit.clone(), mode).await?,
            };
            waiting.insert((path.as_str().to_owned(), unit.clone()));
        }
        let mut failed = Vec::new();
        while !waiting.is_empty() {
            match tokio::time::timeout(LOOK_AGAIN, next(&mut removed)).await {
                Ok(Some(signal)) => {
                    let told = signal.args()?;
                    let of = |job: &(String, String)| job.0 == told.job.as_str();
                    if let Some(job) = waiting.iter().find(|job| of(job)).cloned() {
                        waiting.remove(&job);
                        if told.result != "done" {
                            failed.push((job.1, told.result.clone()));
                        }
                    }
                }
                Ok(None) => return Err(zbus::Error::Failure("the bus closed the connection".to_owned())),
                Err(_) => {
                    let mut left = BTreeSet::new();
                    for (path, unit) in waiting {
                        let id = path.as_str().rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or(0);
                        if manager.get_job(id).await.is_ok() {
                            left.insert((path, unit));
                        }
                    }
                    waiting = left;
                }
            }
        }
        Ok(failed)
    }

    /// Makes systemd read all unit files again. Many that ask at once share one time.
    pub(super) async fn reload(&self) -> zbus::Result<()> {
        let mine = {
            let mut asked = self.reloads.asked.lock().unwrap_or_else(PoisonError::into_inner);
            *asked += 1;
            *asked
        };
        let mut done = self.reloads.done.lock().await;
        if *done < mine {
            let covered = *self.reloads.asked.lock().unwrap_or_else(PoisonError::into_inner);
            self.manager().await?.reload().await?;
            *done = covered;
        }
        Ok(())
    }

    /// Tells of each change of one of our units, until the connection breaks. `ready` is called when nothing can be missed any more.
    pub(super) async fn listen(&self, ready: impl FnOnce(), mut changed: impl FnMut(InstanceId)) -> zbus::Result<()> {
        let connection = self.connection().await?;
        self.manager().await?.subscribe().await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.systemd1")
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .path_namespace("/org/freedesktop/systemd1/unit")
            .build()?;
        let mut signals = MessageStream::for_match_rule(rule, &connection, None).await?;
        ready();
        while let Some(message) = next(&mut signals).await {
            if let Some(id) = message?.header().path().and_then(|path| unit::of_object(path.as_str())) {
                changed(id);
            }
        }
        Err(zbus::Error::Failure("the bus closed the connection".to_owned()))
    }
}

/// What is asked of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Start,
    Stop,
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|context| pin!(&mut *stream).poll_next(context)).await
}
