//! What is known of a site's objects: slim facts, kept by the operator's watches and by the answers to our own writes.
//!
//! | part | what it is |
//! |---|---|
//! | `facts` | of each kind of object, the little that a look needs |
//! | `wire`, `kinds`, `gateway` | how a fact is read off what the API server sends, as a kube [`Resource`](kube::Resource) that can be watched |
//! | `cache` | all facts of all sites, newest first come or not |
//!
//! A typed Deployment takes 25 to 66 KiB of memory; what is kept of it here takes less than half of one. Bodies that are only written (templates,
//! ports, budgets) are never kept.

mod cache;
mod facts;
mod gateway;
mod kinds;
mod wire;

pub use cache::{Cache, Children, Key, why};
pub use facts::{
    Budget, Deployment, Endpoint, Front, Headless, HttpRoute, Kind, Owned, Release, Selector, Service, Slice, digest,
};
pub(in crate::platform::cluster) use kinds::{PortFacts, ports_digest};
pub(in crate::platform::cluster) use wire::uid_text;
pub use wire::{Fact, Watched, uid};

#[cfg(test)]
mod tests;
