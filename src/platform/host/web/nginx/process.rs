//! nginx's processes: the master that a reload is asked of, and the workers that show what became of it. Called by `reload`.

use std::fs;
use std::io;
use std::path::Path;

use procfs::process::Process;
use rustix::process::{Pid, PidfdFlags, Signal};

/// A process, and not another one that got its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Known {
    /// Its number.
    pub pid: i32,
    started: u64,
}

/// The master that runs now. `None`: the file is missing or empty (a test of the configuration leaves an empty one), or names no master of nginx.
#[must_use]
pub fn master(pid_file: &Path) -> Option<Known> {
    let pid: i32 = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    let known = know(pid)?;
    title(pid).starts_with("nginx: master process").then_some(known)
}

/// The workers of a master that take new connections.
#[must_use]
pub fn workers(master: Known) -> Vec<Known> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", master.pid));
    let pids: Vec<i32> = match children {
        Ok(text) => text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        // A kernel without that file.
        Err(_) => every_child(master.pid),
    };
    pids.into_iter().filter_map(know).filter(|known| accepts(*known)).collect()
}

/// Whether a worker takes new connections: it is there, and has not said that it is shutting down.
#[must_use]
pub fn accepts(worker: Known) -> bool {
    title(worker.pid) == "nginx: worker process" && know(worker.pid) == Some(worker)
}

/// Tells a master to read its configuration again.
///
/// # Errors
/// When it is gone, or isn't ours to signal.
pub fn hang_up(master: Known) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let fd = rustix::process::pidfd_open(Pid::from_raw(master.pid).ok_or_else(gone)?, PidfdFlags::empty())?;
    // The descriptor is this process from now on; the number was it if it still is the same.
    if know(master.pid) != Some(master) {
        return Err(gone());
    }
    rustix::process::pidfd_send_signal(fd, Signal::HUP)?;
    Ok(())
}

fn know(pid: i32) -> Option<Known> {
    let stat = Process::new(pid).ok()?.stat().ok()?;
    Some(Known { pid, started: stat.starttime })
}

/// What nginx calls the process: the first of its arguments, which it overwrites. Empty for one that has ended.
fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = bytes.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(first).trim_end().to_owned()
}

fn every_child(parent: i32) -> Vec<i32> {
    let Ok(all) = procfs::process::all_processes() else {
        return Vec::new();
    };
    all.filter_map(Result::ok)
        .filter_map(|process| process.stat().ok())
        .filter(|stat| stat.ppid == parent)
        .map(|stat| stat.pid)
        .collect()
}
