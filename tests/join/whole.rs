//! From a host that knows of no hub to a site of the hub that serves there, and back, with an agent that runs all the while and clients that lose nothing.

use std::fs;
use std::process::{Command, Stdio};

use bluegreen_rig::agent::Agent;
use bluegreen_rig::load::Load;
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use bluegreen_rig::wait;
use serde_json::{Value, json};

use super::kit::{PATIENCE, Said, admin, plane, said, token, unique};

/// `bluegreen host …` where the agent runs.
fn host(agent: &Agent, arguments: &[&str], input: &str) -> Said {
    let mut command: Command = agent.cli(&["host"]);
    command.args(arguments).arg("--config").arg(agent.config_file()).stdin(Stdio::piped());
    said(command, Some(input))
}

#[test]
fn a_host_joins_while_its_agent_runs_serves_a_site_of_the_hub_and_leaves_without_a_lost_request() {
    let name = unique("whole");
    let namespace = format!("bluegreen-host-{name}");
    let nginx = Nginx::start().unwrap();
    let mut agent = Agent::start(&nginx).unwrap();
    let user = User::ordinary().unwrap();
    let ports = Port::take_many(2).unwrap();
    agent.stop();
    let allow = json!({
        "users": [user.name()], "releases": [agent.uploads()], "hostnames": ["*.test"], "runtimes": ["command"],
        "listen": [nginx.address()],
    });
    let config = fs::read_to_string(agent.config_file()).unwrap();
    fs::write(agent.config_file(), format!("{config}allow: {allow}\n")).unwrap();
    agent.run().unwrap();
    let pid = agent.pid();

    host(&agent, &["join", "--token-file", "-"], &token(&name)).well();
    let site = Manifest::app("shop", nginx.address(), user.name(), &[ports[0].number()], &[ports[1].number()]);
    let site = site.release(&release(&agent.uploads(), "v1", "").unwrap()).set("/metadata/namespace", json!(namespace));
    plane().apply(&site.yaml().unwrap()).unwrap();
    let object = || plane().json(&["-n", &namespace, "get", "bluegreensite", "shop"]).unwrap_or(Value::Null);
    wait::until("the hub said that it is live", PATIENCE, || {
        (object()["status"]["phase"] == "Idle" && !object()["status"]["live"].is_null()).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{:#}\n{}", object(), agent.log()));
    assert_eq!(object()["metadata"]["finalizers"], json!(["bluegreen.dev/host"]));
    let table = admin(&["host", "get"]).well();
    let line = table.lines().find(|line| line.starts_with(&name)).unwrap();
    assert!(line.contains("True"), "{table}");

    let load = Load::to(nginx.address(), &site.host()).clients(4).start().unwrap();
    load.wait_for_version("v1").unwrap();
    let refused = host(&agent, &["leave"], "").refused();
    assert!(refused.contains("shop"), "{refused}");
    let left = host(&agent, &["leave", "--force"], "").well();
    assert!(left.contains("run on as they are: shop"), "{left}");
    plane().kubectl(&["-n", &namespace, "delete", "bluegreensite", "shop", "--timeout=60s"]).unwrap();
    // What is gone there goes on here, until somebody here takes it away.
    load.wait_for_version("v1").unwrap();
    assert!(agent.live_colour("shop").is_some());
    let totals = load.stop();
    assert_eq!((totals.failed, totals.broken_clients), (0, 0), "{:?}", totals.told);
    wait::until("the site could be deleted on the host", PATIENCE, || agent.bluegreen(&["delete", "shop"]).ok())
        .unwrap();
    assert!(agent.site("shop").is_err());
    assert_eq!(agent.pid(), pid, "the same agent all the while");
}
