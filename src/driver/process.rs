//! What both daemons need of their process: one heap, threads, and to be told when to end.

use std::future::Future;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Begins anew as the same process, told to keep one heap for all threads. The C library gives each thread one of its own and returns little
/// of them to the system: with a hundred sites that is a third of a daemon's memory, for nothing.
///
/// # Errors
/// The program can't be started anew.
pub(super) fn with_one_heap() -> io::Result<()> {
    const ONE_HEAP: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(ONE_HEAP).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    command.arg0(arguments.next().unwrap_or_default()).args(arguments).env(ONE_HEAP, "1");
    // It only returns when it failed.
    Err(command.exec())
}

/// The threads of a daemon: few, since it mostly waits.
///
/// # Errors
/// The system gives no threads.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .thread_keep_alive(Duration::from_secs(5))
        .enable_all()
        .build()
}

/// Ends when somebody asks the process to end. Signals are listened for from the call on.
///
/// # Errors
/// Signals can't be listened for.
pub(super) fn end() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
