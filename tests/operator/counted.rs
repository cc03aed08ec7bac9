//! What the operator counts, and whether it says that it is well: read where a collector and a kubelet read it.

use bluegreen_rig::wait;
use serde_json::json;

use crate::kit::{Operator, PATIENCE, condition, merge, object, plane, ready, site, told};

#[test]
fn what_was_done_can_be_read_off_the_metrics() {
    let plane = plane();
    let namespace = plane.namespace("counted").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    assert_eq!(operator.well("/healthz"), (200, "ok\n".to_owned()));
    wait::until("it was ready", PATIENCE, || (operator.well("/readyz").0 == 200).then_some(())).unwrap();

    for version in [1, 2] {
        namespace.apply(&site("shop", version).to_string()).unwrap();
        ready(&namespace, "shop", &[&operator]);
    }
    let mut broken = site("shop", 3);
    let unready = json!({ "metadata": { "annotations": { "rig.bluegreen.dev/pod": "unready" } } });
    merge(&mut broken["spec"]["target"]["cluster"]["template"], &unready);
    merge(&mut broken, &json!({ "spec": { "strategy": { "readyWithin": "2s" } } }));
    // And one that is somebody's fault: its Service is another's.
    namespace.kubectl(&["create", "service", "clusterip", "taken", "--tcp=80"]).unwrap();
    for manifest in [&broken, &site("taken", 1)] {
        namespace.apply(&manifest.to_string()).unwrap();
    }
    for (name, reason) in [("shop", "ReadyDeadlineExceeded"), ("taken", "NameTaken")] {
        let stalled = || (condition(&object(&namespace, name)?, "Stalled")?["reason"] == reason).then_some(());
        wait::until(&format!("{name} was stalled"), PATIENCE, stalled)
            .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, name, &[&operator])));
    }
    let rests = || (object(&namespace, "shop")?["status"]["phase"] == "Idle").then_some(());
    wait::until("the broken version was gone", PATIENCE, rests).unwrap();

    let sum = |name: &str, words: &[&str]| operator.sum(name, words).unwrap_or_default();
    for (name, words, at_least) in [
        ("bluegreen_reconciles_total{", &["result=\"recorded\""][..], 3.0),
        ("bluegreen_reconciles_total{", &["result=\"fault\""], 1.0),
        ("bluegreen_reconcile_seconds_count", &[], 4.0),
        ("bluegreen_faults_total{", &["class=\"user\"", "reason=\"NameTaken\""], 1.0),
        ("bluegreen_phase_seconds_count{", &["phase=\"Starting\""], 3.0),
        ("bluegreen_phase_seconds_count{", &["phase=\"Baking\""], 2.0),
        // The bake lasts a second.
        ("bluegreen_phase_seconds_sum{", &["phase=\"Baking\""], 2.0),
        ("bluegreen_workqueue_seconds_count", &[], 4.0),
        ("bluegreen_api_requests_total{", &["verb=\"create\"", "resource=\"deployments\"", "code=\"201\""], 2.0),
    ] {
        assert!(sum(name, words) >= at_least, "{name} {words:?} is {}\n{}", sum(name, words), operator.scraped());
    }
    for (name, words, exactly) in [
        ("bluegreen_cutover_seconds_count", &[][..], 2.0),
        ("bluegreen_rollouts_total{", &["outcome=\"settled\""], 2.0),
        ("bluegreen_rollouts_total{", &["outcome=\"rejected\""], 1.0),
        ("bluegreen_leader", &[], 1.0),
        ("bluegreen_sites{", &[], 2.0),
        ("bluegreen_sites{", &["phase=\"Idle\""], 1.0),
        ("bluegreen_workqueue_depth", &[], 0.0),
    ] {
        let read = || (operator.sum(name, words)? == exactly).then_some(());
        wait::until(&format!("{name} {words:?} was {exactly}"), PATIENCE, read)
            .unwrap_or_else(|error| panic!("{error}\n{}", operator.scraped()));
    }
    // A Gateway of a cloud takes two minutes, and a cutover by it longer.
    let scraped = operator.scraped();
    let limits = scraped.lines().filter_map(|line| line.strip_prefix("bluegreen_cutover_seconds_bucket{le=\""));
    let limits: Vec<f64> =
        limits.filter_map(|rest| rest.split('"').next()?.parse().ok()).filter(|it: &f64| it.is_finite()).collect();
    assert!(limits.iter().filter(|limit| **limit > 120.0).count() >= 2, "{limits:?}");

    namespace.kubectl(&["delete", "bluegreensites", "--all"]).unwrap();
    let forgotten = || (operator.sum("bluegreen_sites{", &[])? == 0.0).then_some(());
    wait::until("what is gone was counted no more", PATIENCE, forgotten)
        .unwrap_or_else(|error| panic!("{error}\n{}", operator.scraped()));
}

#[test]
fn a_replica_that_does_not_lead_is_well_and_ready_and_counts_no_site() {
    let plane = plane();
    let namespace = plane.namespace("second").unwrap();
    let first = Operator::start(plane, namespace.name()).led();
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&first]);
    let second = Operator::start(plane, namespace.name());
    wait::until("it was ready", PATIENCE, || (second.well("/readyz").0 == 200).then_some(())).unwrap();
    assert_eq!(second.well("/healthz"), (200, "ok\n".to_owned()));
    let numbers = ["bluegreen_leader", "bluegreen_sites{"].map(|name| (first.sum(name, &[]), second.sum(name, &[])));
    assert_eq!(numbers, [(Some(1.0), Some(0.0)); 2]);
}

#[test]
fn a_replica_that_may_not_look_says_what_it_waits_for() {
    let plane = plane();
    let namespace = plane.namespace("blind").unwrap();
    namespace.kubectl(&["create", "serviceaccount", "nobody"]).unwrap();
    let token = plane.service_account_token(namespace.name(), "nobody").unwrap();
    let kubeconfig = plane.kubeconfig_for("nobody", &token).unwrap();
    let operator = Operator::start_by(plane, namespace.name(), &kubeconfig);
    let (code, said) = operator.well("/readyz");
    assert_eq!(code, 503);
    assert!(said.contains("not everything was seen yet") && said.contains("deployments"), "{said}");
    assert_eq!(operator.well("/healthz").0, 200, "to be started anew would not help it");
}
