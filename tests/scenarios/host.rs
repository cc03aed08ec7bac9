//! A machine: a real nginx, a real agent, and apps that it starts.

use bluegreen::rollout::Colour;
use bluegreen_rig::agent::Agent;
use bluegreen_rig::load::get;
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use rustix::process::{Pid, Signal, kill_process};

use super::stage::{Accident, At, Order, Stage, Told, Wish, told};

const SITE: &str = "shop";

pub struct Machine {
    // Dropped in this order: the agent and its apps before the nginx in front of them.
    agent: Agent,
    nginx: Nginx,
    ports: Vec<Port>,
    user: User,
    stopped: Vec<Pid>,
}

impl Machine {
    pub fn new() -> Machine {
        let nginx = Nginx::start().unwrap();
        Machine {
            agent: Agent::start(&nginx).unwrap(),
            nginx,
            ports: Port::take_many(2).unwrap(),
            user: User::ordinary().unwrap(),
            stopped: Vec::new(),
        }
    }

    fn manifest(&self, wish: Wish) -> Manifest {
        let (blue, green) = (self.ports[0].number(), self.ports[1].number());
        let behaviour = if wish.broken { "never-ready" } else { "" };
        let folder = release(&self.agent.uploads(), &format!("v{}", wish.version), behaviour).unwrap();
        let manifest = Manifest::app(SITE, self.nginx.address(), self.user.name(), &[blue], &[green]).release(&folder);
        let manifest = manifest.strategy("promotion", if wish.manual { "Manual" } else { "Automatic" });
        let manifest = manifest.strategy("standby", "1h").strategy("failoverAfter", "1s");
        manifest.strategy("bake", &format!("{}s", wish.bake)).strategy("readyWithin", wish.ready_within())
    }

    fn colour(&self) -> Option<Colour> {
        let name = self.agent.live_colour(SITE)?;
        Colour::BOTH.into_iter().find(|colour| colour.name() == name)
    }
}

impl Stage for Machine {
    fn apply(&mut self, wish: Wish) {
        self.agent.apply(&self.manifest(wish)).unwrap();
    }

    fn order(&mut self, order: Order) {
        self.agent.bluegreen(&[order.word(), SITE]).unwrap();
    }

    fn happen(&mut self, accident: Accident) {
        let live = self.colour().unwrap();
        match accident {
            Accident::LiveDown => {
                // It is there and says nothing: the supervisor sees nothing wrong with it.
                for pid in self.agent.apps() {
                    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                    let wanted = format!("BLUEGREEN_COLOUR={live}");
                    if environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()) {
                        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
                        kill_process(pid, Signal::STOP).unwrap();
                        self.stopped.push(pid);
                    }
                }
                assert!(!self.stopped.is_empty(), "an app was stopped");
            }
            Accident::RouteMoved => {
                let link = self.agent.live_link(SITE);
                let beside = link.with_file_name("moved");
                std::os::unix::fs::symlink(format!("slots/{}", live.other()), &beside).unwrap();
                std::fs::rename(beside, link).unwrap();
            }
            Accident::StatusLost => {
                std::fs::remove_file(self.agent.site_dir(SITE).join("status.json")).unwrap();
                // The agent that comes up next has only the other memory.
                self.agent.kill();
                std::fs::remove_file(self.agent.site_dir(SITE).join("status.json")).ok();
                self.agent.run().unwrap();
            }
        }
    }

    fn delete(&mut self) {
        self.agent.bluegreen(&["delete", SITE]).unwrap();
    }

    fn told(&mut self) -> Option<Told> {
        let Ok(site) = self.agent.site(SITE) else {
            let gone = self.agent.bluegreen(&["get", SITE]).is_err() && self.agent.bluegreen(&["get"]).is_ok();
            return gone.then_some(Told { at: At::Gone, live: None, rejected: None });
        };
        let answer = get(self.nginx.address(), &format!("{SITE}.test"), "/").ok();
        let version = answer.and_then(|answer| answer.version()?.trim_start_matches('v').parse().ok());
        told(&site, version.zip(self.colour()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // What is stopped ends when it goes on.
        for pid in &self.stopped {
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}
