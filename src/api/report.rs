//! What a decision means to people and tools: the status, with conditions that say what is awaited and what to do next. Pure.
//!
//! The conditions follow kstatus: `Ready`; `Reconciling` and `Stalled` only while they are true; `observedGeneration` everywhere. `Available`
//! says whether the site serves, whatever else is wrong: a rejected rollout leaves a site `Ready=False` and `Available=True`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time as StampedTime};
use k8s_openapi::jiff::Timestamp;

use super::names::{conditions, reasons};
use super::problem::Problems;
use super::status::{Candidate, Live, Rejected, SiteStatus, Standby, phase_name};
use crate::platform::{Class, Fault};
use crate::rollout::{
    Attempt, Colour, Decision, Health, News, Observed, Phase, Plan, Reason, Revision, Route, Time, World,
};

/// All that is known of a site after a turn.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The site's name, for the commands that a message advises.
    pub name: &'a str,
    /// The generation of the specification that the plan was made of.
    pub generation: i64,
    /// What was wanted.
    pub plan: &'a Plan,
    /// What was seen.
    pub observed: &'a Observed,
    /// What was decided.
    pub decision: &'a Decision,
    /// Why the step was not made, if it was not.
    pub fault: Option<&'a Fault>,
    /// What was reported last: times of transitions and details of a rejection are carried over from it.
    pub before: Option<&'a SiteStatus>,
    /// Now.
    pub now: Time,
}

/// The status after a turn.
#[must_use]
pub fn status(seen: &Seen<'_>) -> SiteStatus {
    let status = &seen.decision.status;
    let mut report = SiteStatus {
        observed_generation: Some(seen.generation),
        phase: Some(status.phase),
        live: live(seen),
        candidate: candidate(seen),
        standby: standby(seen),
        rejected: rejected(seen),
        conditions: Vec::new(),
        rollout: Some(status.clone()),
    };
    let said = judge(seen, &report);
    let mut all = vec![said.ready];
    all.extend(said.progress);
    all.push(available(seen, &report));
    report.conditions = stamp(all, seen.before, seen.generation, seen.now);
    report
}

/// The status of a site whose manifest can't be used: what ran before goes on, and is reported as it was.
#[must_use]
pub fn invalid(problems: &Problems, generation: i64, before: Option<&SiteStatus>, now: Time) -> SiteStatus {
    unusable(reasons::INVALID, &problems.to_string(), generation, before, now)
}

/// As [`invalid`], for a manifest that is right alone and can't be used here (see [`super::conflicts`]), or that could not be read.
#[must_use]
pub fn unusable(
    reason: &'static str,
    message: &str,
    generation: i64,
    before: Option<&SiteStatus>,
    now: Time,
) -> SiteStatus {
    let mut report = before.cloned().unwrap_or_default();
    let serves = match &report.live {
        Some(live) => format!("{} goes on as it was. ", live.colour),
        None => String::new(),
    };
    let message = format!("{message}\n{serves}Correct the manifest and apply it again.");
    let mut all = vec![
        Said::new(conditions::READY, "False", reason, message.clone()),
        Said::new(conditions::STALLED, "True", reason, message),
    ];
    all.push(match report.conditions.iter().find(|condition| condition.type_ == conditions::AVAILABLE) {
        Some(known) => Said::new(conditions::AVAILABLE, &known.status, &known.reason, known.message.clone()),
        None => Said::new(conditions::AVAILABLE, "False", reasons::NEVER_LIVE, "nothing was ever live".to_owned()),
    });
    report.observed_generation = Some(generation);
    report.conditions = stamp(all, before, generation, now);
    report
}

fn live(seen: &Seen<'_>) -> Option<Live> {
    let before = seen.before.and_then(|before| before.live.as_ref());
    let Observed::World(world) = seen.observed else {
        return before.cloned();
    };
    let colour = world.route.named()?;
    let revision = world.slot(colour).map(|occupant| occupant.revision).or_else(|| {
        let ledger = &seen.decision.ledger;
        let held = [ledger.intent, ledger.stable].into_iter().flatten().find(|held| held.colour == colour);
        held.map(|held| held.revision)
    });
    let since = before
        .filter(|before| before.colour == colour && before.revision == revision)
        .and_then(|before| before.since.clone());
    Some(Live { colour, revision, since: since.or_else(|| moment(seen.now)) })
}

fn candidate(seen: &Seen<'_>) -> Option<Candidate> {
    let status = &seen.decision.status;
    let on_its_way = matches!(
        status.phase,
        Phase::Preparing
            | Phase::Starting
            | Phase::Verifying
            | Phase::AwaitingApproval
            | Phase::CuttingOver
            | Phase::Draining
            | Phase::Baking
    );
    let about = status.about.filter(|_| on_its_way)?;
    Some(Candidate {
        colour: place(seen, about),
        revision: about.revision,
        attempt: about.number,
        deadline: status.deadline.and_then(moment),
    })
}

/// The colour that an attempt is on, or will be.
fn place(seen: &Seen<'_>, about: Attempt) -> Colour {
    let ledger = &seen.decision.ledger;
    if let Some(intent) = ledger.intent.filter(|intent| intent.revision == about.revision) {
        return intent.colour;
    }
    match (ledger.stable, world(seen).and_then(|world| world.route.named())) {
        (Some(stable), _) => stable.colour.other(),
        (None, Some(routed)) => routed.other(),
        (None, None) => Colour::Blue,
    }
}

fn standby(seen: &Seen<'_>) -> Option<Standby> {
    let world = world(seen)?;
    let colour = world.route.named()?.other();
    let occupant = world.slot(colour)?;
    let warm = seen.decision.ledger.trusts(occupant.revision) && occupant.health == Health::Ready;
    let phase = seen.decision.status.phase;
    let kept = matches!(phase, Phase::Idle | Phase::Draining | Phase::Baking);
    let limited = phase == Phase::Idle;
    (warm && kept).then(|| Standby {
        colour,
        revision: occupant.revision,
        until: seen.decision.status.deadline.filter(|_| limited).and_then(moment),
    })
}

/// The rejection of the revision that is wanted. Its details are seen once, when it is rejected, and carried over from then on.
fn rejected(seen: &Seen<'_>) -> Option<Rejected> {
    let before = seen.before.and_then(|before| before.rejected.as_ref());
    let revision = seen.plan.wanted.or_else(|| before.map(|before| before.revision))?;
    let rejection = seen.decision.ledger.rejected.get(&revision)?;
    let news =
        seen.decision.news.iter().any(|news| matches!(news, News::Rejected(rejected, _) if *rejected == revision));
    let known = before.filter(|before| before.revision == revision && before.reason == rejection.reason && !news);
    let message = match known {
        Some(known) => known.message.clone(),
        None => world(seen).map(|world| evidence(world, revision, rejection.reason)).unwrap_or_default(),
    };
    Some(Rejected { revision, reason: rejection.reason, message, at: moment(rejection.at)? })
}

/// What the world says about why this revision was rejected.
fn evidence(world: &World, revision: Revision, reason: Reason) -> String {
    use crate::rollout::Artifact;
    match reason {
        Reason::PreparationFailed | Reason::PreparationDeadlineExceeded => match world.artifacts.get(&revision) {
            Some(Artifact::Unusable(why)) => why.clone(),
            _ => String::new(),
        },
        Reason::VerificationFailed | Reason::VerificationDeadlineExceeded | Reason::BakeFailed => world
            .verdict
            .as_ref()
            .filter(|verdict| verdict.about.revision == revision && !verdict.passed)
            .map_or_else(|| occupant_detail(world, revision), |verdict| verdict.detail.clone()),
        Reason::ReadyDeadlineExceeded | Reason::CutoverDeadlineExceeded | Reason::LiveColourDown => {
            occupant_detail(world, revision)
        }
        Reason::ApprovalDeadlineExceeded
        | Reason::SupersededWhileDown
        | Reason::Aborted
        | Reason::RolledBack
        | Reason::HeldAfterLoss => String::new(),
    }
}

fn occupant_detail(world: &World, revision: Revision) -> String {
    let slots = Colour::BOTH.map(|colour| world.slot(colour));
    let occupant = slots.into_iter().flatten().find(|occupant| occupant.revision == revision);
    occupant.map(|occupant| occupant.detail.clone()).unwrap_or_default()
}

/// A condition, before it knows its times.
struct Said {
    kind: &'static str,
    status: String,
    reason: String,
    message: String,
}

impl Said {
    fn new(kind: &'static str, status: &str, reason: &str, message: String) -> Said {
        Said { kind, status: status.to_owned(), reason: reason.to_owned(), message }
    }
}

/// `Ready`, and `Reconciling` or `Stalled` if it isn't.
struct Judgement {
    ready: Said,
    progress: Option<Said>,
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

fn judge(seen: &Seen<'_>, report: &SiteStatus) -> Judgement {
    let status = &seen.decision.status;
    if let Observed::Unknown(what) = seen.observed {
        let message = format!("the site can't be looked at, and nothing is touched until it can: {what}");
        return Judgement::stalled(reasons::UNKNOWN, message);
    }
    if let Some(fault) = seen.fault {
        return match fault.class {
            Class::User | Class::Forbidden => Judgement::stalled(fault.reason, fault.message.clone()),
            Class::Transient | Class::Conflict => {
                let message = format!("{} is under way; trying again: {}", phase_name(status.phase), fault.message);
                Judgement::reconciling(fault.reason, message)
            }
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
                let message = format!("paused: {awaited}; go on with: bluegreen resume {}", seen.name);
                return Judgement::reconciling(reasons::PAUSED, message);
            }
            Judgement::reconciling(phase_name(phase), awaited)
        }
    }
}

fn before_the_cutover(phase: Phase) -> bool {
    matches!(phase, Phase::Preparing | Phase::Starting | Phase::Verifying | Phase::AwaitingApproval)
}

/// Nothing is under way: is that because all is done, or because something can't be?
fn at_rest(seen: &Seen<'_>, report: &SiteStatus, paused: bool) -> Judgement {
    let name = seen.name;
    let live = report.live.as_ref();
    let serves = match live.and_then(|live| Some((live.colour, live.revision?))) {
        Some((colour, revision)) => format!("{colour} goes on serving {}", revision.short()),
        None => "nothing is live".to_owned(),
    };
    let Some(wanted) = seen.plan.wanted else {
        let message = format!("the release can't be told: it is missing, or not all there yet; {serves}");
        return Judgement::stalled(reasons::RELEASE_UNKNOWN, message);
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
            format!("apply a manifest with another release, or try again with: bluegreen retry {name}")
        };
        let message = format!("{} {why}{detail}; {serves}; {next}", wanted.short());
        return Judgement::stalled(reason_name(rejected.reason), message);
    }
    match live.filter(|live| live.revision == Some(wanted)) {
        Some(live) if paused => Judgement::ready(format!(
            "{} serves {}; paused: the next rollout waits for: bluegreen resume {name}",
            live.colour,
            wanted.short()
        )),
        Some(live) => Judgement::ready(format!("{} serves {}", live.colour, wanted.short())),
        None if paused => Judgement::reconciling(
            reasons::PAUSED,
            format!("paused: {} waits to be rolled out; {serves}; go on with: bluegreen resume {name}", wanted.short()),
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
    let by = match status.deadline.and_then(|deadline| Timestamp::from_millisecond(deadline.0).ok()) {
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
                "{revision} is ready on {colour} and waits for approval{until}: bluegreen approve {name}, or bluegreen abort {name}",
                name = seen.name
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

fn available(seen: &Seen<'_>, report: &SiteStatus) -> Said {
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

/// The name of a reason, as it stands in a condition.
#[must_use]
pub fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::PreparationFailed => "PreparationFailed",
        Reason::PreparationDeadlineExceeded => "PreparationDeadlineExceeded",
        Reason::ReadyDeadlineExceeded => "ReadyDeadlineExceeded",
        Reason::VerificationFailed => "VerificationFailed",
        Reason::VerificationDeadlineExceeded => "VerificationDeadlineExceeded",
        Reason::ApprovalDeadlineExceeded => "ApprovalDeadlineExceeded",
        Reason::CutoverDeadlineExceeded => "CutoverDeadlineExceeded",
        Reason::BakeFailed => "BakeFailed",
        Reason::LiveColourDown => "LiveColourDown",
        Reason::SupersededWhileDown => "SupersededWhileDown",
        Reason::Aborted => "Aborted",
        Reason::RolledBack => reasons::ROLLED_BACK,
        Reason::HeldAfterLoss => "HeldAfterLoss",
    }
}

/// A reason in words that follow a revision: "1f2e… was not ready in time".
#[must_use]
pub fn reason_words(reason: Reason) -> &'static str {
    match reason {
        Reason::PreparationFailed => "can't be used",
        Reason::PreparationDeadlineExceeded => "was not fetched and checked in time",
        Reason::ReadyDeadlineExceeded => "was not ready in time",
        Reason::VerificationFailed => "failed a check before it went live",
        Reason::VerificationDeadlineExceeded => "was not checked in time",
        Reason::ApprovalDeadlineExceeded => "was not approved in time",
        Reason::CutoverDeadlineExceeded => "was not ready any more when traffic was to move to it",
        Reason::BakeFailed => "went live and failed while it was watched",
        Reason::LiveColourDown => "went live and went down",
        Reason::SupersededWhileDown => "went live, went down, and the next release took its place",
        Reason::Aborted => "was aborted",
        Reason::RolledBack => "was rolled back",
        Reason::HeldAfterLoss => "is held, because the state files were lost and it was not what served",
    }
}

fn world<'a>(seen: &Seen<'a>) -> Option<&'a World> {
    match seen.observed {
        Observed::World(world) => Some(world),
        Observed::Unknown(_) => None,
    }
}

fn moment(time: Time) -> Option<StampedTime> {
    // To the second, as Kubernetes keeps it: what is written must read back the same.
    Timestamp::from_second(time.0.div_euclid(1000)).ok().map(StampedTime)
}

fn stamp(all: Vec<Said>, before: Option<&SiteStatus>, generation: i64, now: Time) -> Vec<Condition> {
    let known = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
    all.into_iter()
        .map(|said| {
            let since = known
                .iter()
                .find(|condition| condition.type_ == said.kind && condition.status == said.status)
                .map(|condition| condition.last_transition_time.clone());
            Condition {
                last_transition_time: since.or_else(|| moment(now)).unwrap_or(StampedTime(Timestamp::UNIX_EPOCH)),
                message: said.message,
                observed_generation: Some(generation),
                reason: said.reason,
                status: said.status,
                type_: said.kind.to_owned(),
            }
        })
        .collect()
}
