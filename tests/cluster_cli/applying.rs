//! A manifest by server-side apply, and a site's end.

use bluegreen_rig::wait;
use serde_json::{Value, json};

use super::kit::{Desk, condition, manifest, new, old, resting, rollout};

#[test]
fn apply_says_what_became_of_a_manifest_and_writes_what_it_says_alone() {
    let desk = Desk::new("apply");
    let file = desk.program.file("shop.yaml", &manifest("shop", "1.4.2"));
    let apply = |more: &[&str]| desk.program.ok(&[&["apply", "-f", &file], more].concat());
    assert_eq!(apply(&["--dry-run"]), "bluegreensite.bluegreen.dev/shop created (dry run)\n");
    desk.namespace.kubectl(&["get", "bluegreensite", "shop"]).expect_err("a dry run keeps nothing");
    assert_eq!(apply(&[]), "bluegreensite.bluegreen.dev/shop created\n");
    assert_eq!(apply(&[]), "bluegreensite.bluegreen.dev/shop unchanged\n");
    assert_eq!(apply(&["--dry-run"]), "bluegreensite.bluegreen.dev/shop unchanged (dry run)\n");
    desk.program.file("shop.yaml", &manifest("shop", "1.4.3"));
    assert_eq!(apply(&["--dry-run"]), "bluegreensite.bluegreen.dev/shop configured (dry run)\n");
    assert_eq!(apply(&[]), "bluegreensite.bluegreen.dev/shop configured\n");
    let managed = desk.namespace.json(&["get", "bluegreensite", "shop", "--show-managed-fields"]).unwrap();
    let managed = managed["metadata"]["managedFields"].as_array().unwrap().clone();
    let (ours, others): (Vec<_>, Vec<_>) = managed.iter().partition(|entry| entry["manager"] == "bluegreen-cli");
    assert_eq!((ours.len(), ours[0]["operation"].as_str(), others.len()), (1, Some("Apply"), 0), "{managed:?}");
    let strategy = &ours[0]["fieldsV1"]["f:spec"]["f:strategy"];
    assert!(strategy["f:bake"].is_object() && strategy["f:standby"].is_null(), "a default is not ours: {strategy}");
    // What was read can be applied again.
    let read = desk.program.ok(&["get", "shop", "-o", "yaml"]);
    assert!(!read.contains("managedFields"), "{read}");
    let again = desk.program.file("again.yaml", &read);
    desk.program.ok(&["apply", "-f", &again]);
}

#[test]
fn apply_does_not_take_what_another_manager_holds_unless_it_is_told_to() {
    let desk = Desk::new("shared");
    desk.apply("shop");
    let patch = json!({"spec": {"strategy": {"bake": "5m"}}}).to_string();
    desk.namespace
        .kubectl(&["patch", "bluegreensite", "shop", "--type=merge", "--patch", &patch, "--field-manager=argocd"])
        .unwrap();
    let file = desk.program.file("shop.yaml", &manifest("shop", "1.4.2"));
    let err = desk.program.fails(&["apply", "-f", &file]);
    assert!(err.contains("somebody else manages fields that this manifest sets to other values:\n"), "{err}");
    assert!(err.contains("spec.strategy.bake by \"argocd\"") && err.contains("--force-conflicts"), "{err}");
    assert_eq!(desk.site("shop")["spec"]["strategy"]["bake"], "5m");
    desk.program.ok(&["apply", "-f", &file, "--force-conflicts"]);
    assert_eq!(desk.site("shop")["spec"]["strategy"]["bake"], "60s");
}

#[test]
fn the_words_of_the_api_server_are_passed_on() {
    let desk = Desk::new("words");
    let bad = desk.program.file("bad.yaml", &manifest("shop", "1").replace("replicas: 2", "replicas: 0"));
    let err = desk.program.fails(&["apply", "-f", &bad]);
    assert!(err.contains("bad.yaml: line 7, column 7: spec.target.cluster.replicas"), "{err}");
    assert!(err.ends_with("nothing was applied\n"), "{err}");
    // The name of another kind of thing: only the API server knows of the labels of this cluster.
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": desk.namespace.name()}, "spec": {"failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": ["bluegreen.dev"], "apiVersions": ["*"], "operations": ["CREATE"],
                "resources": ["bluegreensites"]}]},
            "validations": [{"expression": "object.metadata.name != 'shop'", "message": "call it something else"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": desk.namespace.name()}, "spec": {"policyName": desk.namespace.name(), "validationActions": ["Warn"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": desk.namespace.name()}}}}});
    let items = json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]});
    desk.namespace.apply(&items.to_string()).unwrap();
    let file = desk.program.file("shop.yaml", &manifest("shop", "1"));
    let warned = wait::until("the policy speaks", wait::PATIENCE, || {
        let (code, _, err) = desk.program.run(&["apply", "-f", &file, "--dry-run"]);
        assert_eq!(code, 0, "{err}");
        err.contains("Warning: ").then_some(err)
    })
    .unwrap();
    assert!(warned.contains("call it something else"), "{warned}");
    let deny = json!({"spec": {"validationActions": ["Deny"]}}).to_string();
    let kind = "validatingadmissionpolicybinding";
    desk.namespace.kubectl(&["patch", kind, desk.namespace.name(), "--type=merge", "--patch", &deny]).unwrap();
    let denied = wait::until("the policy denies", wait::PATIENCE, || {
        let (code, _, err) = desk.program.run(&["apply", "-f", &file, "--dry-run"]);
        (code == 1).then_some(err)
    })
    .unwrap();
    assert!(denied.contains("shop.yaml was not applied: ") && denied.contains("call it something else"), "{denied}");
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        desk.namespace.kubectl(&["delete", kind, desk.namespace.name()]).unwrap();
    }
}

#[test]
fn apply_waits_until_the_site_is_live_or_rejected() {
    let desk = Desk::new("wait");
    let file = desk.program.file("shop.yaml", &manifest("shop", "1.4.2"));
    let wait = desk.program.begin(&["apply", "-f", &file, "--wait"]);
    wait.until("created").unwrap();
    wait.until("shop: new: no operator has looked at it yet").unwrap();
    let nobody = wait.until("no operator has ever looked at shop: is one running").unwrap();
    assert!(nobody.contains("kubectl get pods -A -l app.kubernetes.io/name=bluegreen"), "{nobody}");
    desk.status("shop", &resting());
    let (code, err) = wait.end().unwrap();
    assert_eq!((code, err.as_str()), (Some(0), ""));

    let file = desk.program.file("shop.yaml", &manifest("shop", "1.4.3"));
    let wait = desk.program.begin(&["apply", "-f", &file, "--wait"]);
    wait.until("shop: Idle: blue serves").unwrap();
    let mut status = resting();
    let why = format!("{} was not ready in time", new().short());
    status["observedGeneration"] = json!(2);
    status["rejected"] =
        json!({"revision": new(), "reason": "ReadyDeadlineExceeded", "message": "x", "at": "2026-11-22T18:30:00Z"});
    status["conditions"] = json!([
        condition("Ready", "False", "ReadyDeadlineExceeded", &why),
        condition("Stalled", "True", "ReadyDeadlineExceeded", &why)
    ]);
    let rejected = json!({"rejected": {new().to_string(): {"reason": "ReadyDeadlineExceeded", "at": 1}}});
    status["rollout"] = rollout("Idle", None, &rejected);
    desk.status("shop", &status);
    let (code, err) = wait.end().unwrap();
    assert_eq!(code, Some(1));
    assert!(err.contains("shop did not go live: ReadyDeadlineExceeded: feedbeef00 was not ready in time"), "{err}");
    assert_ne!(old(), new());
}

#[test]
fn a_wait_gives_up_in_time_and_says_how_to_go_on() {
    let desk = Desk::new("patient");
    let file = desk.program.file("shop.yaml", &manifest("shop", "1.4.2"));
    let err = desk.program.fails(&["apply", "-f", &file, "--wait", "--timeout", "3s"]);
    let name = desk.namespace.name();
    let said = format!("the rollout goes on without this wait: kubectl bluegreen -n {name} get shop -w");
    assert!(err.contains("shop is not live after 3s: shop: new") && err.contains(&said), "{err}");
}

#[test]
fn delete_stays_until_the_site_is_gone() {
    let desk = Desk::new("delete");
    let finalizers = |site: &str, finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}}).to_string();
        desk.namespace.kubectl(&["patch", "bluegreensite", site, "--type=merge", "--patch", &patch]).unwrap();
    };
    for site in ["shop", "held"] {
        desk.apply(site);
        finalizers(site, json!(["example.com/hold"]));
    }
    desk.apply("blog");
    let err = desk.program.fails(&["delete", "held", "--timeout", "300ms"]);
    assert!(err.contains("held is not gone after 300ms; its deletion goes on: kubectl bluegreen"), "{err}");
    let gone = desk.program.begin(&["delete", "bluegreensite.bluegreen.dev/shop"]);
    let begun = || (!desk.site("shop")["metadata"]["deletionTimestamp"].is_null()).then_some(());
    wait::until("its deletion has begun", wait::PATIENCE, begun).unwrap();
    finalizers("shop", Value::Null);
    finalizers("held", Value::Null);
    gone.until("bluegreensite.bluegreen.dev/shop deleted").unwrap();
    assert_eq!(gone.end().unwrap().0, Some(0));
    let file = desk.program.file("blog.yaml", &manifest("blog", "1.4.2"));
    assert_eq!(desk.program.ok(&["delete", "-f", &file]), "bluegreensite.bluegreen.dev/blog deleted\n");
    assert!(desk.site_is_gone("blog"));
}

impl Desk {
    fn site_is_gone(&self, name: &str) -> bool {
        self.namespace.kubectl(&["get", "bluegreensite", name]).is_err()
    }
}
