//! What is wanted, already parsed and valid: the part of a site's specification that the logic looks at.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::revision::{Attempt, Revision};

/// What somebody wants of a site. Made by `api::parse` from a specification; nothing in here can be wrong any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The revision that the specification describes; `None` while it can't be told (its release is missing or half
    /// uploaded), which starts nothing and moves nothing.
    pub wanted: Option<Revision>,
    /// Who lets a verified candidate go live.
    pub promotion: Promotion,
    /// How long each phase may last.
    pub limits: Limits,
    /// The site is to go away.
    pub deleting: bool,
    /// The last command given of each kind, taken or not.
    pub commands: Vec<Command>,
}

/// Who lets a verified candidate go live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Promotion {
    /// It goes live as soon as it is verified.
    Automatic,
    /// It waits for an `approve` that names it.
    Manual,
}

/// How long each phase may last. What happens at the end of each is the table in `decide`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Preparing: to fetch, check and unpack the artifact.
    pub prepare_within: Duration,
    /// Starting: until every instance is ready.
    pub ready_within: Duration,
    /// Verifying: until the checks against the idle colour have passed.
    pub verify_within: Duration,
    /// AwaitingApproval: until somebody approves; `None` waits for ever.
    pub approve_within: Option<Duration>,
    /// CuttingOver: until the front door is seen to answer from the candidate.
    pub cutover_within: Duration,
    /// Draining: how long a request in flight may hold up the end of the colour that it is on.
    pub drain_within: Duration,
    /// Baking: how long the new colour is watched before the rollout counts as a success.
    pub bake: Duration,
    /// How long the old colour is kept warm afterwards, for an instant way back. Zero stops it at once.
    pub standby: Duration,
    /// How long the live colour must have been down before traffic goes to the standby.
    pub failover_after: Duration,
}

/// Something a person asked for. It names the attempt that it is about, is taken once, and does nothing on any other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Command {
    /// What is asked.
    pub verb: Verb,
    /// The attempt that the person meant: the candidate's, or the live colour's.
    pub about: Attempt,
    /// Tells two commands with the same words apart; whoever gives the command chooses it.
    pub id: String,
}

/// What can be asked of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// Give up the candidate, or leave it again while it is baking. Beats every other command.
    Abort,
    /// Start nothing more and let no deadline pass.
    Pause,
    /// Go on.
    Resume,
    /// Leave the live revision, which is thereby rejected, and go back to this one.
    Rollback(Revision),
    /// Forget the rejection of the wanted revision and try it again.
    Retry,
    /// Let the candidate go live.
    Approve,
}

impl Verb {
    /// The verb without its argument: of each kind only the last command counts.
    #[must_use]
    pub fn kind(self) -> VerbKind {
        match self {
            Verb::Abort => VerbKind::Abort,
            Verb::Pause => VerbKind::Pause,
            Verb::Resume => VerbKind::Resume,
            Verb::Rollback(_) => VerbKind::Rollback,
            Verb::Retry => VerbKind::Retry,
            Verb::Approve => VerbKind::Approve,
        }
    }
}

/// The kinds of command, in the order in which they are taken when several wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerbKind {
    /// See [`Verb::Abort`].
    Abort,
    /// See [`Verb::Pause`].
    Pause,
    /// See [`Verb::Resume`].
    Resume,
    /// See [`Verb::Rollback`].
    Rollback,
    /// See [`Verb::Retry`].
    Retry,
    /// See [`Verb::Approve`].
    Approve,
}
