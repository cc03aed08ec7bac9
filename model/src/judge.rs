//! The invariants, judged by what really happened and never by what the logic believes.

use crate::policy::Policy;
use crate::rollout::{Colour, Decision, Ledger, News, Phase, Promotion, Reason, Stage, Step, Verb, Why};
use crate::state::{App, Flight, Ghosts, REVISIONS, Set, Setting, State, number, revision};

/// A broken invariant, by its number in the design, in words.
pub type Violation = &'static str;

/// Judges a decision, and keeps book of what really happened.
///
/// # Errors
/// An invariant is broken.
pub fn decision(setting: &Setting, state: &State, decision: &Decision) -> Result<Ghosts, Violation> {
    let mut ghosts = state.ghosts;
    if ghosts.rollback.is_some_and(|(_, spec)| spec != state.spec) {
        ghosts.rollback = None;
    }
    for news in &decision.news {
        match news {
            News::Rejected(of, reason) => {
                let n = number(*of);
                deadline(setting, state, n, *reason, &decision.ledger)?;
                ghosts.rejected = ghosts.rejected.with(n);
                ghosts.approved = ghosts.approved.without(n);
                ghosts.baking = if ghosts.baking == n { 0 } else { ghosts.baking };
                ghosts.rollback = ghosts.rollback.filter(|&(to, _)| to != n);
            }
            News::Settled(held) => {
                let measured = state.verdict.is_some_and(|said| {
                    said.about.revision == held.revision && said.stage == Stage::Bake && said.passed
                });
                if !measured {
                    return Err("a bake passed without one measurement");
                }
                ghosts.cleared = ghosts.cleared.with(number(held.revision));
                ghosts.baking = 0;
            }
            News::SettledDegraded(_) => ghosts.baking = 0,
            News::Adopted(held) => {
                ghosts.rejected = ghosts.rejected.without(number(held.revision));
                ghosts.cleared = ghosts.cleared.with(number(held.revision));
            }
            News::TakenBack(held) if decision.ledger.intent.is_none() => {
                ghosts.baking = 0;
                ghosts.cleared = ghosts.cleared.with(number(held.revision));
            }
            News::TakenBack(_) => {}
            News::Obeyed(command) => {
                let bit = 1 << command.id.parse::<u8>().unwrap_or(7);
                if ghosts.obeyed & bit != 0 && !ghosts.lost {
                    return Err("I6: a command was taken twice");
                }
                ghosts.obeyed |= bit;
                let n = number(command.about.revision);
                match command.verb {
                    Verb::Retry => {
                        ghosts.rejected = ghosts.rejected.without(n);
                        ghosts.rollback = None;
                    }
                    Verb::Rollback(to) => {
                        ghosts.rejected = ghosts.rejected.with(n).without(number(to));
                        ghosts.rollback = Some((number(to), state.spec));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    verified(setting, state, decision)?;
    way_back(setting, state, decision)?;
    failover(state, decision, &ghosts)?;
    let intended = decision.ledger.intent.map(|held| number(held.revision));
    for n in REVISIONS {
        if n != state.spec && intended != Some(n) {
            ghosts.approved = ghosts.approved.without(n);
        }
    }
    Ok(ghosts)
}

fn deadline(setting: &Setting, state: &State, n: u8, reason: Reason, after: &Ledger) -> Result<(), Violation> {
    let ready = Colour::BOTH.into_iter().any(|colour| state.is_ready(colour, n));
    if reason == Reason::ReadyDeadlineExceeded && ready && setting.phase(state) == Some(Phase::Starting) {
        return Err("a ready candidate was rejected by a deadline that passed unobserved");
    }
    let timed = matches!(
        reason,
        Reason::PreparationDeadlineExceeded
            | Reason::ReadyDeadlineExceeded
            | Reason::VerificationDeadlineExceeded
            | Reason::ApprovalDeadlineExceeded
    );
    let before = setting.known_ledger(state);
    let by_rollback = before.into_iter().chain([after]).any(|ledger| ledger.rollback.is_some());
    let paused = setting.paused(state) && after.paused.is_some();
    if timed && paused && !by_rollback {
        return Err("a deadline fired while paused");
    }
    Ok(())
}

/// What leaves Verifying forwards was itself checked, or was warm when it was turned to.
fn verified(setting: &Setting, state: &State, decision: &Decision) -> Result<(), Violation> {
    const UNCHECKED: Violation = "a revision was promoted on another's check, or on none";
    let serves = |by| state.slot(by).is_some_and(|slot| matches!(slot.app, App::Ready | App::Partly));
    // Where somebody moved traffic it may stay, and to what was live before it may go when nothing else serves.
    let leaves = |to: Colour| state.route.is_some_and(|routed| routed.colour != to && serves(routed.colour));
    let intended = setting.known_ledger(state).is_some_and(|ledger| ledger.intent.is_some());
    let forwards = match (decision.status.phase, decision.goal.step) {
        (Phase::AwaitingApproval, _) if !intended => decision.status.about,
        (Phase::CuttingOver, _) if !intended && decision.ledger.intent.is_some() => decision.status.about,
        (_, Some(Step::Route { colour, revision, why: Why::FailOver })) if leaves(colour) => {
            Some(decision.ledger.attempt(revision))
        }
        _ => None,
    };
    let Some(about) = forwards else { return Ok(()) };
    if state.ghosts.fresh.has(number(about.revision)) {
        return Err(UNCHECKED);
    }
    let itself = state.verdict.is_some_and(|said| said.about == about && said.passed);
    let known = decision.ledger.trusts(about.revision);
    if setting.phase(state) != Some(Phase::Verifying) || itself || known { Ok(()) } else { Err(UNCHECKED) }
}

/// A specification that returns to the warm old revision is followed at once.
fn way_back(setting: &Setting, state: &State, decision: &Decision) -> Result<(), Violation> {
    let Some(ledger) = setting.ledger(state.ledger) else {
        return Ok(());
    };
    let (Some(intent), Some(stable)) = (ledger.intent, ledger.stable) else {
        return Ok(());
    };
    let asked =
        revision(state.spec) == stable.revision && !ledger.rejects(stable.revision) && ledger.rollback.is_none();
    let commanded = decision.news.iter().any(|news| matches!(news, News::Obeyed(_)));
    let on_new = state.route.is_some_and(|routed| routed.colour == intent.colour);
    let warm = state.is_ready(stable.colour, number(stable.revision));
    if !(asked && on_new && warm) || state.deleting || commanded {
        return Ok(());
    }
    match decision.goal.step {
        Some(Step::Route { colour, .. }) if colour == stable.colour => Ok(()),
        _ => Err("I8: a return to the warm old revision waits for the bake"),
    }
}

/// I4, judged at the moment of deciding.
fn failover(state: &State, decision: &Decision, ghosts: &Ghosts) -> Result<(), Violation> {
    let Some(routed) = state.route.filter(|_| !state.deleting) else {
        return Ok(());
    };
    let serves = state.live().is_some_and(|slot| matches!(slot.app, App::Ready | App::Partly));
    let other = routed.colour.other();
    let Some(slot) = state.slot(other).filter(|_| !serves) else {
        return Ok(());
    };
    let good = slot.app == App::Ready && ghosts.cleared.has(slot.revision) && !ghosts.rejected.has(slot.revision);
    let goes = matches!(decision.goal.step, Some(Step::Route { colour, .. }) if colour == other);
    if good && !goes && decision.status.phase != Phase::Stalled {
        return Err("I4: the live colour is down, a cleared one is ready, and traffic does not go there");
    }
    Ok(())
}

/// Judges a step right before it is taken in the world as it is.
///
/// # Errors
/// An invariant is broken.
pub fn step(setting: &Setting, state: &State, step: Step) -> Result<(), Violation> {
    let ghosts = &state.ghosts;
    let ledger = setting.ledger(state.ledger);
    match step {
        Step::Start { colour, revision } => {
            if state.route.is_some_and(|routed| routed.colour == colour)
                && state.slot(colour).is_some_and(|slot| slot.revision != number(revision))
            {
                return Err("I1: the live colour was started over with another revision");
            }
            let stable = ledger.and_then(|ledger| ledger.stable).filter(|stable| stable.colour == colour);
            if stable.is_some_and(|stable| stable.revision != revision) {
                return Err("I3: a repair of the live colour runs another revision");
            }
            Ok(())
        }
        Step::Stop { colour, late } => {
            let Some(slot) = state.slot(colour) else { return Ok(()) };
            if state.route.is_some_and(|routed| routed.colour == colour) {
                return Err("I1: the live colour was stopped");
            }
            if slot.flight == Flight::Busy || (slot.flight == Flight::Late && late.is_none()) {
                return Err("a colour was stopped with requests in flight");
            }
            let good =
                slot.app == App::Ready && ghosts.cleared.has(slot.revision) && !ghosts.rejected.has(slot.revision);
            if ghosts.baking != 0 && good && !state.deleting && state.route.is_some() && !ghosts.lost {
                return Err("I8: the standby was stopped before the verdict");
            }
            Ok(())
        }
        Step::Route { colour, revision, why } => route(setting, state, colour, number(revision), why),
        Step::Unroute => Ok(()),
    }
}

fn route(setting: &Setting, state: &State, colour: Colour, n: u8, why: Why) -> Result<(), Violation> {
    let ghosts = &state.ghosts;
    let ready = state.is_ready(colour, n);
    if why == Why::PutBack {
        let good = state.live().is_some_and(|slot| {
            let may = ghosts.cleared.has(slot.revision) || ghosts.baking == slot.revision;
            slot.app == App::Ready && may && !ghosts.rejected.has(slot.revision)
        });
        return if good && !ready {
            Err("I7: drift was put back from a good colour to one that isn't ready")
        } else {
            Ok(())
        };
    }
    if !ready {
        return Err("I2: traffic went to a colour that isn't ready with the named revision");
    }
    let automatic = setting.promotion == Promotion::Automatic;
    if ghosts.rejected.has(n) || !(automatic || ghosts.approved.has(n) || ghosts.cleared.has(n)) {
        return Err("I3: traffic went to an unapproved or rejected revision");
    }
    Ok(())
}

/// Judges a state that nothing changes any more.
///
/// # Errors
/// An invariant is broken.
pub fn rest(setting: &Setting, state: &State, policy: Policy) -> Result<(), Violation> {
    let phase = setting.phase(state).unwrap_or(Phase::Stalled);
    let paused = setting.paused(state);
    if !matches!(phase, Phase::Idle | Phase::Gone | Phase::Stalled) && !may_wait(setting, phase) && !paused {
        return Err("I5: no rest: a phase that never ends");
    }
    if state.deleting || phase == Phase::Stalled || state.ghosts.lost {
        return Ok(());
    }
    let ghosts = &state.ghosts;
    let good = ghosts_good(ghosts);
    let live = state.live();
    let other = state.route.and_then(|routed| state.slot(routed.colour.other()));
    let other_good = other.is_some_and(|slot| slot.app == App::Ready && good.has(slot.revision));
    let live_serves = live.is_some_and(|slot| matches!(slot.app, App::Ready | App::Partly));
    if !live_serves && other_good {
        return Err("I4: at rest, the live colour is down and a cleared one is ready");
    }
    let ledger = setting.status(state.status).map(|status| &status.ledger);
    let stable = ledger.and_then(|ledger| ledger.stable);
    if stable.is_some_and(|stable| state.route.map(|routed| routed.colour) != Some(stable.colour)) {
        return Err("I7: at rest, the route is not on the committed colour");
    }
    if let Some(slot) = live {
        let n = slot.revision;
        let may = setting.promotion == Promotion::Automatic
            || ghosts.approved.has(n)
            || ghosts.cleared.has(n)
            || ghosts.rejected.has(n);
        if !may {
            return Err("I3: at rest, an unapproved revision is live");
        }
        if ghosts.rejected.has(n) && other_good {
            return Err("I3: at rest, a rejected revision is live beside a cleared one");
        }
        if ghosts.baking == n && !ghosts.cleared.has(n) {
            return Err("a cutover was never judged");
        }
    }
    let held = ledger.is_some_and(|ledger| ledger.rejects(revision(state.spec)) || ledger.rollback.is_some());
    let works = policy.apps_work && policy.checks_pass && !paused && !state.unusable_artifacts.has(state.spec);
    if works && !held && phase != Phase::AwaitingApproval && live.map(|slot| slot.revision) != Some(state.spec) {
        return Err("the wanted revision never gets live");
    }
    if works
        && let Some((to, spec)) = ghosts.rollback
        && spec == state.spec
        && live.map(|slot| slot.revision) != Some(to)
        && !state.unusable_artifacts.has(to)
    {
        return Err("an accepted rollback was forgotten");
    }
    Ok(())
}

fn ghosts_good(ghosts: &Ghosts) -> Set {
    REVISIONS.into_iter().filter(|&n| ghosts.cleared.has(n) && !ghosts.rejected.has(n)).fold(Set::default(), Set::with)
}

/// Whether the site waits for an approval by design.
fn may_wait(setting: &Setting, phase: Phase) -> bool {
    phase == Phase::AwaitingApproval && setting.promotion == Promotion::Manual
}
