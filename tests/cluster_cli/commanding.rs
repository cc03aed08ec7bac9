//! A command is an annotation; what became of it is what the operator's ledger says.

use bluegreen_rig::wait;
use serde_json::{Value, json};

use super::kit::{Desk, awaiting, new, old, resting, rollout};

/// The value of a command's annotation, once it is there.
fn annotation(desk: &Desk, verb: &str) -> String {
    let found = || {
        let value = desk.site("shop")["metadata"]["annotations"][format!("bluegreen.dev/{verb}")].clone();
        value.as_str().map(str::to_owned)
    };
    wait::until(&format!("{verb} was written"), wait::PATIENCE, found).unwrap()
}

fn id(value: &str) -> String {
    value.split_once('@').unwrap().1.to_owned()
}

#[test]
fn a_command_names_the_attempt_and_tells_what_became_of_it() {
    let desk = Desk::new("command");
    desk.apply("shop");
    desk.status("shop", &awaiting());
    let approve = desk.program.begin(&["approve", "shop"]);
    let value = annotation(&desk, "approve");
    assert!(value.starts_with(&format!("{}/1@", new())), "{value}");
    let mut status = awaiting();
    let approved = json!({"taken": {"approve": id(&value)}, "approval": {"revision": new(), "number": 1}});
    status["rollout"] = rollout("AwaitingApproval", Some(new()), &approved);
    desk.status("shop", &status);
    approve.until("bluegreensite.bluegreen.dev/shop approve: approve was taken").unwrap();
    assert_eq!(approve.end().unwrap(), (Some(0), String::new()));

    // It was taken, and the ledger shows no effect.
    let abort = desk.program.begin(&["abort", "shop", "--revision", "feed"]);
    let taken = json!({"taken": {"abort": id(&annotation(&desk, "abort"))}});
    status["rollout"] = rollout("AwaitingApproval", Some(new()), &taken);
    desk.status("shop", &status);
    let (code, err) = abort.end().unwrap();
    assert_eq!(code, Some(1));
    assert!(
        err.contains("abort had no effect: feedbeef00/1 is not what it could be about now; look at kubectl bluegreen"),
        "{err}"
    );

    let pause = desk.program.begin(&["pause", "shop"]);
    let taken = json!({"taken": {"pause": id(&annotation(&desk, "pause"))}, "paused": 1});
    status["rollout"] = rollout("AwaitingApproval", Some(new()), &taken);
    desk.status("shop", &status);
    pause.until("pause was taken").unwrap();
    let before = desk.site("shop")["metadata"]["annotations"].clone();
    let err = desk.program.fails(&["approve", "shop", "--revision", "0123"]);
    assert!(err.contains("approve would be about feedbeef00 now, not about 0123456789: nothing was done"), "{err}");
    assert_eq!(desk.site("shop")["metadata"]["annotations"], before);
    assert_eq!(desk.site("shop")["metadata"]["generation"], 1, "a command is no change of the specification");
}

#[test]
fn a_rollback_goes_to_what_was_live_before() {
    let desk = Desk::new("rollback");
    desk.apply("shop");
    let mut status = resting();
    status["live"]["revision"] = json!(new());
    let ledger = json!({"stable": {"colour": "blue", "revision": new()}, "cleared": [old(), new()]});
    status["rollout"] = rollout("Idle", None, &ledger);
    desk.status("shop", &status);
    let rollback = desk.program.begin(&["rollback", "shop"]);
    let value = annotation(&desk, "rollback");
    assert!(value.starts_with(&format!("{}/1 to {}@", new(), old())), "{value}");
    let rejected = json!({new().to_string(): {"reason": "RolledBack", "at": 1}});
    let taken = json!({"taken": {"rollback": id(&value)}, "rollback": {"to": old(), "whileWanted": new()}, "rejected": rejected});
    status["rollout"] = rollout("Preparing", Some(old()), &taken);
    desk.status("shop", &status);
    rollback.until("rollback was taken").unwrap();

    // What was left is what a retry is about.
    let retry = desk.program.begin(&["retry", "shop"]);
    let value = annotation(&desk, "retry");
    assert!(value.starts_with(&format!("{}/1@", new())), "{value}");
    let taken = json!({"taken": {"retry": id(&value)}, "retries": {new().to_string(): 1}});
    status["rollout"] = rollout("Preparing", Some(new()), &taken);
    desk.status("shop", &status);
    retry.until("retry was taken").unwrap();
}

#[test]
fn a_restart_waits_until_something_else_is_on_its_way() {
    let desk = Desk::new("restart");
    desk.apply("shop");
    let mut status = resting();
    desk.status("shop", &status);
    let restart = desk.program.begin(&["restart", "shop"]);
    let token = annotation(&desk, "restart");
    assert!(token.parse::<bluegreen::api::types::Token>().is_ok(), "{token}");
    status["candidate"] = json!({"colour": "green", "revision": new(), "attempt": 1});
    desk.status("shop", &status);
    restart.until("bluegreensite.bluegreen.dev/shop restart: it is rolled out once more").unwrap();

    // A specification that is not what is live would be rolled out instead.
    let mut other = resting();
    other["rejected"] = json!({"revision": new(), "reason": "Aborted", "at": "2026-11-22T18:30:00Z"});
    other["rollout"] = rollout("Idle", None, &json!({"rejected": {new().to_string(): {"reason": "Aborted", "at": 1}}}));
    desk.status("shop", &other);
    let err = desk.program.fails(&["restart", "shop"]);
    assert!(err.contains("what is live on site shop is not what its specification describes"), "{err}");
}

#[test]
fn a_command_that_nobody_takes_is_said_to_wait() {
    let desk = Desk::new("nobody");
    desk.apply("shop");
    let err = desk.program.fails(&["approve", "shop"]);
    assert!(err.contains("there is nothing to approve at shop: no operator has looked at it yet"), "{err}");
    let err = desk.program.fails(&["retry", "shop"]);
    assert!(err.contains("there is nothing to retry at shop"), "{err}");
    assert_eq!(desk.site("shop")["metadata"]["annotations"], Value::Null, "nothing was written");
    desk.status("shop", &awaiting());
    let out = desk.program.ok(&["pause", "shop"]);
    assert!(out.contains("pause is written down and is taken when the operator next looks at the site"), "{out}");
    assert!(out.contains("kubectl get pods -A -l app.kubernetes.io/name=bluegreen"), "{out}");
    assert!(annotation(&desk, "pause").starts_with(&format!("{}/1@", new())));
}
