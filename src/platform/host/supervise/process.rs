//! Processes, as the kernel tells of them in `/proc`: which are alive, which belong to an instance.
//!
//! A pid alone names nobody, since it is used again. A [`Process`] is a pid and the moment at which the kernel started it, so that somebody
//! else's process is never taken for ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

/// The variable that marks every process of an instance of `direct`: it is inherited, so it also finds those that left the instance's session.
/// Its value is the path of the instance's state file, without ending.
pub(crate) const MARKER: &str = "BLUEGREEN_INSTANCE";

/// One process, told apart from a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its number.
    pub pid: u32,
    /// When it was started, in the kernel's ticks since boot.
    pub started: u64,
}

impl Process {
    /// The process that has this pid now; `None` if there is none, or only what is left of one until its parent looks.
    pub(crate) fn find(pid: u32) -> Option<Process> {
        let stat = Stat::read(pid).filter(Stat::is_alive)?;
        Some(Process { pid, started: stat.started })
    }

    /// Whether it is still there.
    pub(crate) fn is_alive(self) -> bool {
        Process::find(self.pid) == Some(self)
    }
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Clone, Debug)]
pub(crate) struct Stat {
    /// The program's name, at most 15 bytes.
    pub name: String,
    state: char,
    /// Its parent.
    pub parent: u32,
    /// Its session.
    pub session: u32,
    started: u64,
}

/// How a process ended, for people.
pub(crate) fn how(status: rustix::process::WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "in a way that the kernel did not tell".to_owned(),
    }
}

impl Stat {
    /// `None`: there is no such process.
    pub(crate) fn read(pid: u32) -> Option<Stat> {
        Stat::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }

    fn parse(text: &str) -> Option<Stat> {
        // The name stands in parentheses and may hold any character, also `)`.
        let (head, tail) = text.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        Some(Stat {
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// Whether it ended and waits for its parent to look.
    pub(crate) fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }

    fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// What tells this boot from an earlier one; also the start of another container, in which all processes are gone too.
pub(crate) fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let first = Stat::read(1).map_or(0, |stat| stat.started);
    format!("{}:{first}", id.trim())
}

/// The process first, then the children of its children, found without looking at the whole machine. A child whose parent ended is missed.
pub(crate) fn tree(root: Process) -> Vec<u32> {
    let mut found = Vec::new();
    let mut todo = Vec::new();
    if root.is_alive() {
        todo.push(root.pid);
    }
    while let Some(pid) = todo.pop() {
        found.push(pid);
        for thread in numbers(&format!("/proc/{pid}/task")) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).unwrap_or_default();
            todo.extend(children.split_ascii_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
    }
    found
}

/// What makes a process belong to an instance.
pub(crate) struct Kin<'a> {
    /// The instance's first process, alive or not: its session is the instance's.
    pub main: Option<Process>,
    /// The user that it runs as: another user's process is never taken for its kin, whatever it says of itself. `None`: not known.
    pub uid: Option<u32>,
    /// The value of [`MARKER`].
    pub marker: &'a Path,
}

/// All living processes of an instance: those of its session, their children, and those that carry its mark.
pub(crate) fn kin(of: &Kin<'_>) -> Vec<u32> {
    let all: BTreeMap<u32, Stat> =
        numbers("/proc").into_iter().filter_map(|pid| Some((pid, Stat::read(pid).filter(Stat::is_alive)?))).collect();
    let mut found: BTreeSet<u32> = all
        .iter()
        .filter(|&(&pid, stat)| leads_to(of, pid, stat) || (runs_as(pid, of.uid) && marked(pid, of.marker)))
        .map(|(&pid, _)| pid)
        .collect();
    loop {
        let more: Vec<u32> = all
            .iter()
            .filter(|(pid, stat)| !found.contains(pid) && found.contains(&stat.parent))
            .map(|(&pid, _)| pid)
            .collect();
        if more.is_empty() {
            return found.into_iter().collect();
        }
        found.extend(more);
    }
}

/// The leader of a session that carries this mark: an instance's first process, found without its state file.
pub(crate) fn leader(uid: Option<u32>, marker: &Path) -> Option<Process> {
    numbers("/proc")
        .into_iter()
        .filter(|&pid| Stat::read(pid).is_some_and(|stat| stat.session == pid))
        .find(|&pid| runs_as(pid, uid) && marked(pid, marker))
        .and_then(Process::find)
}

/// A pid is not given away while a session of that number has members, so a session that has the number of our process is ours, unless
/// all of it ended meanwhile and somebody else got the number.
fn leads_to(of: &Kin<'_>, pid: u32, stat: &Stat) -> bool {
    let Some(main) = of.main else { return false };
    if pid == main.pid {
        return stat.started == main.started;
    }
    let taken = Stat::read(main.pid).is_some_and(|now| now.started != main.started);
    stat.session == main.pid && stat.started >= main.started && !taken && runs_as(pid, of.uid)
}

fn runs_as(pid: u32, uid: Option<u32>) -> bool {
    let Some(uid) = uid else { return true };
    fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == uid)
        || fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| real_uid(&text) == Some(uid))
}

/// The folder of a process that is not dumpable belongs to root: the status says who it really is.
fn real_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn marked(pid: u32, marker: &Path) -> bool {
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    let wanted = [MARKER.as_bytes(), b"=", marker.as_os_str().as_encoded_bytes()].concat();
    environ.split(|&byte| byte == 0).any(|entry| entry == wanted)
}

/// Sends a signal to a process; nothing happens if it is gone.
pub(crate) fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    gone_is_fine(to_pid(pid).map_or(Ok(()), |pid| kill_process(pid, signal)))
}

/// Sends a signal to a process group; nothing happens if it is empty.
pub(crate) fn signal_group(group: u32, signal: Signal) -> io::Result<()> {
    gone_is_fine(to_pid(group).map_or(Ok(()), |group| kill_process_group(group, signal)))
}

fn gone_is_fine(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// The pid in the form that system calls take. Never 0 or 1: to signal those would reach others.
pub(crate) fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|&pid| pid > 1).and_then(Pid::from_raw)
}

/// The entries of a folder that are numbers.
pub(crate) fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_parenthesis_in_its_name_is_read_like_any_other() {
        let line = "42 (a) R (b) S 7 8 9 0 -1 1 2 3 4 5 6 7 8 9 10 20 1 0 777 1 2";
        let stat = Stat::parse(line).expect("a line of the kernel's");
        assert_eq!((stat.name.as_str(), stat.parent, stat.session, stat.started), ("a) R (b", 7, 9, 777));
        assert!(stat.is_alive());
    }

    #[test]
    fn a_process_with_the_same_pid_and_another_start_is_somebody_else() {
        let me = Process::find(std::process::id()).expect("this process");
        assert!(me.is_alive());
        let earlier = Process { started: me.started - 1, ..me };
        assert!(!earlier.is_alive());
        assert!(tree(earlier).is_empty());
    }

    #[test]
    fn nobody_signals_every_process_or_the_first_one() {
        assert!(to_pid(0).is_none());
        assert!(to_pid(1).is_none());
        assert!(to_pid(u32::MAX).is_none());
    }
}
