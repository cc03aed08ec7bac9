//! An nginx that is stopped, broken by somebody else's file, refuses a reload, or has the site's name already.

use std::net::{Ipv4Addr, TcpListener};

use bluegreen_rig::load::get;
use bluegreen_rig::ports::Port;
use bluegreen_rig::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::kit::{Machine, nothing_lost, says, why};

#[test]
fn an_nginx_that_is_stopped_in_mid_rollout_holds_it_up_and_nobody_is_rejected() {
    let mut machine = Machine::start();
    let site = machine.site("shop", 0).strategy("promotion", "Manual").strategy("cutoverWithin", "1s");
    machine.agent.apply(&site.clone().release(&machine.release("v1"))).unwrap();
    machine.agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    machine.agent.bluegreen(&["approve", "shop"]).unwrap();
    machine.agent.wait_for("shop", "is ready", is_live).unwrap();
    machine.agent.apply(&site.clone().release(&machine.release("v2"))).unwrap();
    machine.agent.wait_for_phase("shop", "AwaitingApproval").unwrap();

    machine.nginx.stop();
    machine.agent.bluegreen(&["approve", "shop"]).unwrap();
    let stalled =
        machine.agent.wait_for("shop", "says what holds it up", |site| !why(site, "Stalled").is_empty()).unwrap();
    assert_eq!(why(&stalled, "Stalled"), "WebServerDown", "{stalled:#}");
    assert_eq!(why(&stalled, "Ready"), "WebServerDown");
    assert!(says(&stalled, "Stalled").contains("nginx is not running"), "{stalled:#}");
    assert!(says(&stalled, "Stalled").contains("start it"), "{stalled:#}");
    assert_eq!(why(&stalled, "Available"), "FrontDoorSilent");
    println!("Stalled: {}", says(&stalled, "Stalled"));
    assert_eq!(stalled.pointer("/status/rejected"), None, "{stalled:#}");
    assert_eq!(stalled.pointer("/status/phase"), Some(&"CuttingOver".into()));

    machine.nginx.start_again().unwrap();
    let done = machine.agent.wait_for("shop", "goes on", is_live).unwrap();
    assert_eq!(why(&done, "Available"), "AllInstancesReady");
    assert_eq!(machine.agent.live_colour("shop").as_deref(), Some("green"));
    assert_eq!(get(machine.address(), &site.host(), "/").unwrap().version(), Some("v2"));
}

#[test]
fn an_nginx_that_is_stopped_while_a_site_rests_is_said_and_the_site_is_well_when_it_is_back() {
    let mut machine = Machine::start();
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    machine.nginx.kill();
    // A site at rest is looked at now and then; a command makes it look at once.
    machine.agent.bluegreen(&["pause", "shop"]).unwrap();
    let silent = machine.agent.wait_for("shop", "says so", |site| why(site, "Available") == "FrontDoorSilent").unwrap();
    println!("Ready: {}: {}", why(&silent, "Ready"), says(&silent, "Ready"));
    machine.nginx.start_again().unwrap();
    machine
        .agent
        .wait_for("shop", "is well", |site| why(site, "Available") == "AllInstancesReady" && is_live(site))
        .unwrap();
    assert_eq!(get(machine.address(), &site.host(), "/").unwrap().version(), Some("v1"));
}

#[test]
fn somebody_elses_broken_file_holds_up_a_new_site_and_nothing_that_is_live() {
    let machine = Machine::start();
    let shop = machine.site("shop", 0);
    let agent = &machine.agent;
    agent.apply_and_wait(&shop.clone().release(&machine.release("v1"))).unwrap();
    let load = machine.load(&shop);
    load.wait_for_version("v1").unwrap();
    machine.nginx.write("theirs.conf", "server {\n    listen 127.0.0.1:1;\n    nonsense on;\n}\n").unwrap();
    let blog = machine.site("blog", 1).release(&machine.release("v2"));
    agent.apply(&blog).unwrap();
    let stalled = agent.wait_for("blog", "waits for somebody", |site| !why(site, "Stalled").is_empty()).unwrap();
    assert_eq!(why(&stalled, "Stalled"), "WebServerConfigBroken", "{stalled:#}");
    let place = format!("{}:3", machine.nginx.conf_d().join("theirs.conf").display());
    let message = says(&stalled, "Stalled");
    println!("Stalled: {message}");
    assert!(message.contains(&place) && message.contains("nonsense"), "{message}");
    assert_eq!(why(&stalled, "Available"), "NothingLive");
    // What is live needs no reload, not even for its next version.
    agent.apply_and_wait(&shop.clone().release(&machine.release("v3"))).unwrap();
    load.wait_for_version("v3").unwrap();
    std::fs::remove_file(machine.nginx.conf_d().join("theirs.conf")).unwrap();
    agent.wait_for("blog", "is live", is_live).unwrap();
    assert_eq!(get(machine.address(), &blog.host(), "/").unwrap().version(), Some("v2"));
    nothing_lost(&load.stop());
}

#[test]
fn a_reload_that_is_refused_holds_up_the_site_that_caused_it_and_no_other() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let shop = machine.site("shop", 0);
    agent.apply_and_wait(&shop.clone().release(&machine.release("v1"))).unwrap();
    let load = machine.load(&shop);
    load.wait_for_version("v1").unwrap();
    // A test of the configuration doesn't see that somebody else listens there.
    let port = Port::take().unwrap();
    let squatter = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap();
    let address = squatter.local_addr().unwrap();
    let listen = json!([address.to_string()]);
    let blog = machine.site("blog", 1).release(&machine.release("v2")).set("/spec/target/host/listen", listen);
    agent.apply(&blog).unwrap();
    let stalled = agent.wait_for("blog", "waits for somebody", |site| !why(site, "Stalled").is_empty()).unwrap();
    assert_eq!(why(&stalled, "Stalled"), "WebServerReloadFailed", "{stalled:#}");
    let message = says(&stalled, "Stalled");
    println!("Stalled: {message}");
    assert!(message.contains(&format!("bind() to {address} failed")), "{message}");
    assert!(message.contains("what was in force before is in place again"), "{message}");
    assert_eq!(stalled.pointer("/status/rejected"), None, "{stalled:#}");
    assert!(machine.nginx.test().is_ok());
    let shop_now = agent.site("shop").unwrap();
    assert_eq!((why(&shop_now, "Ready").as_str(), why(&shop_now, "Available").as_str()), ("Live", "AllInstancesReady"));
    drop(squatter);
    agent.wait_for("blog", "is live", is_live).unwrap();
    assert_eq!(get(address, &blog.host(), "/").unwrap().version(), Some("v2"));
    nothing_lost(&load.stop());
}

#[test]
fn a_reload_that_comes_to_nothing_is_tried_again_and_what_is_live_goes_on() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let shop = machine.site("shop", 0);
    agent.apply_and_wait(&shop.clone().release(&machine.release("v1"))).unwrap();
    let load = machine.load(&shop);
    load.wait_for_version("v1").unwrap();
    let stopped = Stopped::stop(machine.nginx.master());
    let blog = machine.site("blog", 1).release(&machine.release("v2"));
    agent.apply(&blog).unwrap();
    let waits = agent.wait_for("blog", "says so", |site| why(site, "Ready") == "WebServerReloadFailed").unwrap();
    let message = says(&waits, "Reconciling");
    println!("Reconciling: {message}");
    assert!(message.contains("is the master stopped, or very busy?"), "{waits:#}");
    assert!(message.contains("what was in force before is in place again"), "{waits:#}");
    assert_eq!(waits.pointer("/status/rejected"), None, "{waits:#}");
    load.wait_for_more(200).unwrap();
    nothing_lost(&load.stop());
    // With it come the reloads that were asked for, which may close connections at their end: so says any reload.
    drop(stopped);
    agent.wait_for("blog", "is live", is_live).unwrap();
    for (site, version) in [(&shop, "v1"), (&blog, "v2")] {
        assert_eq!(get(machine.address(), &site.host(), "/").unwrap().version(), Some(version));
    }
}

/// A process that does nothing as long as this lives.
struct Stopped(Pid);

impl Stopped {
    fn stop(pid: u32) -> Stopped {
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

#[test]
fn a_hostname_that_a_hand_written_block_has_is_not_taken_and_including_ours_there_is_the_way_on() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let by_hand = |within: &str| {
        let text =
            format!("server {{\n    listen {};\n    server_name blog.test;\n    {within}\n}}\n", machine.address());
        machine.nginx.write("theirs.conf", &text).unwrap();
        machine.nginx.reload_and_wait().unwrap();
    };
    by_hand("return 200 'by hand';");
    let file = machine.nginx.conf_d().join("theirs.conf");
    let blog = machine.site("blog", 1).release(&machine.release("v1"));
    agent.apply(&blog).unwrap();
    let stalled = agent.wait_for("blog", "waits for somebody", |site| !why(site, "Stalled").is_empty()).unwrap();
    assert_eq!(why(&stalled, "Stalled"), "HostnameTaken", "{stalled:#}");
    assert_eq!(why(&stalled, "Ready"), "HostnameTaken");
    let message = says(&stalled, "Stalled");
    println!("Stalled: {message}");
    assert!(message.contains(&format!("{}:1", file.display())) && message.contains("blog.test"), "{message}");
    assert!(message.contains("front: Include"), "{message}");
    assert_eq!(stalled.pointer("/status/rejected"), None, "{stalled:#}");
    assert_eq!(get(machine.address(), "blog.test", "/").unwrap().text(), "by hand");

    // As it says: the block stays, and includes ours.
    let included = blog
        .clone()
        .set("/spec/target/host/front", json!("Include"))
        .unset("/spec/target/host/hostnames")
        .unset("/spec/target/host/listen");
    agent.apply(&included).unwrap();
    let missing =
        agent.wait_for("blog", "says what to include", |site| why(site, "Stalled") == "SnippetNotIncluded").unwrap();
    let message = says(&missing, "Stalled");
    println!("Stalled: {message}");
    let snippet = message.split('`').nth(1).unwrap().to_owned();
    by_hand(&snippet);
    agent.wait_for("blog", "is live", is_live).unwrap();
    wait::until("the site answered", wait::PATIENCE, || {
        get(machine.address(), "blog.test", "/").ok().filter(|answer| answer.version() == Some("v1"))
    })
    .unwrap();
}

fn is_live(site: &Value) -> bool {
    why(site, "Ready") == "Live"
}
