//! A site on a plain machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::judge::Judge;
use crate::api::site::{Front, HealthCheck, HostTarget, Ports, Run, SettingsGuards, SharedDir, Static, Tls};
use crate::api::types::{AbsPath, EnvName, RelPath, Token, UrlPath, UserName};
use crate::api::{spec, yaml};

/// The path of everything in here.
pub(super) const HOST: &str = "spec.target.host";
/// Below this, a port needs root, and apps never are.
const LOWEST_PORT: i32 = 1024;

impl Judge {
    pub(super) fn host(
        &mut self,
        host: &spec::Host,
        health: Option<HealthCheck>,
        incarnation: Option<Option<Token>>,
        settings: SettingsGuards,
        exposure: spec::GuardSpec,
    ) -> Option<HostTarget> {
        let front = self.front(host);
        let requests = self.requests(host);
        let release = self.release(&host.release);
        let runtime = self.runtime(&host.runtime);
        let ports = self.ports(host);
        if let (Some(front), Some(ports)) = (&front, &ports) {
            self.doors(front, ports);
        }
        let user = self.user(host);
        let statics = self.statics(host);
        let config_files = self.config_files(host);
        let env_file = self.maybe(&format!("{HOST}.envFile"), host.env_file.as_deref());
        let shared_dirs = self.shared_dirs(host);
        let env = self.env(&host.env);
        let stop_within = self.span(&format!("{HOST}.stopWithin"), &host.stop_within);
        Some(HostTarget {
            front: front?,
            requests: requests?,
            release: release?,
            run: Run {
                runtime: runtime?,
                ports: ports?,
                user: user?,
                statics: statics?,
                config_files: config_files?,
                env_file: env_file?,
                shared_dirs: shared_dirs?,
                env: env?,
                health: health?,
                stop_within: stop_within?,
                incarnation: incarnation?,
            },
            settings,
            exposure,
        })
    }

    pub(super) fn front(&mut self, host: &spec::Host) -> Option<Front> {
        let path = format!("{HOST}.hostnames");
        match host.front {
            spec::Front::Include => {
                if !host.hostnames.is_empty() {
                    self.wrong(path, "your own server block names the hosts: leave this out, or write front: Own");
                }
                if host.listen.is_some() {
                    self.wrong(
                        format!("{HOST}.listen"),
                        "your own server block says where it listens: leave this out, or write front: Own",
                    );
                }
                if host.tls.is_some() {
                    self.wrong(
                        format!("{HOST}.tls"),
                        "your own server block has the certificate: leave this out, or write front: Own",
                    );
                }
                if !host.preview_hostnames.is_empty() {
                    self.wrong(
                        format!("{HOST}.previewHostnames"),
                        "your own server block names the hosts, and the snippet in it shows the live colour alone: leave this out, or write front: Own",
                    );
                }
                Some(Front::Include)
            }
            spec::Front::Own => {
                if host.hostnames.is_empty() {
                    self.wrong(
                        path.clone(),
                        "a server block needs at least one host name: name it, or write front: Include to use a server block of your own",
                    );
                }
                let hostnames = self.each(&path, &host.hostnames, |judge, path, name| judge.narrow(path, name));
                self.once(&path, &host.hostnames);
                let listen = self.listen(&format!("{HOST}.listen"), host.listen.as_deref(), "*:80");
                let tls = match &host.tls {
                    None => Some(None),
                    Some(tls) => self.tls(tls, listen.as_deref().unwrap_or_default()).map(Some),
                };
                let previews = self.previews(host);
                Some(Front::Own { hostnames: hostnames?, previews: previews?, listen: listen?, tls: tls? })
            }
        }
    }

    fn tls(&mut self, tls: &spec::TlsSpec, plain: &[SocketAddr]) -> Option<Tls> {
        let path = format!("{HOST}.tls");
        let certificate = self.narrow(&format!("{path}.certificate"), &tls.certificate);
        let key = self.narrow(&format!("{path}.key"), &tls.key);
        let place = format!("{path}.listen");
        let listen = self.listen(&place, tls.listen.as_deref(), "*:443")?;
        if let Some(both) = listen.iter().find(|address| plain.contains(address)) {
            self.wrong(place, format!("{both} is in the site's own listen too: an address speaks HTTPS or it doesn't"));
            return None;
        }
        Some(Tls { certificate: certificate?, key: key?, listen })
    }

    fn listen(&mut self, path: &str, entries: Option<&[String]>, usual: &str) -> Option<Vec<SocketAddr>> {
        let usual = [usual.to_owned()];
        let entries = entries.unwrap_or(&usual);
        if entries.is_empty() {
            self.wrong(path, format!("is empty: leave it out to listen on {}, or name an address", usual[0]));
        }
        let all = self.each(path, entries, |judge, path, entry| {
            let addresses = addresses(entry);
            if addresses.is_none() {
                judge.wrong(
                    path,
                    format!(
                        "{entry:?} is nowhere to listen: ADDRESS:PORT, [V6ADDRESS]:PORT or *:PORT is, as in *:8080"
                    ),
                );
            }
            addresses
        })?;
        let mut listen: Vec<SocketAddr> = Vec::new();
        for (index, address) in
            all.iter().enumerate().flat_map(|(index, some)| some.iter().map(move |one| (index, *one)))
        {
            if listen.contains(&address) {
                self.wrong(format!("{path}[{index}]"), format!("{address} is named twice; keep one"));
            } else {
                listen.push(address);
            }
        }
        Some(listen)
    }

    pub(super) fn ports(&mut self, host: &spec::Host) -> Option<Ports> {
        let path = format!("{HOST}.ports");
        let pair = &host.ports;
        let mut seen: BTreeMap<i32, String> = BTreeMap::new();
        let blue = self.colour_ports(&format!("{path}.blue"), &pair.blue, &mut seen);
        let green = self.colour_ports(&format!("{path}.green"), &pair.green, &mut seen);
        match &host.runtime {
            spec::RuntimeSpec::Static(_) if !(pair.blue.is_empty() && pair.green.is_empty()) => {
                self.wrong(path, "a static site has no instances, so it takes no ports: leave them out");
                return None;
            }
            spec::RuntimeSpec::Static(_) => {}
            _ if pair.blue.is_empty() && pair.green.is_empty() => {
                self.wrong(path, "an app needs at least one port for each colour, as in blue: [8081], green: [8082]");
                return None;
            }
            spec::RuntimeSpec::SpringBoot(_) | spec::RuntimeSpec::Tomcat(_)
                if pair.blue.is_empty() && pair.green.is_empty() =>
            {
                self.wrong(path, "an app needs at least one port for each colour, as in blue: [8081], green: [8082]");
                return None;
            }
            _ => {}
        }
        if pair.blue.len() != pair.green.len() {
            let (many, few) = if pair.blue.len() > pair.green.len() { ("blue", "green") } else { ("green", "blue") };
            self.wrong(
                format!("{path}.{few}"),
                format!(
                    "has {}, and {many} has {}: each colour needs a port for each instance",
                    count(pair.blue.len().min(pair.green.len()), "port"),
                    pair.blue.len().max(pair.green.len())
                ),
            );
            return None;
        }
        Some(Ports { blue: blue?, green: green? })
    }

    /// The web server and an instance can't listen on one port.
    pub(super) fn doors(&mut self, front: &Front, ports: &Ports) {
        for (colour, list) in [("blue", &ports.blue), ("green", &ports.green)] {
            for (index, port) in list.iter().enumerate() {
                if front.doors().any(|door| door.port() == *port) {
                    self.wrong(
                        format!("{HOST}.ports.{colour}[{index}]"),
                        format!("{port} is where the site itself listens (listen): take another one"),
                    );
                }
            }
        }
    }

    pub(super) fn colour_ports(
        &mut self,
        path: &str,
        ports: &[i32],
        seen: &mut BTreeMap<i32, String>,
    ) -> Option<Vec<u16>> {
        self.each(path, ports, |judge, path, port| {
            if let Some(first) = seen.get(port) {
                judge.wrong(path, format!("{port} is {first} already: each instance needs a port of its own"));
                return None;
            }
            seen.insert(*port, path.to_owned());
            match u16::try_from(*port) {
                Ok(number) if *port >= LOWEST_PORT => Some(number),
                Ok(_) => {
                    judge.wrong(
                        path,
                        format!(
                            "{port} is a port for root alone, and apps never are: take one from {LOWEST_PORT} to 65535"
                        ),
                    );
                    None
                }
                Err(_) => {
                    judge.wrong(path, format!("{port} is not a port: take one from {LOWEST_PORT} to 65535"));
                    None
                }
            }
        })
    }

    pub(super) fn user(&mut self, host: &spec::Host) -> Option<UserName> {
        let path = format!("{HOST}.user");
        if ["root", "nobody"].contains(&host.user.as_str()) {
            let name = &host.user;
            self.wrong(path, format!("a site never runs as {name}: name an account of its own (adduser makes one)"));
            return None;
        }
        self.narrow(&path, &host.user)
    }

    pub(super) fn statics(&mut self, host: &spec::Host) -> Option<Vec<Static>> {
        let path = format!("{HOST}.static");
        if host.statics.is_empty() && matches!(host.runtime, spec::RuntimeSpec::Static(_)) {
            self.wrong(path.clone(), "a static site needs at least one entry, as in [{path: /, root: public}]");
        }
        let statics = self.each(&path, &host.statics, |judge, path, entry| {
            let url: Option<UrlPath> = judge.narrow(&format!("{path}.path"), &entry.path);
            let url = url.filter(|url| {
                let folder = url.as_str().ends_with('/');
                if !folder {
                    judge.wrong(
                        format!("{path}.path"),
                        format!("{:?} names a folder's paths: write {0:?} with '/' at its end", entry.path),
                    );
                }
                folder
            });
            let root = judge.narrow(&format!("{path}.root"), &entry.root);
            let keep = judge.number(&format!("{path}.keep"), entry.keep, 0, 100);
            let fallback = judge.maybe(&format!("{path}.fallback"), entry.fallback.as_deref());
            let fallback = fallback.filter(|file: &Option<RelPath>| {
                let dot = file.as_ref().is_some_and(|file| file.as_str().split('/').any(|part| part.starts_with('.')));
                if dot {
                    judge.wrong(
                        format!("{path}.fallback"),
                        "lies behind a name that begins with a dot, and such files are never answered",
                    );
                }
                !dot
            });
            let cache_control = judge.maybe(&format!("{path}.cacheControl"), entry.cache_control.as_deref());
            Some(Static {
                path: url?,
                root: root?,
                keep: keep?,
                fallback: fallback?,
                cache_control: cache_control?,
                precompressed: entry.precompressed,
            })
        });
        let paths: Vec<&String> = host.statics.iter().map(|entry| &entry.path).collect();
        self.once_at(&path, ".path", &paths);
        statics
    }

    pub(super) fn config_files(&mut self, host: &spec::Host) -> Option<Vec<AbsPath>> {
        let path = format!("{HOST}.configFiles");
        let files = self.each(&path, &host.config_files, |judge, path, file| {
            judge.narrow::<AbsPath>(&format!("{path}.path"), &file.path)
        });
        // Each is copied under its last name, so two of one name would hide each other.
        let names: Vec<&str> = host.config_files.iter().map(|file| last_name(&file.path)).collect();
        self.once_at(&path, ".path", &names);
        files
    }

    pub(super) fn shared_dirs(&mut self, host: &spec::Host) -> Option<Vec<SharedDir>> {
        let path = format!("{HOST}.sharedDirs");
        let dirs = self.each(&path, &host.shared_dirs, |judge, path, dir| {
            let inside = judge.narrow(&format!("{path}.path"), &dir.path);
            let source = judge.narrow(&format!("{path}.source"), &dir.source);
            Some(SharedDir { path: inside?, source: source? })
        });
        let mut taken: Vec<&str> = Vec::new();
        for (index, dir) in host.shared_dirs.iter().enumerate() {
            let under = |inner: &str, outer: &str| {
                inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if let Some(other) = taken.iter().find(|other| under(&dir.path, other) || under(other, &dir.path)) {
                self.wrong(
                    format!("{path}[{index}].path"),
                    format!(
                        "{:?} and {other:?} lie in one another: they need places of their own in the release",
                        dir.path
                    ),
                );
            }
            taken.push(&dir.path);
        }
        dirs
    }

    pub(super) fn env(&mut self, variables: &BTreeMap<String, String>) -> Option<BTreeMap<EnvName, String>> {
        let path = format!("{HOST}.env");
        let mut env = BTreeMap::new();
        let mut whole = true;
        for (name, value) in variables {
            let place = yaml::join(&path, name);
            if name == "PORT" || name.starts_with("BLUEGREEN_") {
                self.wrong(place.clone(), "is set by the agent, for each instance as it needs it: leave it out");
                whole = false;
            }
            let sound = self.text(&place, value);
            match self.narrow(&place, name) {
                Some(name) if sound => {
                    env.insert(name, value.clone());
                }
                _ => whole = false,
            }
        }
        whole.then_some(env)
    }
}

fn last_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn count(number: usize, noun: &str) -> String {
    match number {
        0 => format!("no {noun}"),
        1 => format!("1 {noun}"),
        several => format!("{several} {noun}s"),
    }
}

/// The addresses that an entry of `listen` stands for.
fn addresses(entry: &str) -> Option<Vec<SocketAddr>> {
    if let Some(port) = entry.strip_prefix("*:") {
        let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
        return Some(vec![
            SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
            SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
        ]);
    }
    let address: SocketAddr = entry.parse().ok().filter(|address: &SocketAddr| address.port() > 0)?;
    // A zone is no part of a server block's address.
    let plain = !matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
    plain.then(|| vec![address])
}
