//! Debian's Apache as it is packed: its own process model and limits, its folders, and the steps of docs/apache.md.

use std::fs;
use std::time::Duration;

use bluegreen_rig::booted::Image;
use bluegreen_rig::load::Load;
use bluegreen_rig::wait;

use super::kit::{UNIT, install, listing, machine, package, purge_leaves_nothing};
use super::vps::{Vps, address};

const CUTOVERS: usize = 5;

/// The commands that step 1 of the page names.
fn as_the_page_says(vps: &Vps) {
    let page = include_str!("../../docs/apache.md");
    let commands: Vec<&str> = page.lines().filter_map(|line| line.trim().strip_prefix("# ")).take(4).collect();
    let commands: Vec<&str> =
        commands.into_iter().filter(|line| line.starts_with("a2enmod ") || line.starts_with("systemctl ")).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        vps.run(&command.split_whitespace().collect::<Vec<_>>());
    }
}

#[test]
fn behind_debian_s_apache_nothing_is_lost_and_a_purge_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let only = package(folder.path(), "0.1.0");
    let vps = machine(Image::Full, folder.path());
    vps.run(&["systemctl", "enable", "--now", "--quiet", "apache2.service"]);
    as_the_page_says(&vps);
    let before = listing(&vps);

    install(&vps, &only);
    let config = vps.machine.root().join("etc/bluegreen/agent.yaml");
    fs::write(&config, "webServer:\n  apache: {}\n").expect("a file");
    vps.run(&["systemctl", "restart", UNIT]);
    vps.apply_and_wait(&vps.with(vps.site(), "v0", ""));
    assert_eq!(vps.answers().as_deref(), Some("v0"), "{}", vps.log());
    let load = vps
        .machine
        .in_its_network(|| Load::to(address(), "shop.test").clients(8).think(Duration::from_millis(10)).start());
    let load = load.expect("a network").expect("load");
    load.wait_for_version("v0").expect("answers");
    for number in 1..=CUTOVERS {
        let version = format!("v{number}");
        vps.apply_and_wait(&vps.with(vps.site(), &version, ""));
        load.wait_for_version(&version).expect("answers");
        load.wait_for_more(200).expect("answers");
    }
    let totals = load.stop();
    println!("{CUTOVERS} cutovers behind Debian's Apache: {} requests, {} failed", totals.requests, totals.failed);
    assert_eq!(totals.broken_clients, 0);
    assert_eq!(totals.failed, 0, "{:?} {:?}\n{}", totals.losses, totals.told, vps.log());
    assert_eq!(vps.doctor_is_content().get(&80).map(String::as_str), Some("apache2.service"));

    purge_leaves_nothing(&vps, &before);
    assert!(vps.does(&["systemctl", "is-active", "--quiet", "apache2.service"]), "{}", vps.log());
    wait::until("Apache has forgotten the site", wait::PATIENCE, || vps.answers().is_none().then_some(()))
        .expect("a reload");
}
