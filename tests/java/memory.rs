//! A machine without memory for two copies of an app. The app is a small one: what the machine has left is what is played, by another file
//! over the kernel's, in a mount namespace of the agent's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::binaries;
use bluegreen_rig::load::Load;
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use serde_json::Value;

fn left(file: &Path, kib: u64) {
    // Written in place: it is mounted.
    fs::write(file, format!("MemTotal: 4000000 kB\nMemAvailable: {kib} kB\nSwapFree: 0 kB\n")).unwrap();
}

#[test]
fn a_second_copy_that_does_not_fit_into_memory_is_not_started_and_said_until_it_fits() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let meminfo = folder.path().join("meminfo");
    left(&meminfo, 3_000_000);
    let program = folder.path().join("bluegreen");
    let text = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {} /proc/meminfo && exec \"$@\"' sh {} \"$@\"\n",
        meminfo.display(),
        binaries::bluegreen().unwrap().display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();

    let nginx = Nginx::start().unwrap();
    let agent = Agent::start_program(&program, &nginx).unwrap();
    let ports = Port::take_many(2).unwrap();
    let user = User::ordinary().unwrap();
    let site = Manifest::app("shop", nginx.address(), user.name(), &[ports[0].number()], &[ports[1].number()]);
    let of = |version: &str| {
        site.clone().release(&release(&agent.uploads(), version, "").unwrap()).strategy("readyWithin", "50s")
    };
    agent.apply_and_wait(&of("v1")).unwrap();
    let load = Load::to(nginx.address(), &site.host()).clients(4).start().unwrap();
    load.wait_for_version("v1").unwrap();
    let apps = agent.apps();

    left(&meminfo, 100);
    agent.apply(&of("v2")).unwrap();
    let said = |site: &Value| site["status"].to_string().contains("a second copy does not fit");
    agent.wait_for("shop", "says that it does not fit", said).unwrap();
    assert_eq!(agent.apps(), apps, "something was started");
    load.wait_for_more(50).unwrap();
    // Somebody makes room: it goes on by itself.
    left(&meminfo, 3_000_000);
    load.wait_for_version("v2").unwrap();
    agent.wait_for_phase("shop", "Idle").unwrap();
    let totals = load.stop();
    assert_eq!(totals.failed, 0, "{:?}", totals.told);
}
