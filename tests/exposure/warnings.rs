//! What somebody should know, and what holds up nothing, stands in the site's status until it is mended.

use std::fs;

use bluegreen_rig::agent::Firewall;
use bluegreen_rig::wait;
use serde_json::json;

use crate::guard::without_nft;
use crate::kit::{Machine, nothing_lost, says, why};

#[test]
fn a_missing_nft_is_said_in_the_status_and_holds_up_no_rollout_and_is_not_said_any_more_once_it_is_there() {
    let (bin, path) = without_nft();
    let machine = Machine::behind(path);
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release_that("v1", ""))).unwrap();
    let load = machine.load(&site);
    let now = machine.agent.site("shop").unwrap();
    assert_eq!(why(&now, "Warning"), "FirewallUnavailable", "{now:#}");
    assert!(says(&now, "Warning").contains("apt install nftables"), "{}", says(&now, "Warning"));
    assert_eq!((why(&now, "Ready"), why(&now, "Stalled")), ("Live".to_owned(), String::new()));
    let page = String::from_utf8_lossy(&machine.agent.bluegreen(&["describe", "shop"]).unwrap().stdout).into_owned();
    assert!(page.contains("FirewallUnavailable"), "{page}");
    // A rollout goes on all the same.
    machine.agent.apply_and_wait(&site.clone().release(&machine.release_that("v2", ""))).unwrap();
    load.wait_for_version("v2").unwrap();
    // Somebody installs it.
    std::os::unix::fs::symlink("/usr/sbin/nft", bin.path().join("nft")).unwrap();
    machine.wait_until_closed(machine.ports_of(0)[0]);
    let quiet = |site: &serde_json::Value| why(site, "Warning").is_empty();
    wait::until("nothing is warned of any more", 2 * wait::PATIENCE, || machine.agent.site("shop").ok().filter(quiet))
        .unwrap();
    nothing_lost(&load.stop());
}

#[test]
fn what_guards_let_pass_stands_in_the_status_of_the_site_while_it_is_live_and_survives_the_agent() {
    let mut machine = Machine::behind(Firewall::Nftables);
    let folder = machine.release_that("v1", "");
    fs::create_dir(folder.join("shop")).unwrap();
    fs::write(folder.join("shop/settings.py"), "DEBUG = True\n").unwrap();
    let site = machine.site("shop", 0);
    let debugged = site
        .clone()
        .release(&folder)
        .env("DJANGO_SETTINGS_MODULE", "shop.settings")
        .set("/spec/guards", json!({ "insecureSettings": "Warn" }));
    machine.agent.apply_and_wait(&debugged).unwrap();
    for _ in 0..2 {
        let now = machine
            .agent
            .wait_for("shop", "warns", |site| why(site, "Warning") == "GuardWarned" && why(site, "Ready") == "Live")
            .unwrap();
        assert!(says(&now, "Warning").contains("settings.py"), "{}", says(&now, "Warning"));
        machine.agent.stop();
        machine.agent.run().unwrap();
    }
    machine.agent.apply_and_wait(&site.release(&machine.release_that("v2", ""))).unwrap();
    machine.agent.wait_for("shop", "does not warn", |site| why(site, "Warning").is_empty()).unwrap();
}
