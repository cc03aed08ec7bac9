//! The chart without a cluster: what it says, what it refuses, and that what is generated from it is up to date.

use std::fs;
use std::path::Path;
use std::process::Command;

use bluegreen_rig::cluster::tools;
use serde_json::{Value, json};

use crate::kit::{Helm, chart, count, file, find, plain, read, succeeded};

#[test]
fn helm_finds_nothing_to_complain_about() {
    Helm::offline().said(&["lint", "--strict", chart().to_str().unwrap()]);
}

#[test]
fn what_is_generated_is_up_to_date() {
    let out = tempfile::tempdir().unwrap();
    let mut script = Command::new(file("scripts/generate-install.sh"));
    script.arg(out.path());
    let path = std::env::var("PATH").unwrap_or_default();
    script.env("PATH", format!("{}:{path}", tools::folder("helm").unwrap().display()));
    for (name, folder) in [("HELM_CACHE_HOME", "c"), ("HELM_CONFIG_HOME", "f"), ("HELM_DATA_HOME", "d")] {
        script.env(name, out.path().join(folder));
    }
    succeeded(&script.output().unwrap(), "scripts/generate-install.sh");
    for generated in [
        "charts/bluegreen/files/bluegreen.dev_bluegreensites.yaml",
        "deploy/kustomize/base/bluegreen.yaml",
        "deploy/argocd/argocd-cm.yaml",
    ] {
        let now = fs::read_to_string(out.path().join(generated)).unwrap();
        let then = fs::read_to_string(file(generated)).unwrap_or_default();
        assert!(now == then, "{generated} is out of date: run scripts/generate-install.sh");
    }
}

#[test]
fn the_definition_in_the_chart_is_that_of_the_repository_and_stays_when_the_release_goes() {
    let rendered = Helm::offline().rendered(&[]);
    let ours = find(&rendered, "CustomResourceDefinition", "bluegreensites.bluegreen.dev");
    let theirs = &read(&file("crds/bluegreen.dev_bluegreensites.yaml"))[0];
    assert!(plain(&ours["spec"]) == plain(&theirs["spec"]), "run scripts/generate-install.sh");
    assert_eq!(ours["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert!(!chart().join("crds").exists(), "Helm would install it once and never upgrade it");
    assert_eq!(count(&Helm::offline().rendered(&["crds.install=false"]), "CustomResourceDefinition"), 0);
}

#[test]
fn a_value_that_the_chart_does_not_know_is_refused() {
    let helm = Helm::offline();
    let chart = chart();
    for (setting, said) in [
        ("replicas=0", "replicas"),
        ("replicaCount=3", "replicaCount"),
        ("image.tag=a b", "tag"),
        ("secrets.namespaces=shop", "namespaces"),
        ("secrets.namespaces={*}", "namespaces"),
        ("namespace=Shop", "namespace"),
        ("userRoles.operateAggregatesTo=view", "operateAggregatesTo"),
    ] {
        let output = helm.run(&["template", "bluegreen", chart.to_str().unwrap(), "--set", setting]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{setting}: {error}");
    }
}

#[test]
fn with_one_namespace_the_operator_has_no_right_anywhere_else() {
    let rendered = Helm::offline().rendered(&["namespace=shop"]);
    assert_eq!(count(&rendered, "ClusterRoleBinding"), 0);
    let roles: Vec<&Value> = rendered.iter().filter(|one| one["kind"] == "ClusterRole").collect();
    assert_eq!(roles.len(), 3, "those are for people: {roles:?}");
    assert_eq!(find(&rendered, "Role", "bluegreen")["metadata"]["namespace"], "shop");
    assert_eq!(find(&rendered, "RoleBinding", "bluegreen")["metadata"]["namespace"], "shop");
    assert!(arguments(&rendered).contains(&"--namespace=shop".to_owned()));
    let binding = find(&rendered, "ValidatingAdmissionPolicyBinding", "bluegreen");
    assert_eq!(
        binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"],
        json!({"kubernetes.io/metadata.name": "shop"})
    );
}

#[test]
fn no_rule_of_the_operator_names_everything_or_a_secret() {
    let rendered = Helm::offline().rendered(&[]);
    for role in rendered.iter().filter(|one| one["kind"] == "ClusterRole" || one["kind"] == "Role") {
        let text = role["rules"].to_string();
        assert!(!text.contains('*') && !text.contains("secrets"), "{}: {text}", role["metadata"]["name"]);
        for dangerous in ["impersonate", "escalate", "\"bind\"", "pods/", "exec", "serviceaccounts"] {
            assert!(!text.contains(dangerous), "{}: {text}", role["metadata"]["name"]);
        }
    }
    for binding in rendered.iter().filter(|one| !one["roleRef"].is_null()) {
        let role = binding["roleRef"]["name"].as_str().unwrap();
        assert!(role.starts_with("bluegreen"), "{role} is no role of ours");
    }
    let trusting = Helm::offline().rendered(&["secrets.namespaces={a,b}"]);
    let secrets: Vec<&Value> = trusting.iter().filter(|one| one["rules"].to_string().contains("secrets")).collect();
    assert_eq!(secrets.len(), 2);
    assert!(secrets.iter().all(|role| role["kind"] == "Role"), "{secrets:?}");
}

#[test]
fn the_options_are_off_until_they_are_asked_for() {
    let helm = Helm::offline();
    let plain = helm.rendered(&[]);
    assert_eq!((count(&plain, "PodMonitor"), count(&plain, "NetworkPolicy")), (0, 0));
    assert_eq!(count(&plain, "PodDisruptionBudget"), 1);
    let all = helm.rendered(&["podMonitor.enabled=true", "networkPolicy.enabled=true", "replicas=1"]);
    assert_eq!((count(&all, "PodMonitor"), count(&all, "NetworkPolicy")), (1, 1));
    assert_eq!(count(&all, "PodDisruptionBudget"), 0, "with one replica it would only be in the way");
    let none = helm.rendered(&["admissionPolicy.enabled=false", "userRoles.create=false", "rbac.create=false"]);
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ClusterRole", "Role"] {
        assert_eq!(count(&none, kind), 0, "{kind}");
    }
}

#[test]
fn the_base_without_helm_is_built_by_the_real_kustomize() {
    let output =
        Command::new(tools::kubectl().unwrap()).arg("kustomize").arg(file("deploy/kustomize/base")).output().unwrap();
    let built = crate::kit::documents(&succeeded(&output, "kubectl kustomize"));
    assert_eq!(built.len(), Helm::offline().rendered(&[]).len() + 1, "a namespace more than the chart");
    let text = fs::read_to_string(file("deploy/kustomize/base/bluegreen.yaml")).unwrap();
    assert!(!text.to_lowercase().contains("helm.sh") && !text.contains("managed-by: Helm"), "it is not Helm's");
}

#[test]
fn the_image_is_built_from_what_the_container_ignore_file_lets_in() {
    let text = fs::read_to_string(file(".dockerignore")).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix('!')) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(line).exists(), "there is no {line}");
    }
    // One build, for the image and for the pod of the tests on a real node, which judge what it makes.
    let (script, recipe) = ("scripts/build-static.sh", fs::read_to_string(file("Containerfile")).unwrap());
    assert!(text.lines().any(|line| line == format!("!{script}")) && recipe.contains(&format!("\"$({script})\"")));
    assert!(!recipe.contains("cargo "), "it builds in a way of its own:\n{recipe}");
}

/// The arguments that the operator is started with.
pub fn arguments(rendered: &[Value]) -> Vec<String> {
    let deployment = find(rendered, "Deployment", "bluegreen");
    let all = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    all.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}
