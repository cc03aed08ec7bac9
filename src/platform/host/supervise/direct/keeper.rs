//! Keeps one instance running: a task that starts it, notices its end, starts it again, and stops it when it is wanted no more.
//!
//! All that must be known after the agent's death is in the [`Record`]; a keeper that is made anew goes on where the last one was killed.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::launch::{WORD, code};
use super::log;
use super::record::{Record, Spec};
use crate::platform::host::supervise::process::{self, Kin, Process};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An instance that ran so long is taken to have started well: its next crash is a first one.
const RAN_WELL: Duration = Duration::from_secs(10);
const LOG_CHECK: Duration = Duration::from_secs(15);
/// How long a process may take to go after SIGKILL: it is then stuck in the kernel.
const KILL_WITHIN: Duration = Duration::from_secs(10);
/// For an instance whose specification can't be read any more.
const DEFAULT_STOP_WITHIN: Duration = Duration::from_secs(10);

/// What is known of an instance's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// The keeper has not looked yet.
    Unseen,
    /// Its first process.
    Running(Process, u32),
    /// How it ended, and how often it was started again before.
    Failed(String, u32),
    /// It could not be stopped; why.
    Stuck(String),
    /// None of its processes is left, and its record is removed.
    Stopped,
}

/// One instance.
pub(super) struct Keeper {
    pub(super) record: Record,
    log: PathBuf,
    pub(super) life: watch::Sender<Life>,
    wanted: watch::Sender<bool>,
    hurry: Notify,
    launcher: OsString,
    changed: watch::Sender<u64>,
}

impl Keeper {
    pub(super) fn new(
        record: Record,
        log: PathBuf,
        wanted: bool,
        launcher: &Path,
        changed: watch::Sender<u64>,
    ) -> Keeper {
        Keeper {
            record,
            log,
            life: watch::Sender::new(Life::Unseen),
            wanted: watch::Sender::new(wanted),
            hurry: Notify::new(),
            launcher: launcher.as_os_str().to_owned(),
            changed,
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Takes the wish back; the keeper stops the instance.
    pub(super) fn unwant(&self) {
        self.wanted.send_replace(false);
    }

    /// Ends the pause before the next start: what would be started has changed.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Waits until the keeper has looked at the instance for the first time.
    pub(super) async fn seen(&self) {
        // The sender is this keeper's own: the wait can't fail.
        let _ = self.life.subscribe().wait_for(|life| *life != Life::Unseen).await;
    }

    /// Keeps the instance until it is wanted no more and gone.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut wanted = self.wanted.subscribe();
        let mut pause = FIRST_PAUSE;
        let mut restarts = None;
        loop {
            if !*wanted.borrow_and_update() {
                self.show_what_is_left().await;
                match self.stop().await {
                    Ok(()) => return self.become_(Life::Stopped),
                    Err(why) => self.become_(Life::Stuck(why)),
                }
                sleep(LONGEST_PAUSE).await;
                continue;
            }
            let begun = Instant::now();
            let end = match self.find_or_launch(&mut restarts).await {
                Ok(main) => {
                    self.become_(Life::Running(main, restarts.unwrap_or(0)));
                    tokio::select! {
                        status = self.watch(main) => self.judge(main, status),
                        _ = wanted.changed() => continue,
                    }
                }
                Err(error) => End::Crashed(format!("cannot be started: {error}")),
            };
            let End::Crashed(how) = end else {
                sleep(FIRST_PAUSE).await;
                continue;
            };
            self.become_(Life::Failed(how, restarts.unwrap_or(0)));
            // What it left behind may hold its port.
            if let Err(why) = self.kill_all().await {
                self.become_(Life::Failed(why, restarts.unwrap_or(0)));
            }
            if begun.elapsed() >= RAN_WELL {
                pause = FIRST_PAUSE;
            }
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = self.hurry.notified() => pause = FIRST_PAUSE,
                _ = wanted.changed() => {}
            }
            restarts = Some(restarts.unwrap_or(0).saturating_add(1));
        }
    }

    fn become_(&self, life: Life) {
        let differs = self.life.send_if_modified(|now| {
            let differs = *now != life;
            *now = life;
            differs
        });
        if differs {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// The process that runs, or a new one. `restarts` is how often it was started again; `None` in a keeper's first round, which reads
    /// it from the record.
    async fn find_or_launch(&self, restarts: &mut Option<u32>) -> io::Result<Process> {
        let record = self.record.clone();
        let found = tokio::task::spawn_blocking(move || find(&record)).await?;
        let before = match *restarts {
            Some(count) => count,
            None => match &found {
                Found::Alive(_, count) | Found::Never(count) => *count,
                // It ended while nobody looked.
                Found::Ended(count) => count.saturating_add(1),
            },
        };
        *restarts = Some(before);
        if let Found::Alive(main, _) = found {
            return Ok(main);
        }
        let child = Command::new(&self.launcher)
            .args([WORD, "--restarts", &before.to_string(), "--spec"])
            .arg(self.record.spec_file())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // It is our child and nobody waits for it but `ended`: the pid can't be another's, even if it has ended already.
        Ok(Process::find(child.id()).unwrap_or(Process { pid: child.id(), started: 0 }))
    }

    /// Waits for the end of the process, and keeps its log small meanwhile.
    async fn watch(&self, main: Process) -> Option<WaitStatus> {
        let end = ended(main);
        tokio::pin!(end);
        loop {
            tokio::select! {
                status = &mut end => return status,
                () = sleep(LOG_CHECK) => {}
            }
            // The look costs nothing; the copy is rare.
            if log::is_large(&self.log).unwrap_or(false) {
                let log = self.log.clone();
                if let Err(error) = blocking(move || log::rotate_open(&log)).await {
                    tracing::warn!(log = %self.log.display(), %error, "a log could not be rotated");
                }
            }
        }
    }

    /// Until it is gone an instance that nobody wants is shown as what it is.
    async fn show_what_is_left(&self) {
        let record = self.record.clone();
        if let Ok(Found::Alive(main, restarts)) = blocking(move || Ok(find(&record))).await {
            self.become_(Life::Running(main, restarts));
        }
    }

    fn judge(&self, main: Process, status: Option<WaitStatus>) -> End {
        let born = self.record.born().ok().flatten();
        let yielded = status.and_then(WaitStatus::exit_status);
        if born.is_none_or(|born| born.process != main) && matches!(yielded, Some(code::ALREADY | code::UNWANTED)) {
            return End::Yielded;
        }
        End::Crashed(self.record.error().unwrap_or_else(|| match status {
            Some(status) => process::how(status),
            None => "an end that nobody saw: the agent was started again after it".to_owned(),
        }))
    }

    /// Stops the instance and forgets it.
    async fn stop(&self) -> Result<(), String> {
        let record = self.record.clone();
        let spec = blocking(move || {
            let spec = record.spec().ok().flatten();
            if let Some(spec) = spec.clone().filter(|spec| spec.wanted) {
                record.set_spec(&Spec { wanted: false, ..spec })?;
            }
            // Whoever launched before has written down who it is, and whoever launches later finds no wish.
            drop(record.lock()?);
            Ok(spec)
        })
        .await
        .map_err(|e| format!("cannot write that {} is wanted no more: {e}", self.record.marker().display()))?;
        let within = spec.map_or(DEFAULT_STOP_WITHIN, |spec| spec.stop_within);
        let deadline = Instant::now() + within;
        let record = self.record.clone();
        if let Ok(Found::Alive(main, _)) = blocking(move || Ok(find(&record))).await {
            process::signal_group(main.pid, Signal::TERM)
                .map_err(|e| format!("cannot signal process {}: {e}", main.pid))?;
            // Not its end alone ends the instance, but it is noticed at once.
            let _ = timeout_at(deadline, ended(main)).await;
        } else {
            for pid in self.kin().await {
                process::signal(pid, Signal::TERM).map_err(|e| format!("cannot signal process {pid}: {e}"))?;
            }
        }
        let mut pause = Duration::from_millis(5);
        while Instant::now() < deadline && !self.kin().await.is_empty() {
            sleep_until((Instant::now() + pause).min(deadline)).await;
            pause = (pause * 2).min(Duration::from_millis(160));
        }
        let deaf = self.kin().await;
        if !deaf.is_empty() {
            let record = self.record.marker();
            tracing::warn!(instance = %record.display(), pids = ?deaf, "did not end within {within:?} of SIGTERM, and is killed");
        }
        self.kill_all().await?;
        let record = self.record.clone();
        blocking(move || record.remove())
            .await
            .map_err(|e| format!("cannot remove the record {}: {e}", self.record.marker().display()))
    }

    /// Kills what is left of the instance; fails if something does not go.
    async fn kill_all(&self) -> Result<(), String> {
        let deadline = Instant::now() + KILL_WITHIN;
        loop {
            let left = self.kin().await;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!(
                    "process {} does not end although it was killed: it is stuck in the kernel, perhaps on a disk or a network file system",
                    left.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
                ));
            }
            for pid in left {
                process::signal(pid, Signal::KILL).map_err(|e| format!("cannot kill process {pid}: {e}"))?;
                reap(pid);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// All living processes of the instance.
    async fn kin(&self) -> Vec<u32> {
        let record = self.record.clone();
        let look = move || {
            let spec = record.spec().ok().flatten();
            let born = record.born().ok().flatten().filter(|born| born.boot == process::boot());
            Ok(process::kin(&Kin {
                main: born.map(|born| born.process),
                uid: spec.map(|spec| spec.uid),
                marker: record.marker(),
            }))
        };
        blocking(look).await.unwrap_or_default()
    }
}

enum End {
    /// How, for people.
    Crashed(String),
    /// Another launcher was quicker, or nothing was to be launched.
    Yielded,
}

enum Found {
    /// It runs; and how often it had been started again when it was.
    Alive(Process, u32),
    /// It ran; how often it had been started again.
    Ended(u32),
    /// It never ran in this boot.
    Never(u32),
}

fn find(record: &Record) -> Found {
    match record.born() {
        Ok(Some(born)) if born.boot == process::boot() => match born.alive() {
            Some(main) => Found::Alive(main, born.restarts),
            None => Found::Ended(born.restarts),
        },
        Ok(Some(_)) => Found::Never(0),
        // The record is lost: the process may be there all the same.
        Ok(None) | Err(_) => {
            let uid = record.spec().ok().flatten().map(|spec| spec.uid);
            process::leader(uid, record.marker()).map_or(Found::Never(0), |main| Found::Alive(main, 0))
        }
    }
}

/// Waits for the end of a process, and takes note of how it ended if it is our child.
async fn ended(process: Process) -> Option<WaitStatus> {
    match watch_fd(process) {
        Ok(Some(fd)) => {
            // An error means that the kernel can't tell: look ourselves.
            if fd.readable().await.is_err() {
                poll_until_gone(process).await;
            }
        }
        Ok(None) => {}
        Err(_) => poll_until_gone(process).await,
    }
    reap(process.pid)
}

/// `None`: it is gone.
fn watch_fd(process: Process) -> io::Result<Option<AsyncFd<OwnedFd>>> {
    let Some(pid) = process::to_pid(process.pid) else {
        return Ok(None);
    };
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        other => other?,
    };
    // The number may have been given to another between the record and the look.
    if !process.is_alive() {
        return Ok(None);
    }
    #[expect(
        deprecated,
        reason = "what is unsound about it needs a type that changes its descriptor, which `OwnedFd` doesn't"
    )]
    AsyncFd::with_interest(fd, Interest::READABLE).map(Some)
}

async fn poll_until_gone(process: Process) {
    while process.is_alive() {
        sleep(FIRST_PAUSE).await;
    }
}

/// Frees the number of a child that ended. `None`: it is somebody else's child, or not at its end.
fn reap(pid: u32) -> Option<WaitStatus> {
    let pid = process::to_pid(pid)?;
    waitpid(Some(pid), WaitOptions::NOHANG).ok().flatten().map(|(_, status)| status)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await?
}
