//! What else the web server serves: to keep our server blocks out of the way of those that somebody wrote by hand, and of each other.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::api::types::Hostname;

/// A server block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it stands.
    pub file: PathBuf,
    /// The line of `server`.
    pub line: u32,
    /// The addresses on which it listens; those of unix sockets and of names are left out.
    pub listen: BTreeSet<SocketAddr>,
    /// The names that it answers to, as they are written.
    pub names: Vec<String>,
    /// Whether it takes what its wildcards match, though ours be called so to the letter: it is looked at first, as Apache looks.
    pub greedy: bool,
}

/// What a web server serves, by its own account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// All server blocks.
    pub servers: Vec<Server>,
    /// The files that errors are written to.
    pub error_logs: Vec<PathBuf>,
}

/// Why a server block of ours would not get its requests, or take another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The block in the way.
    pub file: PathBuf,
    /// Its line.
    pub line: u32,
    /// What is in the way.
    pub what: What,
}

/// What is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It answers to the same name on the same address.
    Name(Hostname, SocketAddr),
    /// It listens on one address of those that ours listens on, and gets all of its requests.
    Narrower(SocketAddr, SocketAddr),
    /// It listens on all addresses, and ours would get all requests of one of them.
    Wider(SocketAddr, SocketAddr),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Name(name, address) => write!(f, "it answers to {name} on {address} already"),
            What::Narrower(theirs, ours) => write!(
                f,
                "it listens on {theirs}, which gets all requests to that address before {ours} does; list {theirs} in `listen` too"
            ),
            What::Wider(theirs, ours) => write!(
                f,
                "it listens on {theirs}, and would get no request to {ours} any more; list {theirs} in `listen` instead"
            ),
        }
    }
}

impl Serving {
    /// What is in the way of a server block of ours, as far as `counts` says that a block counts.
    #[must_use]
    pub fn conflict(
        &self,
        hostnames: &[Hostname],
        listen: &[SocketAddr],
        counts: impl Fn(&Server) -> bool,
    ) -> Option<Conflict> {
        let servers: Vec<&Server> = self.servers.iter().filter(|server| counts(server)).collect();
        let conflict = |server: &Server, what: What| Conflict { file: server.file.clone(), line: server.line, what };
        for ours in listen {
            for server in &servers {
                if server.listen.contains(ours)
                    && let Some(name) = hostnames.iter().find(|name| server.answers_to(name))
                {
                    return Some(conflict(server, What::Name(name.clone(), *ours)));
                }
                for theirs in server.listen.iter().filter(|theirs| *theirs != ours) {
                    if covers(*ours, *theirs) && !listen.contains(theirs) {
                        return Some(conflict(server, What::Narrower(*theirs, *ours)));
                    }
                    let known = servers.iter().any(|other| other.listen.contains(ours));
                    if covers(*theirs, *ours) && !listen.contains(theirs) && !known {
                        return Some(conflict(server, What::Wider(*theirs, *ours)));
                    }
                }
            }
        }
        None
    }

    /// The addresses on which a block listens that `counts`.
    #[must_use]
    pub fn addresses(&self, counts: impl Fn(&Server) -> bool) -> BTreeSet<SocketAddr> {
        let servers = self.servers.iter().filter(|server| counts(server));
        servers.flat_map(|server| server.listen.iter().copied()).collect()
    }
}

impl Server {
    /// As nginx chooses: a name that is written out, or the same wildcard. A wider wildcard or an expression gives way to ours, and ours to
    /// a narrower name.
    fn answers_to(&self, name: &Hostname) -> bool {
        self.names.iter().any(|theirs| {
            let theirs = theirs.to_ascii_lowercase();
            match theirs.strip_prefix('.') {
                // `.example.com` is short for the two.
                Some(both) => name.as_str() == both || name.as_str().strip_prefix("*.") == Some(both),
                None => theirs == name.as_str() || self.greedy && matches(theirs.as_bytes(), name.as_str().as_bytes()),
            }
        })
    }
}

/// Whether `wide` is all addresses of the port and family that `narrow` is one of.
fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    wide.ip().is_unspecified()
        && !narrow.ip().is_unspecified()
        && wide.is_ipv4() == narrow.is_ipv4()
        && wide.port() == narrow.port()
}

/// With `*` for anything, and `?` for one character.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', rest @ ..] => (0..=name.len()).any(|n| name.get(n..).is_some_and(|tail| matches(rest, tail))),
        [first, rest @ ..] => {
            name.split_first().is_some_and(|(c, tail)| (c == first || *first == b'?') && matches(rest, tail))
        }
    }
}
