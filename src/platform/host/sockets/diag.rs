//! Asks the kernel for its TCP sockets over netlink (`sock_diag`), which filters them by state and port itself; reading `/proc/net/tcp`
//! walks and prints all of them, which costs milliseconds under load. Where a sandbox has no netlink, `/proc` is read all the same.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use procfs::net::TcpState;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// A TCP socket of this network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// Its own end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// What the kernel calls it: the number behind `socket:[…]` in `/proc/PID/fd`.
    pub inode: u64,
}

/// Which sockets are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// Those that listen.
    Listening,
    /// Those that carry a connection, or are about to, and whose own port is in this range.
    Connected {
        /// The first port.
        from: u16,
        /// The last port.
        to: u16,
    },
}

const ESTABLISHED: u32 = 1;
const SYN_RECV: u32 = 3;
const LISTEN: u32 = 10;

const REQUEST_AND_DUMP: u16 = 0x301;
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const TCP: u8 = 6;
const HEADER: usize = 16;
/// The fixed part of an answer, `struct inet_diag_msg`.
const ANSWER: usize = 72;

impl Ask {
    fn states(self) -> u32 {
        match self {
            Ask::Listening => 1 << LISTEN,
            Ask::Connected { .. } => 1 << ESTABLISHED | 1 << SYN_RECV,
        }
    }

    fn takes(self, socket: &Socket) -> bool {
        match self {
            Ask::Listening => true,
            Ask::Connected { from, to } => (from..=to).contains(&socket.local.port()),
        }
    }
}

/// The sockets of both address families.
pub(super) fn sockets(ask: Ask) -> io::Result<Vec<Socket>> {
    let by_netlink = || {
        let mut found = dump(AddressFamily::INET, ask)?;
        found.append(&mut dump(AddressFamily::INET6, ask)?);
        Ok(found)
    };
    by_netlink().or_else(|_: io::Error| from_procfs(ask))
}

fn dump(family: AddressFamily, ask: Ask) -> io::Result<Vec<Socket>> {
    let fd = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&fd, &request(family, ask), SendFlags::empty(), &kernel)?;
    let mut found = Vec::new();
    let mut buffer = vec![0u8; 32 << 10];
    loop {
        let (length, _) = recv(&fd, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, body, next)) = message(rest) {
            match kind {
                DONE => return Ok(found),
                ERROR => return Err(refused(body)),
                _ => found.extend(answer(body).filter(|socket| ask.takes(socket))),
            }
            rest = next;
        }
    }
}

fn request(family: AddressFamily, ask: Ask) -> Vec<u8> {
    let filter = filter(ask);
    let length = HEADER + 56 + filter.len();
    let mut out = Vec::with_capacity(length);
    out.extend(u32::try_from(length).unwrap_or(0).to_ne_bytes());
    out.extend(BY_FAMILY.to_ne_bytes());
    out.extend(REQUEST_AND_DUMP.to_ne_bytes());
    // The sequence number and the sender's address, which a socket of its own for each question needs not.
    out.extend([0; 8]);
    out.extend([u8::try_from(family.as_raw()).unwrap_or(0), TCP, 0, 0]);
    out.extend(ask.states().to_ne_bytes());
    out.extend([0; 48]);
    out.extend(filter);
    out
}

/// The kernel's own little program: from a port, to a port. A jump beyond the end refuses the socket.
fn filter(ask: Ask) -> Vec<u8> {
    const ATTRIBUTE_BYTECODE: u16 = 1;
    const OWN_PORT_AT_LEAST: u8 = 2;
    const OWN_PORT_AT_MOST: u8 = 3;
    let Ask::Connected { from, to } = ask else {
        return Vec::new();
    };
    let mut out = Vec::new();
    out.extend(20u16.to_ne_bytes());
    out.extend(ATTRIBUTE_BYTECODE.to_ne_bytes());
    for (test, port, left) in [(OWN_PORT_AT_LEAST, from, 16u16), (OWN_PORT_AT_MOST, to, 8)] {
        out.extend([test, 8]);
        out.extend((left + 4).to_ne_bytes());
        out.extend([0, 0]);
        out.extend(port.to_ne_bytes());
    }
    out
}

/// The first message: its kind, its body, and what follows.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(take(bytes, 0)?)).ok()?;
    let kind = u16::from_ne_bytes(take(bytes, 4)?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn refused(body: &[u8]) -> io::Error {
    let errno = take(body, 0).map_or(0, i32::from_ne_bytes);
    io::Error::from_raw_os_error(errno.saturating_neg())
}

fn answer(body: &[u8]) -> Option<Socket> {
    if body.len() < ANSWER {
        return None;
    }
    let v6 = i32::from(*body.first()?) == i32::from(AddressFamily::INET6.as_raw());
    let port = |at| Some(u16::from_be_bytes(take(body, at)?));
    let address = |at| {
        Some(if v6 {
            IpAddr::V6(Ipv6Addr::from(take::<16>(body, at)?))
        } else {
            IpAddr::V4(Ipv4Addr::from(take::<4>(body, at)?))
        })
    };
    Some(Socket {
        local: SocketAddr::new(address(8)?, port(4)?),
        peer: SocketAddr::new(address(24)?, port(6)?),
        inode: u64::from(u32::from_ne_bytes(take(body, 68)?)),
    })
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn from_procfs(ask: Ask) -> io::Result<Vec<Socket>> {
    let all = procfs::net::tcp().and_then(|mut v4| {
        v4.extend(procfs::net::tcp6()?);
        Ok(v4)
    });
    let wanted = |state: &TcpState| match ask {
        Ask::Listening => *state == TcpState::Listen,
        Ask::Connected { .. } => matches!(state, TcpState::Established | TcpState::SynRecv),
    };
    let sockets = all.map_err(io::Error::other)?.into_iter().filter(|entry| wanted(&entry.state)).map(|entry| Socket {
        local: entry.local_address,
        peer: entry.remote_address,
        inode: entry.inode,
    });
    Ok(sockets.filter(|socket| ask.takes(socket)).collect())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn all(ask: Ask, look: fn(Ask) -> io::Result<Vec<Socket>>, own: SocketAddr) -> Vec<Socket> {
        let mut found = look(ask).expect("sockets");
        found.retain(|socket| socket.local == own);
        found.sort();
        found
    }

    fn by_netlink(ask: Ask) -> io::Result<Vec<Socket>> {
        let mut found = dump(AddressFamily::INET, ask)?;
        found.append(&mut dump(AddressFamily::INET6, ask)?);
        Ok(found)
    }

    #[test]
    fn netlink_and_proc_tell_the_same_of_listeners_and_of_connections() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).expect("a listener");
            let own = listener.local_addr().expect("an address");
            let port = own.port();
            let clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(own).expect("a connection")).collect();
            let ask = Ask::Connected { from: port, to: port };
            let mut wanted: Vec<SocketAddr> = clients.iter().map(|c| c.local_addr().expect("an address")).collect();
            wanted.sort();
            let peers = |look| {
                let mut peers: Vec<SocketAddr> = all(ask, look, own).iter().map(|s| s.peer).collect();
                peers.sort();
                peers
            };
            assert_eq!(peers(by_netlink), wanted);
            // It is read bucket by bucket: on a busy machine one that stands still may be missed when others come and go.
            let told = (0..10).any(|_| peers(from_procfs) == wanted);
            assert!(told, "{:?} instead of {wanted:?}", peers(from_procfs));
            let listening = all(Ask::Listening, by_netlink, own);
            assert_eq!(listening.iter().map(|s| s.local).collect::<Vec<_>>(), [own]);
            assert!((0..10).any(|_| all(Ask::Listening, from_procfs, own) == listening));
            drop(clients);
        }
    }

    #[test]
    fn the_kernel_filters_by_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let own = listener.local_addr().expect("an address");
        let port = own.port();
        let _client = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        for (from, to, seen) in
            [(port, port, 1), (0, port, 1), (port, u16::MAX, 1), (0, port - 1, 0), (port + 1, u16::MAX, 0)]
        {
            let found = all(Ask::Connected { from, to }, by_netlink, own);
            assert_eq!(found.len(), seen, "{from} to {to} of {port}");
        }
    }
}
