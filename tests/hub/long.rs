//! The hub is away for long in the middle of rollouts: longer than watches last, and than a Lease counts.

use std::fs;
use std::time::{Duration, Instant};

use bluegreen_rig::load::Running;
use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::kit::{Host, PATIENCE, condition, is_ready, new_plane, nothing_lost};

/// How long it is away: at least until its Lease has run out, which takes 40 s. The figure that is shown is for 600.
fn away() -> Duration {
    let seconds = std::env::var("BLUEGREEN_HUB_AWAY_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

const SITES: [&str; 5] = ["approved", "asked", "aborted", "broken", "crashed"];

/// A host with these sites, each under load.
struct Scene<'p> {
    host: Host<'p>,
    loads: Vec<Running>,
}

impl Scene<'_> {
    fn site(&self, name: &str) -> Manifest {
        site(&self.host, name)
    }

    fn load(&self, name: &str) -> &Running {
        &self.loads[place(name)]
    }

    /// A candidate that asks somebody.
    fn offer(&self, name: &str, version: &str, behaviour: &str, phase: &str) -> Value {
        let release = self.host.release_that(&format!("{version}-{name}"), behaviour);
        self.host.apply(&self.site(name).strategy("promotion", "Manual").release(&release));
        self.host.wait_for(name, &format!("is {phase}"), |object| object["status"]["phase"] == phase)
    }

    fn lease(&self) -> Value {
        self.host.namespace.json(&["get", "lease", "bluegreen-host"]).unwrap()["spec"].clone()
    }

    fn apps_of(&self, name: &str) -> Vec<u32> {
        let folder = self.host.agent.site_dir(name);
        let here = |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&folder));
        self.host.agent.apps().into_iter().filter(here).collect()
    }
}

fn place(name: &str) -> usize {
    SITES.iter().position(|site| *site == name).unwrap()
}

fn site(host: &Host, name: &str) -> Manifest {
    host.site(name, place(name)).strategy("readyWithin", "50s")
}

fn load(host: &Host, name: &str) -> Running {
    let load = bluegreen_rig::load::Load::to(host.nginx.address(), &site(host, name).host());
    load.clients(3).think(Duration::from_millis(20)).start().unwrap()
}

fn rejected(object: &Value, reason: &str) -> bool {
    condition(object, "Ready")["reason"] == reason && !object["status"]["rejected"].is_null()
}

#[test]
fn a_hub_that_is_away_for_long_holds_up_nothing_and_both_sides_say_the_same_when_it_is_back() {
    let plane = new_plane();
    let host = Host::start(&plane);
    for name in SITES {
        host.apply(&site(&host, name).release(&host.release("v1")));
    }
    SITES.iter().for_each(|name| drop(host.ready(name)));
    let loads = SITES.iter().map(|name| load(&host, name)).collect();
    let mut scene = Scene { host, loads };
    let (host, agent) = (&scene.host, &scene.host.agent);

    scene.offer("asked", "v2", "", "AwaitingApproval");
    scene.offer("aborted", "v2", "", "AwaitingApproval");
    scene.offer("broken", "v2", "never-ready\n", "Starting");
    // Approved before it is ready, and ready after its hub is gone.
    let waits = scene.offer("approved", "v2", "ready-after-ms=25000\n", "Starting");
    let candidate = &waits["status"]["candidate"];
    let about = format!("{}/{}", candidate["revision"].as_str().unwrap(), candidate["attempt"]);
    let approve = format!("bluegreen.dev/approve={about}");
    host.namespace.kubectl(&["annotate", "bluegreensite", "approved", &approve]).unwrap();
    wait::until("the approval was taken", PATIENCE, || {
        agent.history("approved").ok()?.iter().any(|event| event.reason == "Obeyed").then_some(())
    })
    .unwrap();
    assert_eq!(agent.phase("approved").as_deref(), Some("Starting"), "it is in the middle of its rollout");
    assert_eq!(scene.host.is_present(), Some(true));
    let before = scene.lease();

    host.proxy.swallow();
    let gone = Instant::now();
    agent.bluegreen(&["approve", "asked"]).unwrap();
    agent.bluegreen(&["abort", "aborted"]).unwrap();
    scene.load("asked").wait_for_version("v2-asked").unwrap();
    agent.wait_for("aborted", "is rejected", |site| rejected(site, "Aborted")).unwrap();
    crash(&mut scene);
    let (host, agent) = (&scene.host, &scene.host.agent);
    scene.load("approved").wait_for_version("v2-approved").unwrap();
    agent.wait_for("broken", "is rejected", |site| rejected(site, "ReadyDeadlineExceeded")).unwrap();
    host.reached(false);
    wait::until("the host was absent", PATIENCE, || (scene.host.is_present() == Some(false)).then_some(())).unwrap();
    // What is away now is the hub itself.
    plane.stop_api();
    while gone.elapsed() < away() {
        for load in &scene.loads {
            load.wait_for_more(10).unwrap();
        }
    }
    for name in SITES {
        agent.wait_for_phase(name, "Idle").unwrap();
    }
    plane.start_api().unwrap();
    host.proxy.mend();

    host.reached(true);
    for name in SITES {
        host.agrees(name);
    }
    for (name, version, colour) in
        [("approved", "v2-approved", "green"), ("asked", "v2-asked", "green"), ("crashed", "v1", "blue")]
    {
        let object = host.wait_for(name, "is ready", is_ready);
        assert_eq!(object["status"]["live"]["colour"], colour, "{object:#}");
        assert_eq!(host.served(&scene.site(name)).as_deref(), Some(version));
    }
    for (name, reason) in [("aborted", "Aborted"), ("broken", "ReadyDeadlineExceeded")] {
        let object = host.object(name).unwrap();
        assert!(rejected(&object, reason), "{object:#}");
        assert_eq!(host.served(&scene.site(name)).as_deref(), Some("v1"));
    }
    // Nothing was begun twice.
    for name in SITES {
        let history = agent.history(name).unwrap();
        let cutovers = history.iter().filter(|event| event.message.starts_with("CuttingOver")).count();
        let expected = if ["approved", "asked"].contains(&name) { 2 } else { 1 };
        assert_eq!(cutovers, expected, "{name}: {history:#?}");
    }
    let after = scene.lease();
    let silent = time(&after).duration_since(time(&before));
    assert!(silent.as_secs() > before["leaseDurationSeconds"].as_i64().unwrap(), "it had run out: {silent}");
    assert_eq!(after["holderIdentity"], before["holderIdentity"]);
    wait::until("the host was present again", PATIENCE, || (scene.host.is_present() == Some(true)).then_some(()))
        .unwrap();
    for load in std::mem::take(&mut scene.loads) {
        nothing_lost(&load.stop());
    }
}

fn time(lease: &Value) -> jiff::Timestamp {
    lease["renewTime"].as_str().unwrap().parse().unwrap()
}

/// Both instances die at once, and are started again: what was on its way to them is lost, so nothing is, and nobody else notices.
fn crash(scene: &mut Scene<'_>) {
    let at = place("crashed");
    // The last one is put where this one was.
    let totals = scene.loads.remove(at).stop();
    nothing_lost(&totals);
    let pids = scene.apps_of("crashed");
    assert_eq!(pids.len(), 2, "{pids:?}");
    for pid in &pids {
        kill_process(Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    }
    wait::until("both run again", PATIENCE, || {
        let now = scene.apps_of("crashed");
        (now.len() == 2 && now.iter().all(|pid| !pids.contains(pid))).then_some(())
    })
    .unwrap();
    scene
        .host
        .agent
        .wait_for("crashed", "is available again", |site| {
            condition(site, "Available")["status"] == "True"
                && condition(site, "Available")["reason"] == "AllInstancesReady"
        })
        .unwrap();
    wait::until("it serves again", PATIENCE, || scene.host.served(&scene.site("crashed")).filter(|v| v == "v1"))
        .unwrap();
    scene.loads.insert(at, load(&scene.host, "crashed"));
}
