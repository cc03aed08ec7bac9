//! Who comes by HTTPS is told addresses that begin with it.

use bluegreen_rig::certificate::Certificate;
use bluegreen_rig::load::{Fetch, fetch};
use serde_json::{Value, json};

use crate::kit::{Machine, Server};

fn is_told_https_by_django(server: Server) {
    let machine = Machine::start(server);
    let shows = Certificate::make(&machine.agent.folder().join("certificate"), &["django.test"]).unwrap();
    let secure = machine.secure();
    let tls = json!({ "certificate": shows.certificate, "key": shows.key, "listen": [secure.to_string()] });
    let site = machine.site("django").set("/spec/target/host/tls", tls);
    machine.deploy(&site.release(&machine.release("django", "v1")));
    let host = format!("django.test:{}", secure.port());
    let asked = Fetch { trust: Some(shows.trust().unwrap()), ..Fetch::get(secure, &host, "/seen") };
    let seen: Value = serde_json::from_str(&fetch(&asked).unwrap().text()).unwrap();
    let url = format!("https://{host}/seen");
    assert_eq!(seen, json!({ "host": host, "scheme": "https", "path": "/seen", "url": url }));
}

#[test]
fn by_django_behind_nginx() {
    is_told_https_by_django(Server::Nginx);
}

#[test]
fn by_django_behind_apache() {
    is_told_https_by_django(Server::Apache);
}
