//! Two machines with one name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bluegreen::driver::agent::hub::membership::Membership;
use bluegreen_rig::agent::Agent;
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::{binaries, wait};

use crate::kit::{Host, PATIENCE, is_ready, plane, tail};

/// The agent on a machine with another machine-id: its own `/etc/machine-id`, as in a container.
fn elsewhere(folder: &Path) -> PathBuf {
    let (id, program) = (folder.join("machine-id"), folder.join("bluegreen"));
    fs::write(&id, "0123456789abcdef0123456789abcdef\n").unwrap();
    let text = format!(
        "#!/bin/sh\nset -e\nexec unshare --mount sh -c 'mount --bind {} /etc/machine-id; exec {} \"$@\"' sh \"$@\"\n",
        id.display(),
        binaries::bluegreen().unwrap().display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[test]
fn a_second_machine_of_the_same_name_does_nothing_for_the_hub_and_says_so() {
    let host = Host::start(plane());
    host.apply(&host.site("shop", 0).release(&host.release("v1")));
    host.ready("shop");
    let folder = tempfile::tempdir().unwrap();
    let nginx = Nginx::start().unwrap();
    let mut second = Agent::start_program(&elsewhere(folder.path()), &nginx).unwrap();
    second.stop();
    let allow = fs::read_to_string(host.agent.config_file()).unwrap();
    let allow = allow.lines().find(|line| line.starts_with("allow:")).unwrap();
    let config = fs::read_to_string(second.config_file()).unwrap();
    fs::write(second.config_file(), format!("{config}{allow}\n")).unwrap();
    crate::kit::join(host.plane, host.namespace.name(), &host.proxy, &second.state_dir());
    second.run().unwrap();
    let file = Membership::folder(&second.state_dir()).join("standing.json");
    let stands = wait::until("the second machine said that it does nothing", PATIENCE, || {
        let stands: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).ok()?).ok()?;
        stands["why"].as_str()?.contains("another machine").then_some(stands)
    });
    let stands = stands.unwrap_or_else(|error| panic!("{error}\n{}", tail(&second.log(), 40)));
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
