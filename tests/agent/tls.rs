//! A site over HTTPS from its manifest to curl, and a certificate that is renewed under its feet, as certbot does it: a link that leads elsewhere.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bluegreen_rig::wait;
use serde_json::json;

use crate::kit::Machine;

fn certificate(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test", "-out", "fullchain.pem"])
        .args(["-keyout", "privkey.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_said_while_the_old_one_serves_on() {
    let machine = Machine::start();
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    for name in ["first", "second", "broken"] {
        certificate(&folder.path().join(name));
    }
    symlink("first", &live).unwrap();
    let point = |to: &str| {
        let next = folder.path().join("next");
        symlink(to, &next).unwrap();
        std::fs::rename(next, &live).unwrap();
    };
    let door = format!("{}:{}", machine.nginx.address().ip(), machine.ports[7].number());
    let tls = json!({
        "certificate": live.join("fullchain.pem"), "key": live.join("privkey.pem"), "listen": [door],
    });
    let site = machine.site("shop", 0).set("/spec/target/host/hostnames", json!(["shop.test"]));
    let site = site.set("/spec/target/host/tls", tls).release(&machine.release("v1"));
    machine.agent.apply_and_wait(&site).unwrap();

    let (ip, port) = (machine.nginx.address().ip(), machine.ports[7].number());
    let shown = |trusts: &str| {
        let curl = Command::new("curl")
            .args(["--silent", "--fail", "--http2", "--noproxy", "*", "--max-time", "10", "--cacert"])
            .arg(folder.path().join(trusts).join("fullchain.pem"))
            .args(["--resolve", &format!("shop.test:{port}:{ip}"), &format!("https://shop.test:{port}/health")])
            .output();
        curl.unwrap().status.success()
    };
    let patience = Duration::from_secs(90);
    assert!(shown("first") && !shown("second"));
    point("second");
    wait::until("the renewed certificate is shown", patience, || shown("second").then_some(())).unwrap();
    assert!(!shown("first"));
    std::fs::write(folder.path().join("broken/privkey.pem"), "half a k").unwrap();
    point("broken");
    let said = || {
        let output = machine.agent.bluegreen(&["describe", "shop"]).ok()?;
        let view = String::from_utf8_lossy(&output.stdout).into_owned();
        view.contains("CertificateUnusable").then_some(view)
    };
    let view = wait::until("what is wrong is said", patience, said).unwrap();
    assert!(view.contains("privkey.pem"), "{view}");
    assert!(shown("second"), "what was in force serves on");
    // A rollout isn't held up by it.
    machine.agent.apply(&site.release(&machine.release("v2"))).unwrap();
    let moved = || (machine.agent.live_colour("shop").as_deref() == Some("green")).then_some(());
    wait::until("the next version is live", patience, moved).unwrap();
    point("first");
    wait::until("it is mended", patience, || shown("first").then_some(())).unwrap();
}
