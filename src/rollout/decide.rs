//! The decision: what shall be true next.
//!
//! Looked at in this order, and the first that has something to say has the last word: the site goes away; commands; a cutover that was
//! decided and not judged yet (`cutover`); the care for the live colour (`live`); the candidate on its way (`candidate`).

use super::goal::Goal;
use super::ledger::{Held, Ledger, Reason};
use super::plan::{Command, Plan};
use super::revision::{Attempt, Revision};
use super::rules::Rules;
use super::status::{Memory, Phase, Status};
use super::time::{Now, Time};
use super::turn::Turn;
use super::world::Observed;

/// What was decided. The driver records the ledger, then the status, and then converges the world towards the goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// False: nothing can be told, and the memories stay as they are. What stands in `status` is for people alone.
    pub record: bool,
    /// To be recorded first; equal to what was read if nothing changed.
    pub ledger: Ledger,
    /// To be recorded second.
    pub status: Status,
    /// To be made true third.
    pub goal: Goal,
    /// Decide again no later than this, even if nothing happens.
    pub wake: Option<Time>,
    /// What happened, for the log, events, and the history.
    pub news: Vec<News>,
    /// What keeps the site from going on, in words; `None` while it goes on by itself.
    pub stalled: Option<String>,
}

/// Something that happened in a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A phase began.
    Entered(Phase, Option<Attempt>),
    /// A revision was rejected.
    Rejected(Revision, Reason),
    /// A cutover was judged a success: the revision is cleared and stable.
    Settled(Held),
    /// A cutover failed and there was nowhere better to go: it stays.
    SettledDegraded(Held),
    /// Traffic goes to a cleared standby because the live colour is down or was rejected.
    FailedOver(Held),
    /// The route was moved by somebody else and is put back.
    PutBack(Held),
    /// A command was taken and had its effect.
    Obeyed(Command),
    /// A command was taken and did nothing: it named another attempt, or asked for what can't be.
    Ignored(Command),
    /// Both memories were lost and what routes was adopted as stable.
    Adopted(Held),
}

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
    if !turn.recall() {
        return turn
            .stall("the ledger and the status are both lost, and no route names a colour that serves: nothing is touched until one does");
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
