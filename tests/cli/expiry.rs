//! What a kubeconfig shows and trusts is told of before it ends, and named when it has.

use std::path::Path;
use std::process::Command;

use bluegreen_rig::binaries;
use bluegreen_rig::certificate::SELF_SIGNED;
use serde_json::json;

fn openssl(folder: &Path, name: &str, faked: Option<&str>, days: &str) {
    let mut command = match faked {
        Some(time) => {
            let mut command = Command::new("faketime");
            command.args([time, "openssl"]);
            command
        }
        None => Command::new("openssl"),
    };
    command.args(SELF_SIGNED).args(["-subj", "/CN=joe"]);
    command.args(["-days", days, "-keyout"]).arg(folder.join(format!("{name}.key")));
    let made = command.arg("-out").arg(folder.join(format!("{name}.pem"))).output().expect("openssl is there");
    assert!(made.status.success(), "{made:?}");
}

/// What is said on standard error with a kubeconfig of these certificates, for an API server that is not there.
fn said(folder: &Path, client: &str, authority: &str, arguments: &[&str]) -> String {
    let at = |name: String| folder.join(name);
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": {
            "server": "https://127.0.0.1:1", "certificate-authority": at(format!("{authority}.pem")),
        } }],
        "users": [{ "name": "u", "user": {
            "client-certificate": at(format!("{client}.pem")), "client-key": at(format!("{client}.key")),
        } }],
    });
    let file = folder.join("config");
    std::fs::write(&file, config.to_string()).expect("written");
    let mut command = Command::new(binaries::bluegreen().expect("it is built"));
    command.args(arguments).env("KUBECONFIG", file);
    String::from_utf8(command.output().expect("it runs").stderr).expect("text")
}

#[test]
fn a_certificate_of_a_kubeconfig_is_told_of_before_it_ends_and_named_when_it_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    openssl(folder, "fresh", None, "30");
    openssl(folder, "soon", None, "5");
    openssl(folder, "over", Some("2020-01-01 00:00:00"), "5");
    let get: &[&str] = &["get", "--context", "c"];
    let fleet: &[&str] = &["fleet", "get"];
    let hosts: &[&str] = &["host", "get"];
    for arguments in [get, fleet, hosts] {
        let quiet = said(folder, "fresh", "fresh", arguments);
        assert!(!quiet.contains("warning:"), "{arguments:?}: {quiet}");
        let told = said(folder, "soon", "over", arguments);
        let count = |words: &str| told.matches(words).count();
        assert_eq!(count("client certificate for https://127.0.0.1:1 ends at "), 1, "{arguments:?}: {told}");
        assert_eq!(count("judges https://127.0.0.1:1 ended at 2020-01-06T"), 1, "{arguments:?}: {told}");
    }
    let told = said(folder, "over", "soon", get);
    assert!(told.contains("client certificate for https://127.0.0.1:1 ended at 2020-01-06T"), "{told}");
}
