//! Sites of the hub on the host: rolled out, approved, refused, taken away; and what people are told of it on both sides.

use std::fs;

use bluegreen_rig::wait;
use serde_json::json;

use crate::kit::{Host, PATIENCE, condition, holds, is_ready, nothing_lost, plane};

#[test]
fn a_site_of_the_hub_is_rolled_out_and_the_next_version_loses_nothing_and_the_hub_is_told() {
    let host = Host::start(plane());
    let site = host.site("shop", 0);
    host.apply(&site.clone().release(&host.release("v1")));
    let object = host.ready("shop");
    assert!(holds(&object), "{object:#}");
    assert_eq!(object["status"]["live"]["colour"], "blue");
    assert_eq!(condition(&object, "Available")["status"], "True");
    let load = host.load(&site);
    load.wait_for_version("v1").unwrap();
    host.apply(&site.clone().release(&host.release("v2")));
    let object =
        host.wait_for("shop", "is ready with v2", |object| object["metadata"]["generation"] == 2 && is_ready(object));
    assert_eq!(object["status"]["live"]["colour"], "green");
    load.wait_for_version("v2").unwrap();
    load.wait_for_more(200).unwrap();
    nothing_lost(&load.stop());
    let events = host.namespace.json(&["get", "events.events.k8s.io"]).unwrap();
    let reasons: Vec<&str> =
        events["items"].as_array().unwrap().iter().filter_map(|one| one["reason"].as_str()).collect();
    assert!(reasons.contains(&"CuttingOver") && reasons.contains(&"Settled"), "{reasons:?}");
    let described = String::from_utf8(host.agent.bluegreen(&["describe", "shop"]).unwrap().stdout).unwrap();
    assert!(described.contains("the hub that this host has joined"), "{described}");
}

#[test]
fn at_rest_nothing_is_written_but_the_lease() {
    let host = Host::start(plane());
    host.apply(&host.site("shop", 0).release(&host.release("v1")));
    host.ready("shop");
    host.agent.wait_for_phase("shop", "Idle").unwrap();
    host.wait_for("shop", "is told to be at rest", |object| object["status"]["phase"] == "Idle");
    let lease = || host.namespace.json(&["get", "lease", "bluegreen-host"]).unwrap()["spec"]["renewTime"].clone();
    let renewed = |since: &serde_json::Value| {
        wait::until("the lease was renewed", PATIENCE, || Some(lease()).filter(|now| now != since)).unwrap()
    };
    let first = renewed(&lease());
    let mark = host.plane.mark();
    renewed(&renewed(&first));
    let user = format!("system:serviceaccount:{}:bluegreen-host", host.namespace.name());
    let asked = host.plane.requests_since(mark).unwrap();
    let writes: Vec<String> = asked
        .iter()
        .filter(|one| one.user == user && one.writes() && one.resource != "leases")
        .map(|one| one.summary())
        .collect();
    assert_eq!(writes, Vec::<String>::new());
    let watches: Vec<String> =
        asked.iter().filter(|one| one.user == user && one.verb == "watch").map(|one| one.summary()).collect();
    assert!(watches.len() <= 2, "{watches:?}");
}

#[test]
fn what_waits_for_an_approval_is_approved_by_an_annotation_on_the_hub() {
    let host = Host::start(plane());
    let site = host.site("shop", 0).strategy("promotion", "Manual");
    host.apply(&site.release(&host.release("v1")));
    let waits = host.wait_for("shop", "awaits approval", |object| object["status"]["phase"] == "AwaitingApproval");
    assert_eq!(host.agent.live_colour("shop"), None);
    let candidate = &waits["status"]["candidate"];
    let about = format!("{}/{}", candidate["revision"].as_str().unwrap(), candidate["attempt"]);
    host.namespace.kubectl(&["annotate", "bluegreensite", "shop", &format!("bluegreen.dev/approve={about}")]).unwrap();
    host.ready("shop");
    assert_eq!(host.agent.live_colour("shop").as_deref(), Some("blue"));
}

#[test]
fn what_this_host_does_not_allow_is_told_on_the_hub_and_what_was_accepted_goes_on() {
    let host = Host::start(plane());
    let site = host.site("shop", 0).release(&host.release("v1"));
    host.apply(&site);
    host.ready("shop");
    let load = host.load(&site);
    load.wait_for_version("v1").unwrap();
    host.release("v2");
    host.apply(&site.clone().set("/spec/target/host/hostnames", json!(["bank.example.com"])));
    let refused = host.wait_for("shop", "is refused", |object| condition(object, "Ready")["reason"] == "NotAllowed");
    assert_eq!(refused["status"]["observedGeneration"], refused["metadata"]["generation"], "{refused:#}");
    assert_eq!(condition(&refused, "Stalled")["status"], "True");
    let says = condition(&refused, "Ready")["message"].as_str().unwrap().to_owned();
    assert!(says.contains("\"bank.example.com\"") && says.contains("allow.hostnames"), "{says}");
    assert_eq!(condition(&refused, "Available")["status"], "True");
    load.wait_for_more(100).unwrap();
    // Put right, it is ready again, and nothing was rolled out anew.
    host.apply(&site);
    host.wait_for("shop", "is ready as before", |object| object["metadata"]["generation"] == 3 && is_ready(object));
    let totals = load.stop();
    nothing_lost(&totals);
    assert_eq!(totals.versions.len(), 1, "{:?}", totals.versions);
}

#[test]
fn a_site_that_is_deleted_on_the_hub_goes_in_order_and_its_object_goes_last() {
    let host = Host::start(plane());
    let site = host.site("shop", 0);
    host.apply(&site.clone().release(&host.release("v1")));
    host.ready("shop");
    host.namespace.kubectl(&["delete", "bluegreensite", "shop", "--wait=false"]).unwrap();
    host.gone("shop");
    assert_eq!(host.agent.apps(), Vec::<u32>::new());
    assert!(!host.agent.site_dir("shop").exists());
    // The name is free again.
    host.apply(&site.release(&host.release("v2")));
    host.ready("shop");
}

#[test]
fn a_refused_site_that_is_deleted_on_the_hub_is_held_up_by_nobody() {
    let host = Host::start(plane());
    host.apply(&host.site("shop", 0).release(std::path::Path::new("/root/shop")));
    let refused = host.wait_for("shop", "is refused", |object| condition(object, "Ready")["reason"] == "NotAllowed");
    assert!(!holds(&refused), "{refused:#}");
    host.namespace.kubectl(&["delete", "bluegreensite", "shop", "--wait=false"]).unwrap();
    host.gone("shop");
}

#[test]
fn a_name_belongs_to_where_it_came_from_first() {
    let host = Host::start(plane());
    let ours = host.site("local", 0).release(&host.release("v1"));
    host.agent.apply_and_wait(&ours).unwrap();
    host.apply(&host.site("local", 1).release(&host.release("v2")));
    let refused = host.wait_for("local", "is refused", |object| condition(object, "Ready")["status"] == "False");
    let says = condition(&refused, "Ready");
    assert!(
        says["reason"] == "ConflictsWithSite" && says["message"].as_str().unwrap().contains("folder of manifests"),
        "{says}"
    );
    assert!(!holds(&refused), "{refused:#}");
    let here = host.agent.site("local").unwrap();
    assert_eq!(condition(&here, "Ready")["status"], "True", "{here:#}");
    // The other way round.
    let theirs = host.site("shop", 1).release(&host.release("v3"));
    host.apply(&theirs);
    host.ready("shop");
    for refusal in [host.agent.apply(&theirs).unwrap_err(), host.agent.bluegreen(&["delete", "shop"]).unwrap_err()] {
        let says = format!("{refusal:#}");
        assert!(says.contains("comes from the hub") && says.contains("kubectl"), "{says}");
    }
    let file = host.agent.sites_dir().join("shop.yaml");
    theirs.write(&file).unwrap();
    wait::until("the file was refused", PATIENCE, || {
        host.agent
            .log()
            .contains("comes from the folder of manifests on this host under that name is refused")
            .then_some(())
    })
    .unwrap();
    fs::remove_file(file).unwrap();
    let there = host.object("shop").unwrap();
    assert!(is_ready(&there), "{there:#}");
}
