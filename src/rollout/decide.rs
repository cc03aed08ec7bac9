//! The decision: what shall be true next.
//!
//! Looked at in this order, and the first that has something to say has the last word: the site goes away; commands; a cutover that was
//! decided and not judged yet (`cutover`); the care for the live colour (`live`); the candidate on its way (`candidate`).

use super::decision::Decision;
use super::goal::Goal;
use super::plan::Plan;
use super::rules::Rules;
use super::status::{Memory, Phase, Status};
use super::time::Now;
use super::turn::Turn;
use super::world::Observed;

/// Decides what shall be true next. Pure: the same arguments give the same answer.
#[must_use]
pub fn decide(plan: &Plan, memory: &Memory, observed: &Observed, now: Now) -> Decision {
    decide_under(Rules::ALL, plan, memory, observed, now)
}

/// [`decide`] with one rule left out, for the search.
#[must_use]
pub fn decide_under(rules: Rules, plan: &Plan, memory: &Memory, observed: &Observed, now: Now) -> Decision {
    let world = match observed {
        Observed::World(world) => world,
        Observed::Unknown(what) => return blind(memory, now, what),
    };
    let mut turn = Turn::new(rules, plan, memory, world, now);
    if plan.deleting {
        return turn.delete();
    }
    if let Err(why) = turn.recall() {
        return turn.stall(why);
    }
    turn.take_commands();
    if let Some(decision) = turn.cutover() {
        return decision;
    }
    if let Some(decision) = turn.care_for_live() {
        return decision;
    }
    turn.candidate()
}

/// Something could not be seen: nothing stops, nothing moves, and no time is held against anybody.
fn blind(memory: &Memory, now: Now, what: &str) -> Decision {
    let copy = memory.status.as_ref().map(|status| status.ledger.clone());
    let ledger = memory.ledger.clone().or(copy).unwrap_or_default();
    let status = memory.status.clone().unwrap_or(Status {
        phase: Phase::Stalled,
        about: None,
        since: now.time,
        deadline: None,
        ledger: ledger.clone(),
    });
    Decision {
        goal: Goal { fence: ledger.version, step: None, prepare: None, check: None },
        ledger,
        status,
        record: false,
        wake: None,
        news: Vec::new(),
        stalled: Some(what.to_owned()),
    }
}
