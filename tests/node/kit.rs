//! What every test of the node needs: the chart with a program that was built here, an app that drains, and patience.

use std::path::{Path, PathBuf};

use bluegreen_rig::cluster::{Node, NodeLoad, tools};
use bluegreen_rig::{binaries, process, wait};
use serde_json::{Value, json};

const APP: &str = "registry.local/rig-app:test";
const OPERATOR: &str = "registry.local/bluegreen:test";

/// The chart, with a program that was built here; nothing is pulled from anywhere.
pub fn install(node: &Node) {
    node.import(APP, &binaries::fixed("rig-app").expect("it is built"), 0).expect("an image can be made");
    node.import(OPERATOR, &binaries::fixed("bluegreen").expect("it is built"), 65532).expect("an image can be made");
    let (repository, tag) = OPERATOR.split_once(':').expect("it has a tag");
    let mut helm = node.command(tools::helm().expect("it is built"));
    helm.args(["install", "bluegreen"]).arg(root().join("charts/bluegreen"));
    helm.args(["--namespace", "bluegreen", "--create-namespace", "--wait", "--timeout", "3m"]);
    helm.args(["--set", &format!("image.repository={repository},image.tag={tag},image.pullPolicy=Never")]);
    for (variable, folder) in [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
    {
        helm.env(variable, node.folder().join("helm").join(folder));
    }
    if let Err(error) = process::run(&mut helm) {
        panic!("{error:#}\n{}", told(node));
    }
}

/// The site, with an app that calls itself this.
pub fn site(version: &str) -> Value {
    json!({
        "apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite",
        "metadata": { "name": "shop", "namespace": "default" },
        "spec": {
            "target": { "cluster": {
                "replicas": 2,
                "service": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
                "template": { "spec": pod(version) },
            } },
            "strategy": { "drainWithin": "1s", "bake": "1s", "standby": "0s", "readyWithin": "2m" },
        },
    })
}

/// An app that says `Connection: close` for two seconds before it goes: whoever keeps a connection to it then learns of its end from an
/// answer, and not from a request that meets nobody.
pub fn pod(version: &str) -> Value {
    app(version, "2000")
}

/// An app that goes without a word as soon as it is asked to, and the pause before that which its pods are given then: what most people write.
pub fn pod_that_only_sleeps(version: &str) -> Value {
    let mut pod = app(version, "0");
    pod["containers"][0]["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 5 } } });
    pod
}

fn app(version: &str, drain_ms: &str) -> Value {
    let env = [("PORT", "8080"), ("RIG_EXPOSED", "true"), ("RIG_VERSION", version), ("RIG_DRAIN_MS", drain_ms)];
    let env: Vec<Value> = env.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!({
        "terminationGracePeriodSeconds": 15,
        "containers": [{
            "name": "shop", "image": APP, "imagePullPolicy": "Never", "env": env,
            "ports": [{ "name": "http", "containerPort": 8080 }],
            "readinessProbe": { "httpGet": { "path": "/health", "port": 8080 }, "periodSeconds": 1 },
        }],
    })
}

/// Waits until another revision than this one is live and nothing is under way; returns which.
pub fn settled(node: &Node, before: Option<&str>) -> String {
    let live = wait::until("the new revision was live", wait::PATIENCE * 2, || {
        let site = node.json(&["get", "bluegreensites.bluegreen.dev/shop"]).ok()?;
        let live = site["status"]["live"]["revision"].as_str()?.to_owned();
        let seen = site["status"]["observedGeneration"] == site["metadata"]["generation"];
        (seen && site["status"]["phase"] == "Idle" && Some(live.as_str()) != before).then_some(live)
    });
    live.unwrap_or_else(|error| panic!("{error}\n{}", told(node)))
}

/// Where clients find a Service.
pub fn cluster_ip(node: &Node, service: &str) -> String {
    let service = node.json(&["get", "service", service]).expect("there is one");
    service["spec"]["clusterIP"].as_str().expect("it has an address").to_owned()
}

/// What there is to say about a failure.
pub fn told(node: &Node) -> String {
    let questions: [&[&str]; 4] = [
        &["get", "pods,services,deployments,endpointslices", "--all-namespaces", "--output=wide"],
        &["get", "bluegreensites.bluegreen.dev", "--output=yaml"],
        &["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"],
        &["logs", "--namespace=bluegreen", "--selector=app.kubernetes.io/name=bluegreen", "--tail=100", "--prefix"],
    ];
    let answers = questions.iter().map(|question| node.kubectl(question).unwrap_or_else(|error| error.to_string()));
    answers.collect::<Vec<_>>().join("\n")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// How many cutovers there are to be.
pub fn cutovers() -> usize {
    std::env::var("BLUEGREEN_CUTOVERS").ok().and_then(|count| count.parse().ok()).unwrap_or(50)
}

/// Deploys so many versions, one after the other, and then wants every one of them to have answered and nothing to be lost.
pub fn nothing_is_lost(
    node: &Node,
    site: impl Fn(&str) -> Value,
    loads: impl FnOnce() -> [(&'static str, NodeLoad); 2],
) {
    node.apply(&site("v0").to_string()).expect("the site is accepted");
    let mut live = settled(node, None);
    let loads = loads();
    let count = cutovers();
    for number in 1..=count {
        node.apply(&site(&format!("v{number}")).to_string()).expect("the site is accepted");
        live = settled(node, Some(&live));
        eprintln!("cutover {number} of {count}: {live} is live");
    }
    for (kind, load) in loads {
        let counted = load.stop().expect("it was counted");
        eprintln!("{kind}: {} requests, {} lost", counted["requests"], counted["failed"]);
        let versions: Vec<String> = (0..=count).map(|number| format!("v{number}")).collect();
        let silent: Vec<&String> =
            versions.iter().filter(|version| counted["versions"][version.as_str()].is_null()).collect();
        assert!(silent.is_empty(), "{kind}: {silent:?} never answered");
        // Where the node itself was too busy, the events say so: probes that failed.
        let all = || format!("{kind}: {}, at {}\n{}", counted["losses"], counted["told"], told(node));
        assert_eq!(counted["failed"], 0, "{}", all());
        assert_eq!(counted["brokenClients"], 0, "{kind}");
    }
}

/// Clients with a connection for each request, and clients that keep theirs.
pub fn clients(node: &Node, address: &str, more: &[&str]) -> [(&'static str, NodeLoad); 2] {
    // A second of thousands of connections from one address would meet ports again that conntrack still remembers.
    let fresh = [&["--fresh", "--clients", "8", "--think-ms", "20"], more].concat();
    let kept = [&["--clients", "8", "--think-ms", "5"], more].concat();
    [("a connection each", fresh), ("connections that are kept", kept)]
        .map(|(kind, arguments)| (kind, node.load(address, &arguments).expect("clients can be started")))
}
