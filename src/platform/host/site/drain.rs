//! Evidence that nothing is in flight any more on a colour that lost its traffic.
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

use crate::platform::host::layout::SiteDir;
use crate::platform::host::sockets::{Drain, OwnConnections};
use crate::rollout::{Colour, Time};

/// A colour that is being watched until nothing is in flight on it.
pub(super) struct Draining {
    pub(super) since: Time,
    done: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Draining {
    /// The colour with these ports lost its traffic at `since`, which was `ago`.
    pub(super) fn watch(
        ports: BTreeSet<u16>,
        since: Time,
        ago: Duration,
        pool: Duration,
        own: Arc<OwnConnections>,
        wake: Arc<Notify>,
    ) -> Draining {
        let done = Arc::new(AtomicBool::new(ports.is_empty()));
        let now = Instant::now();
        let mut drain = Drain::new(ports, now.checked_sub(ago).unwrap_or(now), pool);
        let found = done.clone();
        let task = tokio::spawn(async move {
            loop {
                let now = Instant::now();
                // What can't be looked at is not drained: the limit of the phase ends the wait.
                if drain.look(now, &own).unwrap_or(false) {
                    found.store(true, Ordering::Relaxed);
                    wake.notify_one();
                    return;
                }
                tokio::time::sleep_until(drain.again(now).into()).await;
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
