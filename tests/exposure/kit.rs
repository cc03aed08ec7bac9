//! One machine in a network of its own, its neighbour, and sites whose programs listen everywhere.

use std::path::PathBuf;
use std::process::Command;

use bluegreen_rig::agent::{Agent, Firewall};
use bluegreen_rig::load::{Load, Running, Totals};
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::network::Network;
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use bluegreen_rig::wait;
use serde_json::{Value, json};

pub struct Machine {
    // Dropped in this order: the agent and its apps before the nginx in front of them.
    pub agent: Agent,
    pub nginx: Nginx,
    pub ports: Vec<Port>,
    pub user: User,
    pub network: Network,
}

/// A program that answers everybody, as most do when nobody tells them otherwise. Another runtime is another line in [`EVERYWHERE`].
pub struct Open {
    pub name: &'static str,
    pub argv: &'static [&'static str],
    pub behaviour: &'static str,
}

/// Programs at defaults that expose them.
pub const EVERYWHERE: [Open; 4] = [
    Open { name: "app4", argv: &["app", "--port", "$(PORT)"], behaviour: "exposed" },
    Open { name: "app6", argv: &["app", "--port", "$(PORT)"], behaviour: "exposed6" },
    Open { name: "python4", argv: &["/usr/bin/python3", "-m", "http.server", "$(PORT)"], behaviour: "" },
    Open {
        name: "python6",
        argv: &["/usr/bin/python3", "-m", "http.server", "--bind", "::", "$(PORT)"],
        behaviour: "",
    },
];

impl Machine {
    /// With the agent's firewall, in a network of its own.
    pub fn start() -> Machine {
        Machine::behind(Firewall::Nftables)
    }

    pub fn behind(firewall: Firewall) -> Machine {
        Machine::with(|nginx| Agent::start_behind(firewall, nginx).unwrap())
    }

    /// With its state on a disk of its own, so that nobody else fills it.
    pub fn on_disk() -> Machine {
        Machine::with(|nginx| Agent::start_behind_on_disk(Firewall::Nftables, nginx, "512m").unwrap())
    }

    fn with(agent: impl FnOnce(&Nginx) -> Agent) -> Machine {
        let network = Network::enter().unwrap();
        let nginx = Nginx::start().unwrap();
        Machine {
            agent: agent(&nginx),
            nginx,
            ports: Port::take_many(20).unwrap(),
            user: User::ordinary().unwrap(),
            network,
        }
    }

    /// A site with one instance a colour, which the web server answers for on every address.
    pub fn site(&self, name: &str, slot: usize) -> Manifest {
        let [blue, green] = self.ports_of(slot);
        Manifest::app(name, self.nginx.address(), self.user.name(), &[blue], &[green])
            .set("/spec/target/host/listen", json!([format!("*:{}", self.nginx.port())]))
            .set("/spec/health/path", json!("/"))
    }

    pub fn ports_of(&self, slot: usize) -> [u16; 2] {
        [self.ports[slot * 2].number(), self.ports[slot * 2 + 1].number()]
    }

    /// The same of one of the programs that answer everybody, at this version.
    pub fn open_site(&self, open: &Open, slot: usize, version: &str) -> Manifest {
        let folder = self.release_that(&format!("{}-{version}", open.name), open.behaviour);
        self.site(open.name, slot)
            .set("/spec/target/host/runtime", json!({ "command": { "argv": open.argv } }))
            .release(&folder)
    }

    /// A release that misbehaves as told (see `rig_app`'s options).
    pub fn release_that(&self, version: &str, behaviour: &str) -> PathBuf {
        release(&self.agent.uploads(), version, behaviour).unwrap()
    }

    pub fn load(&self, site: &Manifest) -> Running {
        Load::to(self.nginx.address(), &site.host()).clients(4).start().unwrap()
    }

    /// Waits until the neighbour gets no answer at this port, by either family.
    pub fn wait_until_closed(&self, port: u16) {
        wait::until(&format!("port {port} was closed"), wait::PATIENCE, || {
            (self.network.answers(port).unwrap() == (false, false)).then_some(())
        })
        .unwrap();
    }
}

/// Runs a command of an administrator's in the machine's network.
pub fn administrator(script: &str) -> String {
    let output = Command::new("bash").args(["-euc", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn nothing_lost(totals: &Totals) {
    assert_eq!(totals.broken_clients, 0);
    assert_eq!(totals.failed, 0, "{:?} of {} requests: {:?}", totals.losses, totals.requests, totals.told);
    assert!(totals.requests > 0);
}

/// The reason of a condition; empty: there is no such condition.
pub fn why(site: &Value, condition: &str) -> String {
    of_condition(site, condition, "reason")
}

/// What a condition says; empty: there is no such condition.
pub fn says(site: &Value, condition: &str) -> String {
    of_condition(site, condition, "message")
}

fn of_condition(site: &Value, condition: &str, part: &str) -> String {
    let conditions = site.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|one| one["type"] == condition);
    found.and_then(|one| one[part].as_str()).unwrap_or_default().to_owned()
}
