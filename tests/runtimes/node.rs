//! Node as a `command`: the example, deployed from one version to the next.

use std::fs;

use crate::kit::{Machine, Server, says};

#[test]
fn an_app_on_node_goes_from_v1_to_v2_and_knows_its_client_and_one_that_throws_never_goes_live() {
    let machine = Machine::start(Server::Nginx);
    let site = machine.site("node");
    machine.deploy(&site.clone().release(&machine.release("node", "v1")));
    assert_eq!(machine.get(&site, "/").version(), Some("v1"));
    machine.deploy(&site.clone().release(&machine.release("node", "v2")));
    assert_eq!(machine.get(&site, "/").version(), Some("v2"));
    let seen = machine.get(&site, "/seen").text();
    assert_eq!(seen, r#"{"client":"127.0.0.1","host":"node.test","environment":"production"}"#);
    assert_eq!(machine.get(&site, "/nowhere").status, 404, "the app's own answer");

    let bad = machine.release("node", "v3");
    fs::write(bad.join("server.js"), "require('no-such-module');\n").unwrap();
    let now = machine.refused(&site.clone().strategy("readyWithin", "5s"), &bad);
    assert!(says(&now, "Stalled").contains("ended by itself"), "{}", says(&now, "Stalled"));
    assert_eq!(machine.get(&site, "/").version(), Some("v2"));
}
