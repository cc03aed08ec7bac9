//! What somebody edits is put back, and nothing that was not approved ever serves.

use serde_json::{Value, json};

use super::kit::{Operated, shop};

/// A site at rest, without a standby: nothing could be failed over to.
fn rested(name: &str) -> Operated {
    let site = Operated::new(name);
    site.apply(&shop("1", &json!({"spec": {"strategy": {"standby": "0s"}}})));
    site.settled();
    site
}

fn sealed_again(site: &Operated) {
    site.until("it is sealed", || (site.get("deploy/shop-blue")["spec"]["paused"] == true).then_some(()));
}

#[test]
fn an_edited_selector_is_put_back() {
    let site = rested("selector");
    let before = site.selected();
    for selector in [json!({"bluegreen.dev/colour": "green"}), json!({"app": "theirs"})] {
        site.patch("svc/shop", &json!({"spec": {"selector": selector}}));
        site.until("the selector is ours again", || {
            let selector = site.get("svc/shop")["spec"]["selector"].clone();
            (selector.as_object().is_some_and(|all| all.len() == 3) && site.selected() == before).then_some(())
        });
    }
    site.patch("svc/shop-blue", &json!({"spec": {"selector": {"bluegreen.dev/colour": "green"}}}));
    site.until("the colour's own too", || {
        (site.get("svc/shop-blue")["spec"]["selector"]["bluegreen.dev/colour"] == "blue").then_some(())
    });
    site.settled();
}

#[test]
fn an_edited_image_of_what_is_live_changes_no_pod_and_is_put_back() {
    let site = rested("image");
    let serving = site.serving();
    let revision = site.selected().1;
    site.namespace
        .kubectl(&["set", "image", "deploy/shop-blue", "app=registry.local/theirs:9"])
        .expect("it can be edited");
    site.until("the image is ours again", || (site.image("shop-blue") == "registry.local/shop:1").then_some(()));
    sealed_again(&site);
    assert_eq!(site.serving(), serving, "not one pod was replaced");
    assert_eq!(site.selected().1, revision);
}

#[test]
fn what_was_unsealed_and_edited_runs_what_it_ran_before_in_the_end() {
    let site = rested("unsealed");
    site.patch(
        "deploy/shop-blue",
        &json!({"spec": {"paused": false, "template": {"spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": "registry.local/theirs:9"}]}}}}),
    );
    site.until("ours runs again, and nothing else", || {
        let pods = site.namespace.json(&["get", "pods", "-l", "bluegreen.dev/colour=blue"]).ok()?;
        let pods = pods["items"].as_array()?.clone();
        let ours = |pod: &Value| pod["spec"]["containers"][0]["image"] == "registry.local/shop:1";
        (!pods.is_empty() && pods.iter().all(ours) && !site.serving().is_empty()).then_some(())
    });
    sealed_again(&site);
    site.settled();
}

#[test]
fn what_is_live_and_was_scaled_to_nothing_comes_back() {
    let site = rested("scaled");
    let revision = site.selected().1;
    let generation = |site: &Operated| site.get("deploy/shop-blue")["metadata"]["generation"].as_i64().unwrap_or(0);
    let before = generation(&site);
    site.namespace.kubectl(&["scale", "deploy/shop-blue", "--replicas=0"]).expect("it can be scaled");
    site.until("it has its size again", || {
        (generation(&site) > before + 1 && site.get("deploy/shop-blue")["spec"]["replicas"] == 1).then_some(())
    });
    site.until("it serves again", || (!site.serving().is_empty()).then_some(()));
    assert_eq!(site.selected(), ("blue".to_owned(), revision));
    sealed_again(&site);
    site.settled();
}

#[test]
fn annotations_that_were_taken_from_a_deployment_come_back() {
    let site = rested("annotations");
    let serving = site.serving();
    let remove = json!([{"op": "remove", "path": "/metadata/annotations"}]).to_string();
    site.namespace
        .kubectl(&["patch", "deploy/shop-blue", "--type=json", "--patch", &remove])
        .expect("they can be taken");
    site.until("it says again what it runs", || {
        let deployment = site.get("deploy/shop-blue");
        let annotations = deployment["metadata"]["annotations"].clone();
        let generation = annotations["bluegreen.dev/generation"].as_str()?.parse::<i64>().ok()?;
        let known = annotations["bluegreen.dev/revision"].is_string() && annotations["bluegreen.dev/ports"].is_string();
        (known && Some(generation) == deployment["metadata"]["generation"].as_i64()).then_some(())
    });
    assert_eq!(site.serving(), serving);
    site.settled();
}

#[test]
fn a_live_deployment_that_was_deleted_is_made_again_from_its_release_whatever_is_wanted_now() {
    let site = rested("deleted");
    let first = site.selected().1;
    // What is wanted by now waits for an approval, and must not come by this door.
    site.apply(&shop("2", &json!({"spec": {"strategy": {"promotion": "Manual", "standby": "0s"}}})));
    site.until("it awaited approval", || (site.status()["phase"] == "AwaitingApproval").then_some(()));
    let old = site.get("deploy/shop-blue")["metadata"]["uid"].clone();
    site.namespace.kubectl(&["delete", "deploy/shop-blue", "--wait=false"]).expect("it can be deleted");
    site.until("it was made again", || {
        let now = site.get("deploy/shop-blue");
        (now["metadata"]["uid"].is_string() && now["metadata"]["uid"] != old).then_some(())
    });
    site.until("it serves again", || (!site.serving().is_empty()).then_some(()));
    assert_eq!(site.image("shop-blue"), "registry.local/shop:1");
    assert_eq!(site.selected(), ("blue".to_owned(), first));
}

#[test]
fn a_wiped_status_and_a_wiped_ledger_are_written_again_and_move_nothing() {
    let site = rested("wiped");
    let before = site.selected();
    let wipe = json!([{"op": "remove", "path": "/status"}]).to_string();
    site.namespace
        .kubectl(&["patch", "bgs/shop", "--subresource=status", "--type=json", "--patch", &wipe])
        .expect("it can be wiped");
    site.until("the status is back", || (site.status()["phase"] == "Idle").then_some(()));
    assert_eq!(site.selected(), before);
    let ledger = || site.get("svc/shop")["metadata"]["annotations"]["bluegreen.dev/ledger"].clone();
    assert!(ledger().is_string());
    let known = site.status()["rollout"]["ledger"].clone();
    site.namespace.kubectl(&["annotate", "svc/shop", "bluegreen.dev/ledger-"]).expect("it can be wiped");
    let written = site.until("the ledger is back", || ledger().as_str().map(ToOwned::to_owned));
    let written: Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!(written["stable"], known["stable"]);
    assert_eq!(written["cleared"], known["cleared"]);
    assert_eq!(site.selected(), before);
}

#[test]
fn with_both_memories_lost_what_serves_goes_on_and_another_revision_is_held() {
    let mut site = rested("lost");
    let before = site.selected();
    site.kill();
    let wipe = json!([{"op": "remove", "path": "/status"}]).to_string();
    site.namespace
        .kubectl(&["patch", "bgs/shop", "--subresource=status", "--type=json", "--patch", &wipe])
        .expect("it can be wiped");
    site.namespace.kubectl(&["annotate", "svc/shop", "bluegreen.dev/ledger-"]).expect("it can be wiped");
    site.apply(&shop("2", &json!({"spec": {"strategy": {"standby": "0s"}}})));
    site.start();
    site.stalled("HeldAfterLoss");
    assert_eq!(site.selected(), before);
    assert!(site.get("deploy/shop-green").get("metadata").is_none(), "nothing was started");
}

#[test]
fn a_deleted_live_service_is_made_again_with_its_ledger() {
    let site = rested("service");
    let before = site.selected();
    let old = site.get("svc/shop")["metadata"]["uid"].clone();
    site.namespace.kubectl(&["delete", "svc/shop"]).expect("it can be deleted");
    site.until("it was made again", || {
        let now = site.get("svc/shop");
        let new = now["metadata"]["uid"].is_string() && now["metadata"]["uid"] != old;
        (new && now["metadata"]["annotations"]["bluegreen.dev/ledger"].is_string()).then_some(())
    });
    assert_eq!(site.selected(), before);
    site.settled();
}
