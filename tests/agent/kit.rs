//! One machine: an nginx, an agent, a site with two instances a colour, and load on it.

use std::net::SocketAddr;
use std::path::PathBuf;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::load::{Load, Running, Totals};
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use serde_json::Value;

pub struct Machine {
    // Dropped in this order: the agent and its apps before the nginx in front of them.
    pub agent: Agent,
    pub nginx: Nginx,
    pub ports: Vec<Port>,
    pub user: User,
}

impl Machine {
    pub fn start() -> Machine {
        let nginx = Nginx::start().unwrap();
        Machine {
            agent: Agent::start(&nginx).unwrap(),
            nginx,
            ports: Port::take_many(8).unwrap(),
            user: User::ordinary().unwrap(),
        }
    }

    /// The site `name` with two instances a colour; `slot` tells sites of one machine apart.
    pub fn site(&self, name: &str, slot: usize) -> Manifest {
        let ports: Vec<u16> = self.ports[slot * 4..slot * 4 + 4].iter().map(Port::number).collect();
        Manifest::app(name, self.nginx.address(), self.user.name(), &ports[..2], &ports[2..])
    }

    pub fn release(&self, version: &str) -> PathBuf {
        self.release_that(version, "")
    }

    /// A release that misbehaves as told (see `rig_app`'s options).
    pub fn release_that(&self, version: &str, behaviour: &str) -> PathBuf {
        release(&self.agent.uploads(), version, behaviour).unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.nginx.address()
    }

    pub fn load(&self, site: &Manifest) -> Running {
        Load::to(self.address(), &site.host()).clients(8).start().unwrap()
    }
}

pub fn nothing_lost(totals: &Totals) {
    assert_eq!(totals.broken_clients, 0);
    assert_eq!(totals.failed, 0, "{:?} of {} requests: {:?}", totals.losses, totals.requests, totals.told);
}

/// The reason of a condition; empty: there is no such condition.
pub fn why(site: &Value, condition: &str) -> String {
    let conditions = site.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|one| one["type"] == condition);
    found.and_then(|one| one["reason"].as_str()).unwrap_or_default().to_owned()
}

/// What a condition says; empty: there is no such condition.
pub fn says(site: &Value, condition: &str) -> String {
    let conditions = site.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|one| one["type"] == condition);
    found.and_then(|one| one["message"].as_str()).unwrap_or_default().to_owned()
}

/// The revision of the release that calls itself `version`.
pub fn revision(machine: &Machine, version: &str) -> String {
    let releases = machine.agent.site_dir("shop").join("releases");
    let all = std::fs::read_dir(releases).unwrap().flatten();
    let found = all
        .map(|entry| entry.path())
        .find(|path| std::fs::read_to_string(path.join("VERSION")).is_ok_and(|text| text.trim() == version));
    found.unwrap().file_name().unwrap().to_string_lossy().into_owned()
}

/// Numbers that differ from run to run; the seed is in every message, and `BLUEGREEN_SEED` repeats a run.
pub struct Dice {
    pub seed: u64,
    state: u64,
}

impl Dice {
    pub fn from_env() -> Dice {
        let given = std::env::var("BLUEGREEN_SEED").ok().and_then(|text| text.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or_else(|| u64::from(now.subsec_nanos()) | 1);
        Dice { seed, state: seed }
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        // xorshift64: enough for picking moments.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }
}

/// What the agent answers at its address for metrics.
pub fn metrics(agent: &Agent, path: &str) -> String {
    let address = std::fs::read_to_string(agent.run_dir().join("metrics.addr")).unwrap();
    let answer = bluegreen_rig::load::get(address.trim().parse().unwrap(), "localhost", path).unwrap();
    String::from_utf8_lossy(&answer.body).into_owned()
}
