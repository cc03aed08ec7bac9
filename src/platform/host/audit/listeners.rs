//! Every listener, and whether it should be reachable from elsewhere.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::front::Front;
use super::processes::{self, Process};
use super::sites::Sites;
use super::walls::Walls;
use super::{Notes, Severity};
use crate::platform::host::sockets;

/// Something that listens.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
    /// Whose it is; 0: it can't be told.
    pub pid: u32,
    /// Its program's name.
    pub program: String,
    /// Who runs it.
    pub user: String,
    /// The unit that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The site that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Whether it should be reachable.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Whether a listener should be reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Others reach it, and should not.
    Exposed,
    /// It listens on every address, and a firewall keeps others off.
    Closed,
    /// As it should be.
    Expected,
}

/// Servers for programs of this machine alone, as long as nobody says otherwise: how each is told to keep to it.
const INNER: [(&[&str], &str, &str); 8] = [
    (
        &["mysqld", "mariadbd"],
        "bind-address = 127.0.0.1",
        "/etc/mysql/mariadb.conf.d/50-server.cnf (or /etc/mysql/my.cnf)",
    ),
    (&["postgres", "postmaster"], "listen_addresses = 'localhost'", "postgresql.conf"),
    (&["redis-server", "valkey-server", "redis-sentinel"], "bind 127.0.0.1 -::1", "/etc/redis/redis.conf"),
    (&["mongod"], "bindIp: 127.0.0.1", "/etc/mongod.conf"),
    (&["memcached"], "-l 127.0.0.1", "/etc/memcached.conf"),
    (&["php-fpm", "php-fpm8.2", "php-fpm7.4"], "listen = /run/php/php-fpm.sock", "the pool's file"),
    (&["beam.smp", "epmd"], "listeners.tcp.local = 127.0.0.1:5672", "/etc/rabbitmq/rabbitmq.conf"),
    (
        &["rpcbind"],
        "disable it (`systemctl disable --now rpcbind.socket rpcbind`)",
        "the machine, unless it serves NFS",
    ),
];

/// Programs that are for others.
const SSH: [&str; 3] = ["sshd", "dropbear", "sshd-session"];
const WEB: [&str; 4] = ["nginx", "apache2", "httpd", "caddy"];
/// What a machine asks its network, and is answered at.
const CLIENTS: [&str; 6] =
    ["dhclient", "dhcpcd", "systemd-network", "systemd-timesyn", "NetworkManager", "systemd-resolve"];

/// Every listener, not judged yet.
pub(super) fn look(notes: &mut Notes) -> Vec<Listener> {
    let mut found: Vec<(Protocol, SocketAddr, u64)> = Vec::new();
    match sockets::listeners() {
        Ok(all) => found.extend(all.into_iter().map(|socket| (Protocol::Tcp, socket.local, socket.inode))),
        Err(error) => notes.unseen(format!("who listens at TCP ports: {error}")),
    }
    for table in [procfs::net::udp(), procfs::net::udp6()] {
        match table {
            // One that is connected takes from one sender alone.
            Ok(all) => found.extend(
                all.into_iter()
                    .filter(|socket| socket.remote_address.port() == 0)
                    .map(|socket| (Protocol::Udp, socket.local_address, socket.inode)),
            ),
            Err(procfs::ProcError::NotFound(_)) => {}
            Err(error) => notes.unseen(format!("who listens at UDP ports: {error}")),
        }
    }
    let owners = processes::by_socket();
    let mut listeners: Vec<Listener> = found
        .into_iter()
        .map(|(protocol, address, inode)| {
            let process = owners.get(&inode).map(|pid| processes::describe(*pid)).unwrap_or_default();
            let Process { pid, program, user, unit, site } = process;
            let program = if program.is_empty() { "?".to_owned() } else { program };
            let (verdict, why) = (Verdict::Expected, String::new());
            Listener { protocol, address, pid, program, user, unit, site, verdict, why }
        })
        .collect();
    listeners.sort_by_key(|one| (one.protocol, one.address.port(), one.address, one.pid));
    listeners.dedup_by_key(|one| (one.protocol, one.address, one.pid));
    listeners
}

impl Listener {
    fn is_inner(&self) -> bool {
        is_loopback(self.address.ip())
    }

    /// `0.0.0.0:3306 (mysqld, pid 12)`.
    fn place(&self) -> String {
        format!("{} ({}, pid {})", self.address, self.program, self.pid)
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Says of each whether it should be reachable, and how to close it if not.
pub(super) fn judge(
    all: &mut [Listener],
    sites: &Sites,
    walls: &Walls,
    front: &Front,
    expected: &BTreeSet<u16>,
    notes: &mut Notes,
) {
    let mut doors = sites.doors();
    doors.extend(front.ports.iter().copied().chain([80, 443]));
    for one in all.iter_mut() {
        let taken = takes_port(one, sites, notes);
        let of = one.site.clone().or_else(|| sites.owner(one.address.port()).map(|site| site.name.to_string()));
        let (verdict, why) = verdict(one, of.filter(|_| !taken), walls, &doors, expected, notes);
        one.verdict = verdict;
        one.why = why;
    }
}

/// Somebody who is none of the site's listens at an app's port: its next start would fail there.
fn takes_port(one: &Listener, sites: &Sites, notes: &mut Notes) -> bool {
    let port = one.address.port();
    let Some(site) = sites.owner(port) else { return false };
    // Whose it is can't be told of every process; the web server's own finding is of its configuration.
    let theirs =
        one.pid != 0 && one.site.as_deref() != Some(site.name.as_str()) && !WEB.contains(&one.program.as_str());
    let taken = one.protocol == Protocol::Tcp && theirs;
    if taken {
        let stop = match &one.unit {
            Some(unit) if unit.ends_with(".service") => format!("systemctl disable --now {unit}"),
            Some(_) | None => format!("kill {}", one.pid),
        };
        notes.find(
            Severity::High,
            "PortTaken",
            format!("{port} is a port of site {}, and somebody else listens there: its app can't start on it", site.name),
            one.place(),
            format!("let it listen on another port, or stop it (`{stop}`); or give the site another one in spec.target.host.ports"),
        );
    }
    taken
}

fn verdict(
    one: &Listener,
    of: Option<String>,
    walls: &Walls,
    doors: &BTreeSet<u16>,
    expected: &BTreeSet<u16>,
    notes: &mut Notes,
) -> (Verdict, String) {
    let port = one.address.port();
    if one.is_inner() {
        return (Verdict::Expected, "for this machine alone".to_owned());
    }
    if one.protocol == Protocol::Udp {
        return udp(one, expected, notes);
    }
    let app = of.is_some() && !WEB.contains(&one.program.as_str());
    if !app && SSH.contains(&one.program.as_str()) {
        return (Verdict::Expected, "the way in for administrators".to_owned());
    }
    if !app && (expected.contains(&port) || WEB.contains(&one.program.as_str()) && doors.contains(&port)) {
        return (Verdict::Expected, "for everybody".to_owned());
    }
    if walls.ours.contains(&port) {
        return (Verdict::Closed, "on every address, closed by the table inet bluegreen".to_owned());
    }
    if walls.ufw_closes(port) {
        return (Verdict::Closed, "on every address, closed by ufw".to_owned());
    }
    let (reason, why, what, fix) = exposed(one, of.as_deref(), walls.ufw_is_on());
    notes.find(Severity::High, reason, what, one.place(), fix);
    (Verdict::Exposed, why.to_owned())
}

/// The reason, the same in a few words, what is wrong, and the fix.
fn exposed(one: &Listener, site: Option<&str>, ufw: bool) -> (&'static str, &'static str, String, String) {
    let port = one.address.port();
    if let Some(site) = site {
        let what = format!("the app of site {site} can be reached past the web server");
        let fix = format!(
            "let the agent close it (`systemctl restart bluegreen`, with nftables installed), or let the app listen on 127.0.0.1:{port} alone"
        );
        return ("AppExposed", "an app, past the web server", what, fix);
    }
    if let Some((_, line, file)) = INNER.iter().find(|(programs, ..)| programs.contains(&one.program.as_str())) {
        let what = format!("{} answers the whole network, and is for programs of this machine", one.program);
        return (
            "ServiceExposed",
            "for this machine's programs",
            what,
            format!("write `{line}` in {file} and restart it"),
        );
    }
    let what = format!("{} answers the whole network, and nothing says that it should", one.program);
    let close = match &one.unit {
        // To switch a firewall on from afar can lock one out, so that is no fix.
        _ if ufw => format!("close the port (`ufw deny {port}/tcp`)"),
        Some(unit) if unit.ends_with(".service") => format!("stop it (`systemctl disable --now {unit}`)"),
        Some(_) | None => format!("stop it (`kill {}`)", one.pid),
    };
    let fix =
        format!("let it listen on 127.0.0.1:{port}, or {close}; if it is meant: `bluegreen doctor --expect {port}`");
    ("UnknownExposed", "nothing says that it should be", what, fix)
}

/// A datagram's port is said, and judged only where it is known for harm.
fn udp(one: &Listener, expected: &BTreeSet<u16>, notes: &mut Notes) -> (Verdict, String) {
    let harmful = [("memcached", 11_211), ("rpcbind", 111), ("snmpd", 161), ("in.tftpd", 69)];
    let known = harmful.iter().any(|(program, port)| one.program == *program && one.address.port() == *port);
    if known && !expected.contains(&one.address.port()) {
        let what = format!("{} answers datagrams of the whole network", one.program);
        let fix = format!("let it listen on 127.0.0.1, or close the port (`ufw deny {}/udp`)", one.address.port());
        notes.find(Severity::High, "ServiceExposed", what.clone(), format!("udp {}", one.place()), fix);
        return (Verdict::Exposed, what);
    }
    let why =
        if CLIENTS.contains(&one.program.as_str()) { "what the machine asked is answered here" } else { "datagrams" };
    (Verdict::Expected, why.to_owned())
}
