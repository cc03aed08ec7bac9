//! What happened, in words: for the log, the history, events and the metrics. Used by the agent and by the operator.

use jiff::Timestamp;

use crate::api::report::{reason_name, reason_words};
use crate::api::status::phase_name;
use crate::control::api::HistoryEntry;
use crate::platform::Class;
use crate::rollout::{Artifact, Colour, Command, Held, News, Observed, Reason, Revision, Time, Verb};

/// One event. `detail`: what was seen of the revision that it is about, if that explains it.
#[must_use]
pub fn event(news: &News, now: Time, detail: &str) -> HistoryEntry {
    let (reason, revision, message) = words(news, detail);
    HistoryEntry {
        time: Timestamp::from_millisecond(now.0).unwrap_or_default(),
        reason: reason.to_owned(),
        message,
        revision,
    }
}

/// A word for it, what it is about, and a sentence.
#[must_use]
pub fn words(news: &News, detail: &str) -> (&'static str, Option<Revision>, String) {
    let on = |held: &Held| format!("{} on {}", held.revision.short(), held.colour);
    match news {
        News::Entered(phase, about) => {
            let revision = about.map(|about| about.revision);
            let of = revision.map(|r| format!(" {}", r.short())).unwrap_or_default();
            let attempt = about
                .filter(|about| about.number > 1)
                .map(|about| format!(" (attempt {})", about.number))
                .unwrap_or_default();
            ("PhaseEntered", revision, format!("{}{of}{attempt}", phase_name(*phase)))
        }
        News::Rejected(revision, reason) => {
            let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            (
                "Rejected",
                Some(*revision),
                format!("{} {} ({}){detail}", revision.short(), reason_words(*reason), reason_name(*reason)),
            )
        }
        News::Settled(held) => ("Settled", Some(held.revision), format!("{} is the stable revision", on(held))),
        News::SettledDegraded(held) => (
            "SettledDegraded",
            Some(held.revision),
            format!("{} failed, and stays because there is nowhere better to go", on(held)),
        ),
        News::WentBack(held) => ("WentBack", Some(held.revision), format!("traffic goes back to {}", on(held))),
        News::FailedOver(held) => {
            ("FailedOver", Some(held.revision), format!("traffic goes to {}, since the live colour is down", on(held)))
        }
        News::PutBack(held) => {
            ("PutBack", Some(held.revision), format!("somebody moved the route; traffic goes back to {}", on(held)))
        }
        News::Obeyed(command) => ("Obeyed", Some(command.about.revision), said(command, "taken")),
        News::Ignored(command) => (
            "Ignored",
            Some(command.about.revision),
            said(command, "without effect: it is about another attempt, or asks for what can't be"),
        ),
        News::Adopted(held) => (
            "Adopted",
            Some(held.revision),
            format!("both memories were lost; {} routes and is taken to be stable", on(held)),
        ),
        News::TakenBack(held) => (
            "TakenBack",
            Some(held.revision),
            format!("what an earlier site of this name left is taken back; {} is what it had live", on(held)),
        ),
    }
}

fn said(command: &Command, what: &str) -> String {
    let about = format!("{}/{}", command.about.revision.short(), command.about.number);
    match command.verb {
        Verb::Rollback(to) => format!("rollback of {about} to {}: {what}", to.short()),
        verb => format!("{} of {about}: {what}", format!("{:?}", verb.kind()).to_lowercase()),
    }
}

/// How a rollout ended, for the metrics; `None`: it did not.
#[must_use]
pub fn outcome(news: &News) -> Option<&'static str> {
    match news {
        News::Settled(_) => Some("settled"),
        News::SettledDegraded(_) => Some("degraded"),
        News::Rejected(..) => Some("rejected"),
        News::FailedOver(_) => Some("failed-over"),
        _ => None,
    }
}

/// What was seen of a revision, if that explains what happened to it.
#[must_use]
pub fn evidence(news: &News, observed: &Observed) -> String {
    let (News::Rejected(revision, reason), Observed::World(world)) = (news, observed) else {
        return String::new();
    };
    if matches!(reason, Reason::Aborted | Reason::RolledBack | Reason::ApprovalDeadlineExceeded | Reason::HeldAfterLoss)
    {
        return String::new();
    }
    if let Some(Artifact::Unusable(why)) = world.artifacts.get(revision) {
        return why.clone();
    }
    if let Some(verdict) = world.verdict.as_ref().filter(|one| one.about.revision == *revision && !one.passed) {
        return verdict.detail.clone();
    }
    let mut slots = Colour::BOTH.iter().filter_map(|colour| world.slot(*colour));
    slots.find(|occupant| occupant.revision == *revision).map(|occupant| occupant.detail.clone()).unwrap_or_default()
}

/// The buckets, in seconds, of how long phases last: from a tenth of a second to an hour, since they are that different.
pub const PHASE_SECONDS: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// The name of a class, as a label.
#[must_use]
pub fn class_name(class: Class) -> &'static str {
    match class {
        Class::Transient => "transient",
        Class::Conflict => "conflict",
        Class::User => "user",
        Class::Forbidden => "forbidden",
    }
}
