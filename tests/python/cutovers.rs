//! Each example from version to version under keep-alive GETs and POSTs: nothing lost. `BLUEGREEN_RUNTIME_CUTOVERS` says how often, twice if it doesn't.

use bluegreen_rig::cutovers::{count, nothing_lost};

use crate::kit::{Machine, Server};

fn cutovers(example: &str, server: Server) {
    let machine = Machine::start(server);
    let site = machine.site(example);
    machine.deploy(&site.clone().release(&machine.release(example, "v0")));
    if example == "django" || example == "flask" {
        let style = machine.get(&site, "/static/shop.css");
        assert_eq!((style.status, style.version()), (200, None), "the web server answers it itself");
    }
    let load = machine.load(&site);
    load.wait_for_version("v0").unwrap();
    for number in 1..=count(2) {
        let version = format!("v{number}");
        machine.deploy(&site.clone().release(&machine.release(example, &version)));
        load.wait_for_version(&version).unwrap();
        load.wait_for_more(50).unwrap();
    }
    let totals = load.stop();
    nothing_lost(example, server.name(), count(2), &totals);
    assert_eq!(totals.versions.len(), count(2) + 1, "{:?}", totals.versions);
}

#[test]
fn django_on_nginx_loses_nothing() {
    cutovers("django", Server::Nginx);
}

#[test]
fn django_on_apache_loses_nothing() {
    cutovers("django", Server::Apache);
}

#[test]
fn flask_on_nginx_loses_nothing() {
    cutovers("flask", Server::Nginx);
}

#[test]
fn flask_on_apache_loses_nothing() {
    cutovers("flask", Server::Apache);
}

#[test]
fn fastapi_on_nginx_loses_nothing() {
    cutovers("fastapi", Server::Nginx);
}

#[test]
fn fastapi_on_apache_loses_nothing() {
    cutovers("fastapi", Server::Apache);
}

#[test]
fn a_cgi_program_on_nginx_loses_nothing() {
    cutovers("cgi", Server::Nginx);
}

#[test]
fn a_cgi_program_on_apache_loses_nothing() {
    cutovers("cgi", Server::Apache);
}
