//! The operator, as a process, against a real control plane: rollouts, two replicas of which one dies or freezes at any moment, an API server
//! that goes away. While each of them happens, everything that the API server stores is recorded, and afterwards judged change by change: no
//! moment in which the live Service led to no ready pod, or to two colours.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "operator/clocks.rs"]
mod clocks;
#[path = "operator/counted.rs"]
mod counted;
#[path = "operator/definitions.rs"]
mod definitions;
#[path = "operator/faults.rs"]
mod faults;
#[path = "operator/held.rs"]
mod held;
#[path = "operator/history.rs"]
mod history;
#[path = "operator/kit.rs"]
mod kit;
#[path = "operator/leaders.rs"]
mod leaders;
#[path = "operator/meddler.rs"]
mod meddler;
#[path = "operator/meddling.rs"]
mod meddling;
#[path = "operator/refused.rs"]
mod refused;
#[path = "operator/rollouts.rs"]
mod rollouts;
#[path = "operator/servers.rs"]
mod servers;
#[path = "operator/shown.rs"]
mod shown;
#[path = "operator/sizes.rs"]
mod sizes;
#[path = "api_cluster/wrong.rs"]
mod wrong;
