//! What the kernel knows of a colour's ports: who listens, and what is still connected. Called by the prober and while a colour drains.

mod diag;
mod drain;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};

pub use self::diag::Socket;
use self::diag::{Ask, sockets};
pub use self::drain::Drain;
use super::supervise::process::{self, Stat};

/// The sockets that listen.
///
/// # Errors
/// The kernel does not tell.
pub fn listeners() -> io::Result<Vec<Socket>> {
    sockets(Ask::Listening)
}

/// Among listening sockets those that a connection to `127.0.0.1:port` reaches: bound to that address, or else to every one.
#[must_use]
pub fn reached(listening: &[Socket], port: u16) -> Vec<Socket> {
    let with = |takes: fn(IpAddr) -> bool| -> Vec<Socket> {
        let here = listening.iter().filter(|socket| socket.local.port() == port && takes(socket.local.ip()));
        here.copied().collect()
    };
    let exact = with(|ip| ip.to_canonical() == IpAddr::V4(Ipv4Addr::LOCALHOST));
    if exact.is_empty() { with(|ip| ip.is_unspecified()) } else { exact }
}

/// The connections to local ports: their server side, as far as they are open or about to be.
///
/// # Errors
/// The kernel does not tell.
pub fn connections(ports: &BTreeSet<u16>) -> io::Result<Vec<Socket>> {
    let (Some(&from), Some(&to)) = (ports.first(), ports.last()) else {
        return Ok(Vec::new());
    };
    let mut found = sockets(Ask::Connected { from, to })?;
    found.retain(|socket| ports.contains(&socket.local.port()));
    Ok(found)
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its program's name, as `ps` shows it.
    pub program: String,
}

/// Whether one of these processes has the socket open.
#[must_use]
pub fn is_held_by(inode: u64, pids: &[u32]) -> bool {
    pids.iter().any(|&pid| inodes(pid).any(|open| open == inode))
}

/// A process of the machine that has the socket open; `None` if the kernel does not let us see it. Looks at all files of all processes.
#[must_use]
pub fn holder(inode: u64) -> Option<Holder> {
    let pid = process::numbers("/proc").into_iter().find(|&pid| is_held_by(inode, &[pid]))?;
    Some(Holder { pid, program: Stat::read(pid).map_or_else(|| "?".to_owned(), |stat| stat.name) })
}

/// The ports at which these processes listen.
#[must_use]
pub fn ports_of(listening: &[Socket], pids: &[u32]) -> BTreeSet<u16> {
    let open: BTreeSet<u64> = pids.iter().flat_map(|&pid| inodes(pid)).collect();
    listening.iter().filter(|socket| open.contains(&socket.inode)).map(|socket| socket.local.port()).collect()
}

/// The sockets that a process has open.
pub(super) fn inodes(pid: u32) -> impl Iterator<Item = u64> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| {
        let target = fs::read_link(file.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

/// The connections that the prober itself has open, by its own port: a hung health check is no visitor's request.
#[derive(Debug, Default)]
pub struct OwnConnections(Mutex<BTreeSet<u16>>);

impl OwnConnections {
    /// Notes a connection as ours until the note is dropped.
    pub fn note(&self, port: u16) -> Note<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        Note { of: self, port }
    }

    /// Whether a connection to an instance is ours, not a visitor's.
    #[must_use]
    pub fn holds(&self, server_side: &Socket) -> bool {
        let ours = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        server_side.peer.ip().to_canonical().is_loopback() && ours.contains(&server_side.peer.port())
    }
}

/// A connection is ours as long as this lives.
#[derive(Debug)]
pub struct Note<'a> {
    of: &'a OwnConnections,
    port: u16,
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        self.of.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.port);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_listener_is_found_with_its_process_and_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let listening = listeners().expect("sockets");
        let socket = *reached(&listening, port).first().expect("ours");
        let me = std::process::id();
        assert!(is_held_by(socket.inode, &[me]));
        assert!(!is_held_by(socket.inode, &[1]));
        assert_eq!(holder(socket.inode).expect("a holder").pid, me);
        assert!(ports_of(&listening, &[me]).contains(&port));
        drop(listener);
        assert!(reached(&listeners().expect("sockets"), port).is_empty());
    }

    #[test]
    fn only_the_socket_that_loopback_reaches_counts() {
        let socket = |address: &str| Socket {
            local: address.parse().expect("an address"),
            peer: SocketAddr::from(([0, 0, 0, 0], 0)),
            inode: 1,
        };
        let all = [
            socket("0.0.0.0:80"),
            socket("127.0.0.1:80"),
            socket("10.0.0.1:80"),
            socket("[::1]:80"),
            socket("127.0.0.1:81"),
        ];
        assert_eq!(reached(&all, 80), [all[1]]);
        assert_eq!(reached(&all[2..4], 80), []);
        assert_eq!(reached(&[socket("[::]:80")], 80).len(), 1);
        assert_eq!(reached(&[socket("[::ffff:127.0.0.1]:80")], 80).len(), 1);
    }

    #[test]
    fn only_connections_to_the_ports_count_and_the_probers_own_can_be_told() {
        let (a, b) = (TcpListener::bind("127.0.0.1:0").expect("a"), TcpListener::bind("127.0.0.1:0").expect("b"));
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let to_a = TcpStream::connect(a.local_addr().expect("an address")).expect("a connection");
        let _to_b = TcpStream::connect(b.local_addr().expect("an address")).expect("a connection");
        // The far end of a connection, whose own port is none of them, is not counted.
        let found = connections(&BTreeSet::from([port(&a)])).expect("sockets");
        assert_eq!(found.len(), 1);
        let own = OwnConnections::default();
        let note = own.note(to_a.local_addr().expect("an address").port());
        assert!(own.holds(&found[0]));
        drop(note);
        assert!(!own.holds(&found[0]));
        assert!(connections(&BTreeSet::new()).expect("sockets").is_empty());
    }
}
