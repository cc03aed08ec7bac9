//! `Listen`: Apache refuses two for one address, and ends, sites and all, when a restart can't have one. So ours are said only where nobody else's
//! do, and tried before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::platform::host::web::no::by_whom;
use crate::platform::host::web::trial::Refusal;

/// What a `Listen` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listen {
    /// Every address that the machine has.
    Port(u16),
    /// This one.
    Address(SocketAddr),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Port(port) => write!(f, "{port}"),
            Listen::Address(address) => write!(f, "{address}"),
        }
    }
}

impl Listen {
    fn port(self) -> u16 {
        match self {
            Listen::Port(port) => port,
            Listen::Address(address) => address.port(),
        }
    }

    fn is_wild(self) -> bool {
        match self {
            Listen::Port(_) => true,
            Listen::Address(address) => address.ip().is_unspecified(),
        }
    }

    /// Whether one of these sockets is what it asks for.
    #[must_use]
    pub fn is_among(self, sockets: &[SocketAddr]) -> bool {
        match self {
            Listen::Address(address) => sockets.contains(&address),
            Listen::Port(port) => sockets.iter().any(|socket| socket.ip().is_unspecified() && socket.port() == port),
        }
    }

    fn read(text: &str) -> Option<Listen> {
        if let Ok(port) = text.parse() {
            return Some(Listen::Port(port));
        }
        match text.strip_prefix("*:") {
            Some(port) => port.parse().ok().map(Listen::Port),
            None => text.parse().ok().map(Listen::Address),
        }
    }
}

/// The addresses that a VirtualHost means by `*:80`, `127.0.0.1:80`, `[::1]:80`.
#[must_use]
pub fn addresses(text: &str) -> Option<Vec<SocketAddr>> {
    match Listen::read(text)? {
        Listen::Port(port) if text.starts_with('*') => Some(everywhere(port)),
        Listen::Port(_) => None,
        Listen::Address(address) if address.ip().is_unspecified() => Some(everywhere(address.port())),
        Listen::Address(address) => Some(vec![address]),
    }
}

fn everywhere(port: u16) -> Vec<SocketAddr> {
    let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    any.map(|ip| SocketAddr::new(ip, port)).to_vec()
}

/// What has to be said so that `ours` are listened on, beside what is said already.
#[must_use]
pub fn needed(ours: &BTreeSet<SocketAddr>, theirs: &[Listen]) -> Vec<String> {
    let mut ports: BTreeMap<u16, Vec<SocketAddr>> = BTreeMap::new();
    for address in ours {
        ports.entry(address.port()).or_default().push(*address);
    }
    let mut needed = Vec::new();
    for (port, addresses) in ports {
        // Who listens on all of one family gets the other one's too, or takes its place: Linux knows no two.
        if theirs.iter().any(|theirs| theirs.port() == port && theirs.is_wild()) {
            continue;
        }
        let wild: Vec<&SocketAddr> = addresses.iter().filter(|address| address.ip().is_unspecified()).collect();
        match wild.as_slice() {
            [] => {
                let free = addresses.iter().filter(|address| !theirs.contains(&Listen::Address(**address)));
                needed.extend(free.map(|address| Listen::Address(*address)));
            }
            [one] => needed.push(Listen::Address(**one)),
            _ => needed.push(Listen::Port(port)),
        }
    }
    needed.iter().map(ToString::to_string).collect()
}

/// What a file of ours says.
#[must_use]
pub fn said(common: &[u8]) -> BTreeSet<Listen> {
    in_file(&String::from_utf8_lossy(common), &BTreeSet::new()).into_iter().collect()
}

/// What a file says, as far as its conditions hold with these modules. What holds by a definition or a version is taken to.
#[must_use]
pub fn in_file(text: &str, modules: &BTreeSet<String>) -> Vec<Listen> {
    let mut found = Vec::new();
    let mut conditions: Vec<bool> = Vec::new();
    for line in text.lines().map(str::trim) {
        let lower = line.to_ascii_lowercase();
        if let Some(condition) = lower.strip_prefix("<ifmodule") {
            conditions.push(holds(condition.trim().trim_end_matches('>').trim(), modules));
        } else if lower.starts_with("</ifmodule") {
            conditions.pop();
        } else if let Some(what) = lower.strip_prefix("listen").filter(|rest| rest.starts_with([' ', '\t']))
            && conditions.iter().all(|holds| *holds)
        {
            found.extend(what.split_whitespace().next().and_then(|what| Listen::read(what.trim_matches('"'))));
        }
    }
    found
}

pub(super) fn holds(condition: &str, modules: &BTreeSet<String>) -> bool {
    let (wanted, name) = match condition.strip_prefix('!') {
        Some(name) => (false, name),
        None => (true, condition),
    };
    let short = name.strip_suffix("_module").or_else(|| name.strip_prefix("mod_")?.strip_suffix(".c")).unwrap_or(name);
    modules.contains(short) == wanted
}

/// Whether this can be had, as Apache would ask for it.
///
/// # Errors
/// When it can't, with who has it.
pub fn probe(what: Listen) -> Result<(), Refusal> {
    let tried = match what {
        Listen::Address(address) => vec![address],
        // One after the other: together they would be in each other's way.
        Listen::Port(port) => everywhere(port),
    };
    for address in tried {
        let Err(error) = TcpListener::bind(address) else {
            continue;
        };
        // A machine without IPv6.
        let absent = matches!(what, Listen::Port(_)) && error.kind() != io::ErrorKind::AddrInUse;
        if absent {
            continue;
        }
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => format!("{address} is in use{}", by_whom(address.port())),
            _ => format!("{address} can't be listened on: {error}"),
        };
        return Err(Refusal { text: why, place: None, address: Some(address) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(addresses: &[&str]) -> BTreeSet<SocketAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn ours_are_said_only_where_nobody_else_s_do() {
        let both = set(&["0.0.0.0:80", "[::]:80", "127.0.0.1:8080"]);
        assert_eq!(needed(&both, &[]), ["80", "127.0.0.1:8080"]);
        assert_eq!(needed(&both, &[Listen::Port(80)]), ["127.0.0.1:8080"]);
        assert_eq!(needed(&set(&["0.0.0.0:80", "127.0.0.1:80"]), &[]), ["0.0.0.0:80"]);
        let one = Listen::Address("127.0.0.1:80".parse().unwrap());
        assert_eq!(needed(&set(&["127.0.0.1:80", "127.0.0.2:80"]), &[one]), ["127.0.0.2:80"]);
    }

    #[test]
    fn conditions_are_kept() {
        let text = "Listen 80\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\n<IfModule !mod_gnutls.c>\nLISTEN [::1]:81 http\n</IfModule>\n\
                    ListenBacklog 5\n# Listen 82\n";
        let with = |modules: &[&str]| {
            let modules = modules.iter().map(ToString::to_string).collect();
            in_file(text, &modules).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(with(&[]), ["80", "[::1]:81"]);
        assert_eq!(with(&["ssl", "gnutls"]), ["80", "443"]);
    }

    #[test]
    fn an_address_that_somebody_has_is_refused_with_who_has_it() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let held = holder.local_addr().unwrap();
        let refusal = probe(Listen::Address(held)).unwrap_err();
        assert_eq!(refusal.address, Some(held));
        assert!(refusal.text.contains("in use by "), "{refusal}");
        drop(holder);
        probe(Listen::Address(held)).unwrap();
    }
}
