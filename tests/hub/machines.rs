//! Two machines with one name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bluegreen::driver::agent::hub::membership::Membership;
use bluegreen_rig::agent::Agent;
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::{binaries, wait};

use serde_json::Value;

use crate::kit::{Host, PATIENCE, is_ready, plane, tail};

/// The agent on what looks like another machine: with these files in place of the machine's own, as in a container.
fn elsewhere(folder: &Path, files: &[(&str, &str)]) -> PathBuf {
    let program = folder.join("bluegreen");
    let mounts: Vec<String> = files
        .iter()
        .enumerate()
        .map(|(number, (file, text))| {
            let other = folder.join(number.to_string());
            fs::write(&other, text).unwrap();
            format!("mount --bind {} {file}", other.display())
        })
        .collect();
    let text = format!(
        "#!/bin/sh\nset -e\nexec unshare --mount sh -c 'set -e; {}; exec {} \"$@\"' sh \"$@\"\n",
        mounts.join("; "),
        binaries::bluegreen().unwrap().display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// Another agent that has joined under the name of this host.
fn second(host: &Host, program: &Path, nginx: &Nginx) -> Agent {
    let mut second = Agent::start_program(program, nginx).unwrap();
    second.stop();
    let allow = fs::read_to_string(host.agent.config_file()).unwrap();
    let allow = allow.lines().find(|line| line.starts_with("allow:")).unwrap();
    let config = fs::read_to_string(second.config_file()).unwrap();
    fs::write(second.config_file(), format!("{config}{allow}\n")).unwrap();
    crate::kit::join(host.plane, host.namespace.name(), &host.proxy, &second.state_dir());
    second.run().unwrap();
    second
}

/// How an agent stands with its hub, once that is as wanted.
fn stands(agent: &Agent, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let file = Membership::folder(&agent.state_dir()).join("standing.json");
    let stands = wait::until(what, PATIENCE, || {
        serde_json::from_str(&fs::read_to_string(&file).ok()?).ok().filter(|stands| wanted(stands))
    });
    stands.unwrap_or_else(|error| panic!("{error}\n{}", tail(&agent.log(), 40)))
}

fn says(words: &str) -> impl Fn(&Value) -> bool {
    move |stands: &Value| stands["why"].as_str().is_some_and(|why| why.contains(words))
}

#[test]
fn a_second_machine_of_the_same_name_does_nothing_for_the_hub_and_says_so() {
    let host = Host::start(plane());
    host.apply(&host.site("shop", 0).release(&host.release("v1")));
    host.ready("shop");
    let folder = tempfile::tempdir().unwrap();
    let nginx = Nginx::start().unwrap();
    let program = elsewhere(folder.path(), &[("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")]);
    let second = second(&host, &program, &nginx);
    let stands = stands(&second, "the second machine said that it does nothing", says("another machine"));
    assert!(
        stands["why"].as_str().unwrap().contains(host.namespace.name().strip_prefix("bluegreen-host-").unwrap()),
        "{stands}"
    );
    assert!(second.site("shop").is_err(), "it took nothing");
    // The first one goes on.
    host.apply(&host.site("shop", 0).release(&host.release("v2")));
    host.wait_for("shop", "is ready with v2", |object| object["metadata"]["generation"] == 2 && is_ready(object));
    assert!(second.site("shop").is_err());
    let lease = host.namespace.json(&["get", "lease", "bluegreen-host"]).unwrap();
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 40, "{lease:#}");
    assert!(
        !fs::read_to_string("/etc/machine-id")
            .unwrap()
            .trim()
            .contains(lease["spec"]["holderIdentity"].as_str().unwrap())
    );
}

#[test]
fn a_copy_of_a_machine_does_nothing_for_the_hub_until_the_first_one_falls_silent() {
    let mut host = Host::start(plane());
    host.apply(&host.site("shop", 0).release(&host.release("v1")));
    host.ready("shop");
    let holder = || {
        let lease = host.namespace.json(&["get", "lease", "bluegreen-host"]).unwrap();
        lease["spec"]["holderIdentity"].as_str().unwrap().to_owned()
    };
    let first = holder();
    let folder = tempfile::tempdir().unwrap();
    let nginx = Nginx::start().unwrap();
    let boot = ("/proc/sys/kernel/random/boot_id", "01234567-89ab-4def-8123-456789abcdef\n");
    let copy = second(&host, &elsewhere(folder.path(), &[boot]), &nginx);
    stands(&copy, "the copy said that it does nothing", says("the same machine-id"));
    assert!(copy.site("shop").is_err(), "it took nothing");
    assert_eq!(holder(), first);
    host.reached(true);
    host.agent.kill();
    stands(&copy, "the copy took over", |stands| stands["reached"] == true);
    let lease = host.namespace.json(&["get", "lease", "bluegreen-host"]).unwrap();
    let now = lease["spec"]["holderIdentity"].as_str().unwrap();
    assert!(now != first && now.split('.').next() == first.split('.').next(), "{first} {now}");
    assert_eq!(lease["spec"]["leaseTransitions"], 1, "{lease:#}");
}

#[test]
fn of_two_machines_that_share_even_the_boot_one_notices_and_waits() {
    let host = Host::start(plane());
    host.reached(true);
    let nginx = Nginx::start().unwrap();
    let twin = second(&host, &binaries::bluegreen().unwrap(), &nginx);
    let noticed = wait::until("one of them noticed the other", PATIENCE, || {
        [&host.agent, &twin].into_iter().position(|agent| agent.log().contains("a copy of this machine holds"))
    });
    let waits = noticed.unwrap_or_else(|error| panic!("{error}\n{}", tail(&twin.log(), 40)));
    let (waits, acts) = if waits == 0 { (&host.agent, &twin) } else { (&twin, &host.agent) };
    stands(waits, "it waits", says("the same machine-id"));
    stands(acts, "the other one acts", |stands| stands["reached"] == true);
    assert!(!acts.log().contains("a copy of this machine holds"), "{}", tail(&acts.log(), 40));
}

#[test]
fn a_host_that_is_gone_is_seen_to_be_within_a_minute_and_its_sites_serve_on() {
    let mut host = Host::start(plane());
    let site = host.site("shop", 0).release(&host.release("v1"));
    host.apply(&site);
    host.ready("shop");
    let load = host.load(&site);
    load.wait_for_version("v1").unwrap();
    assert_eq!(host.is_present(), Some(true));
    host.agent.kill();
    let minute = std::time::Duration::from_secs(60);
    wait::until("it was seen to be gone", minute, || (host.is_present() == Some(false)).then_some(())).unwrap();
    load.wait_for_more(100).unwrap();
    host.agent.run().unwrap();
    wait::until("it was seen to be back", PATIENCE, || (host.is_present() == Some(true)).then_some(())).unwrap();
    crate::kit::nothing_lost(&load.stop());
}
