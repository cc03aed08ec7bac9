//! The conditions, in words: what is awaited, why it does not go on, what to do next.

use k8s_openapi::jiff::Timestamp;

use super::words::{reason_name, reason_words};
use super::{Seen, deadline, occupant_detail, place, world};
use crate::api::fault::{Class, Fault};
use crate::api::names::{conditions, reasons};
use crate::api::status::{SiteStatus, phase_name};
use crate::rollout::{Colour, Health, Observed, Phase, Route};

/// A condition, before it knows its times.
pub(super) struct Said {
    pub(super) kind: &'static str,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Said {
    pub(super) fn new(kind: &'static str, status: &str, reason: &str, message: String) -> Said {
        Said { kind, status: status.to_owned(), reason: reason.to_owned(), message }
    }
}

/// `Ready`, and `Reconciling` or `Stalled` if it isn't.
pub(super) struct Judgement {
    pub(super) ready: Said,
    pub(super) progress: Option<Said>,
}

impl Judgement {
    fn ready(message: String) -> Judgement {
        Judgement { ready: Said::new(conditions::READY, "True", reasons::LIVE, message), progress: None }
    }

    fn reconciling(reason: &str, message: String) -> Judgement {
        Judgement {
            ready: Said::new(conditions::READY, "False", reason, message.clone()),
            progress: Some(Said::new(conditions::RECONCILING, "True", reason, message)),
        }
    }

    fn stalled(reason: &str, message: String) -> Judgement {
        Judgement {
            ready: Said::new(conditions::READY, "False", reason, message.clone()),
            progress: Some(Said::new(conditions::STALLED, "True", reason, message)),
        }
    }
}

pub(super) fn judge(seen: &Seen<'_>, report: &SiteStatus) -> Judgement {
    let status = &seen.decision.status;
    if let Observed::Unknown(what) = seen.observed {
        let message = format!("the site can't be looked at, and nothing is touched until it can: {what}");
        return Judgement::stalled(reasons::UNKNOWN, message);
    }
    if let Some(fault) = seen.fault {
        return match fault.class {
            Class::User | Class::Forbidden => Judgement::stalled(fault.reason, fault.message.clone()),
            Class::Transient | Class::Conflict => match &seen.decision.stalled {
                // It is tried again all the same, but the logic sees no way on by itself: somebody had better look.
                Some(why) => Judgement::stalled(fault.reason, format!("{why}: {}", fault.message)),
                None if status.phase == Phase::Idle => {
                    Judgement::reconciling(fault.reason, format!("trying again: {}", fault.message))
                }
                None => {
                    let message = format!("{} is under way; trying again: {}", phase_name(status.phase), fault.message);
                    Judgement::reconciling(fault.reason, message)
                }
            },
        };
    }
    if let Some(why) = &seen.decision.stalled {
        let reason = if status.phase == Phase::Stalled { reasons::AMBIGUOUS } else { reasons::ROUTE_UNSEEN };
        return Judgement::stalled(reason, why.clone());
    }
    let paused = seen.decision.ledger.paused.is_some();
    match status.phase {
        Phase::Idle => at_rest(seen, report, paused),
        phase => {
            let awaited = awaited(seen, phase);
            if paused && before_the_cutover(phase) {
                let message = format!("paused: {awaited}; go on with: {}", seen.advice("resume"));
                return Judgement::reconciling(reasons::PAUSED, message);
            }
            Judgement::reconciling(phase_name(phase), awaited)
        }
    }
}

pub(super) fn before_the_cutover(phase: Phase) -> bool {
    matches!(phase, Phase::Preparing | Phase::Starting | Phase::Verifying | Phase::AwaitingApproval)
}

/// Nothing is under way: is that because all is done, or because something can't be?
fn at_rest(seen: &Seen<'_>, report: &SiteStatus, paused: bool) -> Judgement {
    let live = report.live.as_ref();
    let serves = match live.and_then(|live| Some((live.colour, live.revision?))) {
        Some((colour, revision)) => format!("{colour} goes on serving {}", revision.short()),
        None => "nothing is live".to_owned(),
    };
    let Some(wanted) = seen.plan.wanted else {
        // What can't be used is a fault, and was said above.
        return Judgement::reconciling(reasons::RELEASE_UNKNOWN, format!("the release is being looked at; {serves}"));
    };
    if let Some(rejected) = &report.rejected {
        let detail = match rejected.message.as_str() {
            "" => String::new(),
            detail => format!(" ({detail})"),
        };
        let why = reason_words(rejected.reason);
        let next = if live.and_then(|live| live.revision) == Some(wanted) {
            "apply a manifest with another release".to_owned()
        } else {
            format!("apply a manifest with another release, or try again with: {}", seen.advice("retry"))
        };
        let message = format!("{} {why}{detail}; {serves}; {next}", wanted.short());
        return Judgement::stalled(reason_name(rejected.reason), message);
    }
    let resume = seen.advice("resume");
    match live.filter(|live| live.revision == Some(wanted)) {
        Some(live) if paused => Judgement::ready(format!(
            "{} serves {}; paused: the next rollout waits for: {resume}",
            live.colour,
            wanted.short()
        )),
        Some(live) => Judgement::ready(format!("{} serves {}", live.colour, wanted.short())),
        None if paused => Judgement::reconciling(
            reasons::PAUSED,
            format!("paused: {} waits to be rolled out; {serves}; go on with: {resume}", wanted.short()),
        ),
        None => Judgement::reconciling(
            phase_name(Phase::Preparing),
            format!("{} is about to be rolled out; {serves}", wanted.short()),
        ),
    }
}

/// What a phase waits for, in words.
fn awaited(seen: &Seen<'_>, phase: Phase) -> String {
    let status = &seen.decision.status;
    let revision = status.about.map_or_else(|| "the release".to_owned(), |about| about.revision.short());
    let colour = status.about.map_or(Colour::Blue, |about| place(seen, about));
    let by = match deadline(seen).and_then(|deadline| Timestamp::from_millisecond(deadline.0).ok()) {
        Some(deadline) => format!("{deadline:.0}"),
        None => String::new(),
    };
    let limit = if by.is_empty() { String::new() } else { format!(", by {by} at the latest") };
    let detail = status
        .about
        .and_then(|about| world(seen).map(|world| occupant_detail(world, about.revision)))
        .filter(|detail| !detail.is_empty())
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default();
    match phase {
        Phase::Preparing => format!("{revision} is fetched and checked{limit}"),
        Phase::Starting => format!("{revision} starts on {colour}{detail}{limit}"),
        Phase::Verifying => format!("{revision} is checked on {colour}, where no traffic reaches it yet{limit}"),
        Phase::AwaitingApproval => {
            let until = if by.is_empty() { String::new() } else { format!(" until {by}") };
            format!(
                "{revision} is ready on {colour} and waits for approval{until}: {}, or {}",
                seen.advice("approve"),
                seen.advice("abort")
            )
        }
        Phase::CuttingOver => format!("traffic moves to {revision} on {colour}{limit}"),
        Phase::Draining => {
            format!("{colour} serves {revision}; {} finishes the requests that it has{limit}", colour.other())
        }
        Phase::Baking => {
            let until = if by.is_empty() { String::new() } else { format!(" until {by}") };
            format!("{colour} serves {revision} and is watched{until}")
        }
        Phase::Retiring => format!("{revision} is not needed any more and is stopped"),
        Phase::RollingBack => match status.about.and_then(|about| seen.decision.ledger.rejected.get(&about.revision)) {
            Some(rejection) => format!("{revision} {} and is taken back", reason_words(rejection.reason)),
            None => format!("{revision} is stopped"),
        },
        Phase::Deleting => "the site goes away: the route first, then what is in flight, then both colours".to_owned(),
        Phase::Gone => "the site is gone".to_owned(),
        Phase::Idle | Phase::Stalled => String::new(),
    }
}

/// `Warning`, if there is anything to warn of.
pub(super) fn warning(warnings: &[Fault]) -> Option<Said> {
    let (reason, message) = match warnings {
        [] => return None,
        [one] => (one.reason, one.message.clone()),
        several => {
            let each: Vec<String> = several.iter().map(|one| format!("{}: {}", one.reason, one.message)).collect();
            (reasons::SEVERAL, each.join("\n"))
        }
    };
    Some(Said::new(conditions::WARNING, "True", reason, message))
}

pub(super) fn available(seen: &Seen<'_>, report: &SiteStatus) -> Said {
    let kind = conditions::AVAILABLE;
    let Observed::World(world) = seen.observed else {
        return Said::new(kind, "Unknown", reasons::UNKNOWN, "the site can't be looked at".to_owned());
    };
    let Some(colour) = report.live.as_ref().map(|live| live.colour) else {
        return Said::new(kind, "False", reasons::NEVER_LIVE, "nothing is live".to_owned());
    };
    let detail = |text: &str| {
        let detail = world.slot(colour).map(|occupant| occupant.detail.as_str()).unwrap_or_default();
        if detail.is_empty() { text.to_owned() } else { format!("{text}: {detail}") }
    };
    if matches!(world.route, Route::To { seen: false, .. }) {
        let text = format!("the front door is not seen to answer from {colour}");
        return Said::new(kind, "Unknown", reasons::ROUTE_UNSEEN, text);
    }
    match world.slot(colour).map(|occupant| occupant.health) {
        Some(Health::Ready) => {
            Said::new(kind, "True", reasons::ALL_READY, format!("every instance of {colour} is ready"))
        }
        Some(Health::Degraded) => {
            Said::new(kind, "True", reasons::DEGRADED, detail(&format!("some instances of {colour} are not ready")))
        }
        Some(Health::Down(_)) => {
            Said::new(kind, "False", reasons::DOWN, detail(&format!("no instance of {colour} is ready")))
        }
        None => Said::new(kind, "False", reasons::DOWN, format!("nothing runs on {colour}")),
    }
}
