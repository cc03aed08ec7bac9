//! PHP-FPM as a `command` that speaks FastCGI: what it is told, on both web servers.

use std::fs;

use bluegreen_rig::manifest::Manifest;
use serde_json::json;

use crate::kit::{Machine, Server};

/// The site of the example, with the FPM that is installed here.
pub fn site(machine: &Machine) -> Manifest {
    let programs = fs::read_dir("/usr/sbin").unwrap().flatten().map(|entry| entry.path());
    let mut programs = programs.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("php-fpm"));
    let program = programs.next().expect("php-fpm is installed (scripts/setup.sh)");
    let argv = json!([program, "--nodaemonize", "--force-stderr", "--fpm-config", "fpm.conf"]);
    machine.site("php").set("/spec/target/host/runtime/command/argv", argv)
}

fn what_it_is_told(server: Server) {
    let machine = Machine::start(server);
    let site = site(&machine);
    machine.deploy(&site.clone().release(&machine.release("php", "v1")));
    let seen = machine.get(&site, "/seen/a%20b?x=1").text();
    assert_eq!(seen, r#"{"path":"/seen/a b","query":"x=1","client":"127.0.0.1","host":"php.test"}"#);
}

#[test]
fn php_behind_nginx_is_told_what_the_client_said() {
    what_it_is_told(Server::Nginx);
}

#[test]
fn php_behind_apache_is_told_what_the_client_said() {
    what_it_is_told(Server::Apache);
}

#[test]
fn a_page_that_fails_when_it_is_warmed_up_over_fastcgi_never_goes_live() {
    let machine = Machine::start(Server::Nginx);
    let site = site(&machine);
    machine.deploy(&site.clone().release(&machine.release("php", "v1")));
    let bad = machine.release("php", "v2");
    let index = bad.join("public/index.php");
    let text = fs::read_to_string(&index).unwrap();
    let broken = text.replace("echo \"<!doctype html><h1>shop $version</h1>\";", "no_such_function();");
    assert_ne!(text, broken);
    fs::write(&index, broken).unwrap();
    let now = machine.refused(&site, &bad);
    let why = crate::kit::says(&now, "Stalled");
    assert!(
        why.contains("VerificationFailed") && why.contains("GET / on port") && why.contains("answers 500"),
        "{why}"
    );
    assert_eq!(machine.get(&site, "/").version(), Some("v1"));
}
