//! The table of nftables on a booted machine: there after a reboot without the agent, after somebody reloaded the machine's own rules, and gone with
//! the last site.

use bluegreen_rig::wait;

use super::vps::{Down, Vps};

const TABLE: &[&str] = &["nft", "list", "table", "inet", "bluegreen"];

#[test]
fn the_ports_stay_closed_across_a_reboot_without_the_agent_and_a_reload_of_the_machines_own_rules() {
    let mut vps = Vps::start();
    vps.run(&["systemctl", "enable", "--now", "--quiet", "nftables.service"]);
    vps.apply_and_wait(&vps.with(vps.site(), "v1", "exposed"));
    let closed = |vps: &Vps| {
        let table = vps.run(TABLE);
        assert!(["8081", "8082", "8083", "8084"].iter().all(|port| table.contains(port)), "{table}");
    };
    closed(&vps);
    for down in [Down::InOrder, Down::AtOnce] {
        vps.run(&["systemctl", "disable", "--quiet", "bluegreen"]);
        vps.reboot(down);
        vps.waits_for_answers_of("v1");
        closed(&vps);
        // The unit of Debian's package flushes everything first; ours follows it.
        vps.run(&["systemctl", "restart", "nftables"]);
        // systemd waits for the one that was named, and not for what is part of it.
        wait::until("the table was loaded again", wait::PATIENCE, || vps.does(TABLE).then_some(())).expect("a table");
        closed(&vps);
    }
    vps.run(&["systemctl", "start", "bluegreen"]);
    // With the agent there, even a bare flush lasts no longer than a moment.
    vps.settles_on("v1");
    vps.run(&["nft", "flush", "ruleset"]);
    wait::until("the table was put back", wait::PATIENCE, || vps.does(TABLE).then_some(())).expect("a table");
    closed(&vps);
    vps.run(&["bluegreen", "delete", "shop"]);
    wait::until("the table was gone", wait::PATIENCE, || (!vps.does(TABLE)).then_some(())).expect("no table");
    let units = || vps.run(&["systemctl", "list-units", "--all", "--plain", "--no-legend", "bluegreen-*"]);
    wait::until("the unit was gone", wait::PATIENCE, || units().is_empty().then_some(())).expect("no unit");
}
