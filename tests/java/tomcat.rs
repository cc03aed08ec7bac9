//! A war on Tomcat: what it is told, and a war that doesn't start on a Tomcat that does.

use std::fs;
use std::os::unix::fs::MetadataExt;

use bluegreen_rig::wait;
use serde_json::json;

use crate::kit::{listens_at, nginx};

#[test]
fn a_war_gets_a_tomcat_of_its_own_on_loopback_and_one_that_does_not_start_never_goes_live() {
    let machine = nginx();
    let agent = &machine.agent;
    let site = machine.tomcat().set("/spec/target/host/runtime/tomcat/path", json!("/shop"));
    agent.apply_and_wait(&site).unwrap();
    let about = machine.get("/shop/about");
    assert!(about.contains("\"url\":\"http://shop.test") && about.contains("/work/blue.0/temp"), "{about}");
    let listens = listens_at(machine.port("blue"));
    assert!(!listens.is_empty() && listens.iter().all(|address| address.ends_with("0100007F")), "{listens:?}");
    let base = agent.site_dir("shop").join("work/blue.0");
    for (name, owner) in [("", true), ("conf", true), ("conf/server.xml", true), ("work", false), ("temp", false)] {
        let found = fs::metadata(base.join(name)).unwrap();
        assert_eq!(found.uid() == 0, owner, "{name}");
        assert_eq!(found.mode() & 0o022, 0, "{name}");
    }
    let ports: Vec<u16> = [8005, 8009].into_iter().filter(|port| !listens_at(*port).is_empty()).collect();
    assert!(ports.is_empty(), "a shutdown port or AJP is open: {ports:?}");

    // Tomcat itself comes up and answers 404: that is no app.
    let broken = site.clone().env("PAGES_BROKEN", "1").strategy("readyWithin", "25s");
    let refusal = agent.apply_and_wait(&broken).unwrap_err();
    let refusal = format!("{refusal:#}");
    assert!(refusal.contains("was not ready in time"), "{refusal}");
    let why = format!("GET /shop on port {} answers 404", machine.port("green"));
    assert!(refusal.contains(&why), "it doesn't say what Tomcat answered: {refusal}");
    let log =
        wait::until("it is off", wait::PATIENCE, || (!base.with_file_name("green.0").exists()).then_some(agent.log()));
    log.unwrap();
    assert_eq!(agent.live_colour("shop").as_deref(), Some("blue"));
    assert!(machine.get("/shop").contains("pages 1.0.0") || machine.get("/shop/").contains("pages 1.0.0"));
    assert!(base.exists());

    // A war that is none, and a Tomcat that isn't there.
    let torn = machine.uploaded(&{
        let file = agent.folder().join("torn.war");
        fs::write(&file, b"PK not really").unwrap();
        file
    });
    machine.is_refused(&machine.tomcat().archive(&torn, None), "PreparationFailed", &["torn.war is not a war"]);
    let nowhere = machine.tomcat().set("/spec/target/host/runtime/tomcat/home", json!("/opt/tomcat"));
    machine.is_refused(&nowhere, "PreparationFailed", &["there is no Tomcat 10 in /opt/tomcat"]);
}
