//! Both kinds of app behind both web servers: from version to version under load, and nothing is lost.

use crate::kit::{apache, count, nginx};

#[test]
fn spring_boot_behind_nginx_goes_from_version_to_version_and_loses_nothing() {
    let machine = nginx();
    let totals = machine.cutovers(&machine.spring(), "SHOP_VERSION", count());
    println!("springBoot, nginx: {} cutovers, {} requests, {} failed", count(), totals.requests, totals.failed);
}

#[test]
fn spring_boot_behind_apache_goes_from_version_to_version_and_loses_nothing() {
    let machine = apache();
    let totals = machine.cutovers(&machine.spring(), "SHOP_VERSION", count());
    println!("springBoot, apache: {} cutovers, {} requests, {} failed", count(), totals.requests, totals.failed);
}

#[test]
fn a_war_on_tomcat_behind_nginx_goes_from_version_to_version_and_loses_nothing() {
    let machine = nginx();
    let totals = machine.cutovers(&machine.tomcat(), "PAGES_VERSION", count());
    println!("tomcat, nginx: {} cutovers, {} requests, {} failed", count(), totals.requests, totals.failed);
}

#[test]
fn a_war_on_tomcat_behind_apache_goes_from_version_to_version_and_loses_nothing() {
    let machine = apache();
    let totals = machine.cutovers(&machine.tomcat(), "PAGES_VERSION", count());
    println!("tomcat, apache: {} cutovers, {} requests, {} failed", count(), totals.requests, totals.failed);
}
