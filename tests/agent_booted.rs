//! The agent as it is installed on a Debian that boots: its unit, systemd as its supervisor, the distribution's nginx. Needs root,
//! `debootstrap` and `systemd-container`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::Path;

use bluegreen_rig::binaries;
use bluegreen_rig::booted::Booted;
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::wait;
use serde_json::{Value, json};

/// A machine on which somebody installed bluegreen.
struct Vps {
    machine: Booted,
}

impl Vps {
    fn boot() -> Vps {
        let program = binaries::bluegreen().unwrap();
        let machine = Booted::boot(&[(&program, "/usr/bin/bluegreen")]).unwrap();
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/bluegreen.service");
        fs::copy(unit, machine.root().join("etc/systemd/system/bluegreen.service")).unwrap();
        let vps = Vps { machine };
        vps.run(&["systemctl", "daemon-reload"]);
        vps.run(&["systemctl", "enable", "--now", "nginx.service", "bluegreen.service"]);
        vps
    }

    fn run(&self, argv: &[&str]) -> String {
        self.machine.run(argv).unwrap_or_else(|error| panic!("{error}\n{}", self.journal()))
    }

    fn journal(&self) -> String {
        let text = self.machine.journal();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }

    fn site(&self) -> Manifest {
        Manifest::app("shop", "0.0.0.0:80".parse().unwrap(), "shop", &[8081], &[8082])
    }

    /// A release that misbehaves as told.
    fn release(&self, version: &str, behaviour: &str) -> String {
        release(&self.machine.root().join("srv"), version, behaviour).unwrap();
        format!("/srv/{version}")
    }

    fn apply(&self, site: Manifest, version: &str, behaviour: &str, wait: bool) {
        let folder = self.release(version, behaviour);
        let site = site.set("/spec/target/host/release", json!({ "path": folder }));
        let file = self.machine.root().join("root/shop.yaml");
        site.write(&file).unwrap();
        let mut argv = vec!["bluegreen", "apply", "-f", "/root/shop.yaml"];
        if wait {
            argv.extend(["--wait", "--timeout", "60s"]);
        }
        self.run(&argv);
    }

    fn wait_for_phase(&self, phase: &str) {
        let asked = wait::until(&format!("shop is {phase}"), wait::PATIENCE, || {
            let text = self.machine.run(&["bluegreen", "get", "shop", "-o", "json"]).ok()?;
            let site: Value = serde_json::from_str(&text).ok()?;
            (site.pointer("/status/phase") == Some(&phase.into())).then_some(())
        });
        asked.unwrap_or_else(|error| panic!("{error}\n{}", self.journal()));
    }

    fn serves(&self, version: &str) -> bool {
        let page = self.machine.run(&["curl", "-sf", "-H", "Host: shop.test", "http://127.0.0.1/"]);
        page.is_ok_and(|page| page.contains(version))
    }

    /// Reboots without the agent, sees who serves, and switches the agent on again.
    fn reboot_without_the_agent(&mut self, version: &str) {
        self.run(&["systemctl", "disable", "bluegreen.service"]);
        self.machine.reboot().unwrap();
        wait::until(&format!("{version} serves after the reboot"), wait::PATIENCE, || {
            self.serves(version).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.journal()));
        assert!(self.machine.run(&["systemctl", "is-active", "bluegreen.service"]).is_err());
        self.run(&["systemctl", "enable", "--now", "bluegreen.service"]);
    }
}

#[test]
fn a_reboot_in_the_middle_of_each_phase_leaves_the_colour_that_the_link_names_serving() {
    let mut vps = Vps::boot();
    let site = vps.site().strategy("standby", "1h");
    vps.apply(site.clone(), "v1", "", true);
    assert!(vps.serves("v1"), "{}", vps.journal());

    vps.apply(site.clone().strategy("readyWithin", "1m"), "v2", "ready-after-ms=3600000", false);
    vps.wait_for_phase("Starting");
    vps.reboot_without_the_agent("v1");
    vps.wait_for_phase("Starting");

    vps.apply(site.clone().strategy("promotion", "Manual"), "v3", "", false);
    vps.wait_for_phase("AwaitingApproval");
    vps.reboot_without_the_agent("v1");
    vps.wait_for_phase("AwaitingApproval");

    vps.apply(site.clone().strategy("bake", "1h"), "v3", "", false);
    vps.wait_for_phase("Baking");
    vps.reboot_without_the_agent("v3");
    vps.wait_for_phase("Baking");

    vps.apply(site.clone(), "v3", "", false);
    vps.wait_for_phase("Idle");
    vps.reboot_without_the_agent("v3");
    vps.wait_for_phase("Idle");
    assert!(vps.serves("v3"));
    let state = vps.run(&["systemctl", "is-active", "bluegreen.service"]);
    assert_eq!(state.trim(), "active");

    vps.run(&["bluegreen", "delete", "shop"]);
    assert!(!vps.serves("v3"));
    let units = vps.run(&["systemctl", "list-units", "--all", "--plain", "--no-legend", "bluegreen-*"]);
    assert_eq!(units.trim(), "", "{}", vps.journal());
}
