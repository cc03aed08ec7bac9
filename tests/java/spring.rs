//! A Spring Boot app: what it is told, what nobody is told, and what is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use bluegreen_rig::{process, wait};
use serde_json::{Value, json};

use crate::kit::{Machine, command_line, listens_at, nginx};
use bluegreen_rig::nginx::Nginx;

const IN_FILE: &str = "planted-0a1b2c3d-in-the-file";
const IN_ENV: &str = "planted-9f8e7d6c-in-the-variables";

fn about(machine: &Machine<Nginx>) -> Value {
    serde_json::from_str(&machine.get("/about")).unwrap()
}

#[test]
fn the_app_gets_its_secrets_on_loopback_and_nobody_else_does_and_a_rollback_brings_the_old_ones_back() {
    let machine = nginx();
    let agent = &machine.agent;
    let file = machine.secret_file("application-production.yml", &format!("shop:\n  payment:\n    key: {IN_FILE}\n"));
    let env = machine.secret_file("shop.env", &format!("# of the shop\nSHOP_OTHER={IN_ENV}\nSHOP_VERSION=v1\n"));
    let site = machine.spring().strategy("standby", "1h");
    let site = site.set("/spec/target/host/configFiles", json!([{ "path": file }]));
    let site = site.set("/spec/target/host/envFile", json!(env));
    agent.apply_and_wait(&site).unwrap();

    // What it was told.
    assert_eq!(about(&machine)["paymentKeyLength"], IN_FILE.len());
    assert!(machine.get("/").contains("shop v1"), "{}", machine.get("/"));
    let temp = about(&machine)["temp"].as_str().unwrap().to_owned();
    assert!(temp.ends_with("/work/blue.0/temp"), "{temp}");
    assert_eq!(fs::metadata(&temp).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(about(&machine)["url"].as_str().unwrap().starts_with("http://shop.test"), "{}", about(&machine));
    let listens = listens_at(machine.port("blue"));
    assert!(!listens.is_empty() && listens.iter().all(|address| address.ends_with("0100007F")), "{listens:?}");

    // What nobody else was told.
    let said = |arguments: &[&str]| String::from_utf8_lossy(&agent.bluegreen(arguments).unwrap().stdout).into_owned();
    let mut places = vec![
        ("status", said(&["get", "shop", "-o", "json"])),
        ("describe", said(&["describe", "shop"])),
        ("history", said(&["history", "shop", "-o", "json"])),
        ("the app's log", said(&["logs", "shop"])),
        ("the agent's log", agent.log()),
    ];
    let apps = agent.apps();
    assert!(!apps.is_empty());
    places.extend(apps.iter().map(|pid| ("a command line", command_line(*pid))));
    for (place, text) in &places {
        assert!(!text.is_empty(), "{place} is empty");
        assert!(!text.contains(IN_FILE) && !text.contains(IN_ENV), "{place} holds a secret:\n{text}");
    }
    // On disk it is for root and the app's user alone.
    let readable = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o077 != 0;
    let holding =
        process::run(Command::new("grep").args(["-rlE", &format!("{IN_FILE}|{IN_ENV}")]).arg(agent.state_dir()));
    let holding = String::from_utf8_lossy(&holding.unwrap().stdout).into_owned();
    assert!(holding.lines().count() >= 2, "{holding}");
    for path in holding.lines() {
        assert!(!readable(path.as_ref()), "{path} is for others to read");
    }

    // They belong to the revision.
    fs::write(&file, "shop:\n  payment:\n    key: short\n").unwrap();
    agent.apply_and_wait(&site).unwrap();
    wait::until("the new key was there", wait::PATIENCE, || (about(&machine)["paymentKeyLength"] == 5).then_some(()))
        .unwrap();
    agent.bluegreen(&["rollback", "shop"]).unwrap();
    wait::until("the old key was back", wait::PATIENCE, || {
        (about(&machine)["paymentKeyLength"] == IN_FILE.len()).then_some(())
    })
    .unwrap();
}

#[test]
fn configuration_with_a_mistake_is_said_with_its_line_and_what_is_live_goes_on() {
    let machine = nginx();
    let agent = &machine.agent;
    let good = machine.secret_file("application-production.yml", "shop:\n  payment:\n    key: one\n");
    let with =
        |path: &std::path::Path| machine.spring().set("/spec/target/host/configFiles", json!([{ "path": path }]));
    agent.apply_and_wait(&with(&good)).unwrap();

    let torn = machine.secret_file("torn.yml", "a: 1\nkey: [s3cret\nb: 2\n");
    machine.is_refused(&with(&torn), "ConfigurationInvalid", &["torn.yml, line ", "this is not YAML"]);
    let open = machine.secret_file("open.yml", "a: 1\n");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    machine.is_refused(&with(&open), "ConfigurationRefused", &["mode 0644"]);
    let link = open.with_file_name("link.yml");
    symlink(&good, &link).unwrap();
    machine.is_refused(&with(&link), "ConfigurationRefused", &["link.yml", "links are not followed"]);
    let folder = good.parent().unwrap().to_owned();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    machine.is_refused(&with(&folder), "ConfigurationRefused", &["link.yml", "links are not followed"]);
    let env = machine.secret_file("bad.env", "A=1\nno s3cret here\n");
    let site = with(&good).set("/spec/target/host/envFile", json!(env));
    machine.is_refused(&site, "ConfigurationInvalid", &["bad.env, line 2: there is no '='"]);
    assert!(!agent.log().contains("s3cret"), "the log holds what a file holds");
}

#[test]
fn a_jar_that_can_not_be_run_or_asked_for_its_health_is_refused_before_anything_starts() {
    let machine = nginx();
    let folder = tempfile::tempdir().unwrap();
    let jar = |name: &str, arguments: &[&str]| {
        let jar = folder.path().join(name);
        process::run(Command::new("jar").args(arguments).arg(&jar).arg("-C").arg(folder.path()).arg("BOOT-INF"))
            .unwrap();
        machine.uploaded(&jar)
    };
    fs::create_dir_all(folder.path().join("BOOT-INF/lib")).unwrap();
    fs::write(folder.path().join("BOOT-INF/lib/spring-web-6.jar"), b"").unwrap();
    let bare = jar("bare.jar", &["--create", "--no-manifest", "--file"]);
    machine.is_refused(&machine.spring().archive(&bare, None), "PreparationFailed", &["bare.jar has no manifest"]);
    let plain = jar("plain.jar", &["--create", "--file"]);
    machine.is_refused(&machine.spring().archive(&plain, None), "PreparationFailed", &["names no Main-Class"]);
    let deaf = jar("deaf.jar", &["--create", "--main-class", "A", "--file"]);
    let words = ["nothing in deaf.jar answers /actuator/health", "spec.health.path"];
    machine.is_refused(&machine.spring().archive(&deaf, None), "PreparationFailed", &words);
    let torn = folder.path().join("torn.jar");
    fs::write(&torn, &fs::read(&deaf).unwrap()[..100]).unwrap();
    let torn = machine.uploaded(&torn);
    machine.is_refused(&machine.spring().archive(&torn, None), "PreparationFailed", &["torn.jar is not a jar"]);
    let site = machine.spring().set("/spec/target/host/runtime/springBoot/java", json!("/opt/no/java"));
    machine.is_refused(&site, "PreparationFailed", &["there is no Java at /opt/no/java"]);
}
