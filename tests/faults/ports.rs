//! Ports that something else holds, and instances that listen elsewhere: no answer but the candidate's own makes it ready.

use std::net::TcpListener;

use bluegreen_rig::ports::Port;
use bluegreen_rig::process;
use serde_json::json;

use crate::kit::Served;
use crate::machine::Machine;

#[test]
fn a_port_that_a_stranger_holds_is_said_with_its_holder_and_is_free_for_a_retry() {
    let served = Served::start();
    let port = served.machine.ports[2].number();
    // A server that would even answer the health check.
    let stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let v2 = served.site.clone().release(&served.machine.release("v2"));
    assert!(served.agent().apply_and_wait(&v2).is_err());
    let held = format!("port {port} is held by process {} (faults", std::process::id());
    served.says("ReadyDeadlineExceeded", &[&held, "end that process, or give the instance another port"]);
    served.is_untouched();
    drop(stranger);
    served.agent().bluegreen(&["retry", "shop"]).unwrap();
    served.load().wait_for_version("v2").unwrap();
    served.ends_with_versions(&["v1", "v2"]);
}

#[test]
fn when_all_ports_of_the_idle_colour_are_taken_each_is_said_with_its_holder_and_the_live_colour_goes_on() {
    let mut served = Served::start();
    let free: Vec<u16> = served.machine.ports[2..5].iter().map(Port::number).collect();
    let (one, two) = (TcpListener::bind(("127.0.0.1", free[0])), TcpListener::bind(("0.0.0.0", free[1])));
    // A range that is too small is no rollout at all.
    let live = served.machine.ports[0].number();
    let ports = |green: &[u16]| json!({ "blue": [live, free[2]], "green": green });
    let v2 = served.site.clone().release(&served.machine.release("v2"));
    let small = v2.clone().set("/spec/target/host/ports", ports(&free[..1]));
    let refusal = format!("{:#}", served.agent().apply(&small).unwrap_err());
    assert!(
        refusal.contains("spec.target.host.ports") && refusal.contains("each colour needs a port for each instance"),
        "{refusal}"
    );
    let twice = v2.clone().set("/spec/target/host/ports", ports(&[free[0], live]));
    let refusal = format!("{:#}", served.agent().apply(&twice).unwrap_err());
    assert!(refusal.contains("each instance needs a port of its own"), "{refusal}");
    served.is_untouched();
    // One that others have used up is, and ends where it began.
    let taken = v2.clone().set("/spec/target/host/ports", ports(&free[..2]));
    served.with_a_reload(|served| assert!(served.agent().apply_and_wait(&taken).is_err()));
    let held = |port: u16| format!("port {port} is held by process {} (faults", std::process::id());
    served.says("ReadyDeadlineExceeded", &["0 of 2 ready", &held(free[0]), &held(free[1])]);
    served.is_untouched();
    drop((one, two));
    served.with_a_reload(|served| {
        served.agent().bluegreen(&["retry", "shop"]).unwrap();
        served.agent().wait_for("shop", "is live", |site| crate::machine::why(site, "Ready") == "Live").unwrap();
    });
    served.load().wait_for_version("v2").unwrap();
    served.ends_with_versions(&["v2"]);
}

#[test]
fn an_answer_of_the_old_version_at_its_port_is_no_health_of_the_new_one() {
    let mut served = Served::start();
    let numbers: Vec<u16> = served.machine.ports[..4].iter().map(Port::number).collect();
    // Blue's ports become green's, and blue is live there: the old version answers the check of the new one.
    let ports = json!({ "blue": &numbers[2..], "green": &numbers[..2] });
    let swapped = served.site.clone().set("/spec/target/host/ports", ports).release(&served.machine.release("v2"));
    served.with_a_reload(|served| assert!(served.agent().apply_and_wait(&swapped).is_err()));
    let site =
        served.says("ReadyDeadlineExceeded", &["0 of 2 ready", &format!("port {} is held by process ", numbers[0])]);
    let message = crate::machine::says(&site, "Stalled");
    let holder = message.split("is held by process ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(served.pids().contains(&holder.parse().unwrap()), "{message}");
    served.is_untouched();
    served.with_a_reload(|served| served.goes_on_with("v3"));
    served.load().wait_for_version("v3").unwrap();
    served.ends_with_versions(&["v3"]);
}

#[test]
fn an_app_that_listens_on_another_port_is_told_where_it_listens_and_where_it_should() {
    let machine = Machine::start();
    let [blue, green] = [0, 2].map(|index| machine.ports[index].number());
    // One instance: two would fight for the wrong port.
    let ports = json!({ "blue": [blue], "green": [green] });
    let served = Served::that(machine, |site| site.set("/spec/target/host/ports", ports));
    let (right, wrong) = (green, served.machine.ports[4].number());
    let bad = served.machine.release_that("v2", &format!("wrong-port={wrong}"));
    assert!(served.agent().apply_and_wait(&served.site.clone().release(&bad)).is_err());
    let words =
        format!("it listens on port {wrong}, not on its own, {right}: let it take the port from the variable PORT");
    served.says("ReadyDeadlineExceeded", &[&words]);
    served.is_untouched();
    served.goes_on_with("v3");
    served.ends_with_versions(&["v1", "v3"]);
}

#[test]
fn an_app_that_takes_no_notice_of_sigterm_is_killed_in_the_end_and_holds_up_nothing() {
    let served = Served::start();
    let agent = served.agent();
    let deaf = served.machine.release_that("v2", "ignore-term");
    agent.apply_and_wait(&served.site.clone().release(&deaf)).unwrap();
    let pids = agent.apps();
    agent.wait_for_phase("shop", "Idle").unwrap();
    // As the candidate that is rejected, and then as the old colour that is retired.
    let worse = served.machine.release_that("v3", "ignore-term\nnever-ready");
    assert!(agent.apply_and_wait(&served.site.clone().release(&worse)).is_err());
    served.says("ReadyDeadlineExceeded", &["answers 503"]);
    served.goes_on_with("v4");
    let gone = || pids.iter().all(|pid| !process::exists(*pid)).then_some(());
    bluegreen_rig::wait::until("the deaf ones were killed", bluegreen_rig::wait::PATIENCE, gone).unwrap();
    let log = agent.log();
    assert!(log.contains("did not end within 2s of SIGTERM"), "{log}");
    served.ends_with_versions(&["v1", "v2", "v4"]);
}
