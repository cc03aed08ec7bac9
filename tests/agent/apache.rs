//! The agent behind Apache: the same as behind nginx, and as little lost.

use std::net::SocketAddr;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::apache::Apache;
use bluegreen_rig::load::Load;
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;

use crate::fronts::told_to_reload;
use crate::kit::nothing_lost;

struct Machine {
    // Dropped in this order: the agent and its apps before the web server in front of them.
    agent: Agent,
    apache: Apache,
    ports: Vec<Port>,
    user: User,
}

impl Machine {
    fn start() -> Machine {
        let apache = Apache::start().unwrap();
        Machine {
            agent: Agent::start(&apache).unwrap(),
            apache,
            ports: Port::take_many(4).unwrap(),
            user: User::ordinary().unwrap(),
        }
    }

    fn site(&self) -> Manifest {
        let ports: Vec<u16> = self.ports.iter().map(Port::number).collect();
        Manifest::app("shop", self.address(), self.user.name(), &ports[..2], &ports[2..])
    }

    fn address(&self) -> SocketAddr {
        self.apache.address()
    }

    /// Rolls out from version to version under load of keep-alive GETs and POSTs.
    fn cutovers(&self, site: &Manifest, count: u32) {
        let load = Load::to(self.address(), &site.host()).clients(8).start().unwrap();
        for number in 1..=count {
            let version = format!("v{number}");
            let folder = release(&self.agent.uploads(), &version, "").unwrap();
            self.agent.apply_and_wait(&site.clone().release(&folder)).unwrap();
            load.wait_for_version(&version).unwrap();
            load.wait_for_more(50).unwrap();
        }
        let totals = load.stop();
        nothing_lost(&totals);
        assert_eq!(totals.versions.len(), usize::try_from(count).unwrap() + 1, "{:?}", totals.versions);
    }
}

#[test]
fn twenty_cutovers_behind_apache_lose_nothing_and_restart_nothing() {
    let machine = Machine::start();
    let site = machine.site();
    let first = release(&machine.agent.uploads(), "v0", "").unwrap();
    machine.agent.apply_and_wait(&site.clone().release(&first)).unwrap();
    let reloads = told_to_reload(&machine.agent);
    machine.cutovers(&site, 20);
    assert_eq!(told_to_reload(&machine.agent), reloads);
}
