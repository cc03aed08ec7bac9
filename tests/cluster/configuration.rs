//! ConfigMaps and Secrets that a template names.

use serde_json::{Value, json};

use super::kit::{Operated, shop, target};

fn map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"greeting": value}})
}

fn secret(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": value}})
}

/// A site whose container reads a ConfigMap as variables.
fn reading(image: &str, references: &Value) -> Value {
    let mut site = shop(image, &json!({}));
    let container = &mut site["spec"]["target"]["cluster"]["template"]["spec"]["containers"][0];
    container["envFrom"] = references.clone();
    site
}

fn names(site: &Operated, deployment: &str, kind: &str) -> String {
    let template =
        site.get(&format!("deploy/{deployment}"))["spec"]["template"]["spec"]["containers"][0]["envFrom"].clone();
    template
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|one| one[kind]["name"].as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}

#[test]
fn each_colour_reads_a_copy_of_its_own_and_a_changed_configmap_is_a_new_revision() {
    let site = Operated::new("copies");
    let references =
        json!([{"configMapRef": {"name": "settings"}}, {"configMapRef": {"name": "extra", "optional": true}}]);
    site.apply(&reading("1", &references));
    let said = site.stalled("ConfigurationMissing");
    assert!(said.contains("ConfigMap settings"), "{said}");
    site.apply(&map("settings", "hello"));
    let first = site.settled();
    let copy = names(&site, "shop-blue", "configMapRef");
    assert!(copy.starts_with("shop-settings-"), "{copy}");
    let copied = site.get(&format!("configmap/{copy}"));
    assert_eq!((copied["data"]["greeting"].as_str(), copied["immutable"].as_bool()), (Some("hello"), Some(true)));
    site.apply(&map("settings", "good evening"));
    let second = site.until("the change was rolled out", || {
        let live = site.status()["live"]["revision"].as_str().map(ToOwned::to_owned)?;
        (live != first.to_string() && site.status()["phase"] == "Idle").then_some(live)
    });
    assert_eq!(site.selected(), ("green".to_owned(), second));
    let next = names(&site, "shop-green", "configMapRef");
    assert_ne!(next, copy);
    assert_eq!(site.get(&format!("configmap/{next}"))["data"]["greeting"], "good evening");
    assert_eq!(site.get(&format!("configmap/{copy}"))["data"]["greeting"], "hello", "the standby keeps what it reads");
}

#[test]
fn a_secret_is_read_only_where_that_was_asked_for() {
    let site = Operated::new("secrets");
    site.apply(&secret("login", "one"));
    let references = json!([{"secretRef": {"name": "login"}}]);
    let mark = super::kit::plane().mark();
    site.apply(&reading("1", &references));
    site.settled();
    assert_eq!(names(&site, "shop-blue", "secretRef"), "login");
    let requests = super::kit::plane().requests_since(mark).expect("the log can be read");
    let read = requests.iter().filter(|one| one.resource == "secrets" && one.namespace == site.namespace.name());
    assert_eq!(read.filter(|one| !one.user_agent.starts_with("kube-")).count(), 0, "nobody reads a Secret by default");

    let mut snapshot = reading("1", &references);
    super::kit::merge(&mut snapshot, &target(&json!({"configuration": {"secrets": "Snapshot"}})));
    site.apply(&snapshot);
    let first = site.settled();
    let copy = names(&site, "shop-green", "secretRef");
    assert!(copy.starts_with("shop-login-"), "{copy}");
    site.apply(&secret("login", "two"));
    site.until("the change was rolled out", || {
        let live = site.status()["live"]["revision"].as_str().map(ToOwned::to_owned)?;
        (live != first.to_string() && site.status()["phase"] == "Idle").then_some(())
    });
    assert_ne!(names(&site, "shop-blue", "secretRef"), copy);
}

#[test]
fn old_releases_and_the_copies_that_only_they_read_are_deleted_at_rest() {
    let mut site = Operated::new("pruned");
    site.apply(&map("settings", "hello"));
    site.apply(&reading("1", &json!([{"configMapRef": {"name": "settings"}}])));
    let live = site.settled();
    let copy = names(&site, "shop-blue", "configMapRef");
    site.kill();
    // As if eleven more had been rolled out since, each with a copy of its own.
    let uid = site.get("bgs/shop")["metadata"]["uid"].clone();
    let metadata = |name: String, labels: Value| {
        let mut labels = labels;
        super::kit::merge(
            &mut labels,
            &json!({"bluegreen.dev/site": "shop", "app.kubernetes.io/managed-by": "bluegreen"}),
        );
        let owner = json!({"apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite", "name": "shop", "uid": uid, "controller": true});
        json!({"name": name, "labels": labels, "ownerReferences": [owner]})
    };
    for number in 1..=11_u32 {
        let read = format!("shop-settings-{number}");
        site.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "data": {"greeting": number.to_string()},
            "metadata": metadata(read.clone(), json!({"bluegreen.dev/part": "configuration"})),
        }));
        site.apply(&json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number,
            "metadata": metadata(format!("shop-{number:010x}"), json!({"bluegreen.dev/revision": format!("{:032x}", u128::from(number) << 88)})),
            "data": {"ports": [], "template": {"spec": {"containers": [{"name": "app", "envFrom": [{"configMapRef": {"name": read}}]}]}}},
        }));
    }
    let all = |site: &Operated, what: &str, labels: &str| -> Vec<String> {
        let list = site.namespace.json(&["get", what, "--selector", labels]).expect("they can be listed");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().filter_map(|one| one["metadata"]["name"].as_str().map(ToOwned::to_owned)).collect()
    };
    let releases = |site: &Operated| all(site, "controllerrevisions", "bluegreen.dev/site=shop");
    let copies = |site: &Operated| all(site, "configmaps", "bluegreen.dev/part=configuration");
    assert_eq!((releases(&site).len(), copies(&site).len()), (12, 12));
    let before = site.selected();
    site.start();
    site.until("old ones were deleted", || (releases(&site).len() < 12 && copies(&site).len() < 12).then_some(()));
    assert!(releases(&site).contains(&format!("shop-{}", live.short())), "what is live is kept");
    assert!(copies(&site).contains(&copy));
    assert_eq!(releases(&site).len(), copies(&site).len(), "each that is kept can be started again");
    assert_eq!(site.selected(), before);
}
