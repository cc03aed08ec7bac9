//! Each from version to version under keep-alive requests: nothing lost. `BLUEGREEN_RUNTIME_CUTOVERS` says how often, twice if it doesn't.

use std::path::PathBuf;

use bluegreen_rig::cutovers::{count, nothing_lost};
use bluegreen_rig::load::{Ask, Load};
use bluegreen_rig::manifest::{self, Manifest};
use bluegreen_rig::wait;
use serde_json::json;

use crate::kit::{Machine, Server};
use crate::php;

/// An app says in each answer which version it is.
fn app(
    runtime: &str,
    server: Server,
    site: impl Fn(&Machine) -> Manifest,
    release: impl Fn(&Machine, &str) -> PathBuf,
) {
    let machine = Machine::start(server);
    let site = site(&machine);
    machine.deploy(&site.clone().release(&release(&machine, "v0")));
    let load = machine.load(&site);
    load.wait_for_version("v0").unwrap();
    for number in 1..=count(2) {
        let version = format!("v{number}");
        machine.deploy(&site.clone().release(&release(&machine, &version)));
        load.wait_for_version(&version).unwrap();
        load.wait_for_more(50).unwrap();
    }
    let totals = load.stop();
    nothing_lost(runtime, server.name(), count(2), &totals);
    assert_eq!(totals.versions.len(), count(2) + 1, "{:?}", totals.versions);
}

fn command(server: Server) {
    let site = |machine: &Machine| {
        let [blue, green] = machine.ports();
        Manifest::app("command", machine.address(), machine.user.name(), &[blue], &[green])
    };
    app("command", server, site, |machine, version| manifest::release(&machine.agent.uploads(), version, "").unwrap());
}

fn node(server: Server) {
    app("node", server, |machine| machine.site("node"), |machine, version| machine.release("node", version));
}

fn php_fpm(server: Server) {
    app("php-fpm", server, php::site, |machine, version| machine.release("php", version));
}

/// Files alone say nothing of their version: each page is asked for by itself besides. Nobody can POST to them.
fn files(server: Server) {
    let machine = Machine::start(server);
    let site = Manifest::files("files", machine.address(), machine.user.name());
    let site = site.set("/spec/target/host/static", json!([{ "path": "/", "root": "public", "keep": 1 }]));
    let release = |version: &str| manifest::release(&machine.agent.uploads(), version, "").unwrap();
    machine.deploy(&site.clone().release(&release("v0")));
    let mut load = None;
    for number in 1..=count(2) {
        let (old, version) = (format!("v{}", number - 1), format!("v{number}"));
        // Whoever loaded a page before a cutover asks for its files after it.
        let asset = format!("/assets/{}", manifest::asset_name(&old));
        let clients = Load::to(machine.address(), &site.host()).clients(8);
        let running = clients.asks(vec![Ask::file("/"), Ask::file(&asset)]).start().unwrap();
        running.wait_for_more(50).unwrap();
        machine.deploy(&site.clone().release(&release(&version)));
        let page = || machine.get(&site, "/").text().contains(&format!("<h1>{version}</h1>")).then_some(());
        wait::until("the new page was answered", wait::PATIENCE, page).unwrap();
        running.wait_for_more(50).unwrap();
        let totals = running.stop();
        load.get_or_insert_with(bluegreen_rig::load::Totals::default).add(&totals);
    }
    nothing_lost("static", server.name(), count(2), &load.unwrap());
}

#[test]
fn files_alone_on_nginx_lose_nothing() {
    files(Server::Nginx);
}

#[test]
fn files_alone_on_apache_lose_nothing() {
    files(Server::Apache);
}

#[test]
fn a_command_on_nginx_loses_nothing() {
    command(Server::Nginx);
}

#[test]
fn a_command_on_apache_loses_nothing() {
    command(Server::Apache);
}

#[test]
fn node_on_nginx_loses_nothing() {
    node(Server::Nginx);
}

#[test]
fn node_on_apache_loses_nothing() {
    node(Server::Apache);
}

#[test]
fn php_fpm_on_nginx_loses_nothing() {
    php_fpm(Server::Nginx);
}

#[test]
fn php_fpm_on_apache_loses_nothing() {
    php_fpm(Server::Apache);
}
