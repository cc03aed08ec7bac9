//! A token is good for one machine, once.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use bluegreen::cli::host::ticket::Ticket;
use bluegreen::driver::agent::hub::bearer::Bearer;
use bluegreen::driver::agent::hub::membership::Membership;
use serde_json::{Value, json};

use super::kit::{Machine, admin, at_another_time, changed, dies, joined, now, plane, token, unique};

#[test]
fn a_host_joins_and_the_token_is_dead_from_then_on() {
    let name = unique("vps");
    let word = token(&name);
    let machine = Machine::new();
    let said = machine.join(&word).well();
    assert!(said.contains(&format!("as {name}")), "{said}");

    let membership = machine.membership().expect("it has joined");
    let namespace = format!("bluegreen-host-{name}");
    let uid = plane().json(&["get", "namespace", &namespace]).unwrap()["metadata"]["uid"].clone();
    assert_eq!((membership.namespace.as_str(), json!(membership.hub)), (namespace.as_str(), uid));
    assert_eq!(membership.server, plane().url());
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let state = machine.state();
    assert_eq!(mode(Membership::folder(&state)), 0o700);
    assert_eq!((mode(Membership::file(&state)), mode(Membership::token_file(&state))), (0o600, 0o600));
    assert!(!std::fs::read_to_string(Membership::file(&state)).unwrap().contains(&machine.token_file()));

    let own = Bearer::parse(&machine.token_file()).unwrap();
    let life = own.claims().expires.duration_since(own.claims().issued);
    assert_eq!((own.claims().account.name.as_str(), life.as_hours()), ("bluegreen-host", 7 * 24));
    let sites = format!("/apis/bluegreen.dev/v1alpha1/namespaces/{namespace}/bluegreensites");
    assert_eq!(machine.caller().call("GET", &sites, &Value::Null).0, 200);

    // While the API server may still remember that the token was good, and when it knows it no more.
    let another = Machine::new();
    let early = another.join(&word).refused();
    assert!(early.contains("used already") && early.contains(&format!("bluegreen host token {name}")), "{early}");
    dies(Ticket::read(&word).unwrap().token.expose());
    let late = another.join(&word).refused();
    assert!(late.contains("used already"), "{late}");
    assert!(another.membership().is_none() && another.token_file().is_empty());
    assert_eq!(machine.caller().call("GET", &sites, &Value::Null).0, 200, "who joined goes on");
}

#[test]
fn of_machines_that_use_one_token_at_once_exactly_one_joins() {
    for _ in 0..4 {
        let word = token(&unique("vps"));
        let machines: Vec<Machine> = (0..3).map(|_| Machine::new()).collect();
        let said: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = machines.iter().map(|machine| scope.spawn(|| machine.join(&word))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let joined = machines.iter().filter(|machine| machine.membership().is_some()).count();
        assert_eq!((joined, said.iter().filter(|said| said.well).count()), (1, 1), "{said:?}");
        for (machine, said) in machines.iter().zip(said) {
            if !said.well {
                assert!(said.err.contains("used already"), "{}", said.err);
                assert!(machine.token_file().is_empty());
            }
        }
    }
}

#[test]
fn a_newer_token_ends_an_older_one_and_so_does_an_admin_who_deletes_its_secret() {
    let name = unique("vps");
    let older = token(&name);
    let newer = token(&name);
    let machine = Machine::new();
    let said = machine.join(&older).refused();
    assert!(said.contains("replaced by a newer one"), "{said}");
    let namespace = format!("bluegreen-host-{name}");
    plane().kubectl(&["-n", &namespace, "delete", "secret", "bluegreen-join"]).unwrap();
    let said = machine.join(&newer).refused();
    assert!(said.contains("used already, or replaced"), "{said}");
    machine.join(&token(&name)).well();
}

#[test]
fn a_token_whose_time_is_over_is_refused_and_said_to_be() {
    let name = unique("vps");
    let hour = Duration::from_secs(3600);
    let word = changed(&token(&name), |ticket| {
        let now = now();
        ticket.token =
            at_another_time(&ticket.token, now.checked_sub(hour).unwrap(), now.checked_sub(hour / 2).unwrap());
    });
    let machine = Machine::new();
    let said = machine.join(&word).refused();
    assert!(said.contains("could be used until") && said.contains(&format!("bluegreen host token {name}")), "{said}");
    assert!(machine.membership().is_none());
    // The same made for now is taken: it was refused for its time, not for how it was made.
    let word = changed(&token(&name), |ticket| {
        let now = now();
        ticket.token = at_another_time(&ticket.token, now.checked_sub(hour).unwrap(), now.checked_add(hour).unwrap());
    });
    machine.join(&word).well();
}

#[test]
fn a_host_joins_anew_under_its_name_and_under_another_only_by_force() {
    let (machine, name) = joined("vps");
    let before = machine.token_file();
    machine.join(&token(&name)).well();
    assert_ne!(machine.token_file(), before);

    let other = unique("vps");
    let word = token(&other);
    let said = machine.join(&word).refused();
    assert!(said.contains("a hub under another name") && said.contains("is not used up"), "{said}");
    assert_eq!(machine.membership().unwrap().host.as_str(), name);
    machine.host(&["join", "--token-file", "-", "--force"], &word).well();
    assert_eq!(machine.membership().unwrap().host.as_str(), other);
}

#[test]
fn a_hub_whose_certificate_another_authority_signed_gets_no_token_to_see() {
    let name = unique("vps");
    let word = token(&name);
    let folder = tempfile::tempdir().unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=other",
    ]);
    openssl.arg("-keyout").arg(folder.path().join("key")).arg("-out").arg(folder.path().join("crt"));
    bluegreen_rig::process::run(&mut openssl).unwrap();
    let other = std::fs::read_to_string(folder.path().join("crt")).unwrap();
    let machine = Machine::new();
    let said = machine.join(&changed(&word, |ticket| ticket.certificate_authority = other)).refused();
    assert!(said.contains("does not answer as itself") && said.contains("certificate"), "{said}");
    assert!(machine.membership().is_none());
    // Nothing was used up by it.
    machine.join(&word).well();
}

#[test]
fn a_second_machine_is_refused_while_the_first_is_alive_under_the_same_name() {
    let name = unique("vps");
    let word = token(&name);
    let namespace = format!("bluegreen-host-{name}");
    let renew = |number: u32| {
        let spec = json!({ "spec": {
            "holderIdentity": "00112233445566778899aabbccddeeff", "leaseDurationSeconds": 40, "leaseTransitions": number,
        }});
        let patch = spec.to_string();
        plane().kubectl(&["-n", &namespace, "patch", "lease", "bluegreen-host", "--type=merge", "-p", &patch]).unwrap();
    };
    renew(0);
    let machine = Machine::new();
    let said = std::thread::scope(|scope| {
        let joining = scope.spawn(|| machine.join(&word));
        let mut number = 0;
        while !joining.is_finished() {
            number += 1;
            renew(number);
        }
        joining.join().unwrap().refused()
    });
    assert!(said.contains("another machine (00112233445566778899aabbccddeeff) is there as"), "{said}");
    assert!(said.contains("the token is not used up"), "{said}");
    assert!(machine.membership().is_none());
    machine.host(&["join", "--token-file", "-", "--force"], &word).well();
}

#[test]
fn what_can_be_told_to_be_wrong_is_said_before_anything_is_made() {
    let name = unique("vps");
    for (arguments, says) in [
        (vec!["--server", "http://hub.example"], "https://"),
        (vec!["--valid", "5m"], "from 10m to 24h"),
        (vec!["--certificate-authority", "/dev/null"], "PEM"),
    ] {
        let said = admin(&[&["host", "token", &name], arguments.as_slice()].concat()).refused();
        assert!(said.contains(says), "{said}");
    }
    assert!(plane().kubectl(&["get", "namespace", &format!("bluegreen-host-{name}")]).is_err());
    let said = admin(&["host", "token", "Not_A_Name"]).refused();
    assert!(said.contains("a host's name"), "{said}");
    let machine = Machine::new();
    for (given, says) in
        [("", "nothing was given"), ("eyJhbGciOiJSUzI1NiJ9", "what `bluegreen host token NAME` prints")]
    {
        let said = machine.join(given).refused();
        assert!(said.contains(says), "{said}");
    }
    assert!(!machine.state().exists());
}

#[test]
fn what_is_kept_in_git_is_what_the_command_makes() {
    let name = unique("vps");
    let manifest = admin(&["host", "manifest", &name]).well();
    plane().apply(&manifest).unwrap();
    let namespace = format!("bluegreen-host-{name}");
    let rules = || {
        plane()
            .kubectl(&[
                "-n",
                &namespace,
                "get",
                "roles",
                "-o",
                "jsonpath={range .items[*]}{.metadata.name}{.rules}{end}",
            ])
            .unwrap()
    };
    let before = rules();
    let machine = Machine::new();
    machine.join(&token(&name)).well();
    assert_eq!(rules(), before);
    // And the example that a person copies.
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/hub/host/host.yaml");
    let now = admin(&["host", "manifest", "vps-1"]).well();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(example, &now).unwrap();
    }
    let then = std::fs::read_to_string(example).unwrap_or_default();
    assert!(then == now, "{example} is out of date: run `UPDATE=1 cargo test --test join`");
}
