//! Processes of a web server: told apart from others that got their number, listed, and told something. Called by the kinds' own `process`.

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

/// The process of this number as it is now, if there is one that has not ended.
#[must_use]
pub fn know(pid: i32) -> Option<Known> {
    let stat = Process::new(pid).ok()?.stat().ok()?;
    // Its number stays until its parent has asked for it.
    let ended = matches!(stat.state, 'Z' | 'X');
    (!ended).then_some(Known { pid, started: stat.starttime })
}

/// The process that a file names. `None`: the file is missing or empty (a test of the configuration leaves an empty one), or names none.
#[must_use]
pub fn named_by(pid_file: &Path) -> Option<Known> {
    know(fs::read_to_string(pid_file).ok()?.trim().parse().ok()?)
}

/// All children of a process.
#[must_use]
pub fn children(parent: Known) -> Vec<Known> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.pid));
    let pids: Vec<i32> = match children {
        Ok(text) => text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        // A kernel without that file.
        Err(_) => every_child(parent.pid),
    };
    pids.into_iter().filter_map(know).collect()
}

/// Sends a signal.
///
/// # Errors
/// When it is gone, or isn't ours to signal.
pub fn tell(process: Known, signal: Signal) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let fd = rustix::process::pidfd_open(Pid::from_raw(process.pid).ok_or_else(gone)?, PidfdFlags::empty())?;
    // The descriptor is this process from now on; the number was it if it still is the same.
    if know(process.pid) != Some(process) {
        return Err(gone());
    }
    rustix::process::pidfd_send_signal(fd, signal)?;
    Ok(())
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
