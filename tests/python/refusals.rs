//! Bad releases: a clear reason, nothing left running, and the live colour untouched.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::kit::{Machine, Server, nothing_lost, says};

/// A site of Flask's that serves `v1`.
fn live() -> (Machine, bluegreen_rig::manifest::Manifest) {
    let machine = Machine::start(Server::Nginx);
    let site = machine.site("flask");
    machine.deploy(&site.clone().release(&machine.release("flask", "v1")));
    (machine, site)
}

#[test]
fn requirements_that_do_not_resolve_are_refused_in_pip_s_words() {
    let (machine, site) = live();
    let load = machine.load(&site);
    let bad = machine.release("flask", "v2");
    fs::write(bad.join("requirements.txt"), "flask>=3.1\ngunicorn\nno-such-thing==1.2.3\n").unwrap();
    let now = machine.refused(&site, &bad);
    let why = says(&now, "Stalled");
    assert!(why.contains("what requirements.txt asks for can't be installed"), "{why}");
    assert!(why.contains("No matching distribution found for no-such-thing==1.2.3"), "{why}");
    assert_eq!(machine.agent.live_colour("flask").as_deref(), Some("blue"));
    // Conflicting ones as well.
    let bad = machine.release("flask", "v3");
    fs::write(bad.join("requirements.txt"), "flask>=3.1\ngunicorn\njinja2<3\n").unwrap();
    assert!(says(&machine.refused(&site, &bad), "Stalled").contains("jinja2<3"));
    // And what was mended goes live.
    machine.deploy(&site.clone().release(&machine.release("flask", "v4")));
    load.wait_for_version("v4").unwrap();
    let totals = load.stop();
    nothing_lost(&totals);
    assert!(!totals.versions.contains_key("v2") && !totals.versions.contains_key("v3"));
}

#[test]
fn requirements_without_the_server_or_without_a_file_are_refused_with_the_line_to_add() {
    let (machine, site) = live();
    let bad = machine.release("flask", "v2");
    fs::write(bad.join("requirements.txt"), "flask>=3.1\n").unwrap();
    let why = says(&machine.refused(&site, &bad), "Stalled");
    assert!(
        why.contains("requirements.txt does not bring gunicorn") && why.contains("add a line \"gunicorn\""),
        "{why}"
    );
    let bad = machine.release("flask", "v3");
    fs::remove_file(bad.join("requirements.txt")).unwrap();
    let why = says(&machine.refused(&site, &bad), "Stalled");
    assert!(why.contains("the release has no file requirements.txt"), "{why}");
    let site = site.set("/spec/target/host/runtime/wsgi/python", json!("/opt/none/bin/python3"));
    let why = says(&machine.refused(&site, &machine.release("flask", "v4")), "Stalled");
    assert!(why.contains("there is no /opt/none/bin/python3"), "{why}");
    assert_eq!(machine.agent.live_colour("flask").as_deref(), Some("blue"));
}

#[test]
fn an_app_whose_module_is_missing_never_gets_ready_and_its_last_words_can_be_read() {
    let (machine, site) = live();
    let bad = machine.release("flask", "v2");
    let site = site.set("/spec/target/host/runtime/wsgi/app", json!("nowhere.at_all:app"));
    let site = site.strategy("readyWithin", "4s").strategy("promotion", "Manual");
    machine.agent.apply(&site.clone().release(&bad)).unwrap();
    let last_words = || {
        let said = machine.agent.cli(&["logs", "flask", "--colour", "green"]).output().ok()?;
        String::from_utf8_lossy(&said.stdout).contains("No module named 'nowhere'").then_some(())
    };
    bluegreen_rig::wait::until("its last words were there", bluegreen_rig::wait::PATIENCE, last_words).unwrap();
    machine.agent.wait_for("flask", "is refused", |site| says(site, "Stalled").contains("it ended by itself")).unwrap();
    // Also once nothing of it is left but those.
    machine.agent.wait_for_phase("flask", "Idle").unwrap();
    assert_eq!(last_words(), Some(()));
    assert_eq!(machine.get(&site, "/").version(), Some("v1"));
}

#[test]
fn an_app_that_leaves_its_unit_is_refused_and_nothing_of_it_is_left() {
    let (machine, site) = live();
    // gunicorn reads it, forks twice, and its first process ends.
    let bad = machine.release("flask", "v2");
    fs::write(bad.join("gunicorn.conf.py"), "daemon = True\nbind = '0.0.0.0:1'\n").unwrap();
    let now = machine.refused(&site.clone().strategy("readyWithin", "5s"), &bad);
    let why = says(&now, "Stalled");
    let [_, green] = machine.ports();
    assert!(why.contains("ended by itself"), "{why}");
    assert_eq!(machine.get(&site, "/").version(), Some("v1"));
    bluegreen_rig::wait::until("nobody held green's port", bluegreen_rig::wait::PATIENCE, || {
        std::net::TcpListener::bind(("127.0.0.1", green)).is_ok().then_some(())
    })
    .unwrap();
    machine.deploy(&site.clone().release(&machine.release("flask", "v3")));
    assert_eq!(machine.get(&site, "/").version(), Some("v3"));
}

#[test]
fn a_program_that_is_not_executable_is_refused_before_anything_starts() {
    let machine = Machine::start(Server::Nginx);
    let site = machine.site("cgi");
    machine.deploy(&site.clone().release(&machine.release("cgi", "v1")));
    let bad = machine.release("cgi", "v2");
    fs::set_permissions(bad.join("cgi-bin/app.py"), fs::Permissions::from_mode(0o644)).unwrap();
    let why = says(&machine.refused(&site, &bad), "Stalled");
    assert!(why.contains("cgi-bin/app.py is not executable") && why.contains("chmod +x"), "{why}");
    let missing = site.clone().set("/spec/target/host/runtime/cgi/script", json!("cgi-bin/other.py"));
    let why = says(&machine.refused(&missing, &machine.release("cgi", "v3")), "Stalled");
    assert!(why.contains("the release has no file cgi-bin/other.py"), "{why}");
    // Executable, and yet nothing that runs: never ready, in words.
    let broken = machine.release("cgi", "v4");
    fs::write(broken.join("cgi-bin/app.py"), "#!/usr/bin/no-such-interpreter\n").unwrap();
    let why = says(&machine.refused(&site.clone().strategy("readyWithin", "3s"), &broken), "Stalled");
    assert!(why.contains("GET /healthz on port"), "{why}");
    assert_eq!(machine.get(&site, "/").version(), Some("v1"));
}
