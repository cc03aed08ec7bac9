//! The host's own token is renewed, and what is said when it can't be.

use std::time::Duration;

use bluegreen::driver::agent::hub::bearer::Bearer;
use bluegreen::driver::agent::hub::credentials::{self, Credentials, CredentialsError};
use bluegreen::driver::agent::hub::membership::Membership;
use bluegreen_rig::wait;
use serde_json::Value;

use super::kit::{Machine, PATIENCE, at_another_time, joined, now, plane};

/// Gives a host that has joined a token as the API server would have issued it at another time.
fn with_life(machine: &Machine, since: i64, left: i64) {
    let span = |seconds: i64| jiff::SignedDuration::from_secs(seconds);
    let token = Bearer::parse(&machine.token_file()).unwrap();
    let now = now();
    let token = at_another_time(&token, now.checked_sub(span(since)).unwrap(), now.checked_add(span(left)).unwrap());
    credentials::write(&Membership::token_file(&machine.state()), &token).unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn a_token_of_which_four_fifths_are_over_is_renewed_and_the_new_one_is_good() {
    let (machine, name) = joined("vps");
    with_life(&machine, 541, 60);
    let before = machine.token_file();
    let runtime = runtime();
    let keeping = runtime.spawn({
        let _inside = runtime.enter();
        let client = machine.client();
        let mut kept = Credentials::open(&machine.state(), &machine.membership().unwrap()).unwrap();
        async move { kept.keep(&client).await }
    });
    let after = wait::until("the token was renewed", PATIENCE, || {
        let after = machine.token_file();
        (after != before).then_some(after)
    });
    let after = Bearer::parse(&after.unwrap()).unwrap();
    assert!(after.claims().expires.duration_since(now()).as_hours() > 6 * 24);
    assert!(!keeping.is_finished(), "it waits for the next time");
    keeping.abort();
    let sites = format!("/apis/bluegreen.dev/v1alpha1/namespaces/bluegreen-host-{name}/bluegreensites");
    assert_eq!(machine.caller().call("GET", &sites, &Value::Null).0, 200);
}

#[test]
fn a_token_that_is_young_is_left_alone_and_renewed_when_it_is_asked_for() {
    let (machine, _) = joined("vps");
    let runtime = runtime();
    let _inside = runtime.enter();
    let client = machine.client();
    let mut kept = Credentials::open(&machine.state(), &machine.membership().unwrap()).unwrap();
    let before = machine.token_file();
    let waited = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(2), kept.keep(&client)).await });
    assert!(waited.is_err() && machine.token_file() == before, "nothing was due: {waited:?}");
    // Within the same second it would be the same life again.
    let issued = kept.token().claims().issued;
    wait::until("a second passed", PATIENCE, || (now() > issued).then_some(())).unwrap();
    runtime.block_on(kept.renew(&client)).unwrap();
    assert_ne!(machine.token_file(), before);
    assert_eq!(machine.token_file(), kept.token().expose());
}

#[test]
fn a_host_that_comes_back_too_late_is_told_to_join_anew() {
    let (machine, name) = joined("vps");
    // A month after it was issued, whatever this machine's own clock shows.
    with_life(&machine, 30 * 86_400, -23 * 86_400);
    let runtime = runtime();
    let _inside = runtime.enter();
    let client = machine.client();
    let mut kept = Credentials::open(&machine.state(), &machine.membership().unwrap()).unwrap();
    let end = runtime.block_on(kept.keep(&client));
    assert!(matches!(end, CredentialsError::Ended { .. }), "{end:?}");
    let said = end.to_string();
    assert!(said.contains("all sites run on") && said.contains(&format!("bluegreen host token {name}")), "{said}");
    // And so it does.
    machine.join(&super::kit::token(&name)).well();
    assert_eq!(machine.caller().call("GET", "/version", &Value::Null).0, 200);
}

#[test]
fn a_token_that_was_taken_back_is_said_to_be() {
    let (machine, name) = joined("vps");
    let runtime = runtime();
    let _inside = runtime.enter();
    let client = machine.client();
    let mut kept = Credentials::open(&machine.state(), &machine.membership().unwrap()).unwrap();
    let namespace = format!("bluegreen-host-{name}");
    plane().kubectl(&["-n", &namespace, "delete", "serviceaccount", "bluegreen-host"]).unwrap();
    super::kit::dies(&machine.token_file());
    let end = runtime.block_on(async { tokio::time::timeout(PATIENCE, kept.keep(&client)).await }).unwrap();
    assert!(matches!(end, CredentialsError::Refused { .. }), "{end:?}");
    assert!(end.to_string().contains("somebody has taken it back"), "{end}");
}
