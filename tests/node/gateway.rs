//! Through an HTTPRoute: Traefik in a pod of its own, as its documents install it and with its own defaults. What it does with weights and when is
//! nobody's here.

use bluegreen_rig::cluster::{Node, tools};
use bluegreen_rig::wait;
use serde_json::{Value, json};

use super::kit::{clients, install, nothing_is_lost, pod, pod_that_only_sleeps, site, told};

const TRAEFIK: &str = "registry.local/traefik:test";
/// The account that the roles in Traefik's documents are for.
const ACCOUNT: &str = "traefik-controller";
const HOST: &str = "shop.example.com";

#[test]
#[ignore = "needs root and minutes: make test-node"]
fn cutovers_through_an_http_route_lose_nothing() {
    cutovers_of(pod);
}

#[test]
#[ignore = "needs root and minutes: make test-node"]
fn nor_do_they_with_an_app_that_never_says_that_it_ends() {
    cutovers_of(pod_that_only_sleeps);
}

fn cutovers_of(pod: fn(&str) -> Value) {
    let node = Node::up().expect("a node comes up");
    let address = gateway(&node);
    install(&node);
    nothing_is_lost(&node, |version| routed(version, pod), || clients(&node, &address, &["--host", HOST]));
    let route = node.json(&["get", "httproute", "shop"]).expect("there is one");
    let controller = &route["status"]["parents"][0]["controllerName"];
    assert_eq!(controller, "traefik.io/gateway-controller", "it was Traefik that said so: {route}");
    let live = node.kubectl(&["get", "service", "shop"]);
    assert!(live.is_err(), "with a route there is no live Service: {live:?}");
}

fn routed(version: &str, pod: fn(&str) -> Value) -> Value {
    let mut site = site(version);
    site["spec"]["target"]["cluster"]["template"]["spec"] = pod(version);
    site["spec"]["target"]["cluster"]["route"] =
        json!({ "httpRoute": { "parentRefs": [{ "name": "web" }], "hostnames": [HOST] } });
    site
}

/// Brings up Traefik with a Gateway called `web`; returns where it listens.
fn gateway(node: &Node) -> String {
    let traefik = tools::folder("traefik").expect("it is built");
    node.import(TRAEFIK, &traefik.join("traefik"), 65532).expect("an image can be made");
    let (crd, roles) = (traefik.join("crd").display().to_string(), traefik.join("rbac.yaml").display().to_string());
    node.kubectl(&["create", "--filename", &crd]).expect("the definitions are taken");
    let definitions = ["get", "crd", "httproutes.gateway.networking.k8s.io", "gateways.gateway.networking.k8s.io"];
    wait::until("the definitions were served", wait::PATIENCE, || {
        let said = node.json(&definitions).ok()?;
        let served = |one: &Value| {
            one["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|it| it["type"] == "Established" && it["status"] == "True"))
        };
        said["items"].as_array()?.iter().all(served).then_some(())
    })
    .expect("they are");
    node.kubectl(&["create", "--filename", &roles]).expect("the roles are taken");
    for object in traefik_itself() {
        node.apply(&object.to_string()).expect("it is accepted");
    }
    let ready = ["wait", "--for=condition=Ready", "pod/traefik", "--timeout=120s"];
    node.kubectl(&ready).unwrap_or_else(|error| panic!("{error}\n{}", told(node)));
    let ready = ["wait", "--for=condition=Programmed", "gateway/web", "--timeout=120s"];
    node.kubectl(&ready).unwrap_or_else(|error| panic!("{error}\n{}", told(node)));
    let pod = node.json(&["get", "pod", "traefik"]).expect("it is there");
    format!("{}:8000", pod["status"]["podIP"].as_str().expect("it has an address"))
}

fn traefik_itself() -> [Value; 4] {
    let api = "gateway.networking.k8s.io/v1";
    [
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": ACCOUNT } }),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "traefik" },
            "spec": {
                "serviceAccountName": ACCOUNT,
                "containers": [{
                    "name": "traefik", "image": TRAEFIK, "imagePullPolicy": "Never",
                    "args": [
                        "--entryPoints.web.address=:8000", "--entryPoints.traefik.address=:8080", "--ping=true",
                        "--providers.kubernetesGateway=true", "--log.level=INFO",
                        "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false",
                    ],
                    "readinessProbe": { "httpGet": { "path": "/ping", "port": 8080 }, "periodSeconds": 1 },
                }],
            },
        }),
        json!({
            "apiVersion": api, "kind": "GatewayClass", "metadata": { "name": "traefik" },
            "spec": { "controllerName": "traefik.io/gateway-controller" },
        }),
        json!({
            "apiVersion": api, "kind": "Gateway", "metadata": { "name": "web" },
            "spec": {
                "gatewayClassName": "traefik",
                "listeners": [{ "name": "http", "protocol": "HTTP", "port": 8000 }],
            },
        }),
    ]
}
