//! What a decision means to people and tools: the status, with conditions that say what is awaited and what to do next. Pure.
//!
//! The conditions follow kstatus: `Ready`; `Reconciling` and `Stalled` only while they are true; `observedGeneration` everywhere. `Available`
//! says whether the site serves, whatever else is wrong: a rejected rollout leaves a site `Ready=False` and `Available=True`. `Warning` stands there
//! only while there is something that somebody should know, and that holds up nothing.

mod said;
mod words;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time as StampedTime};
use k8s_openapi::jiff::Timestamp;

use super::names::{conditions, reasons};
use super::problem::Problems;
use super::status::{Candidate, Live, Rejected, SiteStatus, Standby};
use crate::api::fault::Fault;
use crate::rollout::{Attempt, Colour, Decision, Health, News, Observed, Phase, Plan, Reason, Revision, Time, World};
use said::{Said, available, before_the_cutover, judge, warning};
pub use words::{reason_name, reason_words};

/// All that is known of a site after a turn.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The site's name, for the commands that a message advises.
    pub name: &'a str,
    /// How people call this program for it there: `bluegreen`, or `kubectl bluegreen`.
    pub program: &'a str,
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
    /// What somebody should know, although it holds up nothing.
    pub warnings: &'a [Fault],
    /// What was reported last: times of transitions and details of a rejection are carried over from it.
    pub before: Option<&'a SiteStatus>,
    /// Now.
    pub now: Time,
}

impl Seen<'_> {
    /// The command that a message advises.
    fn advice(&self, verb: &str) -> String {
        format!("{} {verb} {}", self.program, self.name)
    }
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
        replicas: None,
        selector: None,
        conditions: Vec::new(),
        rollout: Some(status.clone()),
        more: seen.before.map(|before| before.more.clone()).unwrap_or_default(),
    };
    let said = judge(seen, &report);
    let mut all = vec![said.ready];
    all.extend(said.progress);
    all.push(available(seen, &report));
    all.extend(warning(seen.warnings));
    report.conditions = stamp(all, seen.before, seen.generation, seen.now);
    report
}

/// The status of a site whose manifest can't be used: what ran before goes on, and is reported as it was.
#[must_use]
pub fn invalid(problems: &Problems, generation: i64, before: Option<&SiteStatus>, now: Time) -> SiteStatus {
    unusable(reasons::INVALID, &problems.to_string(), generation, before, now)
}

/// As [`invalid`], for a manifest that is right alone and can't be used here (see [`super::conflicts`]), or that could not be read or
/// written down.
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
    // What is not the manifest's fault says itself what to do.
    let next = match reason {
        reasons::INVALID | reasons::CONFLICT | reasons::REFUSED => "Correct the manifest and apply it again.",
        _ => "",
    };
    let message = format!("{message}\n{serves}{next}").trim_end().to_owned();
    let mut all = vec![
        Said::new(conditions::READY, "False", reason, message.clone()),
        Said::new(conditions::STALLED, "True", reason, message),
    ];
    all.push(match report.conditions.iter().find(|condition| condition.type_ == conditions::AVAILABLE) {
        Some(known) => Said::new(conditions::AVAILABLE, &known.status, &known.reason, known.message.clone()),
        None => Said::new(conditions::AVAILABLE, "False", reasons::NEVER_LIVE, "nothing was ever live".to_owned()),
    });
    let warned = report.conditions.iter().find(|condition| condition.type_ == conditions::WARNING);
    all.extend(warned.map(|known| Said::new(conditions::WARNING, &known.status, &known.reason, known.message.clone())));
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
        deadline: deadline(seen).and_then(moment),
    })
}

/// When the phase ends by itself; a pause freezes the deadlines before the cutover.
fn deadline(seen: &Seen<'_>) -> Option<Time> {
    let status = &seen.decision.status;
    let frozen = seen.decision.ledger.paused.is_some() && before_the_cutover(status.phase);
    status.deadline.filter(|_| !frozen)
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
    // While the revision of another specification can't be told yet, the one before says nothing of it.
    let same = |before: &&SiteStatus| seen.plan.wanted.is_some() || before.observed_generation == Some(seen.generation);
    let before = seen.before.filter(same).and_then(|before| before.rejected.as_ref());
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
