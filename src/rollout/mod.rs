//! THE LOGIC: from what is wanted, remembered and seen to what shall be true next. Pure: `std`, `serde` and its own types, no
//! clock, no chance, no world. The crate `model` compiles this folder alone and searches every state that it can reach.
//!
//! Read in this order: `colour`, `revision`, `time`; `plan` (what is wanted), `ledger` and `status` (what is remembered), `world` (what is
//! seen), `goal` (what shall be true); then `decide`.

mod colour;
mod decide;
mod goal;
mod ledger;
mod plan;
mod revision;
mod status;
mod time;
mod world;

pub use colour::Colour;
pub use decide::{Decision, News, decide};
pub use goal::{CheckGoal, Goal, Step, Why};
pub use ledger::{Held, Ledger, Reason, Rejection, Rollback};
pub use plan::{Command, Limits, Plan, Promotion, Verb, VerbKind};
pub use revision::{Attempt, NotARevision, Revision};
pub use status::{Memory, Phase, Status};
pub use time::{Now, Time};
pub use world::{Artifact, Health, Observed, Occupant, Route, Stage, Verdict, World};
