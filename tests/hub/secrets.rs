//! A release that is fetched with a Secret of the hub: granted by name, waited for while the hub is away, shown nowhere.

use std::fs;
use std::path::{Path, PathBuf};

use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::fetched::kit::{Files, packed};
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

/// What is fetched, from where, and who may.
struct Source {
    server: String,
    authority: PathBuf,
    /// The release without its credentials.
    release: Value,
    /// What the Secret holds, and under which key.
    key: &'static str,
    login: String,
}

/// A site goes from its first version to what only a Secret of the hub gets, with everything in between that can be wrong.
fn goes_live_from(source: impl FnOnce(&Host) -> Source) {
    let mut host = Host::start(plane());
    let source = source(&host);
    host.allows(json!({ "sources": [source.server], "credentials": [source.authority] }));
    let site = host.site("shop", 0).strategy("prepareWithin", "5m");
    host.apply(&site.clone().release(&host.release("v1")));
    host.ready("shop");
    let load = host.load(&site);
    load.wait_for_version("v1").unwrap();

    let secret = |name: &str, key: &str, value: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), value).unwrap();
        let from = format!("--from-file={key}={}", file.path().display());
        host.namespace.kubectl(&["create", "secret", "generic", name, &from]).unwrap();
    };
    secret("pull", "password", PASSWORD);
    secret("registry", source.key, &source.login);
    let with = |name: &str| {
        let mut release = source.release.clone();
        release["credentials"] = json!({ "secret": name });
        site.clone().set("/spec/target/host/release", release)
    };
    let says = |words: &str| {
        host.wait_for("shop", words, |object| object["status"].to_string().contains(words));
    };
    let retry = || {
        let said = host.agent.bluegreen(&["retry", "shop"]).unwrap();
        assert!(said.status.success(), "{said:?}");
    };
    // The one that the host's role names holds something else.
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
    host.reached(false);
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
    is_nowhere(&host, &object, &source.login);
}

/// Nothing of the Secret is in anything that somebody may read, or that is kept.
fn is_nowhere(host: &Host, object: &Value, login: &str) {
    let docker: Option<Value> = serde_json::from_str(login).ok();
    let auth = docker.and_then(|all| all["auths"].as_object()?.values().next()?["auth"].as_str().map(str::to_owned));
    let both = format!("joe:{PASSWORD}");
    let words = [PASSWORD, auth.as_deref().unwrap_or(&both)];
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

#[test]
fn an_archive_is_fetched_with_a_secret_of_the_hub_that_is_granted_by_name_waited_for_and_shown_nowhere() {
    let files = Files::start();
    goes_live_from(|host| Source {
        server: format!("127.0.0.1:{}", files.port.number()),
        authority: files.authority.file("ca.pem"),
        release: files.release("private/shop.tar.gz", &files.put("private/shop.tar.gz", &packed(&host.release("v2")))),
        key: "netrc",
        login: format!("machine 127.0.0.1:{} login joe password {PASSWORD}\n", files.port.number()),
    });
}

#[test]
fn an_image_is_pulled_with_a_secret_of_the_hub_that_is_granted_by_name_waited_for_and_shown_nowhere() {
    let registry = Registry::start();
    goes_live_from(|host| Source {
        server: registry.host.clone(),
        authority: registry.authority.file("ca.pem"),
        release: json!({
            "oci": { "image": registry.image(&[packed(&host.release("v2"))]) }, "caFile": registry.authority.file("ca.pem"),
        }),
        key: ".dockerconfigjson",
        login: registry.login(),
    });
}
