//! A release of the chart in its life: installed, upgraded with its definition, uninstalled; and whether Kubernetes takes the pods.

use std::fs;
use std::path::Path;

use bluegreen_rig::cluster::{ControlPlane, Options};
use bluegreen_rig::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::kit::{Helm, chart, file, find, installed, site};

#[test]
fn an_upgrade_upgrades_the_definition_and_an_uninstall_leaves_it_and_the_sites() {
    let plane = ControlPlane::start(Options::api()).unwrap();
    let helm = Helm::at(&plane);
    // A chart of an earlier version, whose definition lacks what this one's has.
    let old = tempfile::tempdir().unwrap();
    copy(&chart(), old.path());
    let definition = old.path().join("files/bluegreen.dev_bluegreensites.yaml");
    let text = fs::read_to_string(&definition).unwrap();
    assert!(text.contains("\n    shortNames:\n    - bgs\n"), "the test takes this away");
    fs::write(&definition, text.replace("\n    shortNames:\n    - bgs\n", "\n")).unwrap();
    let names = || plane.json(&["get", "crd", "bluegreensites.bluegreen.dev"]).unwrap()["spec"]["names"].clone();

    let install = |verb: &str, chart: &Path, more: &[&str]| {
        let arguments = [&[verb, "bluegreen", chart.to_str().unwrap(), "--namespace", "ops"], more].concat();
        helm.said(&arguments)
    };
    let said = install("install", old.path(), &["--create-namespace"]);
    assert!(said.contains("kubectl wait --for=condition=Ready bluegreensite/shop"), "{said}");
    assert_eq!(names()["shortNames"], Value::Null);
    install("upgrade", &chart(), &[]);
    assert_eq!(names()["shortNames"], json!(["bgs"]));

    plane.wait_for_resource("bluegreensites").unwrap();
    plane.apply(&site("shop", "shop:1")).unwrap();
    install("upgrade", &chart(), &["--set", "replicas=3"]);
    let said = helm.said(&["uninstall", "bluegreen", "--namespace", "ops"]);
    assert!(said.contains("bluegreensites.bluegreen.dev"), "it says what it kept: {said}");
    assert_eq!(plane.json(&["get", "bluegreensite", "shop"]).unwrap()["metadata"]["name"], "shop");
    let policies = plane.json(&[
        "get",
        "validatingadmissionpolicies,clusterrolebindings",
        "--selector=app.kubernetes.io/name=bluegreen",
    ]);
    assert_eq!(policies.unwrap()["items"], json!([]));
    install("install", &chart(), &[]);
    assert_eq!(plane.json(&["get", "bluegreensite", "shop"]).unwrap()["metadata"]["name"], "shop", "it was never gone");
}

#[test]
fn a_namespace_that_takes_only_restricted_pods_takes_the_operators() {
    let plane = installed();
    // The controller manager makes the pods, and the API server judges them.
    let ready = until("there are two pods of the operator", PATIENCE, || {
        let pods = plane.json(&["--namespace=bluegreen-system", "get", "pods"]).ok()?;
        let pods = pods["items"].as_array()?.clone();
        (pods.len() == 2).then_some(pods)
    });
    let pods = ready.unwrap_or_else(|error| {
        panic!(
            "{error}: {}",
            plane.kubectl(&["--namespace=bluegreen-system", "get", "events", "--output=wide"]).unwrap()
        )
    });
    for pod in pods {
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(pod["spec"]["securityContext"]["runAsUser"], 65532);
        let mounted: Vec<&str> = (pod["spec"]["volumes"].as_array().into_iter().flatten())
            .filter_map(|volume| volume["name"].as_str())
            .collect();
        assert!(mounted.len() == 1 && mounted[0].starts_with("kube-api-access"), "nothing but its token: {mounted:?}");
    }
}

#[test]
fn every_object_of_the_chart_with_every_option_is_taken_by_the_api_server() {
    let plane = installed();
    let rendered = Helm::offline().rendered(&[
        "networkPolicy.enabled=true",
        "podMonitor.enabled=true",
        "podMonitor.labels.release=prometheus",
        "namespace=default",
        "image.digest=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "priorityClassName=system-cluster-critical",
        "imagePullSecrets[0].name=registry",
    ]);
    find(&rendered, "NetworkPolicy", "bluegreen");
    find(&rendered, "PodMonitor", "bluegreen");
    for object in &rendered {
        let text = object.to_string();
        let mut command = plane.kubectl_command().unwrap();
        command.args([
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            "-",
        ]);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &text).unwrap();
        command.stdin(fs::File::open(file.path()).unwrap());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}: {}", object["kind"], String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_base_without_helm_fits_into_a_plain_apply() {
    // Which keeps a copy of each object in an annotation of at most 256 KiB.
    let base = file("deploy/kustomize/base");
    installed()
        .kubectl(&["apply", "--dry-run=server", "--validate=strict", "--kustomize", base.to_str().unwrap()])
        .unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
