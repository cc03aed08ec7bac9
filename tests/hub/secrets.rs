//! A release that is fetched with a Secret of the hub: granted by name, waited for while the hub is away, shown nowhere.

use std::fs;
use std::path::Path;

use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::fetched::kit::packed;
use crate::fetched::registry::{PASSWORD, Registry};
use crate::kit::{Host, PATIENCE, is_ready, nothing_lost, plane, tail};

/// Whether any of these words stands in a file below a folder.
fn stands_in(folder: &Path, words: &[&str]) -> Option<String> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            if let Some(found) = stands_in(&path, words) {
                return Some(found);
            }
        } else {
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            if words.iter().any(|word| text.contains(word)) {
                return Some(path.display().to_string());
            }
        }
    }
    None
}

/// The command lines and the surroundings of the agent and of what it started.
fn shown_of_processes(agent: u32) -> String {
    let of = |pid: u32, file: &str| {
        String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).into_owned()
    };
    let mut all = vec![agent];
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let parent =
            of(pid, "stat").rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if parent.is_some_and(|parent: u32| all.contains(&parent)) {
            all.push(pid);
        }
    }
    all.into_iter().map(|pid| format!("{} {}\n", of(pid, "cmdline"), of(pid, "environ"))).collect()
}

#[test]
fn a_release_is_fetched_with_a_secret_of_the_hub_that_is_granted_by_name_waited_for_and_shown_nowhere() {
    let registry = Registry::start();
    let authority = registry.authority.file("ca.pem");
    let host = Host::start_that_allows(plane(), json!({ "sources": [registry.host], "credentials": [authority] }));
    let site = host.site("shop", 0).strategy("prepareWithin", "5m");
    host.apply(&site.clone().release(&host.release("v1")));
    host.ready("shop");
    let load = host.load(&site);
    load.wait_for_version("v1").unwrap();

    let login = registry.login();
    let secret = |name: &str, key: &str, value: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), value).unwrap();
        let from = format!("--from-file={key}={}", file.path().display());
        host.namespace.kubectl(&["create", "secret", "generic", name, &from]).unwrap();
    };
    secret("pull", "password", PASSWORD);
    secret("registry", ".dockerconfigjson", &login);
    let image = registry.image(&[packed(&host.release("v2"))]);
    let with = |name: &str| {
        site.clone().set(
            "/spec/target/host/release",
            json!({ "oci": { "image": image }, "caFile": authority, "credentials": { "secret": name } }),
        )
    };
    let says = |words: &str| {
        host.wait_for("shop", words, |object| object["status"].to_string().contains(words));
    };
    let retry = || {
        let said = host.agent.bluegreen(&["retry", "shop"]).unwrap();
        assert!(said.status.success(), "{said:?}");
    };
    host.apply(&with("pull"));
    says("the Secret pull has none of the keys");
    host.apply(&with("registry"));
    host.wait_for("shop", "its newest specification is told of", |o| {
        o["status"]["observedGeneration"] == o["metadata"]["generation"]
    });
    retry();
    says("--resource-name=registry");
    load.wait_for_more(100).unwrap();

    // It is granted while nobody can ask.
    host.proxy.cut();
    let here = host.namespace.name();
    host.namespace
        .kubectl(&["create", "role", "registry", "--verb=get", "--resource=secrets", "--resource-name=registry"])
        .unwrap();
    let account = format!("--serviceaccount={here}:bluegreen-host");
    host.namespace.kubectl(&["create", "rolebinding", "registry", "--role=registry", &account]).unwrap();
    retry();
    let waits = wait::until("the host said that it waits for the hub", PATIENCE, || {
        let site = host.agent.site("shop").ok()?;
        site["status"].to_string().contains("the Secret registry can't be read now").then_some(())
    });
    waits.unwrap_or_else(|error| panic!("{error}: {:#?}\n{}", host.agent.site("shop"), tail(&host.agent.log(), 40)));
    load.wait_for_more(100).unwrap();

    host.proxy.mend();
    load.wait_for_version("v2").unwrap();
    let object = host.wait_for("shop", "is ready with v2", |o| o["metadata"]["generation"] == 3 && is_ready(o));
    nothing_lost(&load.stop());

    let auth =
        serde_json::from_str::<Value>(&login).unwrap()["auths"][&registry.host]["auth"].as_str().unwrap().to_owned();
    let words = [PASSWORD, auth.as_str()];
    let events = host.namespace.json(&["get", "events.events.k8s.io"]).unwrap();
    let told = [
        ("the log", host.agent.log()),
        ("the object", object.to_string()),
        ("events", events.to_string()),
        ("the site here", host.agent.site("shop").unwrap().to_string()),
        ("processes", shown_of_processes(host.agent.pid().unwrap())),
    ];
    for (what, text) in told {
        assert!(!words.iter().any(|word| text.contains(word)), "{what} shows it: {text}");
    }
    assert_eq!(stands_in(&host.agent.state_dir(), &words), None);
}
