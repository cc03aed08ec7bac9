//! The hub is away, comes back, or is not what it was.

use std::fs;

use bluegreen::driver::agent::hub::membership::Membership;
use bluegreen_rig::wait;
use serde_json::json;

use crate::kit::{Host, PATIENCE, is_ready, new_plane, nothing_lost, plane};

#[test]
fn an_api_server_that_dies_in_mid_rollout_costs_nothing_and_is_told_when_it_is_back() {
    let plane = new_plane();
    let host = Host::start(&plane);
    let site = host.site("shop", 0);
    host.apply(&site.clone().release(&host.release("v1")));
    host.ready("shop");
    let load = host.load(&site);
    load.wait_for_version("v1").unwrap();
    host.apply(&site.clone().release(&host.release_that("v2", "ready-after-ms=3000")));
    host.agent.wait_for_phase("shop", "Starting").unwrap();
    plane.stop_api();
    load.wait_for_version("v2").unwrap();
    host.agent.wait_for_phase("shop", "Idle").unwrap();
    let away = host.reached(false);
    assert!(away["why"].as_str().is_some_and(|why| !why.is_empty()), "{away}");
    plane.start_api().unwrap();
    let object =
        host.wait_for("shop", "is ready with v2", |object| object["metadata"]["generation"] == 2 && is_ready(object));
    assert_eq!(object["status"]["live"]["colour"], "green");
    host.reached(true);
    nothing_lost(&load.stop());
}

#[test]
fn a_deletion_that_was_asked_while_the_host_was_away_is_done_when_it_is_back() {
    let mut host = Host::start(plane());
    host.apply(&host.site("shop", 0).release(&host.release("v1")));
    host.ready("shop");
    host.agent.stop();
    host.namespace.kubectl(&["delete", "bluegreensite", "shop", "--wait=false"]).unwrap();
    assert!(host.object("shop").is_some(), "the finalizer holds it");
    host.agent.run().unwrap();
    host.gone("shop");
}

#[test]
fn a_hub_that_has_forgotten_everything_wipes_no_host() {
    let mut host = Host::start(plane());
    let site = host.site("shop", 0).release(&host.release("v1"));
    host.apply(&site);
    host.ready("shop");
    let load = host.load(&site);
    load.wait_for_version("v1").unwrap();
    host.agent.stop();
    // As a restore from an older backup would have it.
    let free = json!([{ "op": "remove", "path": "/metadata/finalizers" }]).to_string();
    host.namespace.kubectl(&["patch", "bluegreensite", "shop", "--type=json", "--patch", &free]).unwrap();
    host.namespace.kubectl(&["delete", "bluegreensite", "shop"]).unwrap();
    host.agent.run().unwrap();
    let stands = wait::until("the host said what is missing", PATIENCE, || {
        let file = Membership::folder(&host.agent.state_dir()).join("standing.json");
        let stands: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
        (stands["missing"] == json!(["shop"])).then_some(stands)
    });
    stands.unwrap();
    load.wait_for_more(200).unwrap();
    assert!(host.agent.site("shop").unwrap()["metadata"]["deletionTimestamp"].is_null());
    // Applied again, it is the same site, under another object.
    host.apply(&site);
    host.ready("shop");
    nothing_lost(&load.stop());
    // Forgotten once more, root may take it away on the host.
    host.agent.stop();
    host.namespace.kubectl(&["patch", "bluegreensite", "shop", "--type=json", "--patch", &free]).unwrap();
    host.namespace.kubectl(&["delete", "bluegreensite", "shop"]).unwrap();
    host.agent.run().unwrap();
    host.reached(true);
    wait::until("it may be taken away", PATIENCE, || host.agent.bluegreen(&["delete", "shop"]).is_ok().then_some(()))
        .unwrap();
    host.gone("shop");
}

#[test]
fn another_hub_at_the_same_address_is_not_believed() {
    let mut host = Host::start(plane());
    let site = host.site("shop", 0).release(&host.release("v1"));
    host.apply(&site);
    host.ready("shop");
    host.agent.stop();
    let state = host.agent.state_dir();
    let mut joined = Membership::load(&state).unwrap().unwrap();
    joined.hub = "00000000-0000-0000-0000-000000000000".to_owned();
    joined.save(&state).unwrap();
    host.agent.run().unwrap();
    let away = host.reached(false);
    assert!(away["why"].as_str().unwrap().contains("not the one that this host joined"), "{away}");
    assert!(host.agent.site("shop").unwrap()["metadata"]["deletionTimestamp"].is_null());
    // Joined anew without a restart, it is reached at once.
    crate::kit::join(host.plane, host.namespace.name(), &host.proxy, &state);
    host.reached(true);
    host.ready("shop");
}
