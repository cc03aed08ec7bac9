//! What a platform sees when it looks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::colour::Colour;
use super::revision::{Attempt, Revision};
use super::time::Time;

/// One look at a site as it really is. An observation that failed is [`Observed::Unknown`], never an empty world.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one lives at a time, and briefly")]
pub enum Observed {
    /// All of it was seen.
    World(World),
    /// Something could not be looked at (said in words): nothing stops, nothing moves.
    Unknown(String),
}

/// A site as it really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// What occupies the blue slot.
    pub blue: Option<Occupant>,
    /// What occupies the green slot.
    pub green: Option<Occupant>,
    /// Where traffic goes.
    pub route: Route,
    /// Of each revision that the platform has or tried to get: whether it can be started. Absent: it was not tried.
    pub artifacts: BTreeMap<Revision, Artifact>,
    /// What the checks say of the attempt that the last goal asked them to check.
    pub verdict: Option<Verdict>,
}

impl World {
    /// What occupies the slot of this colour.
    #[must_use]
    pub fn slot(&self, colour: Colour) -> Option<&Occupant> {
        match colour {
            Colour::Blue => self.blue.as_ref(),
            Colour::Green => self.green.as_ref(),
        }
    }
}

/// What occupies a slot: started, and not stopped since. It may be down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// The revision, read from the slot itself.
    pub revision: Revision,
    /// Whether it can serve.
    pub health: Health,
    /// Set while requests that were routed here may still be in flight: since when traffic goes elsewhere. `None` once the platform has
    /// evidence that nothing is in flight, and while a route names this colour.
    pub draining: Option<Time>,
    /// For people: how many instances are ready, and what the others wait for.
    pub detail: String,
}

/// Whether a colour can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Every required instance answered its health check as often in a row as was asked, and nothing else holds its port.
    Ready,
    /// Some instances are ready, others are not: it serves, and is no target for a route.
    Degraded,
    /// No instance is ready, since this moment (at the latest: since the platform first looked).
    Down(Time),
}

/// Where traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// To no colour: never routed, or the route names neither.
    Nowhere,
    /// To this colour.
    To {
        /// What the route names.
        colour: Colour,
        /// Whether the front door was seen to answer from it. False while that is awaited, and while the front door answers nothing at all.
        seen: bool,
    },
}

impl Route {
    /// The colour that the route names, seen or not.
    #[must_use]
    pub fn named(self) -> Option<Colour> {
        match self {
            Route::Nowhere => None,
            Route::To { colour, .. } => Some(colour),
        }
    }
}

/// Whether a revision can be started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Artifact {
    /// It is being fetched, checked, unpacked.
    Preparing,
    /// It is complete and checked.
    Ready,
    /// It is unusable; why, for people.
    Unusable(String),
}

/// The answer of the checks. It names what it is about, so that it is never taken for another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Verdict {
    /// The attempt that was checked.
    pub about: Attempt,
    /// The checks that were run.
    pub stage: Stage,
    /// Whether they passed. At least one measurement stands behind it.
    pub passed: bool,
    /// For people.
    pub detail: String,
}

/// Which checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Those against the idle colour, before the cutover.
    Verify,
    /// Those against the live colour, after it.
    Bake,
}
