//! What else nginx serves: read off `nginx -T`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::syntax::{Directive, Dump};
use crate::platform::host::web::serving::{Server, Serving};

/// Reads what nginx serves.
#[must_use]
pub fn serving(dump: &Dump) -> Serving {
    let mut serving = Serving::default();
    for directive in dump.directives() {
        match directive.name() {
            "error_log" => serving.error_logs.extend(log_file(&directive)),
            "http" => {
                let servers = directive.block.iter().flatten().filter(|inner| inner.name() == "server");
                serving.servers.extend(servers.map(server));
            }
            _ => {}
        }
    }
    serving
}

/// `server_names_hash_bucket_size`, where it is set and to what.
#[must_use]
pub fn hash_bucket(dump: &Dump) -> Option<(usize, PathBuf, u32)> {
    let http = dump.directives().into_iter().filter(|directive| directive.name() == "http");
    let set =
        http.flat_map(|http| http.block.unwrap_or_default()).filter(|d| d.name() == "server_names_hash_bucket_size");
    let mut sizes = set.filter_map(|d| Some((bytes(d.args().first()?)?, d.file.clone(), d.line)));
    sizes.next_back()
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
    Server { file: directive.file.clone(), line: directive.line, listen, names, greedy: false }
}

/// The addresses on which a server block speaks HTTPS.
#[must_use]
pub fn over_tls(server: &Directive) -> BTreeSet<SocketAddr> {
    let inner = server.block.iter().flatten().filter(|inner| inner.name() == "listen");
    let tls = inner.filter(|listen| listen.args().iter().any(|word| word == "ssl"));
    tls.filter_map(|listen| listen.args().first()).flat_map(|text| addresses(text)).collect()
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
    use crate::platform::host::web::serving::What;

    fn dump(http: &str) -> Dump {
        Dump::read(&format!("# configuration file /n.conf:\nerror_log /e.log warn;\nhttp {{\n{http}\n}}\n"))
    }

    fn serving(http: &str) -> Serving {
        super::serving(&dump(http))
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
        let read = serving("");
        assert_eq!(hash_bucket(&dump("server_names_hash_bucket_size 1k;")), Some((1024, PathBuf::from("/n.conf"), 3)));
        assert_eq!(read.error_logs, [PathBuf::from("/e.log")]);
    }
}
