//! What belongs to somebody else is not touched, and what is offered is taken over.

use serde_json::{Value, json};

use super::kit::{Operated, condition, merge, shop, target};

fn hand_made(name: &str) -> Value {
    let labels = json!({"app": "by-hand"});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "registry.local/old:1"}]}},
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": {"kept": "yes"}, "annotations": {"kept": "too"}},
            "spec": {"type": "NodePort", "selector": labels, "ports": [{"port": 80, "targetPort": 8080, "name": "http"}]},
        },
    ]})
}

#[test]
fn a_service_of_that_name_that_is_somebody_elses_is_not_touched_and_is_said() {
    let site = Operated::new("taken");
    site.apply(&hand_made("shop"));
    let before = site.get("svc/shop");
    site.apply(&shop("1", &json!({})));
    let said = site.stalled("NameTaken");
    assert!(said.contains("Service shop") && said.contains("bluegreen.dev/adopt=shop"), "{said}");
    assert_eq!(site.get("svc/shop"), before);
    assert!(site.get("deploy/shop-blue").get("metadata").is_none(), "nothing was started for it");
}

#[test]
fn a_deployment_of_that_name_that_is_somebody_elses_is_not_touched_and_is_said() {
    let site = Operated::new("taken-too");
    site.apply(&hand_made("shop-blue"));
    let mut before = site.get("deploy/shop-blue");
    site.apply(&shop("1", &json!({})));
    let said = site.stalled("NameTaken");
    assert!(said.contains("shop-blue"), "{said}");
    let mut after = site.get("deploy/shop-blue");
    for object in [&mut before, &mut after] {
        // Its own controller tells of its pods.
        object["status"] = Value::Null;
        object["metadata"]["resourceVersion"] = Value::Null;
        object["metadata"]["managedFields"] = Value::Null;
        object["metadata"]["annotations"] = Value::Null;
    }
    assert_eq!(after, before);
}

#[test]
fn a_service_that_is_offered_is_taken_over_at_the_first_cutover_and_serves_all_the_while() {
    let site = Operated::new("adopted");
    site.apply(&hand_made("shop"));
    site.until("it serves", || (!site.serving().is_empty()).then_some(()));
    let before = site.get("svc/shop");
    site.namespace.kubectl(&["annotate", "svc/shop", "bluegreen.dev/adopt=shop"]).expect("it can be offered");
    site.apply(&shop("1", &json!({})));
    site.until("it was taken over", || {
        assert!(!site.serving().is_empty(), "it serves all the while");
        (site.selected().0 == "blue").then_some(())
    });
    let revision = site.settled();
    let after = site.get("svc/shop");
    assert_eq!(site.selected().1, revision.to_string());
    for kept in [
        "/spec/clusterIP",
        "/spec/type",
        "/spec/ports/0/nodePort",
        "/metadata/uid",
        "/metadata/labels/kept",
        "/metadata/annotations/kept",
    ] {
        assert_eq!(after.pointer(kept), before.pointer(kept), "{kept}");
    }
    assert_eq!(
        after["metadata"]["annotations"]["bluegreen.dev/adopted-selector"],
        json!({"app": "by-hand"}).to_string()
    );
    assert!(!site.serving().is_empty());
    assert!(site.serving().iter().all(|pod| pod.starts_with("shop-blue-")));
}

#[test]
fn a_service_without_an_address_is_not_taken_over() {
    let site = Operated::new("headless");
    let mut made = hand_made("shop");
    merge(&mut made["items"][1], &json!({"spec": {"type": "ClusterIP", "clusterIP": "None"}}));
    made["items"][1]["metadata"]["annotations"]["bluegreen.dev/adopt"] = json!("shop");
    site.apply(&made);
    site.apply(&shop("1", &json!({})));
    let said = site.stalled("NameTaken");
    assert!(said.contains("headless"), "{said}");
}

#[test]
fn what_shall_outlive_its_site_has_no_owner_and_is_known_all_the_same() {
    let mut site = Operated::new("orphan");
    site.apply(&shop("1", &json!({"spec": {"target": {"cluster": {"deletionPolicy": "Orphan"}}}})));
    let revision = site.settled();
    site.kill();
    site.start();
    site.apply(&shop("2", &json!({"spec": {"target": {"cluster": {"deletionPolicy": "Orphan"}}}})));
    assert_ne!(site.settled(), revision);
    site.kill();
    site.namespace.kubectl(&["delete", "bgs/shop", "--cascade=background"]).expect("it can be deleted");
    site.until("the site is gone", || site.get("bgs/shop").get("metadata").is_none().then_some(()));
    for object in ["deploy/shop-green", "svc/shop", "svc/shop-green"] {
        assert!(site.get(object)["metadata"].get("ownerReferences").is_none(), "{object}");
    }
    assert!(!site.serving().is_empty());
}

/// A site of another name, with an operator of its own, that is live.
fn with_another(namespace: &str, other: &Value) -> Operated {
    let mut site = Operated::idle(namespace);
    site.apply(other);
    let name = other["metadata"]["name"].as_str().unwrap();
    site.start_for(name);
    ready(&site, name);
    site
}

fn ready(site: &Operated, name: &str) {
    site.until("it was live", || {
        let object = site.namespace.json(&["get", "bgs", name]).ok()?;
        (condition(&object["status"], "Ready")?["status"] == "True").then_some(())
    });
}

/// What a site says of a name that is taken.
fn refused(site: &Operated, name: &str) -> String {
    site.until("it said whose the name is", || {
        let object = site.namespace.json(&["get", "bgs", name]).ok()?;
        let ready = condition(&object["status"], "Ready")?;
        (ready["reason"] == "NameTaken").then(|| ready["message"].as_str().map(ToOwned::to_owned))?
    })
}

fn named(name: &str, more: &Value) -> Value {
    let mut site = shop("1", more);
    site["metadata"]["name"] = json!(name);
    site
}

#[test]
fn of_two_sites_with_the_same_service_the_second_is_told_whose_it_is_and_the_first_goes_on() {
    let web = target(&json!({"service": {"name": "web"}}));
    let mut site = with_another("same-service", &named("one", &web));
    let before = site.get("svc/web");
    site.apply(&shop("1", &web));
    site.start();
    let said = site.stalled("NameTaken");
    assert!(said.contains("the Service web belongs to BlueGreenSite one"), "{said}");
    assert!(said.contains("another service.name") && !said.contains("kubectl annotate"), "{said}");
    // A person who offers it all the same changes nothing: it has an owner, and keeps it.
    site.namespace.kubectl(&["annotate", "svc/web", "bluegreen.dev/adopt=shop"]).expect("it can be written");
    site.apply(&shop("2", &web));
    site.stalled("NameTaken");
    let after = site.get("svc/web");
    for kept in ["/spec", "/metadata/ownerReferences", "/metadata/labels"] {
        assert_eq!(after.pointer(kept), before.pointer(kept), "{kept}");
    }
    assert!(site.get("deploy/shop-blue").get("metadata").is_none(), "nothing was started for it");
    // The first one is not held up by it, and what the second is told was enough.
    site.apply(&named("one", &json!({"spec": {"target": {"cluster": {"replicas": 2, "service": {"name": "web"}}}}})));
    site.until("it grew", || (site.get("deploy/one-blue")["spec"]["replicas"] == 2).then_some(()));
    site.apply(&shop("2", &target(&json!({"service": {"name": "web-too"}}))));
    site.settled();
}

#[test]
fn a_site_whose_colour_has_the_name_of_another_sites_service_is_told_so_and_takes_nothing() {
    let mut site = with_another("colliding", &named("shop-blue", &json!({})));
    let before = site.get("svc/shop-blue");
    site.apply(&shop("1", &json!({})));
    site.start();
    let said = site.stalled("NameTaken");
    assert!(said.contains("the Service shop-blue belongs to BlueGreenSite shop-blue"), "{said}");
    assert!(said.contains("another name") && !said.contains("kubectl annotate"), "{said}");
    assert_eq!(site.get("svc/shop-blue"), before);
    assert!(site.get("deploy/shop-blue").get("metadata").is_none(), "nothing was started for it");
}

#[test]
fn a_site_whose_service_has_the_name_of_another_sites_colour_is_told_so_and_takes_nothing() {
    let mut site = with_another("colliding-too", &shop("1", &json!({})));
    let before = site.get("svc/shop-blue");
    site.apply(&named("shop-blue", &json!({})));
    site.start_for("shop-blue");
    let said = refused(&site, "shop-blue");
    assert!(said.contains("the Service shop-blue belongs to BlueGreenSite shop"), "{said}");
    assert!(said.contains("another service.name") && !said.contains("kubectl annotate"), "{said}");
    assert_eq!(site.get("svc/shop-blue"), before);
    ready(&site, "shop");
    site.apply(&named("shop-blue", &target(&json!({"service": {"name": "blue"}}))));
    ready(&site, "shop-blue");
}
