//! One machine: an nginx, an agent, a site with two instances a colour, and load on it.

use std::net::SocketAddr;
use std::path::PathBuf;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::load::{Load, Running, Totals};
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;

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
