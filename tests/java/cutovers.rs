//! Both kinds of app behind both web servers: from version to version under load, and nothing is lost.

use bluegreen_rig::cutovers::{count, nothing_lost};
use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::web::WebServer;
use serde_json::json;

use crate::kit::{Machine, apache, nginx};

/// As the examples say it: a JVM gets its first, slow requests before its cutover.
fn warm(site: &Manifest) -> Manifest {
    site.clone().set("/spec/health/warmUp", json!({ "paths": ["/"], "requests": 20 }))
}

fn spring<W: WebServer>(front: &str, machine: &Machine<W>) {
    let totals = machine.cutovers(&warm(&machine.spring()), "SHOP_VERSION", count(2));
    nothing_lost("springBoot", front, count(2), &totals);
}

fn tomcat<W: WebServer>(front: &str, machine: &Machine<W>) {
    let totals = machine.cutovers(&warm(&machine.tomcat()), "PAGES_VERSION", count(2));
    nothing_lost("tomcat", front, count(2), &totals);
}

#[test]
fn spring_boot_behind_nginx_goes_from_version_to_version_and_loses_nothing() {
    spring("nginx", &nginx());
}

#[test]
fn spring_boot_behind_apache_goes_from_version_to_version_and_loses_nothing() {
    spring("apache", &apache());
}

#[test]
fn a_war_on_tomcat_behind_nginx_goes_from_version_to_version_and_loses_nothing() {
    tomcat("nginx", &nginx());
}

#[test]
fn a_war_on_tomcat_behind_apache_goes_from_version_to_version_and_loses_nothing() {
    tomcat("apache", &apache());
}
