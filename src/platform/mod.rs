//! The worlds in which a site can live, behind one trait. The logic names a goal; a platform makes it true.

pub mod cluster;
pub mod host;

use std::future::Future;

use crate::rollout::{Goal, Observed, Plan};

/// One site in one world. The driver calls `observe` and `converge` in turn; nothing else touches the site.
pub trait Platform: Send + Sync {
    /// Looks at the site as it really is. Never fails: what can't be seen is [`Observed::Unknown`].
    fn observe(&self, plan: &Plan) -> impl Future<Output = Observed> + Send;

    /// Makes the goal true, idempotently, one step at a time, with a guard at each call.
    fn converge(&self, plan: &Plan, goal: &Goal) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Why a step was not made. The class picks the retry, the condition and the metric's label.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Whose it is, and whether to try again.
    pub class: Class,
    /// The condition's reason, in CamelCase.
    pub reason: &'static str,
    /// What happened and what to do, for people.
    pub message: String,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It passes: try again, soon and then less often.
    Transient,
    /// The world changed under the decision: look again at once.
    Conflict,
    /// Somebody has to change something: try again when the specification or the world changes, and now and then.
    User,
    /// We may not do this.
    Forbidden,
}
