//! An HTTPRoute in the place of the live Service. The definition is the Gateway API's own; the test speaks for the Gateway, as slowly as it likes.

use serde_json::{Value, json};

use super::kit::{Operated, shop};

fn routed(image: &str, hostname: &str) -> Value {
    let mut site = shop(image, &json!({"spec": {"strategy": {"cutoverWithin": "60s"}}}));
    site["spec"]["target"]["cluster"]["route"] = json!({"httpRoute": {
        "parentRefs": [{"name": "web"}],
        "hostnames": [hostname],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}],
        "settleSeconds": 1,
    }});
    site
}

/// What the route gives each colour.
fn weights(route: &Value) -> Vec<(String, i64)> {
    let backends = route["spec"]["rules"][0]["backendRefs"].as_array().cloned().unwrap_or_default();
    backends
        .iter()
        .map(|one| (one["name"].as_str().unwrap_or_default().to_owned(), one["weight"].as_i64().unwrap_or(-1)))
        .collect()
}

fn all_to(colour: &str) -> Vec<(String, i64)> {
    ["blue", "green"].map(|one| (format!("shop-{one}"), if one == colour { 100 } else { 0 })).to_vec()
}

/// The Gateway accepts the route as it is now.
fn accept(site: &Operated) {
    let route = site.get("httproute/shop");
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": route["metadata"]["generation"],
        })
    };
    let status = json!({"status": {"parents": [{
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"},
        "controllerName": "example.com/test",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    }]}});
    site.namespace
        .kubectl(&["patch", "httproute/shop", "--subresource=status", "--type=merge", "--patch", &status.to_string()])
        .expect("it can be told");
}

#[test]
fn weights_move_traffic_and_count_once_the_gateway_has_them() {
    let site = Operated::new("gateway");
    site.apply(&routed("1", "shop.example.com"));
    site.until("all weight was on blue", || (weights(&site.get("httproute/shop")) == all_to("blue")).then_some(()));
    accept(&site);
    let first = site.settled();
    assert!(site.get("svc/shop").get("metadata").is_none(), "there is no live Service then");

    site.apply(&routed("2", "shop.example.com"));
    site.until("all weight was on green", || (weights(&site.get("httproute/shop")) == all_to("green")).then_some(()));
    let message = site.until("it waited for the Gateway", || {
        let status = site.status();
        (status["phase"] == "CuttingOver").then(|| status.to_string())
    });
    assert!(message.contains(&first.to_string()));
    assert_ne!(site.get("deploy/shop-blue")["spec"]["replicas"], 0, "blue serves until the Gateway has the weights");
    accept(&site);
    let second = site.settled();
    assert_ne!(first, second);

    // Somebody gives half of the traffic to what is not live.
    let mut rules = site.get("httproute/shop")["spec"]["rules"].clone();
    rules[0]["backendRefs"][0]["weight"] = json!(100);
    site.patch("httproute/shop", &json!({"spec": {"rules": rules}}));
    site.until("all weight is on green again", || {
        (weights(&site.get("httproute/shop")) == all_to("green")).then_some(())
    });
    // And the names that it answers to follow the specification without a rollout.
    site.apply(&routed("2", "www.example.com"));
    site.until("it answers to the new name", || {
        (site.get("httproute/shop")["spec"]["hostnames"][0] == "www.example.com").then_some(())
    });
    accept(&site);
    assert_eq!(site.settled(), second);
}

#[test]
fn weights_that_somebody_edits_in_mid_rollout_are_put_back_and_promote_nothing() {
    let site = Operated::new("weights");
    site.apply(&routed("1", "shop.example.com"));
    site.until("all weight was on blue", || (weights(&site.get("httproute/shop")) == all_to("blue")).then_some(()));
    accept(&site);
    let first = site.settled();
    let give = |blue: u64, green: u64| {
        let mut rules = site.get("httproute/shop")["spec"]["rules"].clone();
        rules[0]["backendRefs"][0]["weight"] = json!(blue);
        rules[0]["backendRefs"][1]["weight"] = json!(green);
        site.patch("httproute/shop", &json!({"spec": {"rules": rules}}));
    };
    let put_back = |colour: &str| {
        site.until("the weights were put back", || {
            (weights(&site.get("httproute/shop")) == all_to(colour)).then_some(())
        });
    };
    let mut manual = routed("2", "shop.example.com");
    manual["spec"]["strategy"]["promotion"] = json!("Manual");
    site.apply(&manual);
    let candidate = site.until("it awaited approval", || {
        let status = site.status();
        let waits = status["phase"] == "AwaitingApproval";
        waits.then(|| status["candidate"]["revision"].as_str().map(ToOwned::to_owned))?
    });
    // Half of the traffic, and all of it, to what nobody has approved.
    for (blue, green) in [(100, 100), (0, 100)] {
        give(blue, green);
        put_back("blue");
        accept(&site);
    }
    let status = site.status();
    assert_eq!(
        (&status["phase"], &status["live"]["revision"]),
        (&json!("AwaitingApproval"), &json!(first.to_string()))
    );
    let ledger = site.get("httproute/shop")["metadata"]["annotations"]["bluegreen.dev/ledger"].clone();
    assert!(!ledger.as_str().unwrap().contains(&candidate), "it was neither intended nor cleared by that: {ledger}");

    // And back to the old colour, while the Gateway has not got the weights of the new one yet.
    let approve = format!("bluegreen.dev/approve={candidate}/1");
    site.namespace.kubectl(&["annotate", "--overwrite", "bgs/shop", &approve]).expect("it is taken");
    put_back("green");
    give(100, 0);
    put_back("green");
    accept(&site);
    assert_eq!(site.settled().to_string(), candidate);
}

#[test]
fn a_way_back_to_what_was_stopped_gives_it_weight_only_when_it_has_settled() {
    let site = Operated::new("settles");
    let all_weight = |colour: &str| {
        site.until(&format!("all weight was on {colour}"), || {
            (weights(&site.get("httproute/shop")) == all_to(colour)).then_some(())
        });
    };
    let wanted = |image: &str, settle: u64| {
        let mut wanted = routed(image, "shop.example.com");
        wanted["spec"]["strategy"]["standby"] = json!("0s");
        wanted["spec"]["target"]["cluster"]["route"]["httpRoute"]["settleSeconds"] = json!(settle);
        wanted
    };
    let mut revisions = Vec::new();
    for (image, colour) in [("1", "blue"), ("2", "green")] {
        site.apply(&wanted(image, 1));
        all_weight(colour);
        accept(&site);
        revisions.push(site.settled());
    }
    site.until("blue was stopped", || (site.get("deploy/shop-blue")["spec"]["replicas"] == 0).then_some(()));
    site.apply(&wanted("2", 600));
    let annotation = format!("bluegreen.dev/rollback={}/1 to {}", revisions[1], revisions[0]);
    site.namespace.kubectl(&["annotate", "--overwrite", "bgs/shop", &annotation]).expect("it is taken");
    site.until("it is ready and looked at", || (site.status()["phase"] == "Verifying").then_some(()));
    assert_eq!(weights(&site.get("httproute/shop")), all_to("green"), "no weight before it has settled");
    site.apply(&wanted("2", 1));
    all_weight("blue");
    accept(&site);
    site.until("it serves, and the other one is gone", || {
        let status = site.status();
        let there = status["phase"] == "Idle" && status["live"]["revision"] == revisions[0].to_string();
        (there && site.get("deploy/shop-green")["spec"]["replicas"] == 0).then_some(())
    });
}
