//! What a turn of the logic comes to.

use super::goal::Goal;
use super::ledger::{Held, Ledger, Reason};
use super::plan::Command;
use super::revision::{Attempt, Revision};
use super::status::{Phase, Status};
use super::time::Time;

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
    /// Traffic goes to a cleared standby because the live colour is down.
    FailedOver(Held),
    /// Traffic goes back to a cleared standby because what was live is rejected: somebody rolled back or aborted.
    WentBack(Held),
    /// The route was moved by somebody else and is put back.
    PutBack(Held),
    /// A command was taken and had its effect.
    Obeyed(Command),
    /// A command was taken and did nothing: it named another attempt, or asked for what can't be.
    Ignored(Command),
    /// Both memories were lost and what routes was adopted as stable.
    Adopted(Held),
    /// What an earlier site of this name left is this one's; what is live, or was going live, is this.
    TakenBack(Held),
}
