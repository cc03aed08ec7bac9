//! One site that serves its first version under a light load, and what must be true of it whatever happens to the second.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::load::{Load, Running};
use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::{process, wait};
use serde_json::Value;

use crate::machine::{Machine, nothing_lost, says, why};

/// The site `shop`, live on blue.
pub struct Served {
    // First, so that it ends before what it asks does.
    load: Option<Running>,
    pub machine: Machine,
    /// The site without a release, with limits that are soon over.
    pub site: Manifest,
    live: Live,
}

/// What serves.
#[derive(Debug, PartialEq, Eq)]
struct Live {
    colour: String,
    revision: String,
    pids: Vec<u32>,
}

impl Served {
    pub fn start() -> Served {
        Served::on(Machine::start())
    }

    pub fn on(machine: Machine) -> Served {
        Served::that(machine, |site| site)
    }

    /// The site, changed in this way.
    pub fn that(machine: Machine, change: impl FnOnce(Manifest) -> Manifest) -> Served {
        let site = change(machine.site("shop", 0)).strategy("readyWithin", "3s");
        let site = site.set("/spec/target/host/stopWithin", "2s".into());
        machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
        let live = Live::of(&machine.agent);
        assert!(!live.pids.is_empty());
        let mut served = Served { load: None, machine, site, live };
        served.load_again();
        served.load().wait_for_version("v1").unwrap();
        served
    }

    /// Does something that makes the web server read its configuration again, with no load meanwhile: that closes idle connections, under a
    /// request that is on its way too. No request was lost before.
    pub fn with_a_reload<T>(&mut self, change: impl FnOnce(&Served) -> T) -> T {
        nothing_lost(&self.load.take().unwrap().stop());
        let done = change(self);
        self.load_again();
        done
    }

    fn load_again(&mut self) {
        let load = Load::to(self.machine.address(), &self.site.host()).clients(4).think(Duration::from_millis(20));
        self.load = Some(load.start().unwrap());
    }

    #[allow(dead_code, reason = "for the tests of uploads")]
    /// What serves now is what is not to be touched from now on, and what was asked for before is not counted any more.
    pub fn anew(mut self) -> Served {
        nothing_lost(&self.load.take().unwrap().stop());
        self.live = Live::of(self.agent());
        self.load_again();
        self
    }

    #[allow(dead_code, reason = "for the tests of uploads")]
    /// No request was lost.
    pub fn lost_nothing(mut self) {
        nothing_lost(&self.load.take().unwrap().stop());
    }

    pub fn agent(&self) -> &Agent {
        &self.machine.agent
    }

    pub fn load(&self) -> &Running {
        self.load.as_ref().unwrap()
    }

    /// The live processes.
    pub fn pids(&self) -> &[u32] {
        &self.live.pids
    }

    /// Waits until the site says why it does not go on: in its condition, in `describe` and in the log, with these words.
    pub fn says(&self, reason: &str, words: &[&str]) -> Value {
        said(self.agent(), "shop", reason, words)
    }

    /// The same colour, revision and processes serve as at the start, and nobody noticed anything.
    pub fn is_untouched(&self) {
        self.load().wait_for_more(20).unwrap();
        let now = Live::of(self.agent());
        assert_eq!((&now.colour, &now.revision), (&self.live.colour, &self.live.revision));
        for pid in &self.live.pids {
            assert!(process::exists(*pid), "process {pid} of the live colour is gone");
        }
        nothing_lost(&self.load().totals());
    }

    /// The fault is gone: a good version goes live.
    pub fn goes_on_with(&self, version: &str) {
        let good = self.site.clone().release(&self.machine.release(version));
        self.agent().apply_and_wait(&good).unwrap();
        if let Some(load) = &self.load {
            load.wait_for_version(version).unwrap();
        }
    }

    /// No request was lost, and only these versions had one since the last reload.
    pub fn ends_with_versions(mut self, versions: &[&str]) {
        let totals = self.load.take().unwrap().stop();
        nothing_lost(&totals);
        let had: Vec<&str> = totals.versions.keys().map(String::as_str).collect();
        assert_eq!(had, versions);
    }
}

impl Live {
    fn of(agent: &Agent) -> Live {
        let site = agent.site("shop").unwrap();
        let text = |pointer: &str| site.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Live { colour: text("/status/live/colour"), revision: text("/status/live/revision"), pids: agent.apps() }
    }
}

/// As [`Served::says`], of any site.
pub fn said(agent: &Agent, name: &str, reason: &str, words: &[&str]) -> Value {
    let so = |site: &Value| {
        let message = says(site, "Stalled");
        why(site, "Stalled") == reason && words.iter().all(|word| message.contains(word))
    };
    let site = agent.wait_for(name, &format!("is stalled: {reason}, with {words:?}"), so).unwrap();
    println!("{name}: {reason}: {}", says(&site, "Stalled"));
    let table = printed(&agent.bluegreen(&["get", name, "-o", "wide"]).unwrap());
    assert!(table.contains("False"), "{table}");
    let described = one_line(&printed(&agent.bluegreen(&["describe", name]).unwrap()));
    for word in words {
        assert!(described.contains(&one_line(word)), "describe does not say {word:?}: {described}");
        wait::until(&format!("the log said {word:?}"), wait::PATIENCE, || logged(agent).contains(word).then_some(()))
            .unwrap();
    }
    site
}

/// The log is JSON, whose texts have their quotes and line breaks escaped.
fn logged(agent: &Agent) -> String {
    agent.log().replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\")
}

/// Text without its line breaks and indents: where a table wraps it is no matter.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a command said before it failed.
pub fn refusal(agent: &Agent, file: &Path) -> String {
    let output = agent.cli(&["apply", "-f", &file.display().to_string()]).output().unwrap();
    assert!(!output.status.success(), "{}", printed(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
