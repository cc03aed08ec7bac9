//! The worlds in which a site can live, behind one trait. The logic names a goal; a platform makes it true.

pub mod clock;
pub mod cluster;
pub mod host;

use std::future::Future;

pub use crate::api::fault::{Class, Fault};
use crate::rollout::{Goal, Ledger, Memory, Observed, Plan, Status};

/// One site in one world. The driver calls `observe` and `converge` in turn; nothing else touches the site.
pub trait Platform: Send + Sync {
    /// Looks at the site as it really is. Never fails: what can't be seen is [`Observed::Unknown`].
    fn observe(&self, plan: &Plan) -> impl Future<Output = Observed> + Send;

    /// Makes the goal true, idempotently, one step at a time, with a guard at each call.
    fn converge(&self, plan: &Plan, goal: &Goal) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Where a site's two memories are kept.
pub trait Store: Send + Sync {
    /// Reads both. A memory that isn't there, or can't be understood any more, is `None`; one that can't be *read* is a fault, since
    /// nobody knows what it says.
    fn load(&self) -> impl Future<Output = Result<Memory, Fault>> + Send;

    /// Writes the ledger, if it still is what `before` says; otherwise a fault of class [`Class::Conflict`], and nothing is written.
    fn record_ledger(&self, before: Option<&Ledger>, after: &Ledger) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Writes the status, on the same condition.
    fn record_status(&self, before: Option<&Status>, after: &Status) -> impl Future<Output = Result<(), Fault>> + Send;
}
