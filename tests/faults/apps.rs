//! Apps that are ready and then end by themselves.

use crate::kit::Served;

#[test]
fn an_app_that_crashes_before_it_is_live_gets_no_traffic_and_is_rejected_in_the_end() {
    let served = Served::start();
    let agent = served.agent();
    // Ready again each time, so that the limit for getting ready never passes.
    let bad = served.machine.release_that("v2", "crash-after-ms=700");
    let site = served.site.clone().strategy("readyWithin", "1m");
    agent.apply(&site.clone().strategy("promotion", "Manual").release(&bad)).unwrap();
    agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    served.says("VerificationFailed", &["ended by itself", "exit code 3", "after it was ready"]);
    agent.wait_for_phase("shop", "Idle").unwrap();
    served.is_untouched();
    served.goes_on_with("v3");
    served.ends_with_versions(&["v1", "v3"]);
}

#[test]
fn an_app_that_crashes_while_it_is_watched_gives_its_place_back_to_the_version_before() {
    let served = Served::start();
    let agent = served.agent();
    // Dead again and again, but never for as long as would make the colour count as down.
    let site = served.site.clone().strategy("bake", "30s").strategy("failoverAfter", "30s");
    let bad = served.machine.release_that("v2", "crash-after-ms=3000");
    agent.apply(&site.release(&bad)).unwrap();
    agent.wait_for_phase("shop", "Baking").unwrap();
    served.load().wait_for_version("v2").unwrap();
    served.says("BakeFailed", &["ended by itself", "exit code 3"]);
    assert_eq!(agent.live_colour("shop").as_deref(), Some("blue"));
    assert!(served.pids().iter().all(|pid| bluegreen_rig::process::exists(*pid)));
    // What was lost was lost by the app that died; from here on, nothing is.
    let before = served.load().totals();
    served.goes_on_with("v3");
    let after = served.load().totals();
    let said = served.machine.nginx.error_log();
    assert_eq!(after.failed, before.failed, "{:?}: {}", after.told, &said[said.len().saturating_sub(3000)..]);
}
