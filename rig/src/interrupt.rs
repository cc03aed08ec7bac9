//! Ctrl-C and SIGTERM, for the programs that start others: they stop waiting and return, so that everything they started ends with them.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

static PENDING: AtomicBool = AtomicBool::new(false);

/// From now on a signal no longer ends the process: it makes [`pending`] true, and ends every wait of [`crate::wait`].
///
/// # Errors
/// When no thread can be had, or signals can't be listened for.
pub fn heed() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut ctrl_c, mut term) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let listen = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = ctrl_c.recv() => {}
                _ = term.recv() => {}
            }
        });
        PENDING.store(true, Ordering::SeqCst);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).context("cannot listen for signals")?;
    Ok(())
}

/// Whether somebody wants this process to end.
#[must_use]
pub fn pending() -> bool {
    PENDING.load(Ordering::SeqCst)
}
