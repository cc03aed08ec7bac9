//! What people, apps, time and bad luck can do in a state; and how a state comes to rest when they leave it alone.

use crate::judge::{self, Violation};
use crate::policy::Policy;
use crate::rollout::{Attempt, Colour, Command, Phase, Stage, Time, Verb};
use crate::state::{App, Flight, REVISIONS, Routed, Said, Set, Setting, Slot, State, TICK, number, revision};
use crate::step::{self, Kill};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The product decides and records.
    Decide,
    /// The same, and it is killed between the two writes.
    DecideAndKill,
    /// The product takes the pending step.
    Converge,
    /// It is killed, or the call fails, before the step.
    KillBeforeConverge,
    /// A leader hangs with its goal; another one takes over.
    LeaderHangs,
    /// It wakes and goes on.
    OldLeaderWakes,
    /// The app gets ready.
    GetsReady(Colour),
    /// The app fails to start.
    FailsToStart(Colour),
    /// The app crashes.
    Crashes(Colour),
    /// One of its instances crashes.
    LosesAnInstance(Colour),
    /// It comes back.
    Recovers(Colour),
    /// Somebody deletes what runs in the slot.
    Deleted(Colour),
    /// Somebody moves the route.
    Drift(Colour),
    /// The front door is seen to answer as the route names.
    Seen,
    /// The front door answers nothing.
    FrontDoorFails,
    /// What was in flight has ended.
    Drained,
    /// Every limit passes.
    Tick,
    /// The artifact is ready, or unusable.
    Prepared(bool),
    /// The checks pass or fail.
    Checked(bool),
    /// A check of another revision passes, late.
    LatePass(u8),
    /// The status is lost.
    StatusLost,
    /// The ledger is lost.
    LedgerLost,
    /// Both are lost.
    BothLost,
    /// The site is another one of the same name, without a status: it was restored from a backup.
    Restored,
    /// Another specification.
    Edit(u8),
    /// The site is deleted.
    Delete,
    /// A command.
    Order(Verb, u8),
}

/// Everything that can happen in a state.
#[must_use]
pub fn events(setting: &Setting, state: &State) -> Vec<Event> {
    let mut all = Vec::new();
    let budget = state.budget;
    if state.pending.is_some() {
        all.extend([Event::Converge, Event::KillBeforeConverge]);
        if budget.faults > 0 && state.zombie.is_none() {
            all.push(Event::LeaderHangs);
        }
    } else {
        all.push(Event::Decide);
        if state.ledger.is_some() || state.status.is_some() {
            all.push(Event::DecideAndKill);
        }
    }
    if state.zombie.is_some() {
        all.push(Event::OldLeaderWakes);
    }
    for colour in Colour::BOTH {
        let Some(slot) = state.slot(colour) else { continue };
        match slot.app {
            App::Starting => all.extend([Event::GetsReady(colour), Event::FailsToStart(colour)]),
            App::Dead | App::Partly => all.push(Event::Recovers(colour)),
            App::Ready if budget.faults > 0 => all.extend([Event::Crashes(colour), Event::LosesAnInstance(colour)]),
            App::Ready => {}
        }
        if budget.faults > 0 {
            all.push(Event::Deleted(colour));
            if state.route.is_some_and(|routed| routed.colour != colour) {
                all.push(Event::Drift(colour));
            }
        }
    }
    match state.route {
        Some(Routed { seen: false, .. }) => all.push(Event::Seen),
        Some(_) if budget.faults > 0 => all.push(Event::FrontDoorFails),
        _ => {}
    }
    if time_matters(setting, state) {
        all.push(Event::Tick);
    }
    if in_flight(state) {
        all.push(Event::Drained);
    }
    if awaits_artifact(setting, state) {
        all.push(Event::Prepared(true));
        if budget.faults > 0 {
            all.push(Event::Prepared(false));
        }
    }
    checks(state, &mut all);
    if budget.faults > 0 {
        losses(setting, state, &mut all);
    }
    if budget.edits > 0 && !state.deleting {
        all.extend(REVISIONS.into_iter().filter(|&n| n != state.spec).map(Event::Edit));
        all.push(Event::Delete);
    }
    if budget.commands > 0 {
        orders(setting, state, &mut all);
    }
    all
}

fn checks(state: &State, all: &mut Vec<Event>) {
    let Some(check) = state.check else { return };
    if state.is_ready(check.colour, number(check.about.revision)) {
        all.extend([Event::Checked(true), Event::Checked(false)]);
    }
    if state.budget.faults > 0 && check.stage == Stage::Verify {
        let others = REVISIONS.into_iter().filter(|&n| n != number(check.about.revision));
        all.extend(others.map(Event::LatePass));
    }
}

fn losses(setting: &Setting, state: &State, all: &mut Vec<Event>) {
    if state.status.is_some() {
        all.push(Event::StatusLost);
    }
    let copied = setting.status(state.status).is_none_or(|status| Some(&status.ledger) == setting.ledger(state.ledger));
    if state.ledger.is_some() && copied {
        all.push(Event::LedgerLost);
        all.push(Event::BothLost);
    }
    if state.ledger.is_some() && !state.deleting {
        all.push(Event::Restored);
    }
}

fn orders(setting: &Setting, state: &State, all: &mut Vec<Event>) {
    let known = setting.known_ledger(state);
    let intended = known.and_then(|ledger| ledger.intent).map(|held| number(held.revision));
    for n in REVISIONS {
        if n == state.spec || intended == Some(n) {
            let verbs = [Verb::Abort, Verb::Retry, Verb::Approve, Verb::Pause, Verb::Resume];
            all.extend(verbs.map(|verb| Event::Order(verb, n)));
        }
        let runs = state.slots.iter().flatten().any(|slot| slot.revision == n);
        let back = REVISIONS.into_iter().filter(|&to| runs && to != n && state.ghosts.cleared.has(to));
        all.extend(back.map(|to| Event::Order(Verb::Rollback(revision(to)), n)));
    }
}

/// The state after an event. `None`: nothing changes.
///
/// # Errors
/// An invariant is broken.
pub fn after(setting: &mut Setting, state: &State, event: Event) -> Result<Option<State>, Violation> {
    let mut next = *state;
    let app = |colour, app| state.with_slot(colour, state.slot(colour).map(|slot| Slot { app, ..slot }));
    match event {
        Event::Decide => return step::decide(setting, state, Kill::No),
        Event::DecideAndKill => return step::decide(setting, state, Kill::BetweenTheWrites),
        Event::Converge => {
            let Some(pending) = next.pending.take() else {
                return Ok(None);
            };
            next = step::converge(setting, &next, pending)?;
        }
        Event::KillBeforeConverge => {
            next.pending = None;
            next.resumed = true;
        }
        Event::LeaderHangs => {
            next.zombie = next.pending.take();
            next.resumed = true;
            next.budget.faults -= 1;
        }
        Event::OldLeaderWakes => {
            let Some(pending) = next.zombie.take() else {
                return Ok(None);
            };
            next = step::converge(setting, &next, pending)?;
        }
        Event::GetsReady(colour) | Event::Recovers(colour) => next = app(colour, App::Ready),
        Event::FailsToStart(colour) => next = app(colour, App::Dead),
        Event::Crashes(colour) => {
            next = state.with_slot(
                colour,
                state.slot(colour).map(|slot| Slot { app: App::Dead, flight: Flight::Clear, ..slot }),
            );
        }
        Event::LosesAnInstance(colour) => next = app(colour, App::Partly),
        Event::Deleted(colour) => next = state.with_slot(colour, None),
        Event::Drift(colour) => {
            next = step::leave(state, Some(colour));
            next.route = Some(Routed { colour, seen: true });
            let live = state.slot(colour).map_or(0, |slot| slot.revision);
            next.ghosts.fresh = next.ghosts.fresh.without(live);
        }
        Event::Seen => next.route = state.route.map(|routed| Routed { seen: true, ..routed }),
        Event::FrontDoorFails => next.route = state.route.map(|routed| Routed { seen: false, ..routed }),
        Event::Drained => next = with_flight(state, Flight::Clear),
        Event::Tick => next = tick(setting, state),
        Event::Prepared(usable) => next = step::prepared(state, usable),
        Event::Checked(passed) => {
            next.verdict = state.check.map(|check| Said { about: check.about, stage: check.stage, passed });
            checked(&mut next);
        }
        Event::LatePass(n) => {
            let about = Attempt { revision: revision(n), number: 1 };
            next.verdict = Some(Said { about, stage: Stage::Verify, passed: true });
            // It says something of the first attempt, and nothing of another.
            if setting.known_ledger(state).is_none_or(|ledger| ledger.attempt(about.revision) == about) {
                checked(&mut next);
            }
        }
        Event::StatusLost => next.status = None,
        Event::LedgerLost => next.ledger = None,
        Event::BothLost => (next.ledger, next.status) = (None, None),
        Event::Restored => (next.left, next.ledger, next.status) = (state.ledger, None, None),
        Event::Edit(n) => next.spec = n,
        Event::Delete => next.deleting = true,
        Event::Order(verb, n) => next = order(setting, state, verb, n),
    }
    match event {
        Event::Crashes(_)
        | Event::LosesAnInstance(_)
        | Event::Deleted(_)
        | Event::Drift(_)
        | Event::FrontDoorFails
        | Event::Prepared(false)
        | Event::LatePass(_)
        | Event::StatusLost
        | Event::LedgerLost
        | Event::BothLost
        | Event::Restored => {
            next.budget.faults = state.budget.faults.saturating_sub(1);
        }
        Event::Edit(_) | Event::Delete => next.budget.edits -= 1,
        Event::Order(..) => next.budget.commands -= 1,
        _ => {}
    }
    let known = state.ledger.is_some() || state.status.is_some();
    let known = known && event != Event::Restored;
    if known && next.ledger.is_none() && next.status.is_none() {
        forget(&mut next);
    }
    Ok(Some(next).filter(|next| next != state))
}

/// Whoever passed its check is no longer fresh.
fn checked(next: &mut State) {
    if let Some(said) = next.verdict.filter(|said| said.stage == Stage::Verify && said.passed) {
        next.ghosts.fresh = next.ghosts.fresh.without(number(said.about.revision));
    }
}

/// Both memories are gone. What was cleared or approved is known to nobody any more; of what was rejected, the specification is
/// still held while something else routes.
fn forget(next: &mut State) {
    let ghosts = &mut next.ghosts;
    let held = ghosts.rejected.has(next.spec) && next.route.is_some();
    ghosts.rejected = if held { Set::of(&[next.spec]) } else { Set::default() };
    (ghosts.cleared, ghosts.approved) = (Set::default(), Set::default());
    (ghosts.baking, ghosts.rollback, ghosts.lost) = (0, None, true);
    ghosts.fresh = Set::default();
}

fn order(setting: &mut Setting, state: &State, verb: Verb, n: u8) -> State {
    let mut next = *state;
    let about = match setting.known_ledger(state) {
        Some(ledger) => ledger.attempt(revision(n)),
        None => Attempt { revision: revision(n), number: 1 },
    };
    let mut commands = setting.commands(state.commands).to_vec();
    commands.push(Command { verb, about, id: commands.len().to_string() });
    next.commands = setting.keep_commands(commands);
    if verb == Verb::Approve && !state.ghosts.rejected.has(n) {
        next.ghosts.approved = state.ghosts.approved.with(n);
    }
    if verb == Verb::Retry {
        next.unusable_artifacts = state.unusable_artifacts.without(n);
    }
    next
}

/// How often the clock of a phase can still tick before nothing more depends on it.
fn ticks(setting: &Setting, state: &State) -> i64 {
    let Some(status) = setting.status(state.status) else {
        return 0;
    };
    let limits = match status.phase {
        Phase::Baking => 2,
        Phase::Preparing | Phase::Starting | Phase::Verifying | Phase::CuttingOver | Phase::Draining => 1,
        Phase::Idle if state.slots.iter().all(Option::is_some) => 1,
        _ => 0,
    };
    (limits + status.since.0 / TICK).max(0)
}

fn time_matters(setting: &Setting, state: &State) -> bool {
    ticks(setting, state) > 0 || state.slots.iter().flatten().any(|slot| slot.flight == Flight::Busy)
}

fn tick(setting: &mut Setting, state: &State) -> State {
    let mut next = with_flight(state, Flight::Late);
    let earlier = |time: Time| Time((time.0 - TICK).max(-2 * TICK));
    if let Some(mut status) = setting.status(state.status).cloned() {
        status.since = earlier(status.since);
        status.ledger.paused = status.ledger.paused.map(earlier);
        next.status = Some(setting.keep_status(status));
    }
    if let Some(mut ledger) = setting.ledger(state.ledger).cloned() {
        ledger.paused = ledger.paused.map(earlier);
        let same = |pending: Option<crate::state::Pending>, number| {
            pending.map(|p| crate::state::Pending {
                ledger: if p.ledger == state.ledger { number } else { p.ledger },
                ..p
            })
        };
        let number = Some(setting.keep_ledger(ledger));
        (next.pending, next.zombie) = (same(state.pending, number), same(state.zombie, number));
        next.ledger = number;
    }
    next
}

fn with_flight(state: &State, flight: Flight) -> State {
    let mut next = *state;
    for slot in next.slots.iter_mut().flatten() {
        if slot.flight != Flight::Clear {
            slot.flight = flight;
        }
    }
    next
}

fn in_flight(state: &State) -> bool {
    state.slots.iter().flatten().any(|slot| slot.flight != Flight::Clear)
}

fn awaits_artifact(setting: &Setting, state: &State) -> bool {
    let n = state.preparing;
    setting.preparation && n != 0 && !state.ready_artifacts.has(n) && !state.unusable_artifacts.has(n)
}

/// The next state once nobody edits, commands or breaks anything any more. `None`: at rest.
///
/// # Errors
/// An invariant is broken.
pub fn quiet(setting: &mut Setting, state: &State, policy: Policy) -> Result<Option<State>, Violation> {
    if state.zombie.is_some() {
        return Ok(Some(State { zombie: None, ..*state }));
    }
    if state.pending.is_some() {
        return after(setting, state, Event::Converge).map(|next| next.or(Some(State { pending: None, ..*state })));
    }
    if let Some(next) = step::decide(setting, state, Kill::No)? {
        return Ok(Some(next));
    }
    let starting = |colour: &Colour| state.slot(*colour).is_some_and(|slot| slot.app == App::Starting);
    let event = if let Some(colour) = Colour::BOTH.into_iter().find(starting) {
        if policy.apps_work { Event::GetsReady(colour) } else { Event::FailsToStart(colour) }
    } else if in_flight(state) {
        Event::Drained
    } else if state.route.is_some_and(|routed| !routed.seen) {
        Event::Seen
    } else if awaits_artifact(setting, state) {
        Event::Prepared(policy.apps_work)
    } else if let Some(check) = state.check.filter(|check| {
        let said = state.verdict.is_some_and(|said| said.about == check.about && said.stage == check.stage);
        !said && state.is_ready(check.colour, number(check.about.revision))
    }) {
        let _ = check;
        Event::Checked(policy.checks_pass)
    } else if time_matters(setting, state) {
        Event::Tick
    } else {
        judge::rest(setting, state, policy)?;
        return Ok(None);
    };
    after(setting, state, event)
}
