//! What must survive a lost status: the few decisions that can't be read off the world.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::colour::Colour;
use super::plan::VerbKind;
use super::revision::{Attempt, Revision};
use super::time::Time;

/// The decisions of a site that can't be observed. It stands beside the route; where, is each platform's own. The status carries a copy: either one is enough. What is not there is left out and not null: who reads and
/// writes back a status in a language without null (Argo CD's actions, in Lua) would change it otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Grows with each change. A goal carries it, and a platform refuses a goal that is older than the one it has.
    pub version: u64,
    /// What is committed to be live: the route is put back here after drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Held>,
    /// A cutover that was decided and has not been judged yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Held>,
    /// Revisions that went live and passed their bake: traffic may go back to them.
    pub cleared: BTreeSet<Revision>,
    /// Revisions that never get traffic again by our hand, until somebody retries them.
    pub rejected: BTreeMap<Revision, Rejection>,
    /// What a way back had started again: it is checked before it gets traffic, whatever happens to the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<Held>,
    /// How often a revision was retried: its attempt is one more. Absent means never.
    pub retries: BTreeMap<Revision, u32>,
    /// Somebody went back: this revision is wanted as long as the specification stays what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// The id of the last command taken, per kind.
    pub taken: BTreeMap<VerbKind, String>,
    /// The attempt that was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Attempt>,
    /// Paused since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Time>,
}

/// A colour and what it is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Held {
    /// Where.
    pub colour: Colour,
    /// What.
    pub revision: Revision,
}

/// Why and when a revision was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: Time,
}

/// Why a revision was rejected. The names are those of the condition's `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Its artifact is unusable, or a guard refused it.
    PreparationFailed,
    /// It was not prepared in time.
    PreparationDeadlineExceeded,
    /// It was not ready in time.
    ReadyDeadlineExceeded,
    /// A check against the idle colour failed.
    VerificationFailed,
    /// The checks against the idle colour did not pass in time.
    VerificationDeadlineExceeded,
    /// Nobody approved it in time.
    ApprovalDeadlineExceeded,
    /// It was not ready any more when the cutover's deadline came.
    CutoverDeadlineExceeded,
    /// It was live and went down, or failed a check, or was never measured, before its bake ended.
    BakeFailed,
    /// It was live and down, and traffic went to the standby.
    LiveColourDown,
    /// It was live and dead with nowhere to go back to, and the next revision took its place.
    SupersededWhileDown,
    /// Somebody aborted it.
    Aborted,
    /// Somebody rolled back from it.
    RolledBack,
    /// Both memories were lost, or are those of an earlier site, and it was not what was live: held until it changes or is retried.
    HeldAfterLoss,
}

/// Somebody went back to an earlier revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// What is wanted instead of what the specification says.
    pub to: Revision,
    /// As long as the specification says this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub while_wanted: Option<Revision>,
}

impl Ledger {
    /// The attempt that a rollout of `revision` is now.
    #[must_use]
    pub fn attempt(&self, revision: Revision) -> Attempt {
        Attempt { revision, number: 1 + self.retries.get(&revision).copied().unwrap_or(0) }
    }

    /// Whether `revision` may never get traffic by our hand.
    #[must_use]
    pub fn rejects(&self, revision: Revision) -> bool {
        self.rejected.contains_key(&revision)
    }

    /// Whether `revision` was live before, passed its bake, and was not rejected since.
    #[must_use]
    pub fn trusts(&self, revision: Revision) -> bool {
        self.cleared.contains(&revision) && !self.rejects(revision)
    }
}
