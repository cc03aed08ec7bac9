//! One look at an instance: whose socket its port reaches, and what that means.

use crate::platform::host::sockets::{Holder, Socket, holder, is_held_by, ports_of, reached};
use crate::platform::host::supervise::process::Stat;

/// An answer, or that none came.
pub(super) struct Measure {
    pub(super) passed: bool,
    /// For people.
    pub(super) detail: String,
}

/// What a look at an instance showed; with words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A good answer.
    Passed(String),
    /// A bad answer, or none in time.
    Refused(String),
    /// Nothing listens at its port (yet).
    Silent(String),
    /// It has no process.
    Down(String),
    /// Its port belongs to somebody else.
    Stranger(String),
    /// It could not be looked at: nothing is known.
    Unknown(String),
}

impl Seen {
    pub(super) fn words(self) -> String {
        match self {
            Seen::Passed(words)
            | Seen::Refused(words)
            | Seen::Silent(words)
            | Seen::Down(words)
            | Seen::Stranger(words)
            | Seen::Unknown(words) => words,
        }
    }
}

/// Whether a connection to the port reaches one of the instance's processes: the socket, or what is in the way. `known` is the socket
/// that was found to be its own before: as long as it is there, nobody need search.
pub(super) fn whose(listening: &[Socket], port: u16, pids: &[u32], known: Option<u64>) -> Result<u64, Seen> {
    let at_port = reached(listening, port);
    let Some(first) = at_port.first() else {
        return Err(Seen::Silent(silence(listening, port, pids)));
    };
    // With SO_REUSEPORT several listen, and the kernel chooses among them: all have to be its own.
    for socket in &at_port {
        if Some(socket.inode) != known && !is_held_by(socket.inode, pids) && !held_by_kin(socket.inode, pids) {
            return Err(Seen::Stranger(stranger(holder(socket.inode), port)));
        }
    }
    Ok(first.inode)
}

/// An instance that is silent because it has just been started once more says more by how often that was, and by how it `ended`.
pub(super) fn after(seen: Seen, restarts: u32, ended: Option<&str>) -> Seen {
    match seen {
        Seen::Silent(words) if restarts > 0 => {
            let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
            let how = ended.map_or_else(String::new, |how| format!(" ({how})"));
            Seen::Silent(format!(
                "{words}; it ended by itself {times} before{how}: its last words are in `bluegreen logs`"
            ))
        }
        other => other,
    }
}

/// What is said of an instance that ended by itself: most often, because somebody else holds its port.
pub(super) fn down(listening: &[Socket], port: u16, how: &str, restarts: u32) -> Seen {
    let times = match restarts {
        0 => "it is started again".to_owned(),
        1 => "it was started again once".to_owned(),
        n => format!("it was started again {n} times"),
    };
    let in_the_way = reached(listening, port).first().map(|socket| stranger(holder(socket.inode), port));
    let cause = in_the_way.map_or_else(String::new, |why| format!("; {why}"));
    Seen::Down(format!("it ended by itself ({how}) and {times}{cause}"))
}

/// A worker whose parent ended is no child of the instance's any more, but of its session still.
fn held_by_kin(inode: u64, pids: &[u32]) -> bool {
    holder(inode).is_some_and(|holder| Stat::read(holder.pid).is_some_and(|stat| pids.contains(&stat.session)))
}

fn silence(listening: &[Socket], port: u16, pids: &[u32]) -> String {
    let elsewhere = ports_of(listening, pids);
    if elsewhere.contains(&port) {
        return format!("it listens on port {port}, but not on 127.0.0.1: let it listen there");
    }
    match elsewhere.first() {
        None => format!("nothing listens on port {port} yet"),
        Some(wrong) => format!(
            "it listens on port {wrong}, not on its own, {port}: let it take the port from the variable PORT, or from $(PORT) in an argument"
        ),
    }
}

fn stranger(holder: Option<Holder>, port: u16) -> String {
    match holder {
        Some(Holder { pid, program }) => format!(
            "port {port} is held by process {pid} ({program}), not by the instance: end that process, or give the instance another port"
        ),
        None => format!(
            "port {port} is held by a process that can't be seen, not by the instance: give the instance another port"
        ),
    }
}
