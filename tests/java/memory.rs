//! A machine without memory for two copies of an app: what the machine has left is what is played, by another file over the kernel's, in a mount
//! namespace of the agent's own. The app is a small one, and once the real one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bluegreen_rig::agent::Agent;
use bluegreen_rig::binaries;
use bluegreen_rig::load::{Load, Running};
use bluegreen_rig::manifest::{Manifest, release};
use serde_json::Value;
use tempfile::TempDir;

use crate::kit::nginx_by;

/// Enough for anything here.
const PLENTY: u64 = 3_000_000;
/// Enough for nothing.
const NOTHING: u64 = 100;

/// The agent, and the file that it takes for the kernel's.
struct Played {
    program: PathBuf,
    meminfo: PathBuf,
    _folder: TempDir,
}

impl Played {
    fn new() -> Played {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (meminfo, program) = (folder.path().join("meminfo"), folder.path().join("bluegreen"));
        let text = format!(
            "#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {} /proc/meminfo && exec \"$@\"' sh {} \"$@\"\n",
            meminfo.display(),
            binaries::bluegreen().unwrap().display()
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let played = Played { program, meminfo, _folder: folder };
        played.left(PLENTY);
        played
    }

    fn left(&self, kib: u64) {
        // Written in place: it is mounted.
        let text = format!("MemTotal: 4000000 kB\nMemAvailable: {kib} kB\nSwapFree: 0 kB\n");
        fs::write(&self.meminfo, text).unwrap();
    }
}

fn is_short(site: &Value) -> bool {
    let conditions = site.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| {
        let message = one["message"].as_str().unwrap_or_default();
        one["reason"] == "MemoryShort"
            && message.contains("a second copy does not fit")
            && message.contains("MiB are left")
    })
}

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_second_copy_that_does_not_fit_into_memory_is_not_started_and_said_until_it_fits() {
    let played = Played::new();
    let machine = nginx_by(&played.program);
    let agent = &machine.agent;
    let of = |version: &str| small(agent, &machine.command(), version);
    agent.apply_and_wait(&of("v1")).unwrap();
    let load = load(machine.address, &of("v1"), "v1");
    let apps = agent.apps();

    played.left(NOTHING);
    agent.apply(&of("v2")).unwrap();
    agent.wait_for("shop", "says that it does not fit", is_short).unwrap();
    assert_eq!(agent.apps(), apps, "something was started");
    load.wait_for_more(50).unwrap();
    // Somebody makes room: it goes on by itself.
    played.left(PLENTY);
    load.wait_for_version("v2").unwrap();
    agent.wait_for_phase("shop", "Idle").unwrap();
    lost_nothing(load);
}

/// v1 is the standby of v2, and then there is room for nothing more: v3 ends it, still doesn't fit, and says so before anything of it runs.
fn the_standby_is_given_up_first(
    agent: &Agent,
    load: impl Fn(&str) -> Running,
    of: impl Fn(&str) -> Manifest,
    played: &Played,
) {
    let of = |version: &str| of(version).strategy("standby", "1h").strategy("readyWithin", "55s");
    agent.apply_and_wait(&of("v1")).unwrap();
    let standby = agent.apps();
    assert!(!standby.is_empty());
    agent.apply_and_wait(&of("v2")).unwrap();
    agent.wait_for_phase("shop", "Idle").unwrap();
    let both = agent.apps();
    assert!(standby.iter().all(|pid| both.contains(pid)), "v1 is kept warm");
    let live: Vec<u32> = both.into_iter().filter(|pid| !standby.contains(pid)).collect();
    assert!(!live.is_empty());
    let load = load("v2");

    played.left(NOTHING);
    agent.apply(&of("v3")).unwrap();
    agent.wait_for("shop", "says that it does not fit", is_short).unwrap();
    assert!(!standby.iter().any(|pid| runs(*pid)), "the standby still takes memory");
    assert_eq!(agent.apps(), live, "something was started, or what is live was touched");
    assert_eq!(agent.live_colour("shop").as_deref(), Some("green"));
    load.wait_for_more(50).unwrap();
    assert_eq!(agent.apps(), live);
    played.left(PLENTY);
    load.wait_for_version("v3").unwrap();
    agent.wait_for_phase("shop", "Idle").unwrap();
    lost_nothing(load);
}

#[test]
fn a_standby_is_given_up_before_a_candidate_is_said_not_to_fit() {
    let played = Played::new();
    let machine = nginx_by(&played.program);
    let of = |version: &str| small(&machine.agent, &machine.command(), version);
    let under_load = |version: &str| load(machine.address, &of("v2"), version);
    the_standby_is_given_up_first(&machine.agent, under_load, of, &played);
}

#[test]
fn a_standby_of_a_real_jvm_is_given_up_before_a_third_one_is_said_not_to_fit() {
    let played = Played::new();
    let machine = nginx_by(&played.program);
    let spring = machine.spring();
    let of = |version: &str| spring.clone().env("SHOP_VERSION", version);
    let under_load = |version: &str| load(machine.address, &spring, version);
    the_standby_is_given_up_first(&machine.agent, under_load, of, &played);
}

/// A version of the small app.
fn small(agent: &Agent, site: &Manifest, version: &str) -> Manifest {
    let there = agent.uploads().join(version);
    let release = if there.exists() { there } else { release(&agent.uploads(), version, "").unwrap() };
    site.clone().release(&release).strategy("readyWithin", "50s")
}

fn load(address: std::net::SocketAddr, site: &Manifest, version: &str) -> Running {
    let load = Load::to(address, &site.host()).clients(4).start().unwrap();
    load.wait_for_version(version).unwrap();
    load
}

fn lost_nothing(load: Running) {
    assert_eq!(load.stop().complaint(), None);
}
