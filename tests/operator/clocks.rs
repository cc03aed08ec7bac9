//! Clocks an hour apart: the operator's own against the API server's, and two replicas' against each other.

use std::time::{Duration, Instant};

use bluegreen_rig::cluster::{ControlPlane, Namespace, POD};
use bluegreen_rig::{clock, wait};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::history::History;
use crate::kit::{Operator, PATIENCE, condition, merge, object, plane, ready, site, told};

/// A replica whose date is off by so much: `+1h`, `-1h`.
fn off_by(plane: &ControlPlane, namespace: &str, shift: &str) -> Operator {
    let environment = clock::off_by(shift).unwrap();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Operator::start_with(plane, namespace, &plane.kubeconfig(), &environment)
}

/// By how many minutes the clock of whoever holds the lease differs from ours.
fn shift(namespace: &Namespace<'_>) -> i64 {
    let leases = namespace.json(&["get", "leases"]).unwrap();
    let renewed: Timestamp = leases["items"][0]["spec"]["renewTime"].as_str().unwrap().parse().unwrap();
    renewed.duration_since(Timestamp::now()).as_mins()
}

fn shop(version: u32, strategy: &Value) -> String {
    let mut site = site("shop", version);
    merge(&mut site, &json!({ "spec": { "strategy": strategy } }));
    site.to_string()
}

fn phase(namespace: &Namespace<'_>) -> String {
    object(namespace, "shop").and_then(|site| Some(site["status"]["phase"].as_str()?.to_owned())).unwrap_or_default()
}

/// Two replicas whose clocks are two hours apart: one rolls out, and dies in the middle of the next rollout.
fn take_over(first: &str, second: &str) {
    let plane = plane();
    let namespace = plane.namespace("clocks").unwrap();
    let one = off_by(plane, namespace.name(), first).led();
    let minutes = shift(&namespace);
    let expected = if first.starts_with('+') { 55..=65 } else { -65..=-55 };
    assert!(expected.contains(&minutes), "its clock is shifted: {minutes} min");
    let two = off_by(plane, namespace.name(), second);
    let history = History::record(plane, namespace.name());
    let strategy = json!({ "drainWithin": "1s", "bake": "2s", "standby": "5s" });
    for version in [1, 2] {
        namespace.apply(&shop(version, &strategy)).unwrap();
        ready(&namespace, "shop", &[&one, &two]);
    }
    assert!(one.leads() && !two.leads(), "a lease that is renewed is nobody else's, whatever the time in it");
    assert_eq!(object(&namespace, "shop").unwrap()["status"]["live"]["colour"], "green");

    let watched = json!({ "drainWithin": "1s", "bake": "15s", "standby": "5s" });
    namespace.apply(&shop(3, &watched)).unwrap();
    wait::until("it was watched", PATIENCE, || (phase(&namespace) == "Baking").then_some(()))
        .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", &[&one, &two])));
    one.kill();
    ready(&namespace, "shop", &[&two]);
    assert!(two.leads());
    assert_eq!(object(&namespace, "shop").unwrap()["status"]["live"]["colour"], "blue");
    // What is kept for the way back is kept for five seconds, not for two hours.
    let stopped = || {
        let green = namespace.json(&["get", "deployment", "shop-green"]).ok()?;
        (green["spec"]["replicas"] == 0).then_some(())
    };
    wait::until("the standby ended", PATIENCE, stopped)
        .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", &[&two])));

    // A limit is as long as it says.
    let mut never: Value = serde_json::from_str(&shop(4, &json!({ "readyWithin": "6s" }))).unwrap();
    merge(
        &mut never["spec"]["target"]["cluster"]["template"],
        &json!({ "metadata": { "annotations": { POD: "unready" } } }),
    );
    let begun = Instant::now();
    namespace.apply(&never.to_string()).unwrap();
    let rejected = || {
        let object = object(&namespace, "shop")?;
        (condition(&object, "Ready")?["reason"] == "ReadyDeadlineExceeded").then_some(())
    };
    wait::until("it was given up", PATIENCE, rejected)
        .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", &[&two])));
    assert!(begun.elapsed() >= Duration::from_secs(6), "{:?}", begun.elapsed());
    history.judge(&["shop"]);
}

#[test]
fn a_replica_an_hour_behind_takes_over_from_one_an_hour_ahead() {
    take_over("+1h", "-1h");
}

#[test]
fn a_replica_an_hour_ahead_takes_over_from_one_an_hour_behind() {
    take_over("-1h", "+1h");
}
