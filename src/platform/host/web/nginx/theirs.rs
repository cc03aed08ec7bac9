//! What else nginx serves: read off `nginx -T`, to keep our server blocks out of the way of those that somebody wrote by hand, and of each other.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::syntax::{Directive, Dump};
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
}

/// What nginx serves, and what is set for all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// All server blocks.
    pub servers: Vec<Server>,
    /// `server_names_hash_bucket_size`, where it is set and to what.
    pub hash_bucket: Option<(usize, PathBuf, u32)>,
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
    /// Reads what nginx serves.
    #[must_use]
    pub fn of(dump: &Dump) -> Serving {
        let mut serving = Serving::default();
        for directive in dump.directives() {
            match directive.name() {
                "error_log" => serving.error_logs.extend(log_file(&directive)),
                "http" => serving.read_http(directive.block.unwrap_or_default()),
                _ => {}
            }
        }
        serving
    }

    fn read_http(&mut self, http: Vec<Directive>) {
        for directive in http {
            match directive.name() {
                "server" => self.servers.push(server(&directive)),
                "server_names_hash_bucket_size" => {
                    let size = directive.args().first().and_then(|size| bytes(size));
                    self.hash_bucket = size.map(|size| (size, directive.file, directive.line));
                }
                _ => {}
            }
        }
    }

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
                None => theirs == name.as_str(),
            }
        })
    }
}

/// Reads one server block.
#[must_use]
pub fn server(directive: &Directive) -> Server {
    let mut listen = BTreeSet::new();
    let mut names = Vec::new();
    let mut listens = false;
    for inner in directive.block.iter().flatten() {
        match inner.name() {
            "listen" => {
                listens = true;
                listen.extend(inner.args().first().map(|a| addresses(a)).unwrap_or_default());
            }
            "server_name" => names.extend(inner.args().iter().cloned()),
            _ => {}
        }
    }
    if !listens {
        listen.insert(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 80));
    }
    Server { file: directive.file.clone(), line: directive.line, listen, names }
}

/// The addresses that `listen` means: `80`, `*:80`, `127.0.0.1`, `[::]:80`, `localhost:80`, `8080-8090`.
fn addresses(text: &str) -> Vec<SocketAddr> {
    if text.starts_with("unix:") {
        return Vec::new();
    }
    let (host, ports) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or("80")),
        None => match text.rsplit_once(':') {
            Some((host, ports)) => (host, ports),
            None if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => ("*", text),
            None => (text, "80"),
        },
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
        return Vec::new();
    };
    let hosts: Vec<IpAddr> = match host {
        "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        "localhost" => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
        // Another name is looked up by nginx alone: what it means when we look need not be what it meant then.
        host => host.parse().into_iter().collect(),
    };
    let ports = first..=last;
    ports.flat_map(|port| hosts.iter().map(move |host| SocketAddr::new(*host, port))).collect()
}

/// Whether `wide` is all addresses of the port and family that `narrow` is one of.
fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    wide.ip().is_unspecified()
        && !narrow.ip().is_unspecified()
        && wide.is_ipv4() == narrow.is_ipv4()
        && wide.port() == narrow.port()
}

fn log_file(directive: &Directive) -> Option<PathBuf> {
    let path = directive.args().first()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

fn bytes(text: &str) -> Option<usize> {
    match text.strip_suffix(['k', 'K']) {
        Some(kilo) => kilo.parse::<usize>().ok()?.checked_mul(1024),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving(http: &str) -> Serving {
        Serving::of(&Dump::read(&format!(
            "# configuration file /n.conf:\nerror_log /e.log warn;\nhttp {{\n{http}\n}}\n"
        )))
    }

    fn conflict(http: &str, name: &str, listen: &[&str]) -> Option<What> {
        let listen: Vec<SocketAddr> = listen.iter().map(|l| l.parse().unwrap()).collect();
        let found = serving(http).conflict(&[name.parse().unwrap()], &listen, |_| true);
        found.map(|conflict| conflict.what)
    }

    #[test]
    fn every_form_of_listen_is_understood() {
        for (text, addresses) in [
            ("80", vec!["0.0.0.0:80"]),
            ("*:81", vec!["0.0.0.0:81"]),
            ("127.0.0.1", vec!["127.0.0.1:80"]),
            ("127.0.0.1:82", vec!["127.0.0.1:82"]),
            ("[::]:83", vec!["[::]:83"]),
            ("[::1]", vec!["[::1]:80"]),
            ("localhost:84", vec!["127.0.0.1:84", "[::1]:84"]),
            ("85-86", vec!["0.0.0.0:85", "0.0.0.0:86"]),
            ("unix:/x:87", vec![]),
            ("example.com:88", vec![]),
            ("", vec![]),
        ] {
            let read: Vec<String> = super::addresses(text).iter().map(ToString::to_string).collect();
            assert_eq!(read, addresses, "{text}");
        }
    }

    #[test]
    fn a_name_is_taken_by_the_same_name_on_the_same_address_only() {
        let theirs = "server { listen 80; server_name A.example .b.example *.c.example ~^d; }";
        for (name, listen, taken) in [
            ("a.example", "0.0.0.0:80", true),
            ("a.example", "0.0.0.0:81", false),
            ("b.example", "0.0.0.0:80", true),
            ("*.b.example", "0.0.0.0:80", true),
            ("x.b.example", "0.0.0.0:80", false),
            ("*.c.example", "0.0.0.0:80", true),
            ("x.c.example", "0.0.0.0:80", false),
            ("d.example", "0.0.0.0:80", false),
        ] {
            assert_eq!(conflict(theirs, name, &[listen]).is_some(), taken, "{name} {listen}");
        }
        assert!(conflict("server { server_name a.example; }", "a.example", &["0.0.0.0:80"]).is_some());
    }

    #[test]
    fn a_narrower_address_is_in_the_way_unless_ours_listens_there_too() {
        let theirs = "server { listen 127.0.0.1:80; server_name status; }";
        let what = conflict(theirs, "a.example", &["0.0.0.0:80"]).unwrap();
        assert!(matches!(what, What::Narrower(..)), "{what}");
        assert_eq!(conflict(theirs, "a.example", &["0.0.0.0:80", "127.0.0.1:80"]), None);
        assert_eq!(conflict(theirs, "a.example", &["0.0.0.0:81"]), None);
        assert_eq!(conflict(theirs, "a.example", &["[::]:80"]), None);
    }

    #[test]
    fn ours_takes_no_address_from_a_block_that_listens_on_all() {
        let theirs = "server { listen 80; server_name b.example; }";
        let what = conflict(theirs, "a.example", &["10.0.0.1:80"]).unwrap();
        assert!(matches!(what, What::Wider(..)), "{what}");
        let both = "server { listen 80; listen 10.0.0.1:80; server_name b.example; }";
        assert_eq!(conflict(both, "a.example", &["10.0.0.1:80"]), None);
    }

    #[test]
    fn what_is_set_for_all_is_read_with_its_place() {
        let read = serving("server_names_hash_bucket_size 1k;");
        assert_eq!(read.hash_bucket, Some((1024, PathBuf::from("/n.conf"), 3)));
        assert_eq!(read.error_logs, [PathBuf::from("/e.log")]);
    }
}
