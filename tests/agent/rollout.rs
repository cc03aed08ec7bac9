//! Rollouts: the first, the next, a bad one, and back; and what people ask for in between.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use bluegreen_rig::load::get;
use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::kit::{Machine, metrics, nothing_lost, revision, why};

#[test]
fn a_first_deployment_goes_live_and_the_next_one_loses_nothing() {
    let machine = Machine::start();
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    assert_eq!(machine.agent.live_colour("shop").as_deref(), Some("blue"));
    let load = machine.load(&site);
    load.wait_for_version("v1").unwrap();
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v2"))).unwrap();
    assert_eq!(machine.agent.live_colour("shop").as_deref(), Some("green"));
    load.wait_for_version("v2").unwrap();
    load.wait_for_more(200).unwrap();
    nothing_lost(&load.stop());
}

#[test]
fn a_version_that_never_gets_ready_is_rejected_and_the_site_goes_on() {
    let machine = Machine::start();
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    let load = machine.load(&site);
    let bad = machine.release_that("v2", "never-ready");
    let refusal = machine.agent.apply_and_wait(&site.clone().strategy("readyWithin", "2s").release(&bad)).unwrap_err();
    assert!(format!("{refusal:#}").contains("was not ready in time"), "{refusal:#}");
    let settled = machine.agent.wait_for_phase("shop", "Idle").unwrap();
    assert_eq!(why(&settled, "Stalled"), "ReadyDeadlineExceeded");
    assert_eq!(settled.pointer("/status/conditions/0/status"), Some(&"False".into()), "{settled:#}");
    assert_eq!(machine.agent.live_colour("shop").as_deref(), Some("blue"));
    // Applied again, it stays rejected; corrected, it goes live.
    assert!(machine.agent.apply_and_wait(&site.clone().strategy("readyWithin", "2s").release(&bad)).is_err());
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v3"))).unwrap();
    load.wait_for_version("v3").unwrap();
    let totals = load.stop();
    nothing_lost(&totals);
    assert!(!totals.versions.contains_key("v2"), "no request ever reached it");
}

#[test]
fn a_rollback_goes_to_the_standby_at_once_and_to_an_older_revision_by_starting_it() {
    let machine = Machine::start();
    let site = machine.site("shop", 0).strategy("standby", "1h");
    let agent = &machine.agent;
    for version in ["v1", "v2", "v3"] {
        agent.apply_and_wait(&site.clone().release(&machine.release(version))).unwrap();
    }
    let load = machine.load(&site);
    load.wait_for_version("v3").unwrap();
    agent.bluegreen(&["rollback", "shop"]).unwrap();
    load.wait_for_version("v2").unwrap();
    let now = agent.wait_for_phase("shop", "Idle").unwrap();
    assert_eq!(why(&now, "Ready"), "RolledBack");
    let checked = || {
        let count = "bluegreen_phase_seconds_count{phase=\"Verifying\"} ";
        metrics(agent, "/metrics").lines().find_map(|line| line.strip_prefix(count)?.parse::<u32>().ok())
    };
    assert_eq!(checked(), Some(3), "what is warm is not looked at again before it gets traffic");
    let first = revision(&machine, "v1");
    agent.bluegreen(&["rollback", "shop", "--to", &first]).unwrap();
    load.wait_for_version("v1").unwrap();
    assert_eq!(checked(), Some(4), "what has just been started is");
    nothing_lost(&load.stop());
}

#[test]
fn an_apply_of_the_same_manifest_waits_for_what_changed_beside_it() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let variables = agent.folder().join("shop.env");
    let site = machine.site("shop", 0).release(&machine.release("v1"));
    let site = site.set("/spec/target/host/envFile", json!(variables));
    let live = || agent.site("shop").unwrap().pointer("/status/live/revision").cloned();
    fs::write(&variables, "GREETING=hello\n").unwrap();
    fs::set_permissions(&variables, Permissions::from_mode(0o600)).unwrap();
    agent.apply_and_wait(&site).unwrap();
    let first = live();
    assert!(first.is_some());
    fs::write(&variables, "GREETING=good morning\n").unwrap();
    agent.apply_and_wait(&site).unwrap();
    assert_ne!(live(), first, "it is live when the wait ends");
    let second = live();
    agent.apply_and_wait(&site).unwrap();
    assert_eq!(live(), second, "nothing changed, and nothing is waited for");
}

#[test]
fn with_manual_promotion_nothing_goes_live_before_it_is_approved() {
    let machine = Machine::start();
    let site = machine.site("shop", 0).strategy("promotion", "Manual");
    let agent = &machine.agent;
    agent.apply(&site.clone().release(&machine.release("v1"))).unwrap();
    agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    assert_eq!(agent.live_colour("shop"), None);
    agent.bluegreen(&["approve", "shop"]).unwrap();
    agent.wait_for("shop", "is ready", |site| why(site, "Ready") == "Live").unwrap();
    agent.apply(&site.clone().release(&machine.release("v2"))).unwrap();
    agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    agent.bluegreen(&["abort", "shop"]).unwrap();
    let now = agent.wait_for_phase("shop", "Idle").unwrap();
    assert_eq!(why(&now, "Ready"), "Aborted");
    assert_eq!(agent.live_colour("shop").as_deref(), Some("blue"));
    // What was aborted is tried again, as another attempt that needs an approval of its own.
    agent.bluegreen(&["retry", "shop"]).unwrap();
    let waits = agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    assert_eq!(waits.pointer("/status/candidate/attempt"), Some(&2.into()), "{waits:#}");
    agent.bluegreen(&["approve", "shop"]).unwrap();
    agent.wait_for("shop", "is ready", |site| why(site, "Ready") == "Live").unwrap();
    assert_eq!(agent.live_colour("shop").as_deref(), Some("green"));
}

#[test]
fn a_paused_site_starts_nothing_until_it_is_resumed() {
    let machine = Machine::start();
    let site = machine.site("shop", 0);
    let agent = &machine.agent;
    agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    agent.bluegreen(&["pause", "shop"]).unwrap();
    agent.apply(&site.clone().release(&machine.release("v2"))).unwrap();
    agent.wait_for("shop", "says that it is paused", |site| why(site, "Ready") == "Paused").unwrap();
    assert_eq!(agent.live_colour("shop").as_deref(), Some("blue"));
    agent.bluegreen(&["resume", "shop"]).unwrap();
    agent.wait_for("shop", "is ready", |site| why(site, "Ready") == "Live").unwrap();
    assert_eq!(agent.live_colour("shop").as_deref(), Some("green"));
}

#[test]
fn a_restart_rolls_the_same_release_out_once_more() {
    let machine = Machine::start();
    let site = machine.site("shop", 0);
    let agent = &machine.agent;
    agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    let load = machine.load(&site);
    load.wait_for_more(50).unwrap();
    let before = live_revision(&agent.site("shop").unwrap());
    agent.bluegreen(&["restart", "shop"]).unwrap();
    let now = agent
        .wait_for("shop", "runs on green", |site| {
            site.pointer("/status/live/colour") == Some(&"green".into()) && why(site, "Ready") == "Live"
        })
        .unwrap();
    assert_ne!(live_revision(&now), before, "it is another incarnation");
    nothing_lost(&load.stop());
}

#[test]
fn a_site_whose_manifest_goes_away_in_mid_rollout_is_gone_without_a_lost_request_before() {
    let machine = Machine::start();
    let site = machine.site("shop", 0).strategy("promotion", "Manual");
    let agent = &machine.agent;
    agent.apply(&site.clone().release(&machine.release("v1"))).unwrap();
    agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    agent.bluegreen(&["approve", "shop"]).unwrap();
    agent.wait_for("shop", "is ready", |site| why(site, "Ready") == "Live").unwrap();
    agent.apply(&site.clone().release(&machine.release("v2"))).unwrap();
    agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    std::fs::remove_file(agent.sites_dir().join("shop.yaml")).unwrap();
    wait::until("the site was gone", wait::PATIENCE, || agent.site("shop").is_err().then_some(())).unwrap();
    assert_eq!(agent.apps(), Vec::<u32>::new());
    assert!(!agent.site_dir("shop").exists());
    assert!(get(machine.address(), &site.host(), "/").is_err() || !serves(&machine, &site.host()));
    // The name is free again.
    agent.apply_and_wait(&machine.site("shop", 0).release(&machine.release("v3"))).unwrap();
}

fn serves(machine: &Machine, host: &str) -> bool {
    get(machine.address(), host, "/").is_ok_and(|answer| answer.status == 200)
}

fn live_revision(site: &Value) -> String {
    site.pointer("/status/live/revision").and_then(Value::as_str).unwrap().to_owned()
}
