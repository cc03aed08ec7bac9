//! Processes that are killed: an instance of the live colour, and the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use bluegreen_rig::app::now_ns;
use bluegreen_rig::load::{Answer, Ask, Load, Sample, get};
use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::ports::Port;
use bluegreen_rig::process::exists;
use bluegreen_rig::wait;
use rustix::process::{Pid, Signal, kill_process};

use crate::kit::{Machine, nothing_lost, why};

#[test]
fn of_an_instance_that_is_killed_only_posts_that_it_had_are_lost_and_it_is_back_when_it_is_back() {
    let machine = Machine::start();
    let ports = Port::take_many(6).unwrap();
    let numbers: Vec<u16> = ports.iter().map(Port::number).collect();
    let arrivals = machine.agent.folder().join("arrivals");
    fs::write(&arrivals, "").unwrap();
    fs::set_permissions(&arrivals, fs::Permissions::from_mode(0o666)).unwrap();
    let site = Manifest::app("shop", machine.address(), machine.user.name(), &numbers[..3], &numbers[3..])
        .env("RIG_ARRIVALS", &arrivals.display().to_string());
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();

    // Each takes a while, so that at any moment every instance has some of both.
    let asks = vec![
        Ask { from_app: false, ..Ask::post("/silent?ms=40", "an order") },
        Ask { from_app: false, ..Ask::get("/silent?ms=40") },
    ];
    let load = Load::to(machine.address(), &site.host()).clients(24).think(Duration::ZERO).asks(asks).keep_samples();
    let load = load.start().unwrap();
    load.wait_for_more(500).unwrap();

    let victim = SocketAddr::from((Ipv4Addr::LOCALHOST, numbers[1]));
    let pid = pid_of(&get(victim, "localhost", "/").unwrap());
    let killed = now_ns();
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    wait::until("the instance was gone", wait::PATIENCE, || (!exists(pid)).then_some(())).unwrap();
    let gone = now_ns();

    let again = wait::until("the instance was there again", wait::PATIENCE, || {
        let answer = get(victim, "localhost", "/health").ok()?;
        (answer.status == 200).then(|| pid_of(&answer))
    })
    .unwrap();
    let returned = Instant::now();
    wait::until("it was in rotation again", wait::PATIENCE, || {
        fs::read_to_string(&arrivals).unwrap().lines().any(|line| is_visitors(line, again)).then_some(())
    })
    .unwrap();
    println!("answered requests again {} ms after it was healthy", returned.elapsed().as_millis());
    let well = machine
        .agent
        .wait_for("shop", "has all of its instances", |site| why(site, "Available") == "AllInstancesReady")
        .unwrap();
    assert_eq!(why(&well, "Ready"), "Live");
    assert_eq!(well.pointer("/status/rejected"), None, "{well:#}");
    load.wait_for_more(500).unwrap();

    let samples = load.take();
    let totals = load.stop();
    assert_eq!(totals.broken_clients, 0);
    let lost: Vec<&Sample> = samples.iter().filter(|sample| sample.loss.is_some()).collect();
    assert_eq!(lost.len() as u64, totals.failed, "nothing was lost at the end");
    let in_flight =
        samples.iter().filter(|sample| sample.post && sample.start_ns <= gone && sample.end_ns >= killed).count();
    println!("{} POSTs of {in_flight} in flight, and no GET, were lost of {} requests", lost.len(), totals.requests);
    assert!(lost.iter().all(|sample| sample.post), "a GET was lost: {lost:?}");
    assert!(lost.len() <= in_flight, "{} lost, {in_flight} in flight", lost.len());
    let went = went(&fs::read_to_string(&arrivals).unwrap());
    for sample in lost {
        // It may have been killed before it had read it.
        let to = went.get(&sample.id).cloned().unwrap_or_default();
        assert!(to.iter().all(|to| *to == pid), "{sample:?} was lost and went to {to:?}, not to {pid}");
    }
    let twice: Vec<_> = went.iter().filter(|(_, to)| to.len() > 1).collect();
    assert!(twice.is_empty(), "POSTs were repeated: {twice:?}");
}

/// Whether the line is about a visitor's request to that process.
fn is_visitors(line: &str, pid: u32) -> bool {
    line.contains(" /silent ") && line.ends_with(&format!(" {pid}"))
}

/// Which POST went to which processes.
fn went(arrivals: &str) -> BTreeMap<String, BTreeSet<u32>> {
    let mut went: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for line in arrivals.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["POST", _, id, pid] = words[..] {
            went.entry(id.to_owned()).or_default().insert(pid.parse().unwrap());
        }
    }
    went
}

fn pid_of(answer: &Answer) -> u32 {
    answer.header("x-pid").unwrap().parse().unwrap()
}

#[test]
fn an_agent_that_is_killed_while_nothing_happens_is_missed_by_no_request() {
    let mut machine = Machine::start();
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    let load = machine.load(&site);
    load.wait_for_more(200).unwrap();
    let apps = machine.agent.apps();
    machine.agent.kill();
    load.wait_for_more(2000).unwrap();
    assert_eq!(machine.agent.apps(), apps);
    machine.agent.run().unwrap();
    let now = machine.agent.wait_for("shop", "is live", |site| why(site, "Ready") == "Live").unwrap();
    assert_eq!(why(&now, "Available"), "AllInstancesReady");
    load.wait_for_more(200).unwrap();
    assert_eq!(machine.agent.apps(), apps, "the next agent took them over as they were");
    nothing_lost(&load.stop());
}
