//! What is shown of a site: its colours, its pods, what leads to them, what happened.

use bluegreen::rollout::Colour;
use bluegreen_rig::cluster::{ControlPlane, Options};
use bluegreen_rig::wait;
use serde_json::{Value, json};

use super::kit::{Desk, Program, awaiting, install, manifest, new, old, resting, shared};

/// Blue serves with two pods; green is the candidate, and its pods behave as told.
fn desk(name: &str, green: &str) -> Desk {
    let desk = Desk::new(name);
    desk.apply("shop");
    desk.colour("shop", Colour::Blue, old(), 2, "ready");
    desk.service("shop", "shop", Colour::Blue);
    desk.colour("shop", Colour::Green, new(), 2, green);
    desk.service("shop", "shop-preview", Colour::Green);
    desk.status("shop", &awaiting());
    desk
}

#[test]
fn get_shows_sites_as_kubectl_would() {
    let desk = desk("get", "ready");
    let out = desk.shows(&["get"], "2/2");
    let header: Vec<&str> = out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header[..5], ["NAME", "READY", "PHASE", "LIVE", "INSTANCES"]);
    let row: Vec<&str> = out.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..7], ["shop", "False", "AwaitingApproval", "blue", "2/2", "0123456789", "feedbeef00"]);
    let wide = desk.program.ok(&["get", "-o", "wide"]);
    assert!(wide.contains("shop:80") && wide.contains("waits for approval"), "{wide}");
    assert_eq!(desk.program.ok(&["get", "-o", "name"]), "bluegreensite.bluegreen.dev/shop\n");
    let object: Value = serde_json::from_str(&desk.program.ok(&["get", "shop", "-o", "json"])).unwrap();
    assert_eq!(
        (object["kind"].as_str(), object["metadata"]["namespace"].as_str()),
        (Some("BlueGreenSite"), Some(desk.namespace.name()))
    );
    assert!(object["metadata"]["managedFields"].is_null() && object["status"]["phase"] == "AwaitingApproval");
    let all = desk.program.ok(&["get", "-A"]);
    assert!(all.starts_with("NAMESPACE"), "{all}");
    let row = all.lines().find(|line| line.starts_with(desk.namespace.name())).unwrap();
    assert!(row.contains("shop") && row.contains("AwaitingApproval"), "{row}");
    let list: Value = serde_json::from_str(&desk.program.ok(&["get", "-o", "json"])).unwrap();
    assert_eq!((list["kind"].as_str(), list["items"].as_array().map(Vec::len)), (Some("List"), Some(1)));
}

#[test]
fn describe_shows_the_pods_what_leads_to_them_and_what_they_wait_for() {
    let desk = desk("describe", "crashing");
    let out = desk.shows(&["describe", "shop"], "it is started again after a while");
    assert!(
        out.starts_with("Name:            shop\n")
            && out.contains(&format!("Namespace:       {}\n", desk.namespace.name())),
        "{out}"
    );
    assert!(out.contains("  blue:          shop:80\n") && out.contains("  green:         shop-preview:80\n"), "{out}");
    let pods: Vec<&str> =
        out.lines().filter(|line| line.contains("shop-blue-") || line.contains("shop-green-")).collect();
    assert_eq!(pods.len(), 4, "{out}");
    assert!(pods[..2].iter().all(|line| line.contains("blue (live)") && line.contains(" rig ")), "{out}");
    assert!(
        pods[2..].iter().all(|line| line.contains(" no ") && line.contains("app has ended; it is started again")),
        "{out}"
    );
    let bare = desk.program.ok(&["describe"]);
    assert!(bare.contains("shop-green-"), "all of them are looked at as closely as one: {bare}");
}

#[test]
fn what_keeps_pods_from_being_made_is_shown() {
    let desk = Desk::new("quota");
    desk.namespace.kubectl(&["create", "quota", "few", "--hard=pods=1"]).unwrap();
    desk.apply("shop");
    desk.colour("shop", Colour::Green, new(), 3, "ready");
    desk.status("shop", &awaiting());
    let out = desk.shows(&["describe", "shop"], "exceeded quota: few");
    assert!(out.contains("2 pods are not made yet: "), "{out}");
}

#[test]
fn get_follows_what_changes_and_who_falls_ill() {
    let desk = desk("follow", "ready");
    desk.shows(&["get"], "2/2");
    let watch = desk.program.begin(&["get", "-w"]);
    watch.until("NAME").unwrap();
    watch.until("AwaitingApproval").unwrap();
    let pods = desk.namespace.json(&["get", "pods", "-l", "bluegreen.dev/colour=blue"]).unwrap();
    let pod = pods["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    desk.namespace.set_ready(&pod, false).unwrap();
    let line = watch.until("1/2").unwrap();
    assert!(line.contains("blue"), "{line}");
    desk.namespace.set_ready(&pod, true).unwrap();
    watch.until("2/2").unwrap();
    desk.service("shop", "shop", Colour::Green);
    desk.status("shop", &resting());
    let line = watch.until("Idle").unwrap();
    assert!(line.contains("green") && line.contains("feedbeef00"), "what serves is read off the Service: {line}");
    desk.program.ok(&["delete", "shop"]);
    watch.until("shop   deleted").unwrap();
    let everywhere = desk.program.begin(&["get", "-A", "-w"]);
    everywhere.until("NAMESPACE").unwrap();
}

#[test]
fn history_is_made_of_the_events_of_this_very_site() {
    let desk = Desk::new("history");
    desk.apply("shop");
    desk.status("shop", &awaiting());
    assert_eq!(desk.program.ok(&["history", "shop"]), "Nothing has happened yet.\n");
    let uid = desk.site("shop")["metadata"]["uid"].clone();
    let event = |name: &str, uid: &Value, time: &str, reason: &str, note: &str| {
        let regarding = json!({"apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite", "name": "shop", "uid": uid,
            "namespace": desk.namespace.name()});
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name}, "eventTime": time,
            "action": "Reconcile", "reason": reason, "type": "Normal", "note": note, "regarding": regarding,
            "reportingController": "bluegreen.dev/operator", "reportingInstance": "test"});
        desk.namespace.apply(&event.to_string()).unwrap();
    };
    event("b", &uid, "2026-11-22T18:30:00.200000Z", "CuttingOver", &format!("CuttingOver {}", new().short()));
    event("a", &uid, "2026-11-22T18:30:00.100000Z", "Starting", &format!("Starting {}", new().short()));
    event("c", &json!("another"), "2026-11-22T18:31:00.000000Z", "Settled", "an earlier site's");
    let out = desk.program.ok(&["history", "shop"]);
    let reasons: Vec<&str> = out.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(reasons, ["Starting", "CuttingOver"], "{out}");
    assert!(out.contains("feedbeef00"), "{out}");
    let data: Value = serde_json::from_str(&desk.program.ok(&["history", "shop", "-o", "json"])).unwrap();
    assert_eq!(data["items"][0]["revision"], json!(new()));
    assert!(desk.program.ok(&["describe", "shop"]).contains("Starting feedbeef00"));
}

#[test]
fn a_wait_outlives_the_api_server() {
    let plane = ControlPlane::start(Options::api()).unwrap();
    install(&plane);
    let program = Program::new(&plane.kubeconfig(), "default");
    let file = program.file("shop.yaml", &manifest("shop", "1"));
    let wait = program.begin(&["apply", "-f", &file, "--wait"]);
    wait.until("no operator has looked at it yet").unwrap();
    plane.stop_api();
    wait.until("the API server is away, waiting for it").unwrap();
    plane.start_api().unwrap();
    let patch = json!({"status": resting()}).to_string();
    let patched = || {
        plane
            .kubectl(&["patch", "bluegreensite", "shop", "--subresource=status", "--type=merge", "--patch", &patch])
            .ok()
    };
    wait::until("the status was written", wait::PATIENCE, patched).unwrap();
    assert_eq!(wait.end().unwrap().0, Some(0));
}

#[test]
fn kubectl_finds_it_as_its_plugin() {
    let desk = Desk::new("plugin");
    desk.apply("shop");
    let mut kubectl = shared().kubectl_command().unwrap();
    let path = format!("{}:{}", desk.program.folder().display(), std::env::var("PATH").unwrap_or_default());
    let output = kubectl.args(["bluegreen", "get", "-n", desk.namespace.name()]).env("PATH", path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("shop"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
