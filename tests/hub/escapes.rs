//! Who may write a site on the hub is not thereby root on the host: every attempt fails.

use std::net::{Ipv4Addr, TcpListener};

use bluegreen_rig::cluster::tools;
use bluegreen_rig::ports::Port;
use serde_json::{Value, json};

use crate::kit::{Host, condition, holds, plane};

#[test]
fn no_site_of_the_hub_gets_what_this_host_does_not_allow() {
    let host = Host::start(plane());
    let mine = host.release("v1");
    let state = host.agent.state_dir();
    let token = state.join("hub/token");
    let climbing = format!("{}/../state", host.agent.uploads().display());
    let escapes = [
        ("user", json!("root")),
        ("user", json!("daemon")),
        ("user", json!("www-data")),
        ("release", json!({ "path": climbing })),
        ("release", json!({ "path": state })),
        ("release", json!({ "path": "/root" })),
        ("release", json!({ "archive": "/etc/shadow.tar.gz" })),
        ("release", json!({ "uploads": "/home" })),
        ("runtime", json!({ "command": { "argv": ["/bin/sh", "-c", "id > /tmp/escaped"] } })),
        ("runtime", json!({ "command": { "argv": ["../../bin/sh"] } })),
        ("runtime", json!({ "wsgi": { "app": "a:b" } })),
        ("runtime", json!({ "springBoot": { "jvm": ["-XX:OnOutOfMemoryError=id"] } })),
        ("configFiles", json!([{ "path": "/etc/shadow" }])),
        ("configFiles", json!([{ "path": token }])),
        ("envFile", json!("/root/.bashrc")),
        ("sharedDirs", json!([{ "path": "etc", "source": "/etc" }])),
        ("hostnames", json!(["bank.example.com"])),
        ("hostnames", json!(["shop.test.evil.example"])),
        ("hostnames", json!(["*.example"])),
        ("previewHostnames", json!(["bank.example.com"])),
        ("listen", json!(["*:22"])),
        ("listen", json!(["0.0.0.0:5432"])),
        (
            "tls",
            json!({ "certificate": "/etc/ssl/private/x.pem", "key": "/etc/ssl/private/x.pem", "listen": ["*:443"] }),
        ),
        ("ports", json!({ "blue": [22, 23], "green": [80, 81] })),
        ("ports", json!({ "blue": [60022, 60023], "green": [60024, 60025] })),
        ("release", json!({ "path": mine, "credentials": { "file": token } })),
        ("envFile", json!(host.agent.config_file())),
        ("env", json!({ "LD_PRELOAD": "/tmp/x.so" })),
        ("static", json!([{ "path": "/x/", "root": "../../../etc" }])),
    ];
    let mut judged = Vec::new();
    for (number, (field, value)) in escapes.into_iter().enumerate() {
        let name = format!("escape-{number}");
        let site = host.site(&name, 0).release(&mine).set(&format!("/spec/target/host/{field}"), value.clone());
        // What the schema refuses never gets to the host.
        if host.namespace.apply(&site.yaml().unwrap()).is_ok() {
            judged.push((name, field, value));
        }
    }
    assert!(judged.len() >= 15, "the schema alone must not be what holds: {judged:?}");
    for (name, field, value) in judged {
        let object = host.wait_for(&name, &format!("{field} {value} is judged"), |o| !condition(o, "Ready").is_null());
        let ready = condition(&object, "Ready");
        assert_eq!(ready["status"], "False", "{field} {value}: {object:#}");
        assert!(["NotAllowed", "InvalidSpec"].map(Value::from).contains(&ready["reason"]), "{field} {value}: {ready}");
        assert!(!holds(&object), "{field} {value} was accepted: {object:#}");
    }
    assert_eq!(host.agent.apps(), Vec::<u32>::new(), "nothing was ever started");
}

#[test]
fn a_hosts_token_reaches_its_own_sites_and_nothing_else() {
    let (host, other) = (Host::start(plane()), Host::start(plane()));
    other.apply(&other.site("theirs", 0).release(&other.release("v1")));
    for secret in ["pull", "other"] {
        host.namespace.kubectl(&["create", "secret", "generic", secret, "--from-literal=a=b"]).unwrap();
    }
    let token = host.plane.service_account_token(host.namespace.name(), "bluegreen-host").unwrap();
    let kubeconfig = host.plane.kubeconfig_for(&format!("token-of-{}", host.namespace.name()), &token).unwrap();
    let can = |arguments: &[&str]| {
        let mut command = std::process::Command::new(tools::kubectl().unwrap());
        command.env("KUBECONFIG", &kubeconfig).args(arguments).output().unwrap().status.success()
    };
    let (here, there) = (host.namespace.name(), other.namespace.name());
    assert!(can(&["get", "bluegreensites", "-n", here]));
    assert!(can(&["get", "secret", "pull", "-n", here]));
    let theirs = r#"{"spec":{"strategy":{"bake":"9s"}}}"#;
    for attempt in [
        &["get", "bluegreensites", "-n", there][..],
        &["get", "bluegreensites", "-A"],
        &["patch", "bluegreensite", "theirs", "-n", there, "--type=merge", "--patch", theirs],
        &[
            "patch",
            "bluegreensite",
            "theirs",
            "-n",
            there,
            "--subresource=status",
            "--type=merge",
            "--patch",
            "{\"status\":{}}",
        ],
        &["delete", "bluegreensite", "theirs", "-n", there],
        &["get", "secret", "other", "-n", here],
        &["get", "secrets", "-n", here],
        &["get", "secret", "pull", "-n", there],
        &["get", "lease", "bluegreen-host", "-n", there],
        &["get", "namespaces"],
        &["get", "namespace", there],
        &["get", "nodes"],
        &["create", "configmap", "x", "-n", here],
        &["create", "token", "bluegreen-host", "-n", there],
    ] {
        assert!(!can(attempt), "{attempt:?} succeeded");
    }
}

#[test]
fn a_port_on_which_somebody_else_listens_is_not_given_to_a_site_of_the_hub_until_it_is_free() {
    let host = Host::start(plane());
    let taken = Port::take().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, taken.number())).unwrap();
    let site = host.site("shop", 0).release(&host.release("v1"));
    let ports = json!({ "blue": [taken.number()], "green": [host.ports[0].number()] });
    host.apply(&site.set("/spec/target/host/ports", ports));
    let object = host.wait_for("shop", "its port is taken", |o| condition(o, "Ready")["reason"] == "PortTaken");
    assert!(condition(&object, "Ready")["message"].as_str().unwrap().contains(&taken.number().to_string()));
    assert!(!holds(&object), "{object:#}");
    drop(listener);
    host.ready("shop");
}
