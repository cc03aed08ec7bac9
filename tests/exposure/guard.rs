//! The guard: a candidate that a neighbour could reach does not go live where no table closes its ports.

use std::os::unix::fs::symlink;

use bluegreen_rig::agent::Firewall;
use serde_json::json;
use tempfile::TempDir;

use crate::kit::{EVERYWHERE, Machine, nothing_lost, says, why};

/// A `PATH` on which everything is but nft.
pub fn without_nft() -> (TempDir, Firewall) {
    let folder = tempfile::tempdir().unwrap();
    for bin in ["/usr/bin", "/usr/sbin", "/bin", "/sbin"] {
        for entry in std::fs::read_dir(bin).unwrap().flatten() {
            if entry.file_name() != "nft" {
                // What lies in two of them is one program.
                let _ = symlink(entry.path(), folder.path().join(entry.file_name()));
            }
        }
    }
    let path = folder.path().to_str().unwrap().to_owned();
    (folder, Firewall::NftablesBy(path))
}

#[test]
fn without_nft_an_exposed_candidate_is_rejected_and_the_live_colour_goes_on() {
    let (_bin, path) = without_nft();
    let machine = Machine::behind(path);
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release_that("v1", ""))).unwrap();
    let load = machine.load(&site);
    let green = machine.ports_of(0)[1];
    for (version, behaviour, open) in [
        ("v2", "exposed".to_owned(), format!("0.0.0.0:{green}")),
        ("v3", "exposed6".to_owned(), format!("[::]:{green}")),
        ("v4", format!("further-port={}", machine.ports[18].number()), format!("[::]:{}", machine.ports[18].number())),
    ] {
        let candidate = site.clone().release(&machine.release_that(version, &behaviour));
        let refusal = format!("{:#}", machine.agent.apply_and_wait(&candidate).unwrap_err());
        for word in
            [&format!("listens on {open}"), "app (pid ", "apt install nftables", "127.0.0.1", "guards.exposure: Warn"]
        {
            assert!(refusal.contains(word), "{version}: {word:?} in {refusal}");
        }
        let now = machine.agent.wait_for_phase("shop", "Idle").unwrap();
        assert_eq!(why(&now, "Stalled"), "VerificationFailed", "{}", says(&now, "Stalled"));
        assert_eq!(machine.agent.live_colour("shop").as_deref(), Some("blue"));
    }
    assert!(machine.agent.log().contains("FirewallUnavailable"), "it is said at the start");
    // One that listens on loopback alone needs no firewall.
    machine.agent.apply_and_wait(&site.clone().release(&machine.release_that("v5", ""))).unwrap();
    load.wait_for_version("v5").unwrap();
    let totals = load.stop();
    nothing_lost(&totals);
    assert!(["v2", "v3", "v4"].iter().all(|bad| !totals.versions.contains_key(*bad)));
}

#[test]
fn with_warn_and_with_off_an_exposed_candidate_goes_live_and_warn_says_so() {
    let (_bin, path) = without_nft();
    let machine = Machine::behind(path);
    let site = |name: &str, slot: usize, guard: &str| {
        machine
            .site(name, slot)
            .release(&machine.release_that(name, "exposed"))
            .set("/spec/guards", json!({ "exposure": guard }))
    };
    machine.agent.apply_and_wait(&site("warned", 0, "Warn")).unwrap();
    machine.agent.apply_and_wait(&site("silent", 1, "Off")).unwrap();
    let log = machine.agent.log();
    let said =
        |port: u16| log.lines().any(|line| line.contains("PortExposed") && line.contains(&format!("0.0.0.0:{port}")));
    assert!(said(machine.ports_of(0)[0]), "{log}");
    assert!(!said(machine.ports_of(1)[0]), "{log}");
    let warned = machine.agent.site("warned").unwrap();
    let open = "PortExposed: app (pid ";
    assert!(says(&warned, "Warning").contains(open), "{warned:#}");
    assert!(says(&warned, "Warning").contains(&format!("0.0.0.0:{}", machine.ports_of(0)[0])), "{warned:#}");
    assert_eq!(why(&machine.agent.site("silent").unwrap(), "Warning"), "FirewallUnavailable");
    // The port is open, as the test says: nothing closes it here.
    assert_eq!(machine.network.answers(machine.ports_of(0)[0]).unwrap(), (true, false));
}

#[test]
fn a_candidate_that_exposes_itself_after_its_checks_is_not_cut_over_to() {
    let (_bin, path) = without_nft();
    let machine = Machine::behind(path);
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release_that("v1", ""))).unwrap();
    let load = machine.load(&site);
    // The guard is off while the checks run, and on again when it is approved.
    let candidate = site
        .clone()
        .release(&machine.release_that("v2", "exposed"))
        .strategy("promotion", "Manual")
        .strategy("cutoverWithin", "2s");
    let judged = |guard: &str| candidate.clone().set("/spec/guards", json!({ "exposure": guard }));
    machine.agent.apply(&judged("Off")).unwrap();
    machine.agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    machine.agent.apply(&judged("Deny")).unwrap();
    machine.agent.bluegreen(&["approve", "shop"]).unwrap();
    let now = machine
        .agent
        .wait_for("shop", "is rejected", |site| !why(site, "Stalled").is_empty() && why(site, "Ready") != "PortExposed")
        .unwrap();
    assert_eq!(machine.agent.live_colour("shop").as_deref(), Some("blue"), "{now:#}");
    let totals = load.stop();
    nothing_lost(&totals);
    assert!(!totals.versions.contains_key("v2"));
}

#[test]
fn with_nft_the_same_candidates_go_live_behind_the_table() {
    let machine = Machine::start();
    for (slot, open) in EVERYWHERE.iter().enumerate().take(2) {
        machine.agent.apply_and_wait(&machine.open_site(open, slot, "v1")).unwrap();
        machine.wait_until_closed(machine.ports_of(slot)[0]);
    }
}

#[test]
fn no_guard_bars_the_way_back_to_what_was_live_though_it_is_started_again() {
    let (_bin, path) = without_nft();
    let machine = Machine::behind(path);
    let site = |version: &str, behaviour: &str, guard: &str| {
        let site = machine.site("shop", 0).release(&machine.release_that(version, behaviour));
        site.strategy("standby", "0s").set("/spec/guards", json!({ "exposure": guard }))
    };
    let agent = &machine.agent;
    agent.apply_and_wait(&site("v1", "exposed", "Warn")).unwrap();
    agent.apply_and_wait(&site("v2", "", "Deny")).unwrap();
    let live = |site: &serde_json::Value| site["status"]["live"]["revision"].as_str().map(str::to_owned);
    let second = live(&agent.site("shop").unwrap());
    agent.bluegreen(&["rollback", "shop"]).unwrap();
    let back = agent.wait_for("shop", "is back", |site| {
        site["status"]["phase"] == "Idle" && live(site).is_some() && live(site) != second
    });
    assert_eq!(why(&back.unwrap(), "Ready"), "RolledBack");
}
