//! What a watch says, what our own writes answer, and what is kept of it.

use kube::runtime::watcher::Event;
use serde_json::json;

use super::*;

fn deployment(name: &str, version: u64, replicas: i32) -> Watched<Deployment> {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": "web",
            "resourceVersion": version.to_string(),
            "labels": {"bluegreen.dev/site": "shop"},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "app"}]}}},
    }))
    .expect("it can be read")
}

fn size(cache: &Cache, name: &str) -> Option<i32> {
    cache.view(&Key::new("web", "shop")).deployment(name).map(|one| one.replicas)
}

#[test]
fn of_two_tellings_the_newer_one_counts_in_whatever_order_they_come() {
    let cache = Cache::default();
    cache.apply(Event::Apply(deployment("shop-blue", 5, 1)));
    cache.note(&deployment("shop-blue", 7, 3));
    assert!(cache.apply(Event::Apply(deployment("shop-blue", 6, 2))).is_empty(), "older than our own write");
    assert_eq!(size(&cache, "shop-blue"), Some(3));
    assert_eq!(cache.apply(Event::Apply(deployment("shop-blue", 8, 4))), [Key::new("web", "shop")]);
    assert_eq!(size(&cache, "shop-blue"), Some(4));
}

#[test]
fn an_answer_that_comes_after_its_object_is_gone_brings_it_not_back() {
    let cache = Cache::default();
    cache.apply(Event::Apply(deployment("shop-blue", 5, 1)));
    cache.apply(Event::Delete(deployment("shop-blue", 9, 1)));
    cache.note(&deployment("shop-blue", 7, 3));
    assert_eq!(size(&cache, "shop-blue"), None);
    cache.note(&deployment("shop-blue", 11, 3));
    assert_eq!(size(&cache, "shop-blue"), Some(3), "made anew since");
    cache.apply(Event::Delete(deployment("shop-blue", 9, 1)));
    assert_eq!(size(&cache, "shop-blue"), Some(3), "the deletion of what was before");
}

#[test]
fn a_list_made_anew_forgets_what_is_gone_and_keeps_what_we_have_just_made() {
    let cache = Cache::default();
    for name in ["shop-blue", "shop-green"] {
        cache.apply(Event::Apply(deployment(name, 5, 1)));
    }
    cache.apply::<Deployment>(Event::Init);
    cache.apply(Event::InitApply(deployment("shop-blue", 6, 2)));
    cache.note(&deployment("shop-new", 9, 1));
    assert_eq!(size(&cache, "shop-green"), Some(1), "until the list is whole");
    assert_eq!(cache.apply::<Deployment>(Event::InitDone), [Key::new("web", "shop")]);
    assert_eq!(size(&cache, "shop-green"), None);
    assert_eq!((size(&cache, "shop-blue"), size(&cache, "shop-new")), (Some(2), Some(1)));
}

#[test]
fn nothing_is_known_until_every_kind_was_listed_once() {
    let cache = Cache::default();
    for kind in Kind::ALL {
        let what = cache.complete(&Kind::ALL).expect_err("not all of them");
        assert!(what.contains("not listed"), "{what}");
        cache.absent(kind);
    }
    assert_eq!(cache.complete(&Kind::ALL), Ok(()));
    cache.fails(Kind::Service, "services is forbidden".to_owned());
    let what = cache.complete(&Kind::ALL).expect_err("one can't be watched");
    assert!(what.contains("services is forbidden"), "{what}");
    cache.apply::<Service>(Event::InitDone);
    assert_eq!(cache.complete(&Kind::ALL), Ok(()));
}

#[test]
fn the_digest_of_ports_is_that_of_what_the_api_server_made_of_them() {
    use crate::api::site::{ServicePort, TargetPort};
    use crate::platform::cluster::objects::wanted_ports;
    let wanted = [ServicePort { name: None, port: 80, target: TargetPort::Number(8080), app_protocol: None }];
    let service = |ports| -> Watched<Service> {
        serde_json::from_value(json!({"metadata": {"name": "shop"}, "spec": {"ports": ports}})).expect("it can be read")
    };
    let defaulted = service(json!([{"port": 80, "targetPort": 8080, "protocol": "TCP", "nodePort": 30123}]));
    assert_eq!(defaulted.fact.ports, wanted_ports(&wanted));
    let other = service(json!([{"port": 80, "targetPort": 8081, "protocol": "TCP"}]));
    assert_ne!(other.fact.ports, wanted_ports(&wanted));
}

/// What a fact takes on the heap besides itself.
fn texts(all: &[&str]) -> usize {
    all.iter().map(|text| text.len()).sum()
}

#[test]
fn a_child_takes_less_than_half_a_kibibyte() {
    let ports = r#"[{"name":"http","target":8080}]"#;
    let sizes = [
        ("Deployment", size_of::<Deployment>() + texts(&["shop-blue", ports])),
        ("Service", size_of::<Service>() + texts(&["shop-preview"])),
        ("Slice", size_of::<Slice>() + texts(&["shop-blue-x7k2p", "shop-blue"]) + size_of::<Endpoint>()),
        ("Release", size_of::<Release>() + texts(&["shop-0123456789"])),
        ("Budget", size_of::<Budget>() + texts(&["shop-blue"])),
        ("HttpRoute", size_of::<HttpRoute>() + texts(&["shop"])),
    ];
    println!("{sizes:?}");
    for (kind, size) in sizes {
        assert!(size <= 400, "{kind}: {size} bytes");
    }
}
