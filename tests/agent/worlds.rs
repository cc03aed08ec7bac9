//! What a site may be, and what its world may do: files alone, hashed assets, a live colour that dies, a disk that is not mounted.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use bluegreen_rig::load::get;
use bluegreen_rig::manifest::{Manifest, asset_name};
use bluegreen_rig::wait;

use crate::kit::{Machine, metrics, nothing_lost, says, why};

#[test]
fn a_site_of_files_alone_is_switched_as_well() {
    let machine = Machine::start();
    let site = Manifest::files("pages", machine.address(), machine.user.name());
    let page = || {
        let answer = get(machine.address(), &site.host(), "/index.html").unwrap();
        String::from_utf8_lossy(&answer.body).trim().to_owned()
    };
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    assert_eq!(page(), "<h1>v1</h1>");
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v2"))).unwrap();
    assert_eq!(page(), "<h1>v2</h1>");
    assert_eq!(machine.agent.live_colour("pages").as_deref(), Some("green"));
}

#[test]
fn a_page_of_the_old_version_gets_its_assets_after_the_cutover_and_after_a_way_back() {
    let machine = Machine::start();
    let site = machine.site("shop", 0).with_static("/assets/", "public/assets", 3).strategy("standby", "1h");
    let asset = |version: &str| {
        let path = format!("/assets/{}", asset_name(version));
        get(machine.address(), &site.host(), &path).unwrap().status
    };
    for version in ["v1", "v2", "v3"] {
        machine.agent.apply_and_wait(&site.clone().release(&machine.release(version))).unwrap();
    }
    assert_eq!([asset("v1"), asset("v2"), asset("v3"), asset("v4")], [200, 200, 200, 404]);
    machine.agent.bluegreen(&["rollback", "shop"]).unwrap();
    machine.agent.wait_for("shop", "is rolled back", |site| why(site, "Ready") == "RolledBack").unwrap();
    assert_eq!([asset("v1"), asset("v2"), asset("v3")], [200, 200, 200]);
}

#[test]
fn when_the_live_colour_dies_for_good_traffic_goes_to_the_standby() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let site = machine.site("shop", 0).strategy("standby", "1h").strategy("failoverAfter", "500ms");
    for version in ["v1", "v2"] {
        agent.apply_and_wait(&site.clone().release(&machine.release(version))).unwrap();
    }
    let now = agent.site("shop").unwrap();
    let live = now.pointer("/status/live/revision").unwrap().as_str().unwrap();
    let app = agent.site_dir("shop").join("releases").join(live).join("app");
    let folder = app.parent().unwrap().to_owned();
    fs::set_permissions(&app, fs::Permissions::from_mode(0o000)).unwrap();
    for pid in agent.apps() {
        if fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder) {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    }
    agent.wait_for("shop", "has failed over", |site| why(site, "Ready") == "LiveColourDown").unwrap();
    assert_eq!(agent.live_colour("shop").as_deref(), Some("blue"));
    let load = machine.load(&site);
    load.wait_for_version("v1").unwrap();
    nothing_lost(&load.stop());
}

#[test]
fn a_folder_of_manifests_that_is_suddenly_another_one_deletes_nothing() {
    let machine = Machine::start();
    let agent = &machine.agent;
    agent.apply_and_wait(&machine.site("shop", 0).release(&machine.release("v1"))).unwrap();
    let (sites, aside) = (agent.sites_dir(), agent.folder().join("aside"));
    fs::rename(&sites, &aside).unwrap();
    fs::create_dir(&sites).unwrap();
    fs::set_permissions(&sites, fs::Permissions::from_mode(0o755)).unwrap();
    wait::until("the agent noticed", wait::PATIENCE, || {
        metrics(agent, "/healthz").contains("another folder than before").then_some(())
    })
    .unwrap();
    assert_eq!(why(&agent.site("shop").unwrap(), "Ready"), "Live");
    fs::remove_dir(&sites).unwrap();
    fs::rename(&aside, &sites).unwrap();
    wait::until("the agent was well again", wait::PATIENCE, || {
        (metrics(agent, "/healthz").trim() == "ok").then_some(())
    })
    .unwrap();
    assert_eq!(why(&agent.site("shop").unwrap(), "Ready"), "Live");
}

#[test]
fn what_is_wrong_with_a_port_or_a_program_is_said() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let site = machine.site("shop", 0).strategy("readyWithin", "2s");
    let elsewhere = machine.ports[7].number();
    let bad = machine.release_that("v1", &format!("wrong-port={elsewhere}"));
    assert!(agent.apply_and_wait(&site.clone().release(&bad)).is_err());
    let now = agent.wait_for("shop", "is rejected", |site| why(site, "Stalled") == "ReadyDeadlineExceeded").unwrap();
    assert!(says(&now, "Stalled").contains(&format!("listens on port {elsewhere}, not on its own")), "{now:#}");
    let crash = machine.release_that("v2", "crash-after-ms=0");
    assert!(agent.apply_and_wait(&site.clone().release(&crash)).is_err());
    let now = agent.wait_for("shop", "is rejected", |site| says(site, "Stalled").contains("exit code 3")).unwrap();
    assert_eq!(why(&now, "Available"), "NothingLive");
    assert_eq!(agent.apps(), Vec::<u32>::new());
}
