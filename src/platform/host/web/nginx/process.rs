//! nginx's processes: the master that a reload is asked of, and the workers that show what became of it. Called by `reload`.

use std::fs;
use std::path::Path;

use crate::platform::host::web::process::{Known, children, know, named_by};

/// The master that runs now. `None`: there is none, or it is no nginx.
#[must_use]
pub fn master(pid_file: &Path) -> Option<Known> {
    named_by(pid_file).filter(|known| title(known.pid).starts_with("nginx: master process"))
}

/// The workers of a master that take new connections.
#[must_use]
pub fn workers(master: Known) -> Vec<Known> {
    children(master).into_iter().filter(|known| accepts(*known)).collect()
}

/// Whether a worker takes new connections: it is there, and has not said that it is shutting down.
#[must_use]
pub fn accepts(worker: Known) -> bool {
    title(worker.pid) == "nginx: worker process" && know(worker.pid) == Some(worker)
}

/// What nginx calls the process: the first of its arguments, which it overwrites. Empty for one that has ended.
fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = bytes.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(first).trim_end().to_owned()
}
