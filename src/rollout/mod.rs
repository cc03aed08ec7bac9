//! THE LOGIC: from what is wanted, remembered and seen to what shall be true next. Pure: `std`, `serde` and its own types, no
//! clock, no chance, no world. The crate `model` compiles this folder alone and searches every state that it can reach.
//!
//! Read in this order: `colour`, `revision`, `time`; `plan` (what is wanted), `ledger` and `status` (what is remembered), `world` (what is
//! seen), `goal` (what shall be true); `decision` (what a turn
//! comes to); then `decide` and what it calls: `turn`, `commands`, `cutover`, `live`, `candidate`; last `guard`, the
//! platform's own look before each step.

mod candidate;
mod colour;
mod commands;
mod cutover;
mod decide;
mod decision;
mod goal;
mod guard;
mod ledger;
mod live;
mod plan;
mod revision;
mod rules;
mod status;
mod time;
mod turn;
mod world;

pub use colour::Colour;
pub use decide::{decide, decide_under};
pub use decision::{Decision, News};
pub use goal::{CheckGoal, Goal, Step, Why};
pub use guard::{Refusal, guard, guard_under};
pub use ledger::{Held, Ledger, Reason, Rejection, Rollback};
pub use plan::{Command, Limits, Plan, Promotion, Verb, VerbKind};
pub use revision::{Attempt, NotARevision, Revision};
pub use rules::{Rule, Rules};
pub use status::{Memory, Phase, Status};
pub use time::{Now, Time};
pub use world::{Artifact, Health, Observed, Occupant, Route, Stage, Verdict, World};
