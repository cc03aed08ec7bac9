//! Who sets the size: a person, a real HorizontalPodAutoscaler at the site, and one that works against us at a colour. And that a manifest at rest differs
//! from nothing.

use bluegreen_rig::cluster::{ControlPlane, Namespace};
use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::history::History;
use crate::kit::{Operator, PATIENCE, condition, merge, object, plane, ready, site, told, writes};
use crate::shown;

/// A site whose manifest leaves its size to others.
fn shop(version: u32, strategy: &Value) -> Value {
    let mut site = site("shop", version);
    merge(&mut site, &json!({ "spec": { "strategy": strategy } }));
    site
}

fn file(plane: &ControlPlane, namespace: &Namespace<'_>, manifest: &Value) -> String {
    let path = plane.folder().join(format!("{}.json", namespace.name()));
    std::fs::write(&path, manifest.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn apply(plane: &ControlPlane, namespace: &Namespace<'_>, manifest: &Value) {
    let file = file(plane, namespace, manifest);
    namespace.kubectl(&["apply", "--server-side", "--filename", &file]).unwrap();
}

/// What `kubectl diff --server-side` prints of a manifest; empty: nothing.
fn difference(plane: &ControlPlane, namespace: &Namespace<'_>, manifest: &Value) -> String {
    shown::difference(plane, namespace, &["--server-side"], manifest)
}

/// A real autoscaler. Nobody measures anything here, so all it does is to hold a size between its bounds.
fn autoscaler(namespace: &Namespace<'_>, api: &str, kind: &str, name: &str, between: (u32, u32)) {
    let object = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": name },
        "spec": {
            "scaleTargetRef": { "apiVersion": api, "kind": kind, "name": name },
            "minReplicas": between.0, "maxReplicas": between.1,
            "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } }],
        },
    });
    namespace.apply(&object.to_string()).unwrap();
}

fn size(namespace: &Namespace<'_>, colour: &str) -> Option<i64> {
    namespace.json(&["get", "deployment", &format!("shop-{colour}")]).ok()?["spec"]["replicas"].as_i64()
}

fn until_size(namespace: &Namespace<'_>, colour: &str, wanted: i64, operator: &Operator) {
    let reached = || (size(namespace, colour)? == wanted).then_some(());
    wait::until(&format!("{colour} had {wanted} pods"), PATIENCE, reached)
        .unwrap_or_else(|error| panic!("{error}\n{}", told(namespace, "shop", &[operator])));
}

#[test]
fn an_autoscaler_at_the_site_sizes_what_is_live_and_what_comes_next_and_no_manifest_differs() {
    let plane = plane();
    let namespace = plane.namespace("scaled").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    let history = History::record(plane, namespace.name());
    let one = shop(1, &json!({}));
    apply(plane, &namespace, &one);
    ready(&namespace, "shop", &[&operator]);
    assert_eq!(difference(plane, &namespace, &one), "", "after it was applied");
    autoscaler(&namespace, "bluegreen.dev/v1alpha1", "BlueGreenSite", "shop", (3, 5));
    until_size(&namespace, "blue", 3, &operator);
    ready(&namespace, "shop", &[&operator]);
    assert_eq!(difference(plane, &namespace, &one), "", "after it was scaled");
    let two = shop(2, &json!({}));
    assert_ne!(difference(plane, &namespace, &two), "", "a new release does differ");
    let mark = plane.mark();
    apply(plane, &namespace, &two);
    ready(&namespace, "shop", &[&operator]);
    assert_eq!(size(&namespace, "green"), Some(3));
    let grown = writes(plane, namespace.name(), mark);
    let of_green = grown.iter().filter(|one| one.resource == "deployments" && one.name == "shop-green");
    // Made, and sealed: it was never of another size.
    assert!(of_green.count() <= 2, "{grown:#?}");
    assert_eq!(difference(plane, &namespace, &two), "", "after a rollout");
    namespace.kubectl(&["scale", "bluegreensite", "shop", "--replicas=4"]).unwrap();
    until_size(&namespace, "green", 4, &operator);
    ready(&namespace, "shop", &[&operator]);
    assert_eq!(difference(plane, &namespace, &two), "", "after a person scaled it");
    assert_eq!(object(&namespace, "shop").unwrap()["spec"]["target"]["cluster"]["replicas"], 4);
    history.judge(&["shop"]);
}

#[test]
fn an_autoscaler_at_a_live_colour_is_obeyed() {
    let plane = plane();
    let namespace = plane.namespace("obeyed").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    apply(plane, &namespace, &shop(1, &json!({})));
    ready(&namespace, "shop", &[&operator]);
    let mark = plane.mark();
    autoscaler(&namespace, "apps/v1", "Deployment", "shop-blue", (3, 5));
    until_size(&namespace, "blue", 3, &operator);
    // The next release is as large as what it replaces.
    apply(plane, &namespace, &shop(2, &json!({})));
    ready(&namespace, "shop", &[&operator]);
    assert_eq!(size(&namespace, "green"), Some(3));
    let all = writes(plane, namespace.name(), mark);
    let sizes = all.iter().filter(|one| one.resource == "deployments").count();
    // The new colour is made and sealed, and the old one stopped: nobody answers the autoscaler.
    assert!(sizes <= 3, "{:#?}", bluegreen_rig::cluster::counted(&all));
}

#[test]
fn whoever_keeps_making_a_candidate_smaller_is_obeyed_in_the_end_and_told_of() {
    let plane = plane();
    let namespace = plane.namespace("contested").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    let manual = json!({ "promotion": "Manual" });
    let mut one = shop(1, &json!({}));
    one["spec"]["target"]["cluster"]["replicas"] = json!(3);
    apply(plane, &namespace, &one);
    ready(&namespace, "shop", &[&operator]);
    let mut two = shop(2, &manual);
    two["spec"]["target"]["cluster"]["replicas"] = json!(3);
    apply(plane, &namespace, &two);
    let awaits = || (object(&namespace, "shop")?["status"]["phase"] == "AwaitingApproval").then_some(());
    wait::until("it waited for approval", PATIENCE, awaits)
        .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", &[&operator])));
    let mark = plane.mark();
    const ROUNDS: usize = 8;
    for round in 0..ROUNDS {
        namespace.kubectl(&["scale", "deployment", "shop-green", "--replicas=1"]).unwrap();
        // Either it grows again, or the operator has looked at it and left it.
        let answered = || {
            let site = object(&namespace, "shop")?;
            let told = condition(&site, "Warning")
                .is_some_and(|one| one["message"].to_string().contains("shop-green to 1 pods"));
            (size(&namespace, "green")? == 3 || told).then_some(())
        };
        wait::until(&format!("round {round} was answered"), PATIENCE, answered)
            .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", &[&operator])));
    }
    assert_eq!(size(&namespace, "green"), Some(1), "whoever insists is obeyed");
    let all = writes(plane, namespace.name(), mark);
    let of_green = all.iter().filter(|one| one.resource == "deployments" && one.name == "shop-green").count();
    println!("{of_green} writes of the Deployment in {ROUNDS} rounds");
    // Each time it grows again it is sealed again at most.
    assert!((1..=4).contains(&of_green), "{:#?}", bluegreen_rig::cluster::counted(&all));
    let site = object(&namespace, "shop").unwrap();
    let warning = condition(&site, "Warning").unwrap();
    assert!(
        warning.to_string().contains("SizeContested") && warning.to_string().contains("aim autoscalers at"),
        "{warning}"
    );
    // The colour that serves was not touched by any of this.
    assert_eq!(size(&namespace, "blue"), Some(3));
}
