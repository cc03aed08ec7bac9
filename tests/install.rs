//! How it gets onto a cluster: the chart by the real Helm against a real API server, the Lua scripts by the real Argo CD, the examples by the
//! API server itself, and that nothing generated is out of date.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]
#[path = "install/argocd.rs"]
mod argocd;
#[path = "install/chart.rs"]
mod chart;
#[path = "install/examples.rs"]
mod examples;
#[path = "install/fleet.rs"]
mod fleet;
#[path = "install/kit.rs"]
mod kit;
#[path = "install/operator.rs"]
mod operator;
#[path = "install/policy.rs"]
mod policy;
#[path = "install/release.rs"]
mod release;
#[path = "install/rights.rs"]
mod rights;
#[path = "install/waiting.rs"]
mod waiting;
