//! Where a rollout stands: what the logic remembers between two looks and people read.

use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::revision::Attempt;
use super::time::Time;

/// The phases of a rollout. What each waits for is the table in the design, repeated in `decide`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing is under way.
    Idle,
    /// The artifact is fetched and checked, and the idle slot is made free.
    Preparing,
    /// The candidate starts.
    Starting,
    /// The checks run against the idle colour.
    Verifying,
    /// Somebody has to approve.
    AwaitingApproval,
    /// Traffic moves to the candidate.
    CuttingOver,
    /// The old colour finishes what it has in flight.
    Draining,
    /// The new colour is watched.
    Baking,
    /// The old colour is stopped.
    Retiring,
    /// Traffic goes back, or the rejected candidate is stopped.
    RollingBack,
    /// The site goes away.
    Deleting,
    /// The site is gone: nothing runs and nothing routes.
    Gone,
    /// The logic can't tell what is true, and touches nothing.
    Stalled,
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The phase.
    pub phase: Phase,
    /// The attempt that the phase is about; `None` when nothing is rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Attempt>,
    /// Since when.
    pub since: Time,
    /// When the phase ends by itself; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// A copy of the ledger: either one is enough.
    pub ledger: Ledger,
}

/// The two memories, as they were read. Either may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What stands beside the route.
    pub ledger: Option<Ledger>,
    /// What people read.
    pub status: Option<Status>,
    /// What an earlier site of the same name left beside the route, until a ledger of this one's own takes its place.
    pub left: Option<Ledger>,
}
