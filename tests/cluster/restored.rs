//! A site that comes back: its objects are there, and belong to a site of its name that is gone.

use bluegreen::rollout::Revision;
use serde_json::{Value, json};

use super::kit::{Operated, plane, shop};

/// The kinds of what a site has, as far as somebody backs them up by hand: neither ReplicaSets nor pods.
const KINDS: &str = "deployments,services,controllerrevisions,poddisruptionbudgets";

/// What must not change while a site comes back: what its colours run, their pods, and what the live Service selects.
fn serves(site: &Operated) -> Value {
    let deployments = site.namespace.json(&["get", "deployments", "--sort-by=.metadata.name"]).unwrap();
    let pods = site.namespace.json(&["get", "pods", "--sort-by=.metadata.name"]).unwrap();
    let of = |list: &Value, path: &str| -> Vec<Value> {
        list["items"].as_array().unwrap().iter().map(|one| one.pointer(path).cloned().unwrap_or_default()).collect()
    };
    json!({
        "specifications": of(&deployments, "/spec"),
        "deployments": of(&deployments, "/metadata/uid"),
        "pods": of(&pods, "/metadata/uid"),
        "selector": site.get("svc/shop")["spec"]["selector"],
    })
}

/// Deletes the site alone, while nobody operates it.
fn delete(site: &mut Operated, how: &str) {
    site.kill();
    site.namespace.kubectl(&["delete", "bgs/shop", how]).expect("it can be deleted");
    site.until("the site is gone", || site.get("bgs/shop").get("metadata").is_none().then_some(()));
}

/// As [`Operated::settled`], and the live Service has pods all the while.
fn settled(site: &Operated) -> Revision {
    site.until("it was at rest", || {
        assert!(!site.serving().is_empty(), "the live Service has pods all the while");
        let object = site.get("bgs/shop");
        let status = &object["status"];
        (status["phase"] == "Idle" && status["observedGeneration"] == object["metadata"]["generation"]).then_some(())
    });
    site.settled()
}

/// The uid of each child's controller, or what its annotation says.
fn owners(site: &Operated) -> Vec<(String, Value)> {
    let uid = |one: &Value| {
        let metadata = &one["metadata"];
        let annotation = metadata["annotations"]["bluegreen.dev/owner"].clone();
        metadata.pointer("/ownerReferences/0/uid").cloned().unwrap_or(annotation)
    };
    let all = site.namespace.json(&["get", KINDS, "--selector=bluegreen.dev/site=shop"]).unwrap();
    let items = all["items"].as_array().unwrap();
    items.iter().map(|one| (format!("{} {}", one["kind"], one["metadata"]["name"]), uid(one))).collect()
}

#[track_caller]
fn all_belong_to_the_site(site: &Operated) {
    let uid = site.get("bgs/shop")["metadata"]["uid"].clone();
    let owners = owners(site);
    assert!(owners.len() >= 6 && owners.iter().all(|(_, owner)| *owner == uid), "{uid}: {owners:#?}");
}

fn ledger(site: &Operated) -> Value {
    let annotations = site.get("svc/shop")["metadata"]["annotations"].clone();
    assert!(annotations["bluegreen.dev/left-ledger"].is_null(), "nothing is left over: {annotations}");
    serde_json::from_str(annotations["bluegreen.dev/ledger"].as_str().unwrap_or("null")).unwrap()
}

fn command(site: &Operated, verb: &str, revision: &str) {
    let annotation = format!("bluegreen.dev/{verb}={revision}/1");
    site.namespace.kubectl(&["annotate", "--overwrite", "bgs/shop", &annotation]).expect("it is taken");
}

/// The second version waits for an approval beside the first, and is given up.
fn with_an_aborted_candidate(name: &str) -> (Operated, Value, Revision, String) {
    let site = Operated::new(name);
    site.apply(&shop("1", &json!({})));
    let first = site.settled();
    let manual = shop("2", &json!({"spec": {"strategy": {"promotion": "Manual"}}}));
    site.apply(&manual);
    let second = site.until("it awaited approval", || {
        let status = site.status();
        (status["phase"] == "AwaitingApproval")
            .then(|| status["candidate"]["revision"].as_str().map(ToOwned::to_owned))?
    });
    command(&site, "abort", &second);
    site.stalled("Aborted");
    site.until("it was stopped", || (site.get("deploy/shop-green")["spec"]["replicas"] == 0).then_some(()));
    (site, manual, first, second)
}

#[test]
fn a_site_that_was_deleted_alone_and_applied_again_takes_back_what_it_had() {
    let mut site = Operated::new("again");
    for image in ["1", "2"] {
        site.apply(&shop(image, &json!({})));
        site.settled();
    }
    let (revision, before, known) = (site.selected().1, serves(&site), ledger(&site));
    delete(&mut site, "--cascade=orphan");
    assert!(owners(&site).iter().all(|(_, owner)| owner.is_null()), "Kubernetes took the references away");
    site.apply(&shop("2", &json!({})));
    // Ended at whatever instruction it is at, each time a little later.
    for step in 0..6_u64 {
        site.start();
        let deadline = std::time::Instant::now() + std::time::Duration::from_millis(40 * step);
        site.until("it had its time", || (std::time::Instant::now() >= deadline).then_some(()));
        site.kill();
        assert_eq!(serves(&site), before);
    }
    site.start();
    assert_eq!(settled(&site).to_string(), revision);
    assert_eq!(serves(&site), before, "no pod was replaced, and nothing but metadata was written");
    all_belong_to_the_site(&site);
    for field in ["stable", "cleared", "rejected"] {
        assert_eq!(ledger(&site)[field], known[field], "{field}");
    }
    assert_eq!(site.status()["standby"]["colour"], "blue", "the way back is still warm");
    // From here on it is a site like any other, whose objects go with it.
    site.apply(&shop("3", &json!({})));
    settled(&site);
    delete(&mut site, "--cascade=background");
    site.until("everything went with it", || owners(&site).is_empty().then_some(()));
}

#[test]
fn a_site_that_comes_back_with_another_specification_holds_it_until_it_is_asked_for_again() {
    let mut site = Operated::new("held");
    site.apply(&shop("1", &json!({})));
    site.settled();
    let before = serves(&site);
    delete(&mut site, "--cascade=orphan");
    site.apply(&shop("2", &json!({})));
    site.start();
    site.stalled("HeldAfterLoss");
    assert_eq!(serves(&site), before, "nothing was started, and nothing moved");
    let held = site.status()["rejected"]["revision"].as_str().expect("it says what is held").to_owned();
    command(&site, "retry", &held);
    assert_eq!(settled(&site).to_string(), held);
    assert_eq!(site.image("shop-green"), "registry.local/shop:2");
}

#[test]
fn a_candidate_that_nobody_approved_before_the_site_came_back_is_not_promoted_by_that() {
    let mut site = Operated::new("unapproved");
    site.apply(&shop("1", &json!({})));
    let first = site.settled();
    let manual = shop("2", &json!({"spec": {"strategy": {"promotion": "Manual"}}}));
    site.apply(&manual);
    site.until("it awaited approval", || (site.status()["phase"] == "AwaitingApproval").then_some(()));
    // And somebody leads the route to it while nobody looks.
    site.kill();
    let green = site.get("deploy/shop-green")["spec"]["template"]["metadata"]["labels"].clone();
    delete(&mut site, "--cascade=orphan");
    let other = json!({"bluegreen.dev/colour": "green", "bluegreen.dev/revision": green["bluegreen.dev/revision"]});
    site.patch("svc/shop", &json!({"spec": {"selector": other}}));
    site.apply(&manual);
    site.start();
    site.until("the route was put back", || (site.selected().1 == first.to_string()).then_some(()));
    site.stalled("HeldAfterLoss");
    assert_eq!(site.selected(), ("blue".to_owned(), first.to_string()));
    let cleared = ledger(&site)["cleared"].clone();
    assert_eq!(cleared, json!([first.to_string()]), "to be routed to for a moment cleared nothing");
}

#[test]
fn a_site_that_is_restored_without_status_owners_and_pods_serves_what_it_served_and_knows_what_was_rejected() {
    let (mut site, _, first, second) = with_an_aborted_candidate("restored");
    let all = site.namespace.json(&["get", &format!("bgs,{KINDS}"), "--selector=bluegreen.dev/site=shop"]).unwrap();
    let mut backup = all["items"].as_array().unwrap().clone();
    backup.push(site.get("bgs/shop"));
    for object in &mut backup {
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.retain(|field, _| ["name", "labels", "annotations"].contains(&field.as_str()));
        let object = object.as_object_mut().unwrap();
        object.remove("status");
        if object["kind"] == "Service" && object["spec"]["clusterIP"] != "None" {
            let spec = object["spec"].as_object_mut().unwrap();
            spec.retain(|field, _| !field.starts_with("clusterIP"));
        }
    }
    delete(&mut site, "--cascade=background");
    site.until("everything is gone", || {
        let pods = site.namespace.json(&["get", "pods"]).ok()?;
        (owners(&site).is_empty() && pods["items"] == json!([])).then_some(())
    });
    for object in &backup {
        let file = plane().folder().join("restored.json");
        std::fs::write(&file, object.to_string()).unwrap();
        site.namespace.kubectl(&["create", "--filename", file.to_str().unwrap()]).expect("it can be restored");
    }
    site.start();
    site.until("it serves again", || (!site.serving().is_empty()).then_some(()));
    site.stalled("Aborted");
    assert_eq!(site.selected(), ("blue".to_owned(), first.to_string()));
    assert_eq!(site.image("shop-blue"), "registry.local/shop:1");
    assert!(ledger(&site)["rejected"][&second]["reason"] == "Aborted", "{}", ledger(&site));
    all_belong_to_the_site(&site);
    site.until("it is sealed", || (site.get("deploy/shop-blue")["spec"]["paused"] == true).then_some(()));
    site.apply(&shop("3", &json!({})));
    settled(&site);
}

#[test]
fn what_outlived_its_site_is_taken_back_and_follows_the_policy_of_the_new_one() {
    let policy = |policy: &str| shop("1", &json!({"spec": {"target": {"cluster": {"deletionPolicy": policy}}}}));
    let mut site = Operated::new("outlived");
    site.apply(&policy("Orphan"));
    let revision = site.settled();
    let before = serves(&site);
    delete(&mut site, "--cascade=background");
    site.apply(&policy("Orphan"));
    site.start();
    assert_eq!(settled(&site), revision);
    assert_eq!(serves(&site), before);
    all_belong_to_the_site(&site);
    assert!(site.get("deploy/shop-blue")["metadata"]["ownerReferences"].is_null());
    // What is wanted of a later deletion counts at once, for what is there already.
    let controlled = |wanted: bool| {
        site.until("each child says so", || {
            let has = |what: &str| site.get(what)["metadata"]["ownerReferences"].is_array();
            ["deploy/shop-blue", "svc/shop", "svc/shop-green"].iter().all(|what| has(what) == wanted).then_some(())
        });
        all_belong_to_the_site(&site);
    };
    site.apply(&policy("Delete"));
    controlled(true);
    site.apply(&policy("Orphan"));
    controlled(false);
    assert_eq!(serves(&site), before);
}

#[test]
fn what_says_that_another_site_owns_it_is_not_taken_while_that_one_is_there() {
    let mut site = Operated::idle("living");
    let mut other = shop("1", &json!({}));
    other["metadata"]["name"] = json!("other");
    site.apply(&other);
    let uid = site.get("bgs/other")["metadata"]["uid"].clone();
    let labels = json!({"app.kubernetes.io/managed-by": "bluegreen", "bluegreen.dev/site": "shop"});
    site.apply(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "shop", "labels": labels, "annotations": {"bluegreen.dev/owner": uid}},
        "spec": {"selector": {"app": "other"}, "ports": [{"port": 80}]},
    }));
    let before = site.get("svc/shop");
    site.apply(&shop("1", &json!({})));
    site.start();
    let said = site.stalled("NameTaken");
    assert!(said.contains("BlueGreenSite other"), "{said}");
    assert_eq!(site.get("svc/shop"), before);
    // Once it is gone, what it left is nobody's.
    site.namespace.kubectl(&["delete", "bgs/other"]).expect("it can be deleted");
    site.settled();
}
