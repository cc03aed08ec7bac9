//! Who comes by HTTPS is told addresses that begin with it.

use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::web::WebServer;
use serde_json::Value;

use crate::kit::{Machine, apache, nginx};

fn is_told_https<W: WebServer>(machine: &Machine<W>, site: &Manifest) {
    let (address, about) = machine.get_by_https(site, "/about");
    let about: Value = serde_json::from_str(&about).unwrap();
    assert_eq!(about["url"], format!("{address}/about"));
}

#[test]
fn by_spring_boot_behind_nginx() {
    let machine = nginx();
    is_told_https(&machine, &machine.spring());
}

#[test]
fn by_spring_boot_behind_apache() {
    let machine = apache();
    is_told_https(&machine, &machine.spring());
}

#[test]
fn by_tomcat_behind_nginx() {
    let machine = nginx();
    is_told_https(&machine, &machine.tomcat());
}

#[test]
fn by_tomcat_behind_apache() {
    let machine = apache();
    is_told_https(&machine, &machine.tomcat());
}
