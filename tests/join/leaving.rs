//! A host leaves its hub, and an admin ends a host that is no more.

use bluegreen_rig::ports::Port;
use serde_json::{Value, json};

use super::kit::{Machine, admin, dies, joined, plane, site, token};

/// A site of this host on its hub, as when the host has accepted it: with its finalizer and somebody else's.
fn accepted(machine: &Machine, host: &str, name: &str) {
    let namespace = format!("bluegreen-host-{host}");
    let mut shop = site(&namespace, name);
    shop["metadata"]["finalizers"] = json!(["example.com/kept", "bluegreen.dev/host"]);
    plane().apply(&shop.to_string()).unwrap();
    let uid = plane().json(&["-n", &namespace, "get", "bluegreensite", name]).unwrap()["metadata"]["uid"].clone();
    let hub = machine.membership().unwrap().hub;
    let folder = machine.state().join("sites").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let entry = json!({ "object": shop, "manifest": "m", "told": null, "origin": { "hub": { "hub": hub, "uid": uid, "generation": 1, "version": "1" } } });
    std::fs::write(folder.join("accepted.json"), entry.to_string()).unwrap();
}

fn finalizers(host: &str, name: &str) -> Value {
    let namespace = format!("bluegreen-host-{host}");
    plane().json(&["-n", &namespace, "get", "bluegreensite", name]).unwrap()["metadata"]["finalizers"].clone()
}

#[test]
fn a_host_without_sites_of_its_hub_leaves_and_may_join_again() {
    let (machine, name) = joined("vps");
    let said = machine.host(&["leave"], "").well();
    assert!(said.contains(&format!("where this host was {name}")), "{said}");
    assert!(machine.membership().is_none() && machine.token_file().is_empty());
    let said = machine.host(&["leave"], "").refused();
    assert!(said.contains("has joined no hub"), "{said}");
    machine.join(&token(&name)).well();
}

#[test]
fn a_host_with_sites_leaves_only_by_force_and_lets_go_of_them_on_the_hub() {
    let (machine, name) = joined("vps");
    accepted(&machine, &name, "shop");
    let said = machine.host(&["leave"], "").refused();
    assert!(said.contains("shop") && said.contains("--force") && said.contains("delete bluegreensite"), "{said}");
    assert!(machine.membership().is_some() && !machine.token_file().is_empty());
    assert_eq!(finalizers(&name, "shop"), json!(["example.com/kept", "bluegreen.dev/host"]));

    let said = machine.host(&["leave", "--force"], "").well();
    assert!(
        said.contains("run on as they are: shop") && said.contains("can be deleted without this host: shop"),
        "{said}"
    );
    assert_eq!(finalizers(&name, "shop"), json!(["example.com/kept"]));
    assert!(machine.membership().is_none() && machine.token_file().is_empty());
    assert!(machine.state().join("sites/shop/accepted.json").exists(), "what runs here is not touched");
}

#[test]
fn a_host_leaves_a_hub_that_is_away_and_says_what_is_left_to_do_there() {
    let (machine, name) = joined("vps");
    accepted(&machine, &name, "shop");
    let nobody = Port::take().unwrap();
    let mut membership = machine.membership().unwrap();
    membership.server = format!("https://127.0.0.1:{}", nobody.number());
    membership.save(&machine.state()).unwrap();
    machine.host(&["leave"], "").refused();
    let said = machine.host(&["leave", "--force"], "").well();
    assert!(
        said.contains("could not be told") && said.contains(&format!("bluegreen host leave {name} --force")),
        "{said}"
    );
    assert_eq!(finalizers(&name, "shop"), json!(["example.com/kept", "bluegreen.dev/host"]));
    assert!(machine.membership().is_none());
    // What that line does.
    admin(&["host", "leave", &name, "--force"]).well();
    assert_eq!(finalizers(&name, "shop"), json!(["example.com/kept"]));
}

#[test]
fn an_admin_ends_a_host_that_is_no_more_and_its_tokens_with_it() {
    let (machine, name) = joined("burnt");
    accepted(&machine, &name, "shop");
    let said = admin(&["host", "leave", &name]).refused();
    assert!(said.contains("is not there, and has the sites shop") && said.contains("--force"), "{said}");
    let host = machine.caller();
    let shop = format!("/apis/bluegreen.dev/v1alpha1/namespaces/bluegreen-host-{name}/bluegreensites/shop");
    assert_eq!(host.call("GET", &shop, &Value::Null).0, 200);

    let said = admin(&["host", "leave", &name, "--force"]).well();
    assert!(said.contains("is shut out") && said.contains("shop"), "{said}");
    assert_ne!(host.call("GET", &shop, &Value::Null).0, 200, "its rights are gone before its token is");
    dies(&machine.token_file());
    assert_eq!(finalizers(&name, "shop"), json!(["example.com/kept"]));
    // A second time there is nothing to end, and nothing wrong.
    admin(&["host", "leave", &name, "--force"]).well();

    // A new machine in its place; what the old one holds stays dead.
    let old = machine.token_file();
    let new = Machine::new();
    new.join(&token(&name)).well();
    assert_eq!(new.caller().call("GET", &shop, &Value::Null).0, 200);
    assert_eq!(super::kit::Caller::new(plane(), &old).call("GET", &shop, &Value::Null).0, 401);
    let said = admin(&["host", "leave", "nobody-here", "--force"]).refused();
    assert!(said.contains("there is no host nobody-here"), "{said}");
}

#[test]
fn a_host_that_is_alive_is_shut_out_only_by_force_and_is_shown_as_ready() {
    let (_machine, name) = joined("alive");
    let line = || {
        let table = admin(&["host", "get"]).well();
        let line = table.lines().find(|line| line.split_whitespace().next() == Some(&name)).map(ToOwned::to_owned);
        line.unwrap_or_else(|| panic!("{table}")).split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line(), [name.as_str(), "Never", "<none>", "0"]);
    let namespace = format!("bluegreen-host-{name}");
    plane().apply(&site(&namespace, "shop").to_string()).unwrap();
    // Its clock is a year behind.
    let lease = json!({ "spec": {
        "holderIdentity": "00112233445566778899aabbccddeeff", "leaseDurationSeconds": 600, "renewTime": "2025-01-01T00:00:00.000000Z",
    }});
    plane()
        .kubectl(&["-n", &namespace, "patch", "lease", "bluegreen-host", "--type=merge", "-p", &lease.to_string()])
        .unwrap();
    let shown = line();
    assert_eq!((shown[1].as_str(), shown[3].as_str(), shown[4].as_str()), ("True", "ago", "1"), "{shown:?}");
    let said = admin(&["host", "leave", &name]).refused();
    assert!(said.contains("is there and alive"), "{said}");
    admin(&["host", "leave", &name, "--force"]).well();
}
