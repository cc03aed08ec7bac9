//! Manifests that try to say more than they may.

use std::fs;

use serde_json::json;

use crate::kit::{Served, refusal};

/// What would end a directive of nginx and begin another one, or end a line.
const BREAKS: [&str; 4] = [";", "}", "\n", "\u{0}"];

#[test]
fn syntax_of_the_web_server_in_a_manifest_is_refused_at_its_place_and_reaches_no_file() {
    let served = Served::start();
    let (agent, machine) = (served.agent(), &served.machine);
    let good = served.site.clone().release(&machine.release("v2"));
    let nginx = || {
        let files = fs::read_dir(machine.nginx.conf_d()).unwrap().map(|entry| entry.unwrap().path());
        files.map(|file| fs::read_to_string(file).unwrap()).collect::<String>()
    };
    let before = nginx();
    for (pointer, path, text) in [
        ("/spec/target/host/hostnames", "spec.target.host.hostnames[0]", "evil.test"),
        ("/spec/health/path", "spec.health.path", "/evil"),
        ("/spec/target/host/static", "spec.target.host.static[0].path", "/evil"),
        ("/spec/target/host/static", "spec.target.host.static[0].root", "evil"),
        ("/spec/target/host/release/path", "spec.target.host.release.path", "/evil"),
        ("/spec/target/host/listen", "spec.target.host.listen[0]", "127.0.0.1:80"),
        ("/spec/target/host/user", "spec.target.host.user", "evil"),
    ] {
        for syntax in BREAKS {
            let bad = format!("{text}{syntax} return 200 owned");
            let value = match path.rsplit('.').next().unwrap() {
                "hostnames[0]" | "listen[0]" => json!([bad]),
                "path" if pointer.ends_with("static") => json!([{ "path": format!("{bad}/"), "root": "public" }]),
                "root" => json!([{ "path": "/evil/", "root": bad }]),
                _ => json!(bad),
            };
            let manifest = good.clone().set(pointer, value);
            let file = agent.folder().join("evil.yaml");
            manifest.write(&file).unwrap();
            let refusal = refusal(agent, &file);
            assert!(refusal.contains(path), "{path} with {syntax:?}: {refusal}");
            assert!(refusal.contains(" is not ") || refusal.contains("nowhere to listen"), "{refusal}");
        }
    }
    // Nobody sees a refusal of what lies in the folder: it is said in the condition.
    let bad = good.clone().set("/spec/target/host/hostnames", json!(["shop.test; } server { return 200 owned"]));
    bad.write(&agent.sites_dir().join("shop.yaml")).unwrap();
    let now = served.says("InvalidSpec", &["spec.target.host.hostnames[0]", "return 200 owned", "is not a host name"]);
    assert_eq!(now.pointer("/status/live/colour"), Some(&"blue".into()), "{now:#}");
    served.is_untouched();
    assert_eq!(nginx(), before);
    good.write(&agent.sites_dir().join("shop.yaml")).unwrap();
    served.load().wait_for_version("v2").unwrap();
    served.ends_with_versions(&["v1", "v2"]);
}

#[test]
fn two_sites_never_have_the_same_port_and_the_second_goes_live_with_another() {
    let mut served = Served::start();
    let machine = &served.machine;
    let agent = &machine.agent;
    let blog = machine.site("blog", 1).release(&machine.release("v2"));
    let taken = machine.ports[2].number();
    let clash = blog.clone().set("/spec/target/host/ports/blue", json!([machine.ports[4].number(), taken]));
    let words = format!("spec.target.host.ports.blue[1]: the site shop has port {taken} already: take another one");
    let file = agent.folder().join("blog.yaml");
    clash.write(&file).unwrap();
    assert!(refusal(agent, &file).contains(&words));
    clash.write(&agent.sites_dir().join("blog.yaml")).unwrap();
    crate::kit::said(agent, "blog", "ConflictsWithSite", &[&words]);
    served.is_untouched();
    served.with_a_reload(|served| served.agent().apply_and_wait(&blog).unwrap());
    served.is_untouched();
    served.ends_with_versions(&["v1"]);
}
