//! The one place that judges a specification: text → `BlueGreenSite` → [`Site`]. Whatever it lets through, nothing after it
//! checks again. It never stops at the first error.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use super::names::annotations;
use super::problem::{Problem, Problems};
use super::site::{Front, HealthCheck, HostTarget, Ports, ReleaseSource, Run, Runtime, SharedDir, Site, Static};
use super::spec::{self, BlueGreenSite};
use super::types::{AbsPath, EnvName, Invalid, UserName};
use super::{shape, span, yaml};
use crate::rollout::{Limits, Promotion};

/// Who runs a site of files alone when nobody is named: nothing is run for it.
const NOBODY: &str = "nobody";
/// Below this, a port needs root, and apps never are.
const LOWEST_PORT: i32 = 1024;
/// The longest single argument or value of a variable that a program can be given, in bytes.
const LONGEST_TEXT: usize = 128 * 1024;

/// Reads a manifest: one site, in YAML or JSON.
///
/// # Errors
/// Everything that is wrong with it, each with its path and its line.
pub fn manifest(text: &str) -> Result<(BlueGreenSite, Site), Problems> {
    let mut document = yaml::read(text).map_err(Problems::one)?;
    if document.value.is_null() {
        return Err(Problems::one(Problem::new("", "the file holds nothing; a site is wanted")));
    }
    let found = shape::check(&mut document.value);
    let parsed = match typed(document.value.clone()) {
        Ok(object) => match Site::parse(&object) {
            Ok(site) if found.problems.is_empty() => return Ok((object, site)),
            Ok(_) => Vec::new(),
            Err(problems) => problems.all().to_vec(),
        },
        Err(problem) if found.problems.is_empty() => vec![problem],
        Err(_) => Vec::new(),
    };
    let mut all: Vec<Problem> = parsed.into_iter().filter(|problem| !found.covers(&problem.path)).collect();
    all.extend(found.problems);
    for problem in &mut all {
        problem.at = document.place(&problem.path);
    }
    Problems::check(all)?;
    // Only mended values were wrong, and what was mended is a problem itself, so this is not reached.
    Err(Problems::one(Problem::new("", "the manifest can't be read")))
}

fn typed(value: Value) -> Result<BlueGreenSite, Problem> {
    serde_json::from_value(value).map_err(|error| Problem::new("", error.to_string()))
}

impl Site {
    /// Judges a specification.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its path.
    pub fn parse(object: &BlueGreenSite) -> Result<Site, Problems> {
        let mut judge = Judge::default();
        let site = judge.site(object);
        Problems::check(judge.problems)?;
        site.ok_or_else(|| Problems::one(Problem::new("", "the specification can't be read")))
    }
}

/// Collects what is wrong. A part that is wrong is `None`, and then at least one problem was said.
#[derive(Default)]
struct Judge {
    problems: Vec<Problem>,
}

const HOST: &str = "spec.target.host";

impl Judge {
    fn site(&mut self, object: &BlueGreenSite) -> Option<Site> {
        let name = self.narrow("metadata.name", object.metadata.name.as_deref().unwrap_or_default());
        let (promotion, limits) = self.strategy(&object.spec.strategy);
        let health = self.health(&object.spec.health);
        if let (Some(health), Some(limits)) = (&health, &limits) {
            self.time_to_be_ready(health, limits);
        }
        let restart = object.metadata.annotations.as_ref().and_then(|all| all.get(annotations::RESTART));
        let incarnation = match restart {
            None => Some(None),
            Some(token) => self.narrow(&format!("metadata.annotations[{}]", annotations::RESTART), token).map(Some),
        };
        let spec::Target::Host(host) = &object.spec.target;
        let front = self.front(host);
        let release = self.release(&host.release);
        let runtime = self.runtime(&host.runtime);
        let ports = self.ports(host);
        if let (Some(front), Some(ports)) = (&front, &ports) {
            self.doors(front, ports);
        }
        let user = self.user(host);
        let statics = self.statics(host);
        let config_files = self.config_files(host);
        let shared_dirs = self.shared_dirs(host);
        let env = self.env(&host.env);
        let stop_within = self.span("spec.target.host.stopWithin", &host.stop_within);
        Some(Site {
            name: name?,
            generation: object.metadata.generation.unwrap_or(1),
            promotion,
            limits: limits?,
            host: HostTarget {
                front: front?,
                release: release?,
                run: Run {
                    runtime: runtime?,
                    ports: ports?,
                    user: user?,
                    statics: statics?,
                    config_files: config_files?,
                    shared_dirs: shared_dirs?,
                    env: env?,
                    health: health?,
                    stop_within: stop_within?,
                    incarnation: incarnation?,
                },
            },
        })
    }

    fn wrong(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    fn narrow<T: FromStr<Err = Invalid>>(&mut self, path: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(path, error.to_string());
                None
            }
        }
    }

    fn span(&mut self, path: &str, text: &str) -> Option<Duration> {
        match span::parse(text) {
            Ok(span) => Some(span),
            Err(error) => {
                self.wrong(path, error.to_string());
                None
            }
        }
    }

    fn at_least(&mut self, path: &str, text: &str, least: Duration) -> Option<Duration> {
        let span = self.span(path, text)?;
        if span < least {
            self.wrong(path, format!("{text} is too short: at least {} is needed", span::format(least)));
            return None;
        }
        Some(span)
    }

    /// A number that the schema bounds too; checked here for a host, which has no API server.
    fn number<T: TryFrom<i32>>(&mut self, path: &str, number: i32, low: i32, high: i32) -> Option<T> {
        let fits = (low..=high).contains(&number).then(|| T::try_from(number).ok()).flatten();
        if fits.is_none() {
            self.wrong(path, format!("{number} is out of range: from {low} to {high}"));
        }
        fits
    }

    fn strategy(&mut self, strategy: &spec::Strategy) -> (Promotion, Option<Limits>) {
        let promotion = match strategy.promotion {
            spec::PromotionSpec::Automatic => Promotion::Automatic,
            spec::PromotionSpec::Manual => Promotion::Manual,
        };
        // Nothing could ever go live within no time at all.
        let some = Duration::from_millis(1);
        let prepare = self.at_least("spec.strategy.prepareWithin", &strategy.prepare_within, some);
        let ready = self.at_least("spec.strategy.readyWithin", &strategy.ready_within, some);
        let verify = self.at_least("spec.strategy.verifyWithin", &strategy.verify_within, some);
        let cutover = self.at_least("spec.strategy.cutoverWithin", &strategy.cutover_within, some);
        let approve = match &strategy.approve_within {
            None => Some(None),
            Some(text) => self.at_least("spec.strategy.approveWithin", text, some).map(Some),
        };
        if strategy.approve_within.is_some() && promotion == Promotion::Automatic {
            self.wrong(
                "spec.strategy.approveWithin",
                "nothing waits for an approval: leave it out, or write promotion: Manual",
            );
        }
        let drain = self.span("spec.strategy.drainWithin", &strategy.drain_within);
        let bake = self.span("spec.strategy.bake", &strategy.bake);
        let standby = self.span("spec.strategy.standby", &strategy.standby);
        let failover = self.span("spec.strategy.failoverAfter", &strategy.failover_after);
        let limits = || {
            Some(Limits {
                prepare_within: prepare?,
                ready_within: ready?,
                verify_within: verify?,
                approve_within: approve?,
                cutover_within: cutover?,
                drain_within: drain?,
                bake: bake?,
                standby: standby?,
                failover_after: failover?,
            })
        };
        (promotion, limits())
    }

    fn health(&mut self, health: &spec::Health) -> Option<HealthCheck> {
        let least = Duration::from_millis(10);
        let path = self.narrow("spec.health.path", &health.path);
        let successes = self.number("spec.health.successes", health.successes, 1, 1000);
        let failures = self.number("spec.health.failures", health.failures, 1, 1000);
        let interval = self.at_least("spec.health.interval", &health.interval, least);
        let timeout = self.at_least("spec.health.timeout", &health.timeout, least);
        Some(HealthCheck {
            path: path?,
            successes: successes?,
            failures: failures?,
            interval: interval?,
            timeout: timeout?,
        })
    }

    fn time_to_be_ready(&mut self, health: &HealthCheck, limits: &Limits) {
        let least = health.interval.saturating_mul(health.successes.saturating_sub(1));
        if limits.ready_within <= least {
            self.wrong(
                "spec.strategy.readyWithin",
                format!(
                    "{} is never enough for {} successful checks every {}: give it more, or ask for fewer or more often (spec.health)",
                    span::format(limits.ready_within),
                    health.successes,
                    span::format(health.interval),
                ),
            );
        }
    }

    fn front(&mut self, host: &spec::Host) -> Option<Front> {
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
                let listen = self.listen(host.listen.as_deref());
                Some(Front::Own { hostnames: hostnames?, listen: listen? })
            }
        }
    }

    fn listen(&mut self, entries: Option<&[String]>) -> Option<Vec<SocketAddr>> {
        let path = format!("{HOST}.listen");
        let usual = ["*:80".to_owned()];
        let entries = entries.unwrap_or(&usual);
        if entries.is_empty() {
            self.wrong(path.clone(), "is empty: leave it out to listen on *:80, or name an address");
        }
        let all = self.each(&path, entries, |judge, path, entry| {
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

    fn release(&mut self, release: &spec::Release) -> Option<ReleaseSource> {
        let path = format!("{HOST}.release");
        let folder = release.path.as_deref().map(|text| self.narrow::<AbsPath>(&format!("{path}.path"), text));
        let file = release.archive.as_deref().map(|text| {
            let place = format!("{path}.archive");
            let file: AbsPath = self.narrow(&place, text)?;
            let known = [".tar.gz", ".tgz", ".zip", ".jar", ".war"];
            if !known.iter().any(|ending| text.ends_with(ending)) {
                self.wrong(
                    place,
                    format!("{text:?} is no archive that is understood: its name ends in {}", known.join(", ")),
                );
                return None;
            }
            Some(file)
        });
        let sha256 = release.sha256.as_deref().map(|text| self.narrow(&format!("{path}.sha256"), text));
        match (folder, file) {
            (Some(folder), None) => {
                if release.sha256.is_some() {
                    self.wrong(
                        format!("{path}.sha256"),
                        "is the checksum of an archive, and a folder has none: leave it out, or name an archive instead of a path",
                    );
                }
                folder.map(ReleaseSource::Path)
            }
            (None, Some(file)) => {
                let sha256 = sha256.map_or(Some(None), |sum| sum.map(Some));
                Some(ReleaseSource::Archive { file: file?, sha256: sha256? })
            }
            (None, None) => {
                self.wrong(path, "needs exactly one of path (a folder) and archive (a file)");
                None
            }
            (Some(_), Some(_)) => {
                self.wrong(path, "has path and archive; it needs exactly one of them");
                None
            }
        }
    }

    fn runtime(&mut self, runtime: &spec::RuntimeSpec) -> Option<Runtime> {
        let spec::RuntimeSpec::Command(command) = runtime else {
            return Some(Runtime::Static);
        };
        let path = format!("{HOST}.runtime.command.argv");
        if command.argv.is_empty() {
            self.wrong(path, "is empty: it starts with the program");
            return None;
        }
        let argv = self
            .each(&path, &command.argv, |judge, path, argument| judge.text(path, argument).then(|| argument.clone()));
        let program = &command.argv[0];
        let relative = program.parse::<super::types::RelPath>().is_ok();
        if !relative && program.parse::<AbsPath>().is_err() {
            self.wrong(
                format!("{path}[0]"),
                format!(
                    "{program:?} is not the path of a program: one inside the release (bin/server) or an absolute one (/usr/bin/java), \
                     each argument as an entry of its own, since no shell splits them"
                ),
            );
            return None;
        }
        Some(Runtime::Command { argv: argv? })
    }

    fn ports(&mut self, host: &spec::Host) -> Option<Ports> {
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
            spec::RuntimeSpec::Command(_) if pair.blue.is_empty() && pair.green.is_empty() => {
                self.wrong(
                    path,
                    "a command needs at least one port for each colour, as in blue: [8081], green: [8082]",
                );
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
    fn doors(&mut self, front: &Front, ports: &Ports) {
        let Front::Own { listen, .. } = front else { return };
        for (colour, list) in [("blue", &ports.blue), ("green", &ports.green)] {
            for (index, port) in list.iter().enumerate() {
                if listen.iter().any(|door| door.port() == *port) {
                    self.wrong(
                        format!("{HOST}.ports.{colour}[{index}]"),
                        format!("{port} is where the site itself listens (listen): take another one"),
                    );
                }
            }
        }
    }

    fn colour_ports(&mut self, path: &str, ports: &[i32], seen: &mut BTreeMap<i32, String>) -> Option<Vec<u16>> {
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

    fn user(&mut self, host: &spec::Host) -> Option<UserName> {
        let path = format!("{HOST}.user");
        match (&host.user, &host.runtime) {
            (Some(name), _) if name == "root" => {
                self.wrong(path, "an app never runs as root: name the account that it runs as (adduser makes one)");
                None
            }
            (Some(name), _) => self.narrow(&path, name),
            (None, spec::RuntimeSpec::Static(_)) => self.narrow(&path, NOBODY),
            (None, spec::RuntimeSpec::Command(_)) => {
                self.wrong(path, "is missing: name the account that runs the command (not root; adduser makes one)");
                None
            }
        }
    }

    fn statics(&mut self, host: &spec::Host) -> Option<Vec<Static>> {
        let path = format!("{HOST}.static");
        if host.statics.is_empty() && matches!(host.runtime, spec::RuntimeSpec::Static(_)) {
            self.wrong(path.clone(), "a static site needs at least one entry, as in [{path: /, root: public}]");
        }
        let statics = self.each(&path, &host.statics, |judge, path, entry| {
            let url: Option<super::types::UrlPath> = judge.narrow(&format!("{path}.path"), &entry.path);
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
            Some(Static { path: url?, root: root?, keep: keep? })
        });
        let paths: Vec<&String> = host.statics.iter().map(|entry| &entry.path).collect();
        self.once_at(&path, ".path", &paths);
        statics
    }

    fn config_files(&mut self, host: &spec::Host) -> Option<Vec<AbsPath>> {
        let path = format!("{HOST}.configFiles");
        let files = self.each(&path, &host.config_files, |judge, path, file| {
            judge.narrow::<AbsPath>(&format!("{path}.path"), &file.path)
        });
        // Each appears under its last name, so two of one name would hide each other.
        let names: Vec<&str> = host.config_files.iter().map(|file| last_name(&file.path)).collect();
        self.once_at(&path, ".path", &names);
        files
    }

    fn shared_dirs(&mut self, host: &spec::Host) -> Option<Vec<SharedDir>> {
        let path = format!("{HOST}.sharedDirs");
        let dirs = self.each(&path, &host.shared_dirs, |judge, path, dir| {
            let inside = judge.narrow(&format!("{path}.path"), &dir.path);
            let source = judge.narrow(&format!("{path}.source"), &dir.source);
            Some(SharedDir { path: inside?, source: source? })
        });
        let mut taken: Vec<&str> = host.config_files.iter().map(|file| last_name(&file.path)).collect();
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

    fn env(&mut self, variables: &BTreeMap<String, String>) -> Option<BTreeMap<EnvName, String>> {
        let path = format!("{HOST}.env");
        let mut env = BTreeMap::new();
        let mut whole = true;
        for (name, value) in variables {
            let place = yaml::join(&path, name);
            if name == "PORT" {
                self.wrong(place.clone(), "is set by the agent, to the port of each instance: leave it out");
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

    /// Whether a program can be given this text. Line breaks and other control characters are refused: a unit file and an environment file
    /// are lines.
    fn text(&mut self, path: &str, text: &str) -> bool {
        if let Some(bad) = text.chars().find(|letter| letter.is_control() && *letter != '\t') {
            self.wrong(
                path,
                format!(
                    "holds the control character {bad:?}: put what needs it into a file, and name that in configFiles"
                ),
            );
            return false;
        }
        if text.len() > LONGEST_TEXT {
            self.wrong(path, format!("is {} bytes long; a program can be given at most {LONGEST_TEXT}", text.len()));
            return false;
        }
        true
    }

    /// Judges each entry of a list; `None` if one is wrong.
    fn each<T, U>(
        &mut self,
        path: &str,
        items: &[T],
        mut one: impl FnMut(&mut Self, &str, &T) -> Option<U>,
    ) -> Option<Vec<U>> {
        let all: Vec<Option<U>> =
            items.iter().enumerate().map(|(index, item)| one(self, &format!("{path}[{index}]"), item)).collect();
        all.into_iter().collect()
    }

    fn once<T: Ord + Display>(&mut self, path: &str, items: &[T]) {
        self.once_at(path, "", items);
    }

    fn once_at<T: Ord + Display>(&mut self, path: &str, field: &str, items: &[T]) {
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            if !seen.insert(item) {
                self.wrong(format!("{path}[{index}]{field}"), format!("{item} is named twice; keep one"));
            }
        }
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
