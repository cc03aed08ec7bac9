//! A disk that is full.

use bluegreen_rig::agent::Agent;
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;

use crate::kit::Served;
use crate::machine::{Machine, why};

/// The state is on a small disk of its own, with room for a few releases and what a release always leaves free.
fn served() -> Served {
    let nginx = Nginx::start().unwrap();
    Served::on(Machine {
        agent: Agent::start_on_disk(&nginx, "192m").unwrap(),
        nginx,
        ports: Port::take_many(8).unwrap(),
        user: User::ordinary().unwrap(),
    })
}

#[test]
fn a_disk_that_is_full_before_a_rollout_stops_the_rollout_alone() {
    let served = served();
    let agent = served.agent();
    let v2 = served.site.clone().release(&served.machine.release("v2"));
    agent.disk().unwrap().fill().unwrap();
    let refusal = agent.apply(&v2).unwrap_err();
    assert!(format!("{refusal:#}").contains("no space left"), "{refusal:#}");
    served.says("DiskFull", &["no space left", "make room on that disk"]);
    served.is_untouched();
    agent.disk().unwrap().relieve().unwrap();
    // The manifest lies in the folder, and nobody has to touch it.
    served.load().wait_for_version("v2").unwrap();
    served.ends_with_versions(&["v1", "v2"]);
}

#[test]
fn a_disk_that_fills_up_during_a_rollout_holds_it_up_until_there_is_room() {
    let served = served();
    let agent = served.agent();
    let site = served.site.clone().strategy("promotion", "Manual");
    agent.apply(&site.release(&served.machine.release("v2"))).unwrap();
    agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    agent.disk().unwrap().fill().unwrap();
    let refusal = agent.bluegreen(&["approve", "shop"]).unwrap_err();
    assert!(format!("{refusal:#}").contains("no space left"), "{refusal:#}");
    served.is_untouched();
    agent.disk().unwrap().relieve().unwrap();
    agent.bluegreen(&["approve", "shop"]).unwrap();
    served.load().wait_for_version("v2").unwrap();
    served.ends_with_versions(&["v1", "v2"]);
}

#[test]
fn a_release_that_leaves_too_little_room_is_not_taken_until_there_is_more() {
    let served = served();
    let agent = served.agent();
    let disk = agent.disk().unwrap();
    // Room for everything that the agent writes, and for no release.
    disk.fill_but(80 << 20).unwrap();
    agent.apply(&served.site.clone().release(&served.machine.release("v2"))).unwrap();
    let waits = |site: &serde_json::Value| why(site, "Ready") == "DiskFull";
    let site = agent.wait_for("shop", "waits for room", waits).unwrap();
    let message = crate::machine::says(&site, "Ready");
    println!("{message}");
    assert!(message.contains("not enough room in") && message.contains("make room"), "{message}");
    assert!(agent.log().contains("not enough room in"));
    served.is_untouched();
    disk.relieve().unwrap();
    // By itself.
    served.load().wait_for_version("v2").unwrap();
    served.ends_with_versions(&["v1", "v2"]);
}
