//! What a platform shall make true. A goal differs from the world in at most one safe step.

use serde::{Deserialize, Serialize};

use super::colour::Colour;
use super::revision::{Attempt, Revision};
use super::time::Time;
use super::world::Stage;

/// What the world shall be. A platform makes it so, idempotently, and looks again at the moment of each call (see `guard`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The version of the ledger that this goal was decided with. A platform that has a newer ledger refuses the goal.
    pub fence: u64,
    /// The one step to take; `None`: everything stays.
    pub step: Option<Step>,
    /// The revision whose artifact shall be fetched and checked.
    pub prepare: Option<Revision>,
    /// The checks that shall be running.
    pub check: Option<CheckGoal>,
}

/// The checks that shall be running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CheckGoal {
    /// Against this colour.
    pub colour: Colour,
    /// Of this attempt.
    pub about: Attempt,
    /// Which ones.
    pub stage: Stage,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Step {
    /// The colour shall run the revision.
    Start {
        /// Where.
        colour: Colour,
        /// What.
        revision: Revision,
    },
    /// The colour shall be empty.
    Stop {
        /// Which.
        colour: Colour,
        /// The drain that no longer holds it up because its limit has passed, named by its beginning. A later one does.
        late: Option<Time>,
    },
    /// Traffic shall go to the colour.
    Route {
        /// Where.
        colour: Colour,
        /// The revision that must be ready there.
        revision: Revision,
        /// Why: what a guard allows depends on it.
        why: Why,
    },
    /// Traffic shall go to no colour: the site goes away.
    Unroute,
}

/// Why traffic moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Why {
    /// A candidate goes live.
    Cutover,
    /// The candidate failed, or is not wanted any more.
    CutBack,
    /// The live colour is down and the other one is ready and cleared.
    FailOver,
    /// Somebody else moved the route.
    PutBack,
}
