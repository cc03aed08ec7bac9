//! Sites with an old version that has requests in flight, and evidence of when it was stopped.
//!
//! The old version takes no notice of SIGTERM and is killed a second later: whoever stops it while a request is in flight cuts that request,
//! which a well-behaved app would hide.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use bluegreen_rig::app::now_ns;
use bluegreen_rig::load::{Fetch, get};
use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::ports::Port;
use bluegreen_rig::wait;

use crate::kit::{Machine, why};

/// Longer than anything here lasts.
pub const LONG: Duration = Duration::from_secs(150);

pub struct Sites {
    pub machine: Machine,
    ports: Vec<Port>,
    arrivals: PathBuf,
    drain_within: &'static str,
}

impl Sites {
    /// A machine for so many sites.
    pub fn new(count: usize, drain_within: &'static str) -> Sites {
        let machine = Machine::start();
        let arrivals = machine.agent.folder().join("arrivals");
        // Whoever the apps run as writes it.
        fs::write(&arrivals, "").unwrap();
        fs::set_permissions(&arrivals, fs::Permissions::from_mode(0o666)).unwrap();
        Sites { machine, ports: Port::take_many(count * 2).unwrap(), arrivals, drain_within }
    }

    /// The site `name`, one instance a colour, nothing kept warm; `slot` tells sites apart.
    pub fn site(&self, name: &str, slot: usize) -> Manifest {
        let [blue, green] = [0, 1].map(|colour| [self.ports[slot * 2 + colour].number()]);
        Manifest::app(name, self.machine.address(), self.machine.user.name(), &blue, &green)
            .strategy("drainWithin", self.drain_within)
            .set("/spec/target/host/stopWithin", "1s".into())
            .env("RIG_ARRIVALS", &self.arrivals.display().to_string())
    }

    /// Brings this version of all of these sites about, and returns when traffic goes there.
    pub fn roll_out(&self, sites: &[&Manifest], version: &str, behaviour: &str) {
        let release = self.machine.release_that(version, behaviour);
        for site in sites {
            self.machine.agent.apply(&(*site).clone().release(&release)).unwrap();
        }
        for site in sites {
            let answers = || get(self.machine.address(), &site.host(), "/").ok();
            wait::until(&format!("{} answered as {version}", site.name()), wait::PATIENCE, || {
                answers().filter(|answer| answer.version() == Some(version))
            })
            .unwrap();
        }
    }

    /// A request for this path of the site that may last.
    pub fn ask(&self, site: &Manifest, path: &str) -> Fetch {
        Fetch { within: LONG, ..Fetch::get(self.machine.address(), &site.host(), path) }
    }

    /// Waits until some app has this request.
    pub fn wait_for_arrival(&self, path: &str) {
        wait::until(&format!("{path} was asked for"), wait::PATIENCE, || {
            let arrivals = fs::read_to_string(&self.arrivals).unwrap();
            arrivals.lines().any(|line| line.split(' ').nth(1) == Some(path)).then_some(())
        })
        .unwrap();
    }

    /// Waits until the site is live as asked and rests.
    pub fn wait_for_rest(&self, site: &str) {
        let rests = self.machine.agent.wait_for(site, "is live and rests", |site| {
            why(site, "Ready") == "Live" && site.pointer("/status/phase") == Some(&"Idle".into())
        });
        assert_eq!(why(&rests.unwrap(), "Available"), "AllInstancesReady");
    }

    /// When a site entered a phase last, in milliseconds.
    pub fn entered(&self, site: &str, phase: &str) -> i64 {
        let history = self.machine.agent.history(site).unwrap();
        let is = |message: &str| message.split(|c: char| !c.is_alphanumeric()).next() == Some(phase);
        let mut entered = history.iter().filter(|event| event.reason == "PhaseEntered" && is(&event.message));
        let last = entered.next_back();
        last.unwrap_or_else(|| panic!("{site} was never {phase}: {history:#?}")).time.as_millisecond()
    }
}

/// The wall clock in milliseconds.
pub fn now_ms() -> i64 {
    i64::try_from(now_ns() / 1_000_000).unwrap()
}
