//! One machine whose agent follows a repository.

use std::fs;
use std::path::Path;

use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::users::User;
use bluegreen_rig::wait;
use serde_json::Value;

use crate::machine::{Machine, metrics, says, why};
use crate::server::{Https, Repository};

/// Who Git runs as: nobody that apps run as.
const GIT_USER: &str = "bluegreen-rig-git";

/// A machine that follows a repository over HTTPS, as an unprivileged user, every second.
pub struct Followed {
    // The agent ends before its server does.
    pub machine: Machine,
    pub https: Https,
    pub repository: Repository,
}

impl Followed {
    /// It follows from now on; nothing was pushed.
    pub fn start() -> Followed {
        Followed::with("")
    }

    /// [`start`](Followed::start), with more of the configuration of `git:`.
    pub fn with(more: &str) -> Followed {
        let mut followed = Followed::prepared();
        followed.follow(more);
        followed
    }

    /// It doesn't follow yet.
    pub fn prepared() -> Followed {
        let repository = Repository::new();
        Followed { https: Https::start(&repository), repository, machine: Machine::start() }
    }

    pub fn follow(&mut self, more: &str) {
        let server = self.https.configuration();
        follow(&mut self.machine, &server, more);
    }

    /// The site `name`, with its manifest in the repository's folder.
    pub fn put(&self, site: &Manifest) {
        self.repository.write(&format!("sites/{}.yaml", site.name()), &site.yaml().unwrap());
    }

    /// Puts the site there, serving `version`, and pushes it: the commit.
    pub fn push(&self, site: &Manifest, version: &str) -> String {
        self.put(&site.clone().release(&self.machine.release(version)));
        self.repository.push(version)
    }

    pub fn shop(&self) -> Manifest {
        self.machine.site("shop", 0)
    }

    pub fn blog(&self) -> Manifest {
        self.machine.site("blog", 1)
    }

    /// Waits until this commit is applied, whole.
    pub fn applied(&self, commit: &str) {
        applied(&self.machine, commit);
    }

    /// Waits until a site is live as asked, by a manifest of this commit.
    pub fn live_by(&self, name: &str, commit: &str) -> Value {
        live_by(&self.machine, name, commit)
    }

    /// Waits until a site's condition says all of this.
    pub fn says(&self, name: &str, condition: &str, reason: &str, words: &[&str]) -> Value {
        let so = |site: &Value| {
            let said = says(site, condition);
            why(site, condition) == reason && words.iter().all(|word| said.contains(word))
        };
        let site = self.machine.agent.wait_for(name, &format!("{condition}: {reason}, with {words:?}"), so).unwrap();
        println!("{name}: {condition}: {}", says(&site, condition));
        site
    }
}

/// Makes the machine's agent follow this server.
pub fn follow(machine: &mut Machine, server: &str, more: &str) {
    let user = User::temporary(GIT_USER).unwrap();
    let file = machine.agent.config_file();
    let before = fs::read_to_string(&file).unwrap();
    let plain = before.split("git:\n").next().unwrap().to_owned();
    let interval = if more.contains("interval:") { "" } else { "  interval: 1s\n" };
    let plain = if plain.contains("allow:") { plain } else { format!("{plain}{}", allow(machine)) };
    let text = format!("{plain}git:\n{server}{interval}  path: sites/\n  user: {}\n{more}", user.name());
    machine.agent.stop();
    fs::write(&file, text).unwrap();
    machine.agent.run().unwrap();
}

fn allow(machine: &Machine) -> String {
    format!(
        "allow:\n  users: [{}]\n  releases: [{}]\n  hostnames: ['*.test']\n  runtimes: [command]\n  listen: ['{}']\n",
        machine.user.name(),
        machine.agent.uploads().display(),
        machine.address(),
    )
}

pub fn applied(machine: &Machine, commit: &str) {
    let line = format!("bluegreen_git_commit{{commit=\"{commit}\",applied=\"true\"}} 1");
    let waited = wait::until(&format!("commit {commit} was applied"), wait::PATIENCE, || {
        metrics(&machine.agent, "/metrics").contains(&line).then_some(())
    });
    assert!(waited.is_ok(), "{waited:?}\n{}", machine.agent.log());
}

pub fn live_by(machine: &Machine, name: &str, commit: &str) -> Value {
    let so = |site: &Value| {
        let origin = site["metadata"]["annotations"]["bluegreen.dev/origin"].as_str().unwrap_or_default();
        origin.contains(&commit[..12])
            && why(site, "Ready") == "Live"
            && site.pointer("/status/observedGeneration") == site.pointer("/metadata/generation")
    };
    machine.agent.wait_for(name, &format!("is live by commit {commit}"), so).unwrap()
}

/// A number that the agent counts; 0: it doesn't.
pub fn counted(machine: &Machine, name: &str) -> f64 {
    let text = metrics(&machine.agent, "/metrics");
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

/// What `describe` or `history` prints.
pub fn printed(machine: &Machine, words: &[&str]) -> String {
    String::from_utf8_lossy(&machine.agent.bluegreen(words).unwrap().stdout).into_owned()
}

/// A file of bytes that can't be packed smaller.
pub fn noise(file: &Path, mebibytes: usize) {
    let mut source = std::io::Read::take(fs::File::open("/dev/urandom").unwrap(), (mebibytes << 20) as u64);
    std::io::copy(&mut source, &mut fs::File::create(file).unwrap()).unwrap();
}
