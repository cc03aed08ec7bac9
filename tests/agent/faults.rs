//! What goes wrong on a machine: agents that are killed, manifests that are half there, memories that are lost, links that somebody moved.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::{binaries, wait};
use serde_json::Value;

use crate::kit::{Dice, Machine, metrics, nothing_lost, says, why};

/// So many requests the load makes while a rollout lasts, more or less.
const MOMENTS: u64 = 3000;

/// How often the agent is killed; the figure that is shown is for 100.
fn kills() -> usize {
    std::env::var("BLUEGREEN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

#[test]
fn an_agent_that_is_killed_at_any_moment_loses_no_request_and_every_rollout_ends() {
    let mut machine = Machine::start();
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v0"))).unwrap();
    let load = machine.load(&site);
    load.wait_for_version("v0").unwrap();
    let mut dice = Dice::from_env();
    for round in 1..=kills() {
        let version = format!("v{round}");
        machine.agent.apply(&site.clone().release(&machine.release(&version))).unwrap();
        // The moment is told by the load, somewhere in a rollout of about three seconds.
        load.wait_for_more(dice.below(MOMENTS)).unwrap();
        machine.agent.kill();
        load.wait_for_more(dice.below(MOMENTS / 10)).unwrap();
        machine.agent.run().unwrap();
        machine
            .agent
            .wait_for("shop", &format!("is live as asked in round {round}, seed {}", dice.seed), |site| {
                why(site, "Ready") == "Live" && is_about_this(site)
            })
            .unwrap();
        load.wait_for_version(&version).unwrap();
        let so_far = load.totals();
        assert_eq!(so_far.failed, 0, "round {round}, seed {}: {:?}", dice.seed, so_far.told);
        fs::remove_dir_all(machine.agent.uploads().join(&version)).unwrap();
    }
    nothing_lost(&load.stop());
}

fn is_about_this(site: &Value) -> bool {
    site.pointer("/status/observedGeneration") == site.pointer("/metadata/generation")
}

#[test]
fn a_second_agent_says_who_the_first_one_is_and_ends() {
    let machine = Machine::start();
    let output = machine
        .agent
        .cli(&["host", "run", "--config", &machine.agent.config_file().display().to_string()])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("pid {}", machine.agent.pid().unwrap())), "{said}");
    machine.agent.bluegreen(&["get"]).unwrap();
}

#[test]
fn a_half_written_manifest_is_no_change_and_a_broken_one_leaves_the_last_good_one_in_force() {
    let mut machine = Machine::start();
    let site = machine.site("shop", 0).release(&machine.release("v1"));
    machine.agent.apply_and_wait(&site).unwrap();
    let file = machine.agent.sites_dir().join("shop.yaml");
    let whole = fs::read_to_string(&file).unwrap();
    let half = &whole[..whole.len() / 2];
    let mut open = fs::File::create(&file).unwrap();
    open.write_all(half.as_bytes()).unwrap();
    open.sync_all().unwrap();
    // Another site's manifest is taken meanwhile, so the agent is awake.
    machine.agent.apply_and_wait(&machine.site("blog", 1).release(&machine.release("v2"))).unwrap();
    let now = machine.agent.site("shop").unwrap();
    assert_eq!(why(&now, "Ready"), "Live", "{now:#}");
    drop(open);
    let broken = machine
        .agent
        .wait_for("shop", "says that its manifest is broken", |site| why(site, "Stalled") == "InvalidSpec")
        .unwrap();
    assert_eq!(why(&broken, "Available"), "AllInstancesReady", "{broken:#}");
    // An agent that is restarted with it goes on with the last good one.
    machine.agent.stop();
    machine.agent.run().unwrap();
    let again = machine
        .agent
        .wait_for("shop", "is served and broken", |site| {
            why(site, "Available") == "AllInstancesReady" && why(site, "Stalled") == "InvalidSpec"
        })
        .unwrap();
    assert_eq!(again.pointer("/status/live/colour"), Some(&"blue".into()));
    fs::write(&file, whole).unwrap();
    machine.agent.wait_for("shop", "is well again", |site| why(site, "Ready") == "Live").unwrap();
}

#[test]
fn a_folder_of_manifests_that_others_may_write_is_refused_and_what_was_accepted_goes_on() {
    let machine = Machine::start();
    let agent = &machine.agent;
    agent.apply_and_wait(&machine.site("shop", 0).release(&machine.release("v1"))).unwrap();
    fs::set_permissions(agent.sites_dir(), fs::Permissions::from_mode(0o777)).unwrap();
    let health = || metrics(agent, "/healthz");
    wait::until("the agent said so", wait::PATIENCE, || health().contains("others than its owner").then_some(()))
        .unwrap();
    let refusal = agent.apply(&machine.site("blog", 1).release(&machine.release("v2"))).unwrap_err();
    assert!(format!("{refusal:#}").contains("chmod go-w"), "{refusal:#}");
    assert_eq!(why(&agent.site("shop").unwrap(), "Available"), "AllInstancesReady");
    fs::set_permissions(agent.sites_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    wait::until("the agent was well again", wait::PATIENCE, || (health().trim() == "ok").then_some(())).unwrap();
    agent.apply_and_wait(&machine.site("blog", 1).release(&machine.release("v2"))).unwrap();
}

#[test]
fn a_manifest_that_others_may_write_or_that_is_a_link_is_refused() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let text = machine.site("shop", 0).release(&machine.release("v1")).yaml().unwrap();
    let elsewhere = agent.folder().join("elsewhere.yaml");
    fs::write(&elsewhere, &text).unwrap();
    symlink(&elsewhere, agent.sites_dir().join("blog.yaml")).unwrap();
    let file = agent.sites_dir().join("shop.yaml");
    fs::write(&file, &text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = |site: &Value| why(site, "Stalled") == "ManifestRefused";
    let shop = agent.wait_for("shop", "is refused", refused).unwrap();
    assert!(says(&shop, "Stalled").contains("others than its owner"), "{shop:#}");
    // A link is noticed when something is written there, or at the next look at everything.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    agent.wait_for("shop", "is live", |site| why(site, "Ready") == "Live").unwrap();
    assert!(agent.site("blog").is_err() || refused(&agent.site("blog").unwrap()));
}

#[test]
fn two_sites_never_have_the_same_hostname_and_the_second_gets_it_when_the_first_is_gone() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let shop = machine.site("shop", 0).release(&machine.release("v1"));
    agent.apply_and_wait(&shop).unwrap();
    let same = machine
        .site("blog", 1)
        .release(&machine.release("v2"))
        .set("/spec/target/host/hostnames", serde_json::json!([shop.host()]));
    let refusal = agent.apply(&same).unwrap_err();
    assert!(format!("{refusal:#}").contains("the site shop answers to shop.test already"), "{refusal:#}");
    // Over the folder nobody hears a refusal, so it stands in the condition.
    same.write(&agent.sites_dir().join("blog.yaml")).unwrap();
    agent.wait_for("blog", "is in conflict", |site| why(site, "Stalled") == "ConflictsWithSite").unwrap();
    assert_eq!(why(&agent.site("shop").unwrap(), "Ready"), "Live");
    agent.bluegreen(&["delete", "shop"]).unwrap();
    agent.wait_for("blog", "is live", |site| why(site, "Ready") == "Live").unwrap();
}

#[test]
fn a_release_that_is_missing_is_said_and_taken_once_it_is_there() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let missing = agent.uploads().join("v2");
    agent.apply_and_wait(&machine.site("shop", 0).release(&machine.release("v1"))).unwrap();
    agent.apply(&machine.site("shop", 0).release(&missing)).unwrap();
    let now = agent.wait_for("shop", "misses its release", |site| why(site, "Stalled") == "ReleaseMissing").unwrap();
    assert!(says(&now, "Stalled").contains(&missing.display().to_string()), "{now:#}");
    assert_eq!(why(&now, "Available"), "AllInstancesReady");
    machine.release("v2");
    agent.bluegreen(&["apply", "-f", &agent.sites_dir().join("shop.yaml").display().to_string()]).unwrap();
    agent
        .wait_for("shop", "is live", |site| {
            why(site, "Ready") == "Live" && site.pointer("/status/live/colour") == Some(&"green".into())
        })
        .unwrap();
}

#[test]
fn a_live_link_that_somebody_removed_or_moved_is_put_back() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let site = machine.site("shop", 0).strategy("standby", "1h");
    for version in ["v1", "v2"] {
        agent.apply_and_wait(&site.clone().release(&machine.release(version))).unwrap();
    }
    let live = agent.live_link("shop");
    fs::remove_file(&live).unwrap();
    wait::until("the link was back", wait::PATIENCE, || agent.live_colour("shop")).unwrap();
    assert_eq!(agent.live_colour("shop").as_deref(), Some("green"));
    fs::remove_file(&live).unwrap();
    symlink("somewhere/else", &live).unwrap();
    wait::until("the link was right again", wait::PATIENCE, || {
        (agent.live_colour("shop").as_deref() == Some("green")).then_some(())
    })
    .unwrap();
}

#[test]
fn a_lost_or_damaged_memory_costs_no_request_and_promotes_nothing() {
    let mut machine = Machine::start();
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    let bad = site.clone().strategy("readyWithin", "1s").release(&machine.release_that("v2", "never-ready"));
    assert!(machine.agent.apply_and_wait(&bad).is_err());
    machine.agent.wait_for_phase("shop", "Idle").unwrap();
    let load = machine.load(&site);
    let folder = machine.agent.site_dir("shop");
    let half = |name: &str| {
        let text = fs::read(folder.join(name)).unwrap();
        fs::write(folder.join(name), &text[..text.len() / 2]).unwrap();
    };
    let rejected = |site: &Value| why(site, "Stalled") == "ReadyDeadlineExceeded";
    for lost in ["ledger.json", "status.json"] {
        machine.agent.kill();
        half(lost);
        machine.agent.run().unwrap();
        machine.agent.wait_for("shop", "remembers the rejection", rejected).unwrap();
    }
    machine.agent.kill();
    fs::remove_file(folder.join("ledger.json")).unwrap();
    fs::remove_file(folder.join("status.json")).unwrap();
    machine.agent.run().unwrap();
    machine.agent.wait_for("shop", "holds what was not live", |site| why(site, "Stalled") == "HeldAfterLoss").unwrap();
    assert_eq!(machine.agent.live_colour("shop").as_deref(), Some("blue"));
    // With both memories damaged, nobody knows what was rejected: nothing is decided until somebody looks.
    machine.agent.kill();
    half("ledger.json");
    half("status.json");
    machine.agent.run().unwrap();
    let now =
        machine.agent.wait_for("shop", "says what is damaged", |site| why(site, "Stalled") == "StateDamaged").unwrap();
    assert!(says(&now, "Stalled").contains("ledger.json is damaged"), "{now:#}");
    nothing_lost(&load.stop());
}

#[test]
fn who_is_not_in_the_group_is_told_what_to_do_and_only_root_applies() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let socket = agent.run_dir().join("control.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let manifest = agent.folder().join("shop.yaml");
    machine.site("shop", 0).release(&machine.release("v1")).write(&manifest).unwrap();
    fs::set_permissions(&manifest, fs::Permissions::from_mode(0o644)).unwrap();
    let as_stranger = |arguments: &[&str]| {
        let output = agent.cli(arguments).uid(54_321).gid(54_321).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = as_stranger(&["get"]);
    assert!(said.contains("you may not open it"), "{said}");
    // Even if somebody opens the socket to all, the kernel still says who asks.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let said = as_stranger(&["get"]);
    assert!(said.contains("usermod -aG bluegreen"), "{said}");
    let said = as_stranger(&["apply", "-f", &manifest.display().to_string()]);
    assert!(said.contains("only root may"), "{said}");
}

#[test]
fn when_the_agent_ends_its_apps_go_on_and_the_next_one_finds_them() {
    let mut machine = Machine::start();
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    let load = machine.load(&site);
    load.wait_for_more(50).unwrap();
    let apps = machine.agent.apps();
    assert_eq!(apps.len(), 2);
    machine.agent.stop();
    assert_eq!(machine.agent.apps(), apps);
    load.wait_for_more(50).unwrap();
    machine.agent.run().unwrap();
    machine.agent.wait_for("shop", "is ready", |site| why(site, "Ready") == "Live").unwrap();
    assert_eq!(machine.agent.apps(), apps);
    nothing_lost(&load.stop());
}

#[test]
fn where_no_folder_can_be_watched_manifests_are_read_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("bluegreen");
    // Root in a namespace of its own, which has a count of its own: of watches there is none.
    let script = "#!/bin/sh\nexec unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"'";
    fs::write(&program, format!("{script} '{}' \"$@\"\n", binaries::bluegreen().unwrap().display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut machine = Machine::start();
    machine.agent = Agent::start_program(&program, &machine.nginx).unwrap();
    let agent = &machine.agent;
    assert!(agent.log().contains("can't be watched"), "{}", agent.log());

    let site = machine.site("shop", 0).release(&agent.uploads().join("none"));
    let file = agent.sites_dir().join("shop.yaml");
    site.write(&file).unwrap();
    agent.wait_for("shop", "is known", |site| site["metadata"]["generation"] == 1).unwrap();
    site.strategy("bake", "1s").write(&file).unwrap();
    agent.wait_for("shop", "was changed", |site| site["metadata"]["generation"] == 2).unwrap();
    fs::remove_file(&file).unwrap();
    // Gone it is never: nginx may not listen where such a root isn't allowed to.
    agent.wait_for("shop", "is to go away", |site| !site["metadata"]["deletionTimestamp"].is_null()).unwrap();
    agent.wait_for("shop", "is told why it can't", |site| why(site, "Ready") == "WebServerConfigRefused").unwrap();
    let tried = || {
        let lines = metrics(agent, "/metrics");
        let line =
            lines.lines().find(|line| line.starts_with("bluegreen_faults_total") && line.contains("ConfigRefused"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok())
    };
    wait::until("it was tried again", wait::PATIENCE, || tried().filter(|tried| *tried >= 3)).unwrap();
    let said = |reason: &str| agent.log().matches(reason).count();
    assert_eq!((said("ReleaseMissing"), said("WebServerConfigRefused")), (1, 1), "{}", agent.log());
}
