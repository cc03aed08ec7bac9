//! The other ways in which a colour loses its traffic: each of them lets what is in flight there come to its end before the colour is stopped.

use std::thread;

use bluegreen_rig::load::{fetch, get};
use bluegreen_rig::wait;

use crate::begun::{Sites, now_ms};
use crate::kit::{says, why};

/// What takes no notice of being asked to end.
const STUBBORN: &str = "ignore-term";

#[test]
fn an_agent_that_is_killed_while_a_colour_drains_goes_on_draining_and_the_next_version_waits() {
    let mut sites = Sites::new(1, "90s");
    let site = sites.site("shop", 0);
    sites.roll_out(&[&site], "v1", STUBBORN);
    sites.wait_for_rest("shop");
    let ask = sites.ask(&site, "/silent?ms=15000");
    let silent = thread::spawn(move || (fetch(&ask), now_ms()));
    sites.wait_for_arrival("/silent");
    sites.roll_out(&[&site], "v2", "");
    sites.machine.agent.wait_for_phase("shop", "Draining").unwrap();
    sites.machine.agent.kill();
    sites.machine.agent.run().unwrap();
    let agent = &sites.machine.agent;
    agent.wait_for_phase("shop", "Draining").unwrap();
    agent.apply(&site.clone().release(&sites.machine.release("v3"))).unwrap();
    let waits = agent.wait_for("shop", "knows of v3", |site| {
        site.pointer("/status/observedGeneration") == site.pointer("/metadata/generation")
    });
    let waits = waits.unwrap();
    assert_eq!(why(&waits, "Reconciling"), "Draining", "{waits:#}");
    assert!(says(&waits, "Reconciling").contains("finishes the requests that it has"), "{waits:#}");
    let (answer, ended) = silent.join().unwrap();
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.version()), (200, Some("v1")));
    wait::until("v3 answered", wait::PATIENCE, || {
        get(sites.machine.address(), &site.host(), "/").ok().filter(|answer| answer.version() == Some("v3"))
    })
    .unwrap();
    sites.wait_for_rest("shop");
    let started = sites.entered("shop", "Starting");
    println!("v3 took the place of v1 {} ms after the last request there", started - ended);
    assert!(started >= ended);
}

#[test]
fn a_version_that_is_rolled_back_finishes_what_it_has() {
    let sites = Sites::new(1, "90s");
    let site = sites.site("shop", 0).strategy("standby", "1h");
    sites.roll_out(&[&site], "v1", "");
    sites.wait_for_rest("shop");
    sites.roll_out(&[&site], "v2", STUBBORN);
    sites.wait_for_rest("shop");
    let ask = sites.ask(&site, "/silent?ms=10000");
    let silent = thread::spawn(move || (fetch(&ask), now_ms()));
    sites.wait_for_arrival("/silent");
    let agent = &sites.machine.agent;
    agent.bluegreen(&["rollback", "shop"]).unwrap();
    wait::until("v1 answered", wait::PATIENCE, || {
        get(sites.machine.address(), &site.host(), "/").ok().filter(|answer| answer.version() == Some("v1"))
    })
    .unwrap();
    let (answer, ended) = silent.join().unwrap();
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.version()), (200, Some("v2")));
    let back = agent.wait_for_phase("shop", "Idle").unwrap();
    assert_eq!((why(&back, "Ready").as_str(), why(&back, "Available").as_str()), ("RolledBack", "AllInstancesReady"));
    let rested = sites.entered("shop", "Idle");
    println!("the site came to rest {} ms after the last request to what was taken back", rested - ended);
    assert!(rested >= ended);
    wait::until("v2 was gone", wait::PATIENCE, || (agent.apps().len() == 1).then_some(())).unwrap();
}

#[test]
fn a_site_that_is_deleted_finishes_what_it_has() {
    let sites = Sites::new(1, "90s");
    let site = sites.site("shop", 0);
    sites.roll_out(&[&site], "v1", STUBBORN);
    sites.wait_for_rest("shop");
    let ask = sites.ask(&site, "/silent?ms=10000");
    let silent = thread::spawn(move || fetch(&ask));
    sites.wait_for_arrival("/silent");
    let agent = &sites.machine.agent;
    std::fs::remove_file(agent.sites_dir().join("shop.yaml")).unwrap();
    wait::until("nobody new was served", wait::PATIENCE, || {
        let answer = get(sites.machine.address(), &site.host(), "/");
        (!answer.is_ok_and(|answer| answer.status == 200)).then_some(())
    })
    .unwrap();
    assert_eq!(agent.phase("shop").as_deref(), Some("Deleting"));
    let answer = silent.join().unwrap().unwrap();
    assert_eq!((answer.status, answer.version()), (200, Some("v1")));
    wait::until("the site was gone", wait::PATIENCE, || agent.site("shop").is_err().then_some(())).unwrap();
    assert_eq!(agent.apps(), Vec::<u32>::new());
}
