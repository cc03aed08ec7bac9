//! The control plane of the tests does what the tests rely on.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use bluegreen_rig::cluster::{AFTER, ControlPlane, Options, POD, Part, counted};
use bluegreen_rig::process::{Guarded, children, exists};
use bluegreen_rig::{process, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

fn deployment(name: &str, annotations: &Value) -> String {
    let labels = json!({ "app": name });
    let pod = json!({ "containers": [{ "name": "app", "image": "registry.local/app:1" }] });
    let service = json!({ "selector": labels, "ports": [{ "port": 80, "targetPort": 8080 }] });
    let items = [
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
            "spec": {
                "replicas": 2, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels, "annotations": annotations }, "spec": pod },
            },
        }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": service }),
    ];
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// The readiness of each endpoint in a Service's slices.
fn endpoints(namespace: &bluegreen_rig::cluster::Namespace<'_>, service: &str) -> Vec<bool> {
    let selector = format!("kubernetes.io/service-name={service}");
    let slices = namespace.json(&["get", "endpointslices", "--selector", &selector]).expect("slices can be listed");
    let slices = slices["items"].as_array().cloned().unwrap_or_default();
    let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
    endpoints.map(|endpoint| endpoint["conditions"]["ready"] == true).collect()
}

#[test]
fn a_deployment_becomes_ready_and_its_slices_say_so() {
    let plane = ControlPlane::shared().expect("a control plane comes up");
    let namespace = plane.namespace("ready").expect("a namespace can be made");
    namespace.apply(&deployment("shop", &json!({}))).expect("it can be applied");
    wait::until("both pods were ready", wait::PATIENCE, || {
        (endpoints(&namespace, "shop") == [true, true]).then_some(())
    })
    .expect("kwok says that pods run");

    let pods = namespace.json(&["get", "pods"]).expect("pods can be listed");
    let pod = pods["items"][0]["metadata"]["name"].as_str().expect("a pod has a name").to_owned();
    for ready in [false, true] {
        namespace.set_ready(&pod, ready).expect("its status can be patched");
        let seen =
            || (endpoints(&namespace, "shop").iter().filter(|it| **it).count() == 1 + usize::from(ready)).then_some(());
        wait::until("the slices followed", wait::PATIENCE, seen).expect("readiness can be taken and given");
    }
    namespace.kubectl(&["scale", "deployment/shop", "--replicas=0"]).expect("it can be scaled");
    wait::until("no endpoint was left", wait::PATIENCE, || endpoints(&namespace, "shop").is_empty().then_some(()))
        .expect("pods end when they are deleted");
}

#[test]
fn a_pod_does_what_its_annotation_says() {
    let plane = ControlPlane::shared().expect("a control plane comes up");
    let namespace = plane.namespace("annotated").expect("a namespace can be made");
    for (name, annotation) in [("unready", POD), ("crashing", POD), ("unpullable", POD), ("late", AFTER)] {
        let value = if annotation == POD { name } else { "1s" };
        namespace.apply(&deployment(name, &json!({ annotation: value }))).expect("it can be applied");
    }
    wait::until("the late ones were ready", wait::PATIENCE, || {
        (endpoints(&namespace, "late") == [true, true]).then_some(())
    })
    .expect("they come after a second");
    for (name, reason) in
        [("unready", Value::Null), ("crashing", json!("CrashLoopBackOff")), ("unpullable", json!("ImagePullBackOff"))]
    {
        let selector = format!("app={name}");
        let status = || {
            let pods = namespace.json(&["get", "pods", "--selector", &selector]).ok()?;
            pods["items"][0]["status"]["containerStatuses"][0].as_object().cloned()
        };
        let status = wait::until("kwok spoke about it", wait::PATIENCE, status).expect("each pod is played");
        assert_eq!(status["ready"], false, "{name}: {status:?}");
        assert_eq!(status["state"]["waiting"]["reason"], reason, "{name}: {status:?}");
        assert!(!endpoints(&namespace, name).contains(&true), "{name} is not ready");
    }
}

#[test]
fn the_server_says_who_wrote_what() {
    let plane = ControlPlane::shared().expect("a control plane comes up");
    let namespace = plane.namespace("audited").expect("a namespace can be made");
    let mark = plane.mark();
    let ours = || {
        let mut requests = plane.requests_since(mark).expect("the log can be read");
        requests.retain(|request| request.namespace == namespace.name() && request.writes());
        requests
    };
    namespace.kubectl(&["create", "configmap", "counted", "--from-literal=a=b"]).expect("it can be made");
    namespace.kubectl(&["label", "configmap", "counted", "c=d"]).expect("it can be labelled");
    namespace.kubectl(&["create", "configmap", "tried", "--dry-run=server"]).expect("it can be tried");
    namespace.kubectl(&["delete", "configmap", "nobody"]).expect_err("it isn't there");
    let requests =
        wait::until("all four were written down", wait::PATIENCE, || Some(ours()).filter(|it| it.len() >= 4))
            .expect("the server writes down what it answers");
    let counts: Vec<_> = counted(&requests).into_iter().collect();
    let expected = ["create configmaps", "create configmaps (dry run)", "delete configmaps", "patch configmaps"];
    assert_eq!(counts, expected.map(|what| (what.to_owned(), 1)));
    assert!(requests.iter().all(|request| request.user == "admin" && request.user_agent.starts_with("kubectl/")));
    assert_eq!(requests.iter().find(|request| request.verb == "delete").map(|request| request.code), Some(404));
}

#[test]
fn a_service_account_may_do_only_what_it_was_allowed() {
    let plane = ControlPlane::shared().expect("a control plane comes up");
    let namespace = plane.namespace("allowed").expect("a namespace can be made");
    namespace.kubectl(&["create", "serviceaccount", "looker"]).expect("it can be made");
    namespace
        .kubectl(&[
            "create",
            "rolebinding",
            "looker",
            "--clusterrole=view",
            &format!("--serviceaccount={}:looker", namespace.name()),
        ])
        .expect("it can be bound");
    let token = plane.service_account_token(namespace.name(), "looker").expect("it can have a token");
    let kubeconfig = plane.kubeconfig_for("looker", &token).expect("it can be written");
    let run = |arguments: &[&str]| {
        let mut kubectl = plane.kubectl_as(&kubeconfig).expect("kubectl is built");
        process::run(kubectl.args(["--namespace", namespace.name()]).args(arguments))
    };
    // The authoriser learns of the binding a moment after it was written.
    wait::until("it may look", wait::PATIENCE, || run(&["get", "pods"]).ok()).expect("it may look");
    let error = run(&["create", "configmap", "no"]).expect_err("it may not write").to_string();
    assert!(error.contains("forbidden"), "{error}");
}

#[test]
fn the_server_can_be_taken_away_and_comes_back_with_all_it_knew() {
    let plane = ControlPlane::start(Options::api()).expect("a control plane comes up");
    plane.kubectl(&["create", "namespace", "remembered"]).expect("it can be made");
    plane.stop_api();
    plane.kubectl(&["get", "namespace", "remembered"]).expect_err("nobody is there");
    plane.start_api().expect("it comes back");
    plane.kubectl(&["get", "namespace", "remembered"]).expect("it is remembered");

    plane.freeze(Part::Api);
    plane.kubectl(&["get", "namespace", "remembered", "--request-timeout=1s"]).expect_err("nobody answers");
    plane.thaw(Part::Api);
    plane.kubectl(&["get", "namespace", "remembered"]).expect("it answers again");
}

#[test]
fn nothing_is_left_of_it_when_its_process_is_killed() {
    let program = Path::new(env!("CARGO_BIN_EXE_rig-cluster"));
    let mut child = Command::new(program).stdout(Stdio::piped()).spawn().expect("it can be started");
    let mut line = String::new();
    let mut said = BufReader::new(child.stdout.take().expect("its output is ours"));
    let mut process = Guarded::of(child, Signal::TERM, wait::PATIENCE);
    said.read_line(&mut line).expect("it says where it is");
    let kubeconfig = line.trim().strip_prefix("export KUBECONFIG=").unwrap_or_else(|| panic!("it said {line:?}"));
    let folder = Path::new(kubeconfig).parent().expect("it is in a folder").to_owned();
    let parts = children(process.pid());
    assert!(parts.len() >= 5, "etcd, three of Kubernetes and kwok: {parts:?}");
    assert!(folder.exists());

    process.kill();
    wait::until("all of it was gone", wait::PATIENCE, || {
        (!folder.exists() && !parts.iter().any(|part| exists(*part))).then_some(())
    })
    .expect("it takes its parts and its folder with it");
}
