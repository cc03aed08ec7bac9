//! The definition alone, as the API server has it: what it refuses before any operator sees it, and what `kubectl explain` says.

use bluegreen::api::spec::BlueGreenSite;
use bluegreen_rig::cluster::Namespace;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::kit::plane;
use crate::wrong::{SHOP, WRONG};

/// What the API server says of a manifest; empty: it takes it.
fn judged(namespace: &Namespace<'_>, manifest: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), manifest).unwrap();
    let mut kubectl = plane().kubectl_command().unwrap();
    kubectl.args(["--namespace", namespace.name(), "apply", "--dry-run=server", "--validate=strict", "--filename"]);
    let output = kubectl.arg(file.path()).output().unwrap();
    if output.status.success() { String::new() } else { String::from_utf8_lossy(&output.stderr).into_owned() }
}

#[test]
fn what_the_definition_can_tell_is_refused_when_it_is_applied() {
    let namespace = plane().namespace("wrong").unwrap();
    assert_eq!(judged(&namespace, SHOP), "");
    let mut amiss = Vec::new();
    for one in WRONG {
        let said = judged(&namespace, &one.manifest());
        let right = one.theirs.map_or(said.is_empty(), |words| said.contains(words));
        if !right {
            amiss.push(format!("{}: wanted {:?}, and it says {said:?}", one.new, one.theirs));
        }
    }
    assert!(amiss.is_empty(), "{}", amiss.join("\n"));
}

#[test]
fn each_rule_that_a_site_of_a_cluster_can_break_is_broken_once() {
    let schema = schema();
    let mut all = Vec::new();
    rules(&schema, "", &mut all);
    assert!(all.len() >= 7, "{all:?}");
    let broken = |message: &str| WRONG.iter().any(|one| one.theirs.is_some_and(|words| words.contains(message)));
    let missing: Vec<&String> = all.iter().filter(|message| !broken(message)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// What the definition says of a site.
fn schema() -> Value {
    serde_json::to_value(BlueGreenSite::crd()).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// The messages of the rules, but those of hosts, and those about a change.
fn rules(schema: &Value, path: &str, all: &mut Vec<String>) {
    if path.starts_with(".spec.target.host") || path.starts_with(".spec.health") {
        return;
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        if !rule["rule"].as_str().unwrap().contains("oldSelf") {
            all.push(rule["message"].as_str().unwrap().to_owned());
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        rules(field, &format!("{path}.{name}"), all);
    }
}

#[test]
fn kubectl_explain_has_words_for_what_a_person_writes_and_reads() {
    let explain = |path: &str| plane().kubectl(&["explain", &format!("bluegreensite{path}")]).unwrap();
    for (path, words) in [
        ("", "A web site that is deployed twice, blue and green, so that a new revision goes live"),
        (".spec", "What a site shall be"),
        (".spec.target", "Where the site lives: exactly one of the fields below."),
        (".spec.target.cluster", "On the Kubernetes cluster that holds this resource."),
        (".spec.target.cluster.replicas", "Outside of the revision: `kubectl scale` and autoscalers set it"),
        (
            ".spec.target.cluster.service.ports.targetPort",
            "What the pods listen on: a number, or the name of a container's",
        ),
        (".spec.target.cluster.route", "What moves traffic from one colour to the other"),
        (
            ".spec.target.cluster.route.httpRoute",
            "The weights of an HTTPRoute (Gateway API), which moves every request.",
        ),
        (".spec.target.cluster.template", "The pods, as in a Deployment."),
        (".spec.target.cluster.configuration.secrets", "ecret"),
        (".spec.target.cluster.deletionPolicy", "What becomes of the Deployments and Services when the site is"),
        (".spec.strategy.promotion", "Who lets a verified revision go live"),
        (".spec.strategy.bake", "How long the new colour is watched before the rollout counts as a success."),
        (".spec.guards", "What stops a new revision before it goes live."),
        (".status.phase", "Where the rollout stands."),
        (".status.live.colour", "The colour that the route names."),
        (".status.rejected", "Why the revision that the specification describes is not wanted any more."),
    ] {
        // It breaks lines where it likes.
        let said = explain(path).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(words), "{path}: {said}");
    }
    // No field of ours is without a word; Kubernetes' own are (they would take a megabyte).
    let mut silent = Vec::new();
    wordless(&schema()["properties"]["spec"], ".spec", &mut silent);
    assert!(silent.is_empty(), "{silent:?}");
}

fn wordless(schema: &Value, path: &str, silent: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) {
            silent.push(path.clone());
        }
        if path != ".spec.target.cluster.template" {
            wordless(field, &path, silent);
            wordless(&field["items"], &format!("{path}[]"), silent);
        }
    }
}
