//! What the product does in a state: decide and record, and take the step, with the guard.

use crate::judge::{self, Violation};
use crate::rollout::{Decision, Goal, Now, Rule, Step, Time, Why, decide_under, guard_under};
use crate::state::{App, Flight, Pending, Routed, Set, Setting, Slot, State, number, revision};

/// Where the program is killed while it records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// Not at all.
    No,
    /// After the first of the two writes.
    BetweenTheWrites,
}

/// Decides and records. `None`: nothing changes.
///
/// # Errors
/// An invariant is broken.
pub fn decide(setting: &mut Setting, state: &State, kill: Kill) -> Result<Option<State>, Violation> {
    let now = Now { time: Time(0), resumed: state.resumed };
    let (plan, memory) = (setting.plan(state), setting.memory(state));
    let decision = decide_under(setting.rules, &plan, &memory, &setting.observed(state), now);
    let mut next = *state;
    next.resumed = false;
    next.ghosts = judge::decision(setting, state, &decision)?;
    if !decision.record {
        return Ok(None);
    }
    let ledger_first = setting.rules.hold(Rule::LedgerFirst);
    let Decision { ledger, status, goal, .. } = decision;
    let ledger = Some(setting.keep_ledger(ledger));
    let status = Some(setting.keep_status(status));
    if kill == Kill::BetweenTheWrites {
        if ledger_first {
            (next.ledger, next.left) = (ledger, None);
        } else {
            next.status = status;
        }
        next.resumed = true;
        return Ok(Some(next).filter(|next| next != state));
    }
    (next.ledger, next.left) = (ledger, None);
    next.status = status;
    next.preparing = goal.prepare.map_or(0, number);
    if next.check != goal.check {
        next.check = goal.check;
        if setting.rules.hold(Rule::VerdictNames) {
            next.verdict = None;
        }
    }
    next.pending = goal.step.map(|step| Pending { step, ledger });
    Ok(Some(next).filter(|next| next != state))
}

/// The pending step is taken, in the world as it is now.
///
/// # Errors
/// An invariant is broken.
pub fn converge(setting: &Setting, state: &State, pending: Pending) -> Result<State, Violation> {
    let mut ledger = setting.ledger(state.ledger).cloned().unwrap_or_default();
    ledger.version = 1;
    let goal =
        Goal { fence: u64::from(pending.ledger == state.ledger), step: Some(pending.step), prepare: None, check: None };
    if guard_under(setting.rules, &goal, &ledger, &setting.world(state)).is_err() {
        return Ok(*state);
    }
    judge::step(setting, state, pending.step)?;
    Ok(take(state, pending.step))
}

fn take(state: &State, step: Step) -> State {
    match step {
        Step::Start { colour, revision } => {
            let wanted = number(revision);
            if state.slot(colour).is_some_and(|slot| slot.revision == wanted) {
                return *state;
            }
            let slot = Slot { revision: wanted, app: App::Starting, flight: Flight::Clear };
            let mut next = state.with_slot(colour, Some(slot));
            let live = state.route.is_some_and(|routed| routed.colour == colour);
            // Started once more by an old leader, after it was deleted, it has been checked in this attempt.
            let checked = state.verdict.is_some_and(|said| number(said.about.revision) == wanted && said.passed);
            if !live && !checked && state.ghosts.cleared.has(wanted) {
                next.ghosts.fresh = next.ghosts.fresh.with(wanted);
            }
            next
        }
        Step::Stop { colour, .. } => {
            let mut next = state.with_slot(colour, None);
            let gone = state.slot(colour).map_or(0, |slot| slot.revision);
            next.ghosts.fresh = next.ghosts.fresh.without(gone);
            next
        }
        Step::Route { colour, revision, why } => {
            let mut next = leave(state, Some(colour));
            next.route = Some(Routed { colour, seen: state.route.is_some_and(|r| r.colour == colour && r.seen) });
            if let Some(slot) = next.slot(colour) {
                next = next.with_slot(colour, Some(Slot { flight: Flight::Clear, ..slot }));
            }
            next.ghosts.fresh = next.ghosts.fresh.without(number(revision));
            let moves = state.route.is_none_or(|routed| routed.colour != colour);
            if moves && why != Why::PutBack {
                let n = number(revision);
                next.ghosts.baking = if next.ghosts.cleared.has(n) { 0 } else { n };
            }
            next
        }
        Step::Unroute => {
            let mut next = leave(state, None);
            next.route = None;
            next
        }
    }
}

/// The colour that the route names loses its traffic: what it has in flight has to end.
#[must_use]
pub fn leave(state: &State, to: Option<crate::rollout::Colour>) -> State {
    let Some(routed) = state.route.filter(|routed| Some(routed.colour) != to) else {
        return *state;
    };
    let Some(slot) = state.slot(routed.colour) else {
        return *state;
    };
    let busy = matches!(slot.app, App::Ready | App::Partly);
    let flight = if busy { Flight::Busy } else { Flight::Clear };
    state.with_slot(routed.colour, Some(Slot { flight, ..slot }))
}

/// The artifact that is being prepared is ready, or unusable.
#[must_use]
pub fn prepared(state: &State, usable: bool) -> State {
    let mut next = *state;
    let n = state.preparing;
    next.ready_artifacts = if usable { state.ready_artifacts.with(n) } else { state.ready_artifacts };
    next.unusable_artifacts = if usable { state.unusable_artifacts } else { state.unusable_artifacts.with(n) };
    next
}

/// A first state: revision 1 live and stable on blue; with `standby`, 2 live on green and 1 warm on blue; with `first`, nothing yet.
#[must_use]
pub fn start(setting: &mut Setting, from: Start, budget: crate::state::Budget) -> State {
    use crate::rollout::{Colour, Held, Ledger, Phase, Status};
    let ready = |n| Some(Slot { revision: n, app: App::Ready, flight: Flight::Clear });
    let (spec, slots, live, known) = match from {
        Start::Nothing => (1, [None, None], None, Set::default()),
        Start::One => (1, [ready(1), None], Some((Colour::Blue, 1)), Set::of(&[1])),
        Start::Standby => (2, [ready(1), ready(2)], Some((Colour::Green, 2)), Set::of(&[1, 2])),
    };
    let mut ledger = None;
    let mut status = None;
    if let Some((colour, n)) = live {
        let mut kept = Ledger { stable: Some(Held { colour, revision: revision(n) }), ..Ledger::default() };
        kept.cleared = crate::state::REVISIONS.into_iter().filter(|&n| known.has(n)).map(revision).collect();
        ledger = Some(setting.keep_ledger(kept.clone()));
        let deadline = (from == Start::Standby).then_some(Time(0));
        let idle = Status { phase: Phase::Idle, about: None, since: Time(0), deadline, ledger: kept };
        status = Some(setting.keep_status(idle));
    }
    State {
        spec,
        deleting: false,
        slots,
        route: live.map(|(colour, _)| Routed { colour, seen: true }),
        ready_artifacts: known,
        unusable_artifacts: Set::default(),
        preparing: 0,
        check: None,
        verdict: None,
        ledger,
        status,
        left: None,
        pending: None,
        zombie: None,
        commands: 0,
        resumed: false,
        budget,
        ghosts: crate::state::Ghosts { approved: known, cleared: known, ..Default::default() },
    }
}

/// From where a search starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing was ever deployed.
    Nothing,
    /// One revision is live.
    One,
    /// One revision is live, and the earlier one is warm.
    Standby,
}
