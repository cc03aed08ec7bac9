//! What this host lets somebody else ask of it: who may write a site on a hub or in a Git repository must not thereby become root here. Pure.
//!
//! Nothing is allowed that `allow:` of the agent's configuration doesn't name. The local folder of manifests is root's own, and is not asked. A field
//! that is added to a site has to be judged here: nothing below is left out by `..`.
//!
//! Where the line is: an app from afar runs as one of the accounts that root named for that, sees the folders that root named, and answers for the names
//! that root named. What code runs *as that account* is decided by who uploads releases and by who writes the site.

mod code;
mod ports;
mod source;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use self::code::{is_harmless, loads_code, loads_settings};
use self::ports::{Ports, USUAL};
use self::source::Source;
use super::entry::Problem;
use crate::api::names::reasons;
use crate::api::remote::{Access, Credentials};
use crate::api::site::{Front, HostTarget, Release, ReleaseSource, Run, Runtime, SiteOnHost};
use crate::api::types::{AbsPath, Hostname, Invalid, RelPath, UserName};

/// `allow:` of the agent's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Allow {
    /// The accounts that apps may run as. Never root.
    pub users: Vec<UserName>,
    /// The folders that releases may come from: everything below them.
    pub releases: Vec<AbsPath>,
    /// The servers and registries that releases may be fetched from: `HOST`, `HOST:PORT` or `HOST/PATH`.
    pub sources: Vec<Source>,
    /// The names that sites may answer to: exact ones, or `*.example.com` for everything below that name.
    pub hostnames: Vec<Hostname>,
    /// The kinds of runtime that there may be.
    pub runtimes: Vec<Kind>,
    /// The folders of files that apps may be given: configFiles, envFile and sharedDirs.
    pub files: Vec<AbsPath>,
    /// The folders of what releases may be fetched with: credentials and caFile. No app is ever given anything of them.
    pub credentials: Vec<AbsPath>,
    /// The folders of the certificates and keys of tls. No app is ever given anything of them.
    pub certificates: Vec<AbsPath>,
    /// The ports that apps may have. Default: 8000-29999.
    pub ports: Vec<Ports>,
    /// Programs of this machine that may be run, where they are not part of the release: the first word of a command, a Java, a Python, a Tomcat.
    pub programs: Vec<AbsPath>,
    /// Where sites may listen. Default: `*:80` and `*:443`.
    pub listen: Vec<Door>,
}

/// A kind of runtime, as it is written in a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Any program.
    Command,
    /// A WSGI app.
    Wsgi,
    /// An ASGI app.
    Asgi,
    /// Programs that are started for each request.
    Cgi,
    /// Files alone.
    Static,
    /// A Spring Boot jar.
    SpringBoot,
    /// A war on Tomcat.
    Tomcat,
}

/// Somewhere to listen: `ADDRESS:PORT`, or `*:PORT` for every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Every address.
    Any(u16),
    /// This one.
    At(SocketAddr),
}

impl FromStr for Door {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Door, Invalid> {
        let port = text.strip_prefix("*:").and_then(|port| port.parse().ok());
        let door = port.map(Door::Any).or_else(|| text.parse().ok().map(Door::At));
        door.ok_or_else(|| Invalid(format!("{text:?} is nowhere to listen: ADDRESS:PORT or *:PORT is, as in *:8080")))
    }
}

impl<'de> Deserialize<'de> for Door {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Door, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Door {
    fn holds(self, address: SocketAddr) -> bool {
        match self {
            Door::Any(port) => port == address.port(),
            Door::At(at) => at == address,
        }
    }
}

impl Allow {
    /// What is wrong with the list itself.
    ///
    /// # Errors
    /// The key, and why.
    pub fn check(&self) -> Result<(), String> {
        match self.users.iter().find(|user| FORBIDDEN_USERS.contains(&user.as_str())) {
            Some(user) => Err(format!(
                "allow.users: {user} is never allowed: who writes a site on a hub would be {user} of this machine; name accounts of the apps' own"
            )),
            None => Ok(()),
        }
    }
}

/// The accounts that no list may name.
const FORBIDDEN_USERS: [&str; 2] = ["root", "nobody"];
/// What a Python app runs on unless it says otherwise: the machine's own, which is part of nobody's choice.
const PYTHON: &str = "/usr/bin/python3";
/// The same, of Tomcat.
const TOMCAT: &str = "/usr/share/tomcat10";

/// Judges a site from afar. `ours`: the agent's own folders, which nothing may be given from, whatever the list says.
///
/// # Errors
/// Everything that it asks for and may not have: field, value, and the key of the agent's configuration that would allow it.
pub fn judge(allow: Option<&Allow>, ours: &[PathBuf], site: &SiteOnHost) -> Result<(), Problem> {
    let Some(allow) = allow else {
        return Err(refused(
            "this host takes no sites from afar: its agent.yaml has no `allow:`, which says what they may ask for (users, releases, hostnames, runtimes, \
             files); write it there and restart the agent"
                .to_owned(),
        ));
    };
    let mut judge = Judge { allow, ours, wrong: Vec::new() };
    judge.target(&site.target);
    if judge.wrong.is_empty() { Ok(()) } else { Err(refused(judge.wrong.join("\n"))) }
}

/// What this host does not allow.
pub fn refused(message: String) -> Problem {
    Problem { reason: reasons::NOT_ALLOWED, message }
}

struct Judge<'a> {
    allow: &'a Allow,
    ours: &'a [PathBuf],
    wrong: Vec<String>,
}

impl Judge<'_> {
    fn target(&mut self, target: &HostTarget) {
        // How large a body may be, and what becomes of a candidate's settings, is the business of who deploys.
        let HostTarget { front, requests: _, release, run, settings: _, exposure: _ } = target;
        self.front(front);
        match release {
            Release::Given(ReleaseSource::Path(path)) => self.within("release.path", path, Key::Releases),
            Release::Given(ReleaseSource::Archive { file, sha256: _ }) => {
                self.within("release.archive", file, Key::Releases);
            }
            Release::Given(ReleaseSource::Url { url, sha256: _, access }) => {
                // Its query may be a secret.
                self.fetched("release.url", url.shown(), url.shown().trim_start_matches("https://"), access);
            }
            Release::Given(ReleaseSource::Oci { image, path: _, access }) => {
                let repository = format!("{}/{}", image.registry(), image.repository());
                self.fetched("release.oci.image", &repository, &repository, access);
            }
            Release::Uploads { uploads } => self.within("release.uploads", uploads, Key::Releases),
        }
        self.run(run);
    }

    fn fetched(&mut self, field: &str, shown: &str, address: &str, access: &Access) {
        if !self.allow.sources.iter().any(|source| source.covers(address)) {
            self.wrong.push(not_in(field, shown, "sources"));
        }
        let Access { ca_file, credentials } = access;
        if let Some(file) = ca_file {
            self.within("release.caFile", file, Key::Credentials);
        }
        match credentials {
            Some(Credentials::File(file)) => self.within("release.credentials.file", file, Key::Credentials),
            // One of the site's own namespace on the hub.
            Some(Credentials::Secret(_)) | None => {}
        }
    }

    fn front(&mut self, front: &Front) {
        match front {
            // Whose names it would answer to is written in a file of root's, which no list here knows.
            Front::Include => self.say(
                "front",
                "Include",
                "a server block of this machine's own is root's to fill; describe the site in the host's own folder, or write front: Own",
            ),
            Front::Own { hostnames, previews, listen, tls } => {
                for (field, names) in [("hostnames", hostnames), ("previewHostnames", previews)] {
                    for name in names.iter().filter(|name| !self.allow.hostnames.iter().any(|one| covers(one, name))) {
                        self.wrong.push(not_in(field, name.as_str(), "hostnames"));
                    }
                }
                self.doors("listen", listen);
                if let Some(tls) = tls {
                    self.within("tls.certificate", &tls.certificate, Key::Certificates);
                    self.within("tls.key", &tls.key, Key::Certificates);
                    self.doors("tls.listen", &tls.listen);
                }
            }
        }
    }

    fn doors(&mut self, field: &str, listen: &[SocketAddr]) {
        let usual = [Door::Any(80), Door::Any(443)];
        let doors = if self.allow.listen.is_empty() { &usual[..] } else { &self.allow.listen };
        for address in listen.iter().filter(|address| !doors.iter().any(|door| door.holds(**address))) {
            self.wrong.push(not_in(field, &shown(*address), "listen"));
        }
    }

    fn run(&mut self, run: &Run) {
        // Paths of `static` and `health` are of the release and of the app.
        let Run {
            runtime,
            ports,
            user,
            statics: _,
            config_files,
            env_file,
            shared_dirs,
            env,
            health: _,
            stop_within: _,
            incarnation: _,
        } = run;
        self.runtime(runtime);
        self.ports(ports.all());
        if FORBIDDEN_USERS.contains(&user.as_str()) {
            self.say("user", user.as_str(), "is never allowed from afar; name an account of the app's own");
        } else if !self.allow.users.contains(user) {
            self.wrong.push(not_in("user", user.as_str(), "users"));
        }
        for (index, file) in config_files.iter().enumerate() {
            self.within(&format!("configFiles[{index}].path"), file, Key::Files);
        }
        if let Some(file) = env_file {
            self.within("envFile", file, Key::Files);
        }
        for (index, dir) in shared_dirs.iter().enumerate() {
            self.within(&format!("sharedDirs[{index}].source"), &dir.source, Key::Files);
        }
        for name in env.keys().filter(|name| loads_code(name.as_str())) {
            self.say(
                "env",
                name.as_str(),
                "makes a program load other code than its release's; from afar it is not set: put it into an envFile of root's on this host",
            );
        }
    }

    fn ports(&mut self, ports: impl Iterator<Item = u16>) {
        let usual = [USUAL];
        let allowed = if self.allow.ports.is_empty() { &usual[..] } else { &self.allow.ports };
        for port in ports.filter(|port| !allowed.iter().any(|range| range.holds(*port))) {
            self.wrong.push(not_in("ports", &port.to_string(), "ports"));
        }
    }

    fn runtime(&mut self, runtime: &Runtime) {
        let kind = match runtime {
            Runtime::Command { argv, fast_cgi: _ } => {
                let program = argv.first().map(String::as_str).unwrap_or_default();
                if program.parse::<RelPath>().is_err() {
                    self.program("runtime.command.argv[0]", program);
                }
                Kind::Command
            }
            Runtime::Wsgi(wsgi) => {
                self.program_unless("runtime.wsgi.python", wsgi.installed.python.as_str(), PYTHON);
                Kind::Wsgi
            }
            Runtime::Asgi(asgi) => {
                self.program_unless("runtime.asgi.python", asgi.installed.python.as_str(), PYTHON);
                Kind::Asgi
            }
            Runtime::Cgi(_) => Kind::Cgi,
            Runtime::Static => Kind::Static,
            Runtime::SpringBoot(app) => {
                self.java("springBoot", app.java.as_ref(), &app.jvm);
                self.arguments("runtime.springBoot.arguments", &app.arguments);
                Kind::SpringBoot
            }
            Runtime::Tomcat(tomcat) => {
                self.java("tomcat", tomcat.java.as_ref(), &tomcat.jvm);
                self.program_unless("runtime.tomcat.home", tomcat.home.as_str(), TOMCAT);
                Kind::Tomcat
            }
        };
        if !self.allow.runtimes.contains(&kind) {
            self.wrong.push(not_in("runtime", name_of(kind), "runtimes"));
        }
    }

    fn java(&mut self, kind: &str, java: Option<&AbsPath>, jvm: &[String]) {
        if let Some(java) = java {
            self.program(&format!("runtime.{kind}.java"), java.as_str());
        }
        for option in jvm.iter().filter(|option| !is_harmless(option)) {
            self.say(
                &format!("runtime.{kind}.jvm"),
                option,
                "could make the virtual machine run another program, or read other settings than its release's; from afar only sizes (-Xmx…, -Xms…, -Xss…, -XX:Max…, -XX:Initial…), collectors \
                 (-XX:+Use…GC) and -D of the app's own are taken",
            );
        }
    }

    /// Spring reads `--name=value`; what names the code or the settings that are loaded is for root.
    fn arguments(&mut self, field: &str, arguments: &[String]) {
        let loads =
            |argument: &&String| argument.starts_with('@') || argument.strip_prefix("--").is_some_and(loads_settings);
        for argument in arguments.iter().filter(loads) {
            self.say(field, argument, "makes the app load other code or settings than its release's");
        }
    }

    fn program_unless(&mut self, field: &str, program: &str, usual: &str) {
        if program != usual {
            self.program(field, program);
        }
    }

    fn program(&mut self, field: &str, program: &str) {
        if !self.allow.programs.iter().any(|allowed| allowed.as_str() == program) {
            self.wrong.push(not_in(field, program, "programs"));
        }
    }

    /// Whether a path is one of those that a key names, and not of the agent's own.
    fn within(&mut self, field: &str, path: &AbsPath, key: Key) {
        if self.ours.iter().any(|ours| overlap(path.as_path(), ours)) {
            self.say(field, path.as_str(), "holds what the agent keeps for itself, which is given to nobody");
            return;
        }
        let mut kept = self.allow.credentials.iter().chain(&self.allow.certificates);
        let for_apps = matches!(key, Key::Releases | Key::Files);
        if for_apps && kept.any(|kept| overlap(path.as_path(), kept.as_path())) {
            self.say(
                field,
                path.as_str(),
                "is, or holds, what allow.credentials or allow.certificates names, of which no app is given anything",
            );
            return;
        }
        let (folders, key) = match key {
            Key::Releases => (&self.allow.releases, "releases"),
            Key::Files => (&self.allow.files, "files"),
            Key::Credentials => (&self.allow.credentials, "credentials"),
            Key::Certificates => (&self.allow.certificates, "certificates"),
        };
        if !folders.iter().any(|folder| below(path.as_path(), folder.as_path())) {
            self.wrong.push(not_in(field, path.as_str(), key));
        }
    }

    fn say(&mut self, field: &str, value: &str, why: &str) {
        self.wrong.push(format!("spec.target.host.{field}: {value:?}: {why}"));
    }
}

#[derive(Clone, Copy)]
enum Key {
    Releases,
    Files,
    Credentials,
    Certificates,
}

fn not_in(field: &str, value: &str, key: &str) -> String {
    format!(
        "spec.target.host.{field}: this host does not allow {value:?} from afar; allow.{key} of its agent.yaml says what it allows"
    )
}

/// Whether a path is a folder or something in it. Both are without `..`; names are compared whole.
fn below(path: &Path, folder: &Path) -> bool {
    path.starts_with(folder)
}

/// Whether one of them is, or holds, the other.
fn overlap(path: &Path, other: &Path) -> bool {
    below(path, other) || below(other, path)
}

/// Whether an entry of the list stands for a name. `*.example.com` stands for everything below it, and for itself; not for `example.com`.
fn covers(allowed: &Hostname, name: &Hostname) -> bool {
    match allowed.as_str().strip_prefix('*') {
        None => allowed == name,
        // With its dot in front, so that the end of another name is not taken for it.
        Some(suffix) => {
            let name = name.as_str();
            name.len() > suffix.len() && name.ends_with(suffix)
        }
    }
}

fn shown(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => format!("*:{}", address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("*:{}", address.port()),
        _ => address.to_string(),
    }
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Command => "command",
        Kind::Wsgi => "wsgi",
        Kind::Asgi => "asgi",
        Kind::Cgi => "cgi",
        Kind::Static => "static",
        Kind::SpringBoot => "springBoot",
        Kind::Tomcat => "tomcat",
    }
}

#[cfg(test)]
mod tests;
