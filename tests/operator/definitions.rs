//! The definition of a site and the operator are installed apart: one may be older than the other, or not be there at all. And what no definition knows.

use bluegreen_rig::cluster::{ControlPlane, Options};
use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::kit::{Operator, PATIENCE, install, merge, object, plane, ready, site, told, told_writes};

/// The definition that belongs to this operator.
fn definition(plane: &ControlPlane) -> Value {
    let crd = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/bluegreen.dev_bluegreensites.yaml");
    plane.json(&["create", "--dry-run=client", "--filename", crd]).expect("it is valid")
}

/// Where it says what is in a site.
fn fields<'a>(definition: &'a mut Value, path: &str) -> &'a mut Value {
    let whole = format!("/spec/versions/0/schema/openAPIV3Schema/properties{path}/properties");
    definition.pointer_mut(&whole).unwrap_or_else(|| panic!("there is no {path}"))
}

fn define(plane: &ControlPlane, definition: &Value) {
    let file = plane.folder().join("definition.json");
    std::fs::write(&file, definition.to_string()).unwrap();
    plane.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", file.to_str().unwrap()]).unwrap();
    plane.wait_for_resource("bluegreensites").unwrap();
}

#[test]
fn without_a_definition_the_operator_waits_and_says_once_what_is_missing_and_an_older_one_costs_nothing() {
    let plane = ControlPlane::start(Options::pods()).expect("a control plane comes up");
    let namespace = plane.namespace("older").unwrap();
    let mut operator = Operator::start(&plane, namespace.name());
    let broke = || operator.sum("bluegreen_watch", &["bluegreensites"]).filter(|times| *times >= 4.0);
    wait::until("it was asked again and again", PATIENCE, broke)
        .unwrap_or_else(|error| panic!("{error}\n{}", operator.said()));
    assert_eq!(
        operator.said().matches("are not known to this cluster: install the CRD").count(),
        1,
        "{}",
        operator.said()
    );

    let mut older = definition(&plane);
    let spec =
        older.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/strategy").unwrap();
    spec["default"].as_object_mut().unwrap().remove("failoverAfter");
    fields(&mut older, "/spec/properties/strategy")
        .as_object_mut()
        .unwrap()
        .remove("failoverAfter")
        .expect("it knows it");
    fields(&mut older, "/status").as_object_mut().unwrap().remove("standby").expect("it knows it");
    define(&plane, &older);
    let mut shop = site("shop", 1);
    merge(&mut shop, &json!({ "spec": { "strategy": { "standby": "1h" } } }));
    namespace.apply(&shop.to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    merge(
        &mut shop,
        &json!({ "spec": { "target": { "cluster": { "template": { "spec": { "containers": [
        { "name": "app", "image": "registry.local/app:2" }] } } } } } }),
    );
    namespace.apply(&shop.to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let seen = object(&namespace, "shop").unwrap();
    assert_eq!(seen["status"]["standby"], Value::Null, "the definition does not know it");

    // Whoever begins anew reads a status without it, and does not write it for ever.
    assert!(operator.stop());
    let mark = plane.mark();
    operator = Operator::start(&plane, namespace.name()).led();
    let live = seen["status"]["live"]["revision"].as_str().unwrap();
    const TOUCHES: usize = 5;
    for touch in 0..TOUCHES {
        namespace
            .kubectl(&[
                "annotate",
                "bluegreensite",
                "shop",
                "--overwrite",
                &format!("bluegreen.dev/pause={live}/1@p{touch}"),
            ])
            .unwrap();
        let heard = || {
            let object = object(&namespace, "shop")?;
            let paused = &object["status"]["rollout"]["ledger"]["paused"];
            (!paused.is_null()
                && object["status"]["rollout"]["ledger"]["taken"].to_string().contains(&format!("p{touch}")))
            .then_some(())
        };
        wait::until("it was heard", PATIENCE, heard)
            .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", &[&operator])));
    }
    let written = told_writes(&plane, namespace.name(), mark);
    println!("{written} statuses for {TOUCHES} touches");
    // Each touch is told, and makes a version that is read without what was pruned.
    assert!(written <= 2 * TOUCHES + 2, "{written} statuses for {TOUCHES} touches");
}

#[test]
fn what_only_a_newer_definition_knows_is_kept_and_said_once() {
    let plane = ControlPlane::start(Options::pods()).expect("a control plane comes up");
    let mut newer = definition(&plane);
    fields(&mut newer, "/spec/properties/strategy")["canary"] =
        json!({ "type": "array", "items": { "type": "integer" } });
    fields(&mut newer, "/status")["orbit"] = json!({ "type": "string" });
    define(&plane, &newer);
    let namespace = plane.namespace("newer").unwrap();
    let operator = Operator::start(&plane, namespace.name()).led();
    let mut shop = site("shop", 1);
    merge(&mut shop, &json!({ "spec": { "strategy": { "canary": [10, 50] } } }));
    namespace.apply(&shop.to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let patch = json!({ "status": { "orbit": "low" } }).to_string();
    namespace
        .kubectl(&["patch", "bluegreensite", "shop", "--subresource=status", "--type=merge", "--patch", &patch])
        .unwrap();
    merge(
        &mut shop,
        &json!({ "spec": { "target": { "cluster": { "template": { "spec": { "containers": [
        { "name": "app", "image": "registry.local/app:2" }] } } } } } }),
    );
    namespace.apply(&shop.to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let seen = object(&namespace, "shop").unwrap();
    assert_eq!(seen["status"]["live"]["colour"], "green");
    assert_eq!(seen["status"]["orbit"], "low", "what a newer operator wrote is not wiped");
    assert_eq!(seen["spec"]["strategy"]["canary"], json!([10, 50]));
    let said = operator.said();
    let lines = said.lines().filter(|line| line.contains("spec.strategy.canary")).count();
    assert!((1..=2).contains(&lines), "once for each specification, and there were two: {lines}\n{said}");
}

#[test]
fn a_field_that_nobody_knows_is_refused_if_kubectl_asks_for_it_and_otherwise_dropped() {
    let plane = plane();
    install(plane);
    let namespace = plane.namespace("unknown").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    let mut shop = site("shop", 1);
    shop["spec"]["strategy"]["bak"] = json!("1s");
    let file = plane.folder().join(format!("{}.json", namespace.name()));
    std::fs::write(&file, shop.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let refused =
        namespace.kubectl(&["apply", "--validate=strict", "--filename", file]).expect_err("it is refused").to_string();
    assert!(refused.contains("unknown field \"spec.strategy.bak\""), "{refused}");
    assert!(object(&namespace, "shop").is_none(), "nothing of it was taken");
    namespace.kubectl(&["apply", "--validate=false", "--filename", file]).expect("kubectl was told not to look");
    ready(&namespace, "shop", &[&operator]);
    let seen = object(&namespace, "shop").unwrap();
    assert_eq!(seen["spec"]["strategy"]["bak"], Value::Null, "the API server dropped it");
    assert_eq!(seen["spec"]["strategy"]["bake"], "1s");
}
