//! The supervisor for machines with systemd: an instance is a unit. systemd starts it again when it crashes, whether the agent runs
//! or not, and at a reboot starts the colour that the link names, and no other: all units are enabled once, and each has the link as
//! its condition (see `instance.service`). Enabling one colour and moving the link would be two steps, and a power cut between
//! them would boot the wrong colour.
//!
//! Unit files are written only while their instance is off, so that what runs always is what its file says.

mod bus;
mod shared;
mod state;
mod unit;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::bus::Job;
use self::shared::{Shared, cannot};
use self::unit::Unwritable;
use super::files::{make_private_folder, write_whole};
use super::{InstanceId, InstanceState, Launch, Supervisor};
use crate::api::types::SiteName;
use crate::platform::{Class, Fault};
use crate::rollout::Colour;

/// The first version that waits longer from crash to crash.
const WITH_RESTART_STEPS: u32 = 254;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The agent's state folder, by default `/var/lib/bluegreen`.
    pub state: PathBuf,
    /// A folder that is empty after a reboot.
    pub run: PathBuf,
    /// The administrator's units.
    pub units: PathBuf,
}

impl Settings {
    /// The usual ones, with this state folder.
    #[must_use]
    pub fn new(state: PathBuf) -> Settings {
        Settings { state, run: "/run/bluegreen".into(), units: "/etc/systemd/system".into() }
    }
}

/// The supervisor.
pub struct Systemd {
    shared: Arc<Shared>,
    listener: AbortHandle,
    steps: bool,
}

impl Systemd {
    /// Connects to systemd. To be called within a tokio runtime.
    ///
    /// # Errors
    /// It does not answer: this is no machine with systemd, or D-Bus is not installed.
    pub async fn open(settings: Settings) -> Result<Systemd, Fault> {
        let shared = Arc::new(Shared::new(settings));
        let version = shared.version().await.map_err(|error| Fault {
            class: Class::User,
            reason: "SystemdUnavailable",
            message: format!(
                "systemd does not answer over D-Bus ({error}): install `dbus`, or choose the supervisor `direct`"
            ),
        })?;
        // What the link started at a reboot is to be started again when it crashes, wherever the link goes.
        for id in shared.units_on_disk()? {
            if !shared.ask(&id).await?.is_off() {
                shared.want(&id.site, id.colour)?;
                // The run before may have ended between the move of the link and this.
                shared.prefer(&id.site, id.colour).await;
            }
        }
        let listener = tokio::spawn(shared::listen(shared.clone())).abort_handle();
        Ok(Systemd { shared, listener, steps: version >= WITH_RESTART_STEPS })
    }

    /// Writes the files of an instance that is off; whether anything changed.
    fn write(&self, id: &InstanceId, launch: &Launch) -> Result<bool, Fault> {
        let settings = self.shared.settings();
        let places = self.shared.places(id);
        let refuse = |why: Unwritable| Fault {
            class: Class::User,
            reason: "LaunchUnwritable",
            message: format!("{id} can't be run by systemd: {why}"),
        };
        let text = unit::text(id, launch, &places, self.steps).map_err(refuse)?;
        let variables = unit::variables(launch).map_err(refuse)?;
        let file = settings.units.join(unit::name(id));
        let write = || -> io::Result<bool> {
            let mut changed = false;
            for (path, content, mode) in [(&places.env, variables.as_bytes(), 0o600), (&file, text.as_bytes(), 0o644)] {
                if fs::read(path).is_ok_and(|old| old == content) {
                    continue;
                }
                if let Some(folder) = path.parent() {
                    make_private_folder(folder)?;
                }
                write_whole(path, content, mode, true)?;
                changed = true;
            }
            Ok(changed)
        };
        write().map_err(|error| cannot(&format!("write the unit of {id}"), &error))
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Supervisor for Systemd {
    async fn start(&self, site: &SiteName, colour: Colour, instances: &[Launch]) -> Result<(), Fault> {
        let shared = &self.shared;
        shared.want(site, colour)?;
        shared.shrink(site, colour, instances.len()).await?;
        let mut to_start = Vec::new();
        for (index, launch) in (0u16..).zip(instances) {
            let id = InstanceId { site: site.clone(), colour, index };
            let unit = shared.ask(&id).await?;
            if unit.active == "deactivating" {
                return Err(Fault {
                    class: Class::Transient,
                    reason: "StillStopping",
                    message: format!("{id} is still being stopped: it is started when it is gone"),
                });
            }
            if !unit.is_off() && !unit.waits() {
                continue;
            }
            // What waits for its next start is not started sooner, unless it would be something else.
            let name = unit::name(&id);
            let changed = self.write(&id, launch)? || unit.stale;
            if unit.waits() {
                if !changed {
                    continue;
                }
                shared.jobs(std::slice::from_ref(&name), Job::Stop).await?;
            }
            to_start.push(name);
        }
        if to_start.is_empty() {
            return Ok(());
        }
        shared.enable(&to_start).await?;
        let failed = shared.jobs(&to_start, Job::Start).await?;
        shared.prefer(site, colour).await;
        // An app that can't be executed has a job that failed, and a state that says why.
        match failed.into_iter().find(|(_, result)| result != "failed") {
            None => Ok(()),
            Some((name, result)) => Err(Fault {
                class: Class::Transient,
                reason: "StartFailed",
                message: format!(
                    "systemd did not start {name}: its job ended as `{result}`; see `systemctl status {name}`"
                ),
            }),
        }
    }

    async fn stop(&self, site: &SiteName, colour: Colour) -> Result<(), Fault> {
        let shared = &self.shared;
        shared.unwant(site, colour)?;
        let mut names = Vec::new();
        for id in shared.of_colour(site, colour)? {
            let unit = shared.ask(&id).await?;
            if unit.active != "inactive" {
                names.push(unit::name(&id));
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        shared.stop(&names).await
    }

    async fn states(&self, site: &SiteName, colour: Colour) -> Result<Vec<InstanceState>, Fault> {
        let mut states = Vec::new();
        for id in self.shared.of_colour(site, colour)? {
            let unit = self.shared.recall(&id).await?;
            states.push(state::state_of(&unit));
        }
        Ok(states)
    }

    fn changes(&self, site: &SiteName, colour: Colour) -> watch::Receiver<u64> {
        self.shared.changes(site, colour)
    }

    async fn logs(&self, instance: &InstanceId, lines: usize) -> Result<Vec<String>, Fault> {
        let name = unit::name(instance);
        let output = Command::new("journalctl")
            .args(["--quiet", "--no-pager", "--output=cat", "--lines", &lines.to_string(), "--unit", &name])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| cannot("run journalctl", &error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(cannot(&format!("read the journal of {name}"), &io::Error::other(said.trim().to_owned())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    async fn forget(&self, site: &SiteName) -> Result<(), Fault> {
        let ids = self.shared.units_on_disk()?.into_iter().filter(|id| id.site == *site);
        self.shared.remove(&ids.collect::<Vec<_>>()).await
    }
}
