//! The repository of a fleet that we give people, and the examples of sites on hosts: what kustomize makes of each host is a site, and what Flux and Argo CD
//! are told of is there.

use std::fs;
use std::process::Command;

use bluegreen::api::parse;
use bluegreen_rig::cluster::tools;
use bluegreen_rig::process;
use serde_json::{Value, json};

use crate::kit::{documents, file, find, read};

const HOSTS: [&str; 2] = ["web-1", "web-2"];

/// What a host's folder comes to.
fn built(host: &str) -> String {
    let mut kustomize = Command::new(tools::program("kustomize", "kustomize").unwrap());
    kustomize.arg("build").arg(file("deploy/fleet/hosts").join(host));
    String::from_utf8(process::run(&mut kustomize).unwrap().stdout).unwrap()
}

#[test]
fn each_host_of_the_fleet_gets_a_site_that_is_one_with_what_is_its_own() {
    let listed: Vec<String> = fs::read_dir(file("deploy/fleet/hosts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(listed.len(), HOSTS.len(), "{listed:?}");
    for (host, hostnames) in
        HOSTS.into_iter().zip([json!(["shop.example.com"]), json!(["shop.example.com", "shop-2.example.com"])])
    {
        let text = built(host);
        let [site] = &documents(&text)[..] else { panic!("{host}: {text}") };
        assert_eq!(site.pointer("/spec/target/host/hostnames"), Some(&hostnames), "{host}");
        if let Err(problems) = parse::manifest(&text) {
            panic!("{host}:\n{problems}");
        }
    }
}

#[test]
fn flux_is_told_of_a_folder_that_is_there_and_of_the_namespace_of_its_host() {
    let all = read(&file("deploy/fleet/flux.yaml"));
    let source = find(&all, "GitRepository", "fleet");
    let applied = find(&all, "Kustomization", "host-web-1");
    assert_eq!(applied["spec"]["sourceRef"], json!({ "kind": "GitRepository", "name": source["metadata"]["name"] }));
    assert_eq!(applied["metadata"]["namespace"], source["metadata"]["namespace"], "where it is looked for");
    let spec = &applied["spec"];
    let path = spec["path"].as_str().unwrap();
    assert!(file("deploy/fleet").join(path).join("kustomization.yaml").exists(), "{path}");
    let host = path.rsplit('/').next().unwrap();
    assert_eq!(spec["targetNamespace"], format!("bluegreen-host-{host}"));
    assert_eq!((&spec["prune"], &spec["wait"]), (&json!(true), &json!(true)));
    // What differs from Argo CD's is who applies it.
    let argo = &read(&file("deploy/fleet/applicationset.yaml"))[0]["spec"];
    let generator = &argo["generators"][0]["git"];
    assert_eq!(
        (&generator["repoURL"], &generator["revision"]),
        (&source["spec"]["url"], &source["spec"]["ref"]["branch"])
    );
    assert_eq!(generator["directories"], json!([{ "path": "hosts/*" }]));
}

#[test]
fn every_example_of_a_site_is_one() {
    let mut seen = Vec::new();
    for entry in fs::read_dir(file("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let kinds: Vec<Value> = read(&path).iter().map(|document| document["kind"].clone()).collect();
        assert_eq!(kinds, ["BlueGreenSite"], "{}", path.display());
        if let Err(problems) = parse::manifest(&fs::read_to_string(&path).unwrap()) {
            panic!("{}:\n{problems}", path.display());
        }
        seen.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    assert!(seen.iter().any(|name| name == "artifacts.yaml"), "{seen:?}");
}
