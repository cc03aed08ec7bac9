//! Evidence that nothing is in flight any more on a colour that lost its traffic: the web server's own account of what it answers, where it has one,
//! and else the sockets of the instances.
//!
//! That a colour was routed since it started is written beside its markers (`served`) before the link moves to it, and removed once it is
//! drained: so the next run of the agent knows it too, and asks for no evidence that was found already.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::Host;
use crate::api::types::SiteName;
use crate::platform::host::layout::SiteDir;
use crate::platform::host::sockets::Drain;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;
use crate::rollout::{Colour, Time};

/// Whoever asked the link which files are live has opened them within this, on a machine that is very busy too; an open one is read to its end whatever
/// becomes of it. On a starved machine one request of 22,051 met files that were gone.
const OPENS: Duration = Duration::from_secs(2);
/// How often the web server is asked which requests it answers.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// So often in a row it must tell of none.
const TWICE: u8 = 2;

/// A colour that is being watched until nothing is in flight on it.
pub(super) struct Draining {
    pub(super) since: Time,
    done: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Draining {
    /// The colour of `site` with these ports lost its traffic at `since`, which was `ago`.
    pub(super) fn watch<W: WebServer + 'static, S: Supervisor + 'static>(
        host: Arc<Host<W, S>>,
        site: SiteName,
        ports: BTreeSet<u16>,
        since: Time,
        ago: Duration,
        wake: Arc<Notify>,
    ) -> Draining {
        let own = host.prober.own_connections().clone();
        let done = Arc::new(AtomicBool::new(false));
        let files_only = ports.is_empty();
        let now = Instant::now();
        let moved = now.checked_sub(ago).unwrap_or(now);
        let mut drain = Drain::new(ports, moved, host.web.pool_timeout());
        let mut told = 0;
        let found = done.clone();
        let task = tokio::spawn(async move {
            loop {
                let now = Instant::now();
                // What can't be looked at is not drained: the limit of the phase ends the wait.
                let (over, again) = match host.web.in_flight(&site, now.duration_since(moved)).await {
                    Ok(None) if files_only => (now.duration_since(moved) >= OPENS, now + ASK_AGAIN),
                    Ok(None) => (drain.look(now, &own).unwrap_or(false), drain.again(now)),
                    Ok(Some(busy)) => {
                        told = if busy { 0 } else { told + 1 };
                        (told >= TWICE, now + ASK_AGAIN)
                    }
                    Err(_) => (false, now + ASK_AGAIN),
                };
                if over {
                    found.store(true, Ordering::Relaxed);
                    wake.notify_one();
                    return;
                }
                tokio::time::sleep_until(again.into()).await;
            }
        });
        Draining { since, done, task: task.abort_handle() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn mark(dir: &SiteDir, colour: Colour) -> PathBuf {
    dir.slot(colour).join("served")
}

/// Whether the colour was routed since it started, and not found drained since.
pub(super) fn has_served(dir: &SiteDir, colour: Colour) -> io::Result<bool> {
    match std::fs::symlink_metadata(mark(dir, colour)) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Writes down that the colour is routed, or is about to be. When it returns, that is on the disk.
pub(super) fn note_served(dir: &SiteDir, colour: Colour) -> io::Result<()> {
    if has_served(dir, colour)? {
        return Ok(());
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(mark(dir, colour), flags, Mode::from_raw_mode(0o644))?;
    std::fs::File::open(dir.slot(colour))?.sync_all()
}

/// Nothing is in flight on the colour any more. Lost in a power cut, it is only asked for again.
pub(super) fn forget_served(dir: &SiteDir, colour: Colour) -> io::Result<()> {
    match std::fs::remove_file(mark(dir, colour)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
