//! The warm-up of a candidate: asked of each instance before its cutover, and what comes of it when it fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::kit::{Machine, nothing_lost, says, why};

/// A machine whose site is live with v1, and a file in which each request to its apps is a line: method, path, number, process.
fn live() -> (Machine, Manifest, PathBuf) {
    let machine = Machine::start();
    let arrivals = machine.agent.folder().join("arrivals");
    fs::write(&arrivals, "").unwrap();
    fs::set_permissions(&arrivals, fs::Permissions::from_mode(0o666)).unwrap();
    let site = machine.site("shop", 0).env("RIG_ARRIVALS", &arrivals.display().to_string());
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    (machine, site, arrivals)
}

fn warm_up(site: &Manifest, warm_up: &Value) -> Manifest {
    site.clone().set("/spec/health/warmUp", warm_up.clone())
}

#[test]
fn each_instance_of_a_candidate_is_warmed_up_before_it_may_be_approved_and_nobody_else_is() {
    let (machine, site, arrivals) = live();
    let before = machine.agent.apps();
    let site = warm_up(&site, &json!({ "paths": ["/", "/headers"], "requests": 5 })).strategy("promotion", "Manual");
    machine.agent.apply(&site.clone().release(&machine.release("v2"))).unwrap();
    machine.agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    let said = fs::read_to_string(&arrivals).unwrap();
    let mut candidate = machine.agent.apps();
    candidate.retain(|pid| !before.contains(pid));
    assert_eq!(candidate.len(), 2);
    for pid in &candidate {
        let of_it: Vec<&str> = said.lines().filter(|line| line.ends_with(&format!(" {pid}"))).collect();
        let paths: Vec<&str> = of_it.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert_eq!(paths, ["/", "/headers"].repeat(5), "{said}");
    }
    assert_eq!(said.lines().count(), 20, "somebody else was asked: {said}");
    // What is live is asked nothing of the kind.
    machine.agent.bluegreen(&["approve", "shop"]).unwrap();
    let green = || (machine.agent.live_colour("shop").as_deref() == Some("green")).then_some(());
    wait::until("green was live", wait::PATIENCE, green).unwrap();
    machine.agent.wait_for_phase("shop", "Idle").unwrap();
    assert_eq!(fs::read_to_string(&arrivals).unwrap().lines().count(), 20);
}

#[test]
fn a_candidate_whose_warm_up_fails_never_goes_live_and_the_reason_is_told() {
    let (machine, site, _) = live();
    let load = machine.load(&site);
    // The app ends at one of these, and never answers the other.
    for (version, paths, within, words) in [
        ("v2", json!(["/", "/crash"]), "10s", "GET /crash on port"),
        (
            "v3",
            json!(["/events"]),
            "1s",
            "it was not warmed up within 1s: 0 of 1 requests were answered when GET /events",
        ),
    ] {
        let cold = warm_up(&site, &json!({ "paths": paths, "within": within }));
        assert!(machine.agent.apply_and_wait(&cold.release(&machine.release(version))).is_err());
        let now = machine.agent.wait_for_phase("shop", "Idle").unwrap();
        assert_eq!(why(&now, "Stalled"), "VerificationFailed");
        assert!(says(&now, "Stalled").contains(words), "{}", says(&now, "Stalled"));
        assert_eq!(machine.agent.live_colour("shop").as_deref(), Some("blue"));
    }
    // An answer that isn't the page is one all the same: who isn't logged in is sent away, and what is warm is warm.
    let site = warm_up(&site, &json!({ "paths": ["/no-such-page"] }));
    machine.agent.apply_and_wait(&site.release(&machine.release("v4"))).unwrap();
    load.wait_for_version("v4").unwrap();
    let totals = load.stop();
    nothing_lost(&totals);
    assert!(!totals.versions.contains_key("v2") && !totals.versions.contains_key("v3"));
}

#[test]
fn an_answer_of_500_and_above_is_no_warm_up() {
    let (machine, site, _) = live();
    let cold = warm_up(&site, &json!({ "paths": ["/fails"] }));
    let bad = machine.release_that("v2", "fails=/fails");
    assert!(machine.agent.apply_and_wait(&cold.release(&bad)).is_err());
    let now = machine.agent.wait_for_phase("shop", "Idle").unwrap();
    let said = says(&now, "Stalled");
    assert!(said.contains("while it was warmed up, GET /fails on port") && said.contains("answers 500"), "{said}");
}
