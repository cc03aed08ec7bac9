//! A change of the schema, written into a real jar, beside it, outside of it and into the environment: stopped before anything starts.

use std::fs;
use std::process::Command;

use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::{maven, process, wait};
use serde_json::json;

use crate::kit::nginx;

const UPDATE: &str = "spring:\n  jpa:\n    hibernate:\n      ddl-auto: update\n";

#[test]
fn a_change_of_the_schema_is_stopped_wherever_it_is_written_and_what_is_live_goes_on() {
    let machine = nginx();
    let agent = &machine.agent;
    agent.apply_and_wait(&machine.spring().env("SHOP_VERSION", "v0")).unwrap();
    let stopped = |site: &Manifest, words: &[&str]| {
        let mut all = vec!["Hibernate would change the schema of the database", "spec.guards.schemaChanges: Warn"];
        all.extend(words);
        machine.is_refused(site, "PreparationFailed", &all);
    };

    // Inside: a copy of the jar with one more file.
    let folder = tempfile::tempdir().unwrap();
    let classes = folder.path().join("BOOT-INF/classes");
    fs::create_dir_all(&classes).unwrap();
    fs::write(
        classes.join("application-production.properties"),
        "# on purpose\nspring.jpa.hibernate.ddl-auto=create\n",
    )
    .unwrap();
    let jar = folder.path().join("bad.jar");
    fs::copy(maven::example("spring-boot", "target/shop.jar").unwrap(), &jar).unwrap();
    process::run(
        Command::new("jar")
            .args(["--update", "--no-compress", "--file"])
            .arg(&jar)
            .arg("-C")
            .arg(folder.path())
            .arg("BOOT-INF"),
    )
    .unwrap();
    let inside = machine.spring().archive(&machine.uploaded(&jar), None);
    stopped(&inside, &["ddl-auto is create (bad.jar!/BOOT-INF/classes/application-production.properties, line 2)"]);

    // Outside.
    let file = machine.secret_file("application.yml", UPDATE);
    let outside = machine.spring().set("/spec/target/host/configFiles", json!([{ "path": file }]));
    stopped(&outside, &["ddl-auto is update", "etc/application.yml, line 4"]);

    // In the environment, in the file of variables, and as an argument.
    let env = machine.spring().env("SPRING_JPA_HIBERNATE_DDL_AUTO", "create-drop");
    stopped(&env, &["is create-drop (the variable SPRING_JPA_HIBERNATE_DDL_AUTO)"]);
    let variables = machine.secret_file("shop.env", "SPRING_JPA_GENERATE_DDL=true\n");
    stopped(&machine.spring().set("/spec/target/host/envFile", json!(variables)), &["SPRING_JPA_GENERATE_DDL is true"]);
    let arguments = json!(["--spring.jpa.hibernate.ddl-auto=update"]);
    let argument = machine.spring().set("/spec/target/host/runtime/springBoot/arguments", arguments);
    stopped(&argument, &["(the argument --spring.jpa.hibernate.ddl-auto)"]);

    // Overridden from outside, it does nothing; and who means it says so.
    let file = machine.secret_file("application-production.yml", "spring.jpa.hibernate.ddl-auto: validate\n");
    let harmless = inside.clone().set("/spec/target/host/configFiles", json!([{ "path": file }]));
    agent.apply_and_wait(&harmless.env("SHOP_VERSION", "v1")).unwrap();
    wait::until("v1 was live", wait::PATIENCE, || machine.get("/").contains("v1").then_some(())).unwrap();
    let meant = inside.set("/spec/guards", json!({ "schemaChanges": "Warn" })).env("SHOP_VERSION", "v2");
    agent.apply_and_wait(&meant).unwrap();
    wait::until("v2 was live", wait::PATIENCE, || machine.get("/").contains("v2").then_some(())).unwrap();
    assert!(agent.log().contains("spring.jpa.hibernate.ddl-auto is create"), "it is let pass, and said");
}

#[test]
fn a_change_of_the_schema_within_a_war_is_stopped_before_its_tomcat_starts() {
    let machine = nginx();
    let agent = &machine.agent;
    let site = machine.tomcat().env("SPRING_PROFILES_ACTIVE", "production");
    agent.apply_and_wait(&site.clone().env("PAGES_VERSION", "v0")).unwrap();
    // A copy of the war with one more file among its classes.
    let folder = tempfile::tempdir().unwrap();
    let classes = folder.path().join("WEB-INF/classes");
    fs::create_dir_all(&classes).unwrap();
    fs::write(classes.join("application.yml"), UPDATE).unwrap();
    fs::write(classes.join("application-production.properties"), "\nspring.jpa.hibernate.ddl-auto=create\n").unwrap();
    let war = folder.path().join("bad.war");
    fs::copy(maven::example("tomcat", "target/pages.war").unwrap(), &war).unwrap();
    let mut update = Command::new("jar");
    update.args(["--update", "--file"]).arg(&war).arg("-C").arg(folder.path()).arg("WEB-INF");
    process::run(&mut update).unwrap();
    let bad = site.archive(&machine.uploaded(&war), None);
    let words = |place: &str| vec!["Hibernate would change the schema of the database".to_owned(), place.to_owned()];
    let refused = |site: &Manifest, place: &str| {
        let words = words(place);
        machine.is_refused(site, "PreparationFailed", &words.iter().map(String::as_str).collect::<Vec<_>>());
    };
    refused(&bad, "ddl-auto is create (bad.war!/WEB-INF/classes/application-production.properties, line 2)");
    // Without the profile it is the other file's; and a folder is a war as well.
    let unpacked = agent.uploads().join("unpacked");
    fs::create_dir_all(unpacked.join("pages.war")).unwrap();
    process::run(Command::new("jar").arg("--extract").arg("--file").arg(&war).current_dir(unpacked.join("pages.war")))
        .unwrap();
    let folder = bad.clone().unset("/spec/target/host/env/SPRING_PROFILES_ACTIVE").release(&unpacked);
    refused(&folder, "ddl-auto is update (pages.war!/WEB-INF/classes/application.yml, line 4)");
    // Overridden from outside it does nothing.
    let file = machine.secret_file("application-production.yml", "spring.jpa.hibernate.ddl-auto: validate\n");
    let harmless = bad.set("/spec/target/host/configFiles", json!([{ "path": file }]));
    agent.apply_and_wait(&harmless.env("PAGES_VERSION", "v1")).unwrap();
    wait::until("v1 was live", wait::PATIENCE, || machine.get("/").contains("v1").then_some(())).unwrap();
}

#[test]
fn django_s_settings_for_development_are_stopped_too() {
    let machine = nginx();
    let folder = machine.agent.uploads().join("shop");
    fs::create_dir_all(folder.join("shop")).unwrap();
    fs::write(folder.join("shop/settings.py"), "import os\n\nDEBUG = True\nALLOWED_HOSTS = ['*']\n").unwrap();
    let site = machine.spring().release(&folder);
    let site =
        site.set("/spec/target/host/runtime", json!({ "command": { "argv": ["/usr/bin/python3", "-m", "shop"] } }));
    let site = site.set("/spec/health/path", json!("/")).env("DJANGO_SETTINGS_MODULE", "shop.settings");
    let words = ["DEBUG is True (shop/settings.py, line 3)", "ALLOWED_HOSTS has '*' (shop/settings.py, line 4)"];
    machine.is_refused(&site, "PreparationFailed", &words);
}
