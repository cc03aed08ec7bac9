//! What a CGI program is told, on both web servers; and that no other program is ever run.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use bluegreen_rig::load::{get, post};
use serde_json::{Value, json};

use crate::kit::{Machine, Server};

fn what_it_is_told(server: Server) {
    let machine = Machine::start(server);
    let site = machine.site("cgi");
    machine.deploy(&site.clone().release(&machine.release("cgi", "v1")));
    let seen = |answer: &bluegreen_rig::load::Answer| -> Value {
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    };
    let uid = rustix::fs::stat(format!("/proc/{}", machine.agent.apps()[0])).unwrap().st_uid;
    assert_ne!(uid, 0);
    let got = seen(&machine.get(&site, "/seen/a%20b/%C3%BC?x=1&y=%20"));
    let wanted = json!({
        "REQUEST_METHOD": "GET", "PATH_INFO": "/seen/a b/ü", "QUERY_STRING": "x=1&y=%20", "REMOTE_ADDR": "127.0.0.1", "HTTPS": "",
        "HTTP_HOST": "cgi.test", "SCRIPT_NAME": "", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_PROXY": "", "HTTP_X_FORWARDED_FOR": "127.0.0.1",
        "CONTENT_TYPE": "", "GREETING": "hello", "uid": uid, "body": "",
    });
    assert_eq!(got, wanted);
    let got = seen(&post(machine.address(), &site.host(), "/seen", "a=1&b=2").unwrap());
    assert_eq!((&got["REQUEST_METHOD"], &got["body"]), (&json!("POST"), &json!("a=1&b=2")));
    assert_eq!(machine.get(&site, "/nowhere").status, 404, "the program's own answer");
}

#[test]
fn a_program_behind_nginx_is_told_what_the_client_said() {
    what_it_is_told(Server::Nginx);
}

#[test]
fn a_program_behind_apache_is_told_what_the_client_said() {
    what_it_is_told(Server::Apache);
}

fn a_folder(server: Server) {
    let machine = Machine::start(server);
    let release = machine.release("cgi", "v1");
    let hello = release.join("cgi-bin/more/hello.sh");
    fs::create_dir_all(hello.parent().unwrap()).unwrap();
    fs::write(
        &hello,
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s|%s' \"$PATH_INFO\" \"$QUERY_STRING\"\n",
    )
    .unwrap();
    fs::set_permissions(&hello, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(release.join("cgi-bin/data.txt"), "no program").unwrap();
    fs::copy(&hello, release.join("outside.sh")).unwrap();
    fs::set_permissions(release.join("outside.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let site = machine.site("cgi").set("/spec/target/host/runtime", json!({ "cgi": { "folder": "cgi-bin" } }));
    let site = site.set("/spec/health/path", json!("/cgi-bin/app.py/healthz"));
    machine.deploy(&site.clone().release(&release));
    let text = |path: &str| {
        let answer = get(machine.address(), &site.host(), path).unwrap();
        (answer.status, answer.text())
    };
    assert_eq!(text("/cgi-bin/more/hello.sh/rest/of%20it?q=1"), (200, "/rest/of it|q=1".to_owned()));
    assert_eq!(text("/cgi-bin/more/hello.sh?q"), (200, "|q".to_owned()));
    for path in [
        "/cgi-bin/data.txt",
        "/cgi-bin/",
        "/outside.sh",
        "/cgi-bin/../outside.sh",
        "/cgi-bin/%2e%2e/outside.sh",
        "/cgi-bin/..%2foutside.sh",
        "/cgi-bin/more/../../../../../../../../usr/bin/env",
        "/cgi-bin/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/usr/bin/env",
        "//usr/bin/env",
    ] {
        let (status, said) = text(path);
        assert!((400..504).contains(&status), "{path}: {status} {said}");
    }
}

#[test]
fn behind_nginx_the_programs_of_a_folder_are_run_and_no_other() {
    a_folder(Server::Nginx);
}

#[test]
fn behind_apache_the_programs_of_a_folder_are_run_and_no_other() {
    a_folder(Server::Apache);
}

fn from_an_app_to_a_program_and_back(server: Server) {
    let machine = Machine::start(server);
    let flask = machine.site("flask");
    let program = flask.clone().set("/spec/target/host/runtime", json!({ "cgi": { "script": "cgi-bin/app.py" } }));
    let program = program.unset("/spec/target/host/static");
    let version = || machine.get(&flask, "/").version().map(str::to_owned);
    machine.deploy(&flask.clone().release(&machine.release("flask", "v1")));
    assert_eq!(version().as_deref(), Some("v1"));
    machine.deploy(&program.clone().release(&machine.release("cgi", "v2")));
    assert_eq!(version().as_deref(), Some("v2"));
    let order = post(machine.address(), &flask.host(), "/order", "12345").unwrap();
    assert_eq!((order.status, order.text().trim()), (200, "{\"bytes\":5}"));
    machine.deploy(&flask.clone().release(&machine.release("flask", "v3")));
    assert_eq!(version().as_deref(), Some("v3"));
}

#[test]
fn behind_nginx_a_site_may_change_from_an_app_to_a_program_and_back() {
    from_an_app_to_a_program_and_back(Server::Nginx);
}

#[test]
fn behind_apache_a_site_may_change_from_an_app_to_a_program_and_back() {
    from_an_app_to_a_program_and_back(Server::Apache);
}
