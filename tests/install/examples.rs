//! The examples: each site is one to us, and everything that the API server knows is taken by it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use bluegreen::api::parse;

use crate::kit::{file, installed, read};

fn examples() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for folder in ["deploy/examples/cluster", "deploy/examples/gke-gateway", "deploy/argocd"] {
        for entry in fs::read_dir(file(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "yaml") {
                all.push(path);
            }
        }
    }
    all
}

#[test]
fn every_site_among_the_examples_is_one() {
    let mut count = 0;
    for path in examples() {
        if read(&path)[0]["kind"] == "BlueGreenSite" {
            count += 1;
            if let Err(problems) = parse::manifest(&fs::read_to_string(&path).unwrap()) {
                panic!("{}:\n{problems}", path.display());
            }
        }
    }
    assert!(count >= 3, "there are {count} sites");
}

#[test]
fn the_api_server_takes_what_it_knows_of_the_examples() {
    let namespace = installed().namespace("examples").unwrap();
    let mut seen = BTreeSet::new();
    for path in examples() {
        for document in read(&path) {
            let theirs = document["apiVersion"].as_str().unwrap_or_default();
            // Definitions that others bring and nobody gives away: GKE's. And Argo CD's, which tests/argocd.rs has.
            if ["networking.gke.io", "argoproj.io"].iter().any(|group| theirs.starts_with(group)) {
                continue;
            }
            seen.insert(document["kind"].as_str().unwrap_or_default().to_owned());
            let text = document.to_string();
            let object = tempfile::NamedTempFile::new().unwrap();
            fs::write(object.path(), text).unwrap();
            let own = document["metadata"]["namespace"].as_str().is_some() || document["kind"] == "ClusterRoleBinding";
            let mut arguments =
                vec!["apply", "--dry-run=server", "--validate=strict", "--filename", object.path().to_str().unwrap()];
            if !own {
                arguments.extend(["--namespace", namespace.name()]);
            }
            if let Err(error) = installed().kubectl(&arguments) {
                panic!("{}: {error:#}", path.display());
            }
        }
    }
    for kind in ["BlueGreenSite", "Gateway", "HorizontalPodAutoscaler", "ClusterRoleBinding"] {
        assert!(seen.contains(kind), "none of kind {kind} among {seen:?}");
    }
}

#[test]
fn both_colours_have_a_policy_of_each_kind_on_gke() {
    for (path, kind) in
        [("health-check-policies.yaml", "HealthCheckPolicy"), ("backend-policies.yaml", "GCPBackendPolicy")]
    {
        let all = read(&file("deploy/examples/gke-gateway").join(path));
        let targets: Vec<&str> = all.iter().map(|one| one["spec"]["targetRef"]["name"].as_str().unwrap()).collect();
        assert_eq!(targets, ["shop-blue", "shop-green"]);
        assert!(all.iter().all(|one| one["kind"] == kind));
    }
}
