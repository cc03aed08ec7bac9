//! Through the ClusterIP of the live Service.

use bluegreen_rig::cluster::Node;
use bluegreen_rig::wait;
use serde_json::json;

use super::kit::{clients, cluster_ip, install, nothing_is_lost, pod, settled, site};

#[test]
#[ignore = "needs root and minutes: make test-node"]
fn cutovers_through_a_service_lose_nothing() {
    let node = Node::up().expect("a node comes up");
    install(&node);
    nothing_is_lost(&node, site, || clients(&node, &format!("{}:80", cluster_ip(&node, "shop")), &[]));
}

#[test]
#[ignore = "needs root and minutes: make test-node"]
fn what_somebody_made_by_hand_is_taken_over_and_replaced_without_a_loss() {
    let node = Node::up().expect("a node comes up");
    install(&node);
    let labels = json!({ "app": "by-hand" });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "by-hand" },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": pod("by-hand") },
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "shop", "annotations": { "bluegreen.dev/adopt": "shop" } },
        "spec": { "selector": labels, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    });
    for object in [deployment, service] {
        node.apply(&object.to_string()).expect("it is accepted");
    }
    node.kubectl(&["rollout", "status", "deployment/by-hand", "--timeout=120s"]).expect("it comes up");
    let address = format!("{}:80", cluster_ip(&node, "shop"));
    // What is ready is not reached yet: kube-proxy learns of it a moment later.
    let connect = format!(": </dev/tcp/{}", address.replace(':', "/"));
    let leads =
        || node.command("bash").args(["-c", &connect]).output().is_ok_and(|it| it.status.success()).then_some(());
    wait::until("the Service led to its pods", wait::PATIENCE, leads).expect("kube-proxy knows of them");
    let loads = clients(&node, &address, &[]);
    node.apply(&site("v1").to_string()).expect("the site is accepted");
    settled(&node, None);
    assert_eq!(format!("{}:80", cluster_ip(&node, "shop")), address, "it is the same Service");
    // Nobody needs it any more, and who made it by hand takes it away by hand: its pods are gone when this returns.
    node.kubectl(&["delete", "deployment", "by-hand", "--cascade=foreground", "--timeout=120s"]).expect("it goes");
    for (kind, load) in loads {
        let counted = load.stop().expect("it was counted");
        eprintln!("{kind}: {} requests, {} lost, {}", counted["requests"], counted["failed"], counted["versions"]);
        assert_eq!(counted["failed"], 0, "{kind}: {}", counted["losses"]);
        assert_eq!(counted["brokenClients"], 0, "{kind}");
        for version in ["by-hand", "v1"] {
            assert!(counted["versions"][version]["answered"].as_u64() > Some(0), "{kind}: {}", counted["versions"]);
        }
    }
}
