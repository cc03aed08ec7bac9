//! Configuration of a Django site that lies outside of its release: it belongs to the revision, comes back with a rollback, and is shown nowhere.

use std::fs;

use bluegreen_rig::wait;

use crate::kit::{Machine, Server, nothing_lost};

#[test]
fn a_changed_secret_is_a_revision_that_can_be_rolled_back_and_stands_in_no_status_and_no_log() {
    let machine = Machine::start(Server::Nginx);
    let site = machine.site("django").strategy("standby", "1h").release(&machine.release("django", "v1"));
    let file = machine.agent.folder().join("django.json");
    let secrets = ["planted-1a2b3c4d-the-first", "planted-5e6f7a8b-another"];
    let write = |secret: &str| fs::write(&file, format!("{{\"secretKey\": \"{secret}\"}}")).unwrap();
    let is = |secret: &str| {
        let length = format!("{{\"secretKeyLength\": {}}}", secret.len());
        let told = || (machine.get(&site, "/about").text() == length).then_some(());
        wait::until("the app has that key", wait::PATIENCE, told).unwrap();
    };
    write(secrets[0]);
    machine.deploy(&site);
    is(secrets[0]);
    let load = machine.load(&site);
    load.wait_for_version("v1").unwrap();
    // The release and the manifest stay as they are.
    write(secrets[1]);
    machine.deploy(&site);
    is(secrets[1]);
    machine.agent.bluegreen(&["rollback", "django"]).unwrap();
    is(secrets[0]);
    machine.agent.wait_for_phase("django", "Idle").unwrap();
    nothing_lost(&load.stop());

    let said = |arguments: &[&str]| {
        let output = machine.agent.bluegreen(arguments).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut places = vec![
        ("status", said(&["get", "django", "-o", "json"])),
        ("describe", said(&["describe", "django"])),
        ("history", said(&["history", "django", "-o", "json"])),
        ("the apps' log", said(&["logs", "django"])),
        ("the agent's log", machine.agent.log()),
    ];
    for pid in machine.agent.apps() {
        for part in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{part}")).unwrap_or_default();
            places.push((part, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    for (place, text) in &places {
        for secret in secrets {
            assert!(!text.contains(secret), "{place} holds a secret:\n{text}");
        }
    }
}

#[test]
fn settings_for_development_are_stopped_by_the_name_that_django_s_own_module_gives_them() {
    let machine = Machine::start(Server::Nginx);
    let site = machine.site("django");
    machine.deploy(&site.clone().release(&machine.release("django", "v1")));
    let bad = machine.release("django", "v2");
    let wsgi = bad.join("shop/wsgi.py");
    let text = fs::read_to_string(&wsgi).unwrap().replace("shop.settings.production", "shop.settings.development");
    fs::write(&wsgi, text).unwrap();
    let unnamed = site.clone().unset("/spec/target/host/env/DJANGO_SETTINGS_MODULE");
    let why = crate::kit::says(&machine.refused(&unnamed, &bad), "Stalled");
    assert!(why.contains("DEBUG is True (shop/settings/development.py, line 4)"), "{why}");
    // Inherited, it counts as well.
    let bad = machine.release("django", "v3");
    fs::write(bad.join("shop/settings/production.py"), "from .development import *\nALLOWED_HOSTS = ['a']\n").unwrap();
    let why = crate::kit::says(&machine.refused(&unnamed, &bad), "Stalled");
    assert!(why.contains("DEBUG is True (shop/settings/development.py") && !why.contains("ALLOWED_HOSTS"), "{why}");
    // What can't be seen is a warning, and goes live.
    let odd = machine.release("django", "v4");
    let production = odd.join("shop/settings/production.py");
    let text = fs::read_to_string(&production).unwrap();
    fs::write(&production, format!("from json.decoder import *\n{text}")).unwrap();
    machine.deploy(&unnamed.release(&odd));
    let now = machine.agent.site("django").unwrap();
    let warning = crate::kit::says(&now, "Warning");
    let words = "the guard of insecure settings can't see what `from json.decoder import *` brings (shop/settings/production.py, line 1)";
    assert!(warning.contains(words), "{warning}");
}
