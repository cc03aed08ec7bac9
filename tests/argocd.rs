//! Sites from Git by the real Argo CD: its controller, repository server and API with the roles that it is installed with, against a real control plane,
//! where the operator runs as the chart starts it. What Argo CD is told is `deploy/argocd`, as our guide says.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "argocd/cluster.rs"]
mod cluster;
#[path = "argocd/fleet.rs"]
mod fleet;
#[path = "argocd/hosts.rs"]
mod hosts;
#[path = "install/kit.rs"]
#[allow(dead_code, reason = "each test program uses another part of it")]
mod kit;
