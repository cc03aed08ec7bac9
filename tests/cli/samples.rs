//! Sites as an agent shows them.

use bluegreen::api::parse;
use bluegreen::control::api::{Attempts, History, HistoryEntry, InstanceView, Place, SiteView, SlotHealth, SlotView};
use bluegreen::rollout::{Attempt, Colour, Revision};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The moment at which everything is looked at.
pub fn now() -> Timestamp {
    "2026-11-22T18:31:00Z".parse().expect("a moment")
}

/// The revision that is live.
pub fn old() -> Revision {
    Revision::new(0x0123_4567_89ab_cdef_0000_0000_0000_0001)
}

/// The revision that is wanted.
pub fn new() -> Revision {
    Revision::new(0xfeed_beef_0000_0000_0000_0000_0000_0002)
}

pub fn attempt(revision: Revision) -> Attempt {
    Attempt { revision, number: 1 }
}

pub fn slot(colour: Colour, revision: Option<Revision>, ready: &[bool]) -> SlotView {
    let count = ready.iter().filter(|ready| **ready).count();
    let port = |index: usize| 8081 + u16::try_from(2 * index + usize::from(colour == Colour::Green)).expect("a port");
    SlotView {
        colour,
        live: false,
        revision,
        health: match count {
            _ if revision.is_none() => SlotHealth::Empty,
            0 => SlotHealth::Down,
            count if count == ready.len() => SlotHealth::Ready,
            _ => SlotHealth::Degraded,
        },
        draining: false,
        detail: if count == ready.len() {
            String::new()
        } else {
            format!("{count} of {} instances ready", ready.len())
        },
        instances: ready
            .iter()
            .enumerate()
            .map(|(index, ready)| InstanceView {
                index: u16::try_from(index).expect("few"),
                place: Place::Process { port: port(index), pid: Some(4000 + u32::from(port(index))) },
                ready: *ready,
                restarts: u32::from(!ready),
                detail: if *ready { String::new() } else { "GET /healthz: connection refused".to_owned() },
            })
            .collect(),
        wanted: None,
        serves: Vec::new(),
    }
}

fn object(name: &str, status: Value) -> Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.yaml")).expect("an example");
    let (site, _) = parse::manifest(&text).expect("the example is a site");
    let mut object = serde_json::to_value(site).expect("plain data");
    object["metadata"] = json!({"name": name, "generation": 4, "creationTimestamp": "2026-11-20T09:00:00Z"});
    object["status"] = status;
    object
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 4,
           "lastTransitionTime": "2026-11-22T18:29:30Z"})
}

fn rollout(phase: &str, cleared: &[Revision]) -> Value {
    json!({"phase": phase, "about": null, "since": 1_795_372_200_000_i64, "deadline": null, "ledger": {
        "version": 7, "stable": {"colour": "blue", "revision": old()}, "intent": null, "cleared": cleared, "rejected": {},
        "retries": {}, "rollback": null, "taken": {}, "approval": null, "paused": null}})
}

/// A site that rests.
pub fn resting(name: &str) -> SiteView {
    let mut blue = slot(Colour::Blue, Some(old()), &[true, true]);
    blue.live = true;
    let message = format!("blue serves {}", old().short());
    SiteView {
        object: object(
            name,
            json!({
                "observedGeneration": 4, "phase": "Idle",
                "live": {"colour": "blue", "revision": old(), "since": "2026-11-22T16:31:00Z"},
                "conditions": [
                    condition("Ready", "True", "Live", &message),
                    condition("Available", "True", "AllInstancesReady", "every instance of blue is ready"),
                ],
                "rollout": rollout("Idle", &[old()]),
            }),
        ),
        slots: vec![blue, slot(Colour::Green, None, &[])],
        attempts: Attempts { candidate: None, wanted: Some(attempt(old())), live: Some(attempt(old())) },
        upload: None,
        looked: 0,
    }
}

/// A site whose candidate starts on green, one of two instances ready.
pub fn starting(name: &str) -> SiteView {
    let mut view = resting(name);
    let message =
        format!("{} starts on green: 1 of 2 instances ready, by 2026-11-22T18:34:30Z at the latest", new().short());
    view.object["status"]["phase"] = json!("Starting");
    view.object["status"]["candidate"] =
        json!({"colour": "green", "revision": new(), "attempt": 2, "deadline": "2026-11-22T18:34:30Z"});
    view.object["status"]["conditions"] = json!([
        condition("Ready", "False", "Starting", &message),
        condition("Reconciling", "True", "Starting", &message),
        condition("Available", "True", "AllInstancesReady", "every instance of blue is ready"),
    ]);
    view.slots[1] = slot(Colour::Green, Some(new()), &[true, false]);
    view.attempts.candidate = Some(attempt(new()));
    view.attempts.wanted = Some(attempt(new()));
    view
}

/// A site whose candidate was rejected.
pub fn rejected(name: &str) -> SiteView {
    let mut view = resting(name);
    let message = format!(
        "{} was not ready in time (instance 1: exit code 1); blue goes on serving {}; apply a manifest with another release, or try again \
         with: bluegreen retry {name}",
        new().short(),
        old().short()
    );
    view.object["status"]["rejected"] = json!({"revision": new(), "reason": "ReadyDeadlineExceeded",
        "message": "instance 1: exit code 1", "at": "2026-11-22T18:30:00Z"});
    view.object["status"]["conditions"] = json!([
        condition("Ready", "False", "ReadyDeadlineExceeded", &message),
        condition("Stalled", "True", "ReadyDeadlineExceeded", &message),
        condition("Available", "True", "AllInstancesReady", "every instance of blue is ready"),
    ]);
    view.attempts.wanted = Some(attempt(new()));
    view
}

/// A site whose new revision is watched on green, blue kept warm.
pub fn baking(name: &str) -> SiteView {
    let mut view = resting(name);
    let message = format!("green serves {} and is watched until 2026-11-22T18:31:42Z", new().short());
    let status = &mut view.object["status"];
    status["phase"] = json!("Baking");
    status["live"] = json!({"colour": "green", "revision": new(), "since": "2026-11-22T18:30:42Z"});
    status["candidate"] =
        json!({"colour": "green", "revision": new(), "attempt": 1, "deadline": "2026-11-22T18:31:42Z"});
    status["standby"] = json!({"colour": "blue", "revision": old()});
    status["conditions"] = json!([
        condition("Ready", "False", "Baking", &message),
        condition("Reconciling", "True", "Baking", &message),
        condition("Available", "True", "AllInstancesReady", "every instance of green is ready"),
    ]);
    view.slots[0].live = false;
    view.slots[1] = slot(Colour::Green, Some(new()), &[true, true]);
    view.slots[1].live = true;
    view.attempts =
        Attempts { candidate: Some(attempt(new())), wanted: Some(attempt(new())), live: Some(attempt(new())) };
    view
}

/// A site that was just applied: nobody looked at it yet.
pub fn fresh(name: &str) -> SiteView {
    SiteView {
        object: object(name, Value::Null),
        slots: vec![slot(Colour::Blue, None, &[]), slot(Colour::Green, None, &[])],
        attempts: Attempts::default(),
        upload: None,
        looked: 0,
    }
}

pub fn history() -> History {
    let event = |time: &str, reason: &str, message: &str, revision| HistoryEntry {
        time: time.parse().expect("a moment"),
        reason: reason.to_owned(),
        message: message.to_owned(),
        revision,
    };
    History {
        items: vec![
            event("2026-11-20T09:00:00Z", "PhaseEntered", "Preparing", Some(old())),
            event("2026-11-20T09:02:10Z", "Settled", "live on blue", Some(old())),
            event("2026-11-22T18:29:30Z", "PhaseEntered", "Starting", Some(new())),
        ],
    }
}
