//! From a URL to a live site.

use std::process::Command;

use serde_json::json;

use crate::kit::{Files, packed, with};
use crate::machine::{Machine, nothing_lost, revision};

#[test]
fn a_release_from_a_url_goes_live_under_load_once_for_all_sites_and_back_without_its_server() {
    let mut files = Files::start();
    let machine = Machine::start();
    let agent = &machine.agent;
    let (one, two) = (packed(&machine.release("v1")), packed(&machine.release("v2")));
    let (one, two) = (files.put("v1.tar.gz", &one), files.put("v2.tar.gz", &two));
    let site = machine.site("shop", 0);
    agent.apply_and_wait(&with(&site, files.release("v1.tar.gz", &one))).unwrap();
    let load = machine.load(&site);
    load.wait_for_version("v1").unwrap();
    // Where it is said to lie is no part of what it is, and a redirect on the same server is followed.
    let moved = with(&site, files.release("moved/v2.tar.gz", &two));
    agent.apply_and_wait(&moved).unwrap();
    load.wait_for_version("v2").unwrap();
    let release = revision(&machine, "v2");
    nothing_lost(&load.stop());
    // Another site of the machine: it is here already.
    agent.apply_and_wait(&with(&machine.site("other", 1), files.release("v2.tar.gz", &two))).unwrap();
    let fetched = |name: &str| files.sent().iter().filter(|line| line.starts_with(&format!("GET /{name} 200"))).count();
    assert_eq!((fetched("v1.tar.gz"), fetched("v2.tar.gz")), (1, 1), "{:?}", files.sent());

    files.nginx.stop();
    let load = machine.load(&site);
    agent.bluegreen(&["rollback", "shop"]).unwrap();
    load.wait_for_version("v1").unwrap();
    agent.bluegreen(&["retry", "shop"]).unwrap();
    load.wait_for_version("v2").unwrap();
    assert_eq!(revision(&machine, "v2"), release);
    nothing_lost(&load.stop());
}

#[test]
fn credentials_are_needed_once_given_enough_and_never_seen() {
    let files = Files::start();
    let machine = Machine::start();
    let agent = &machine.agent;
    let sum = files.put("private/v1.tar.gz", &packed(&machine.release("v1")));
    let host = format!("127.0.0.1:{}", files.port.number());
    let right = format!("machine {host} login joe password hunter2-of-the-tests\n");
    let wrong = format!("machine {host} login joe password wrong-of-the-tests\n");
    let elsewhere = "machine registry.example login joe password hunter2-of-the-tests\n";
    let site = machine.site("shop", 0);
    let release = |credentials: serde_json::Value| {
        let mut release = files.release("private/v1.tar.gz", &sum);
        release["credentials"] = credentials;
        with(&site, release)
    };
    let refused = |manifest: &bluegreen_rig::manifest::Manifest, words: &[&str]| {
        let error = format!("{:#}", agent.apply_and_wait(manifest).unwrap_err());
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    };
    refused(&with(&site, files.release("private/v1.tar.gz", &sum)), &["401", "credentials: { file"]);
    let file = |name: &str, text: &str, mode| json!({ "file": files.authority.secret(name, text, mode) });
    // What was rejected stays so until somebody asks for another try: a new name of an argument makes it another release.
    let next = |n: u32, credentials| release(credentials).env("TRY", &n.to_string());
    refused(&next(1, file("wrong", &wrong, 0o600)), &["401", "does not take the credentials"]);
    refused(&next(2, file("open", &right, 0o644)), &["may be read by others", "chmod 600"]);
    refused(&next(3, file("elsewhere", elsewhere, 0o600)), &["says nothing of 127.0.0.1"]);
    refused(&next(4, json!({ "secret": "registry" })), &["the Secret registry", "name a file of this host"]);
    agent.apply_and_wait(&next(5, file("right", &right, 0o600))).unwrap();

    let grep = Command::new("grep")
        .args(["-rlE", "hunter2-of-the-tests|wrong-of-the-tests|am9lOm"])
        .arg(agent.folder())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "", "in a file of the agent's");
    let shown = agent.bluegreen(&["describe", "shop"]).unwrap();
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("of-the-tests"));
}
