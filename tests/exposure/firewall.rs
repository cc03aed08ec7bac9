//! The table: what a neighbour reaches while programs listen everywhere, and who else may have a hand in the rules.

use std::collections::BTreeSet;
use std::net::TcpListener;

use bluegreen_rig::wait;

use crate::kit::{EVERYWHERE, Machine, administrator, nothing_lost};

#[test]
fn a_scan_from_outside_finds_the_web_server_and_no_app() {
    let mut machine = Machine::start();
    let further = machine.ports[18].number();
    let mut apps = BTreeSet::new();
    for (slot, open) in EVERYWHERE.iter().enumerate() {
        machine.agent.apply_and_wait(&machine.open_site(open, slot, "v1")).unwrap();
        apps.insert(machine.ports_of(slot)[0]);
    }
    // A debugger, say: no manifest speaks of it.
    let slot = EVERYWHERE.len();
    let debugged = machine.release_that("debugged", &format!("exposed\nfurther-port={further}"));
    machine.agent.apply_and_wait(&machine.site("debugged", slot).release(&debugged)).unwrap();
    apps.extend([machine.ports_of(slot)[0], further]);
    let web = machine.nginx.port();
    assert_eq!(machine.network.scan().unwrap(), BTreeSet::from([web]));
    for &port in &apps {
        assert!(TcpListener::bind(("0.0.0.0", port)).is_err(), "something listens on every address at {port}");
    }
    // The scan does find what is open: without the table all of them are.
    machine.agent.stop();
    administrator("nft delete table inet bluegreen");
    let open: BTreeSet<u16> = machine.network.scan().unwrap();
    assert_eq!(open, apps.iter().copied().chain([web]).collect());
    // An agent that is started again closes them, before it is asked to.
    machine.agent.run().unwrap();
    for &port in &apps {
        machine.wait_until_closed(port);
    }
    assert_eq!(machine.network.scan().unwrap(), BTreeSet::from([web]));
}

#[test]
fn the_table_says_what_the_sites_say_and_goes_with_the_last_one() {
    let machine = Machine::start();
    let listing = || administrator("nft list tables");
    machine.agent.apply_and_wait(&machine.open_site(&EVERYWHERE[0], 0, "v1")).unwrap();
    machine.agent.apply_and_wait(&machine.open_site(&EVERYWHERE[1], 1, "v1")).unwrap();
    let set = administrator("nft list set inet bluegreen app_ports");
    for port in machine.ports_of(0).into_iter().chain(machine.ports_of(1)) {
        assert!(set.contains(&port.to_string()), "both colours' ports are closed before they are used: {set}");
    }
    let rules = std::fs::read_to_string(machine.agent.state_dir().join("firewall.nft")).unwrap();
    assert!(rules.contains(&machine.ports_of(1)[1].to_string()), "a reboot closes them too: {rules}");
    for name in ["app4", "app6"] {
        machine.agent.bluegreen(&["delete", name]).unwrap();
    }
    wait::until("the table was gone", wait::PATIENCE, || (!listing().contains("bluegreen")).then_some(())).unwrap();
}

#[test]
fn a_port_at_which_somebody_else_listens_is_not_closed_by_a_manifest() {
    let machine = Machine::start();
    let [blue, _] = machine.ports_of(0);
    let theirs = TcpListener::bind(("0.0.0.0", blue)).unwrap();
    let site = machine.open_site(&EVERYWHERE[0], 0, "v1").strategy("readyWithin", "2s");
    assert!(machine.agent.apply_and_wait(&site).is_err());
    assert_eq!(machine.network.answers(blue).unwrap(), (true, false), "whoever had it first is reached as before");
    drop(theirs);
    machine.agent.bluegreen(&["retry", "app4"]).unwrap();
    machine.agent.wait_for("app4", "is live", |site| crate::kit::why(site, "Ready") == "Live").unwrap();
    machine.wait_until_closed(blue);
}

#[test]
fn rules_that_somebody_flushes_are_put_back_under_load() {
    let machine = Machine::start();
    let site = machine.open_site(&EVERYWHERE[0], 0, "v1");
    machine.agent.apply_and_wait(&site).unwrap();
    let [blue, _] = machine.ports_of(0);
    machine.wait_until_closed(blue);
    let load = machine.load(&site);
    let meddling = [
        "nft flush ruleset",
        "nft delete table inet bluegreen",
        "nft flush chain inet bluegreen input",
        "nft flush set inet bluegreen app_ports",
        "nft 'add table inet bluegreen { flags dormant; }'",
        "nft insert rule inet bluegreen input tcp dport 1-65535 accept",
        "printf '*filter\\n:INPUT ACCEPT [0:0]\\nCOMMIT\\n' | iptables-restore",
        "iptables -F; ip6tables -F",
    ];
    for script in meddling {
        administrator(script);
        machine.wait_until_closed(blue);
        load.wait_for_more(20).unwrap();
    }
    assert!(machine.agent.log().contains("FirewallFlushed"));
    nothing_lost(&load.stop());
}

/// ufw, with copies of the files that it writes.
const UFW_ON: &str = "
unshare --mount --propagation private bash -euc '
  copy=$(mktemp -d); trap \"rm -rf $copy\" EXIT
  cp -a /etc/ufw $copy/ufw; cp -a /etc/default/ufw $copy/default
  mount --bind $copy/ufw /etc/ufw; mount --bind $copy/default /etc/default/ufw
  ufw allow 60022/tcp; ufw allow WEB/tcp; ufw --force enable
  umount /etc/ufw /etc/default/ufw'";

#[test]
fn ufw_that_is_switched_on_in_mid_rollout_opens_nothing_and_stops_nothing() {
    let machine = Machine::start();
    let manual = |site: bluegreen_rig::manifest::Manifest| site.strategy("promotion", "Manual");
    let first = machine.open_site(&EVERYWHERE[0], 0, "v1");
    machine.agent.apply_and_wait(&first).unwrap();
    let load = machine.load(&first);
    load.wait_for_more(20).unwrap();
    machine.agent.apply(&manual(machine.open_site(&EVERYWHERE[0], 0, "v2"))).unwrap();
    machine.agent.wait_for_phase("app4", "AwaitingApproval").unwrap();
    administrator(&UFW_ON.replace("WEB", &machine.nginx.port().to_string()));
    machine.agent.bluegreen(&["approve", "app4"]).unwrap();
    machine.agent.wait_for("app4", "is live", |site| crate::kit::why(site, "Ready") == "Live").unwrap();
    load.wait_for_version("app4-v2").unwrap();
    let rules = administrator("nft list ruleset");
    assert!(
        rules.contains("ufw-user-input") && rules.contains("table inet bluegreen"),
        "they live beside each other: {rules}"
    );
    // What ufw lets in is still none of an app's: its own rule for the port is not enough.
    let [blue, green] = machine.ports_of(0);
    administrator(&format!(
        "iptables -I INPUT -p tcp --dport {green} -j ACCEPT; ip6tables -I INPUT -p tcp --dport {green} -j ACCEPT"
    ));
    for port in [blue, green] {
        assert_eq!(machine.network.answers(port).unwrap(), (false, false));
    }
    assert_eq!(machine.network.answers(machine.nginx.port()).unwrap(), (true, true));
    nothing_lost(&load.stop());
}
