//! What people and machines do to a site, each done for real: the built agent, a real nginx, a real app under load. Each fault is said
//! where people look, costs the live colour nothing, and lets the site go on once it is mended. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "faults/apps.rs"]
mod apps;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/files.rs"]
mod files;
// The suite of uploads uses more of it.
#[allow(dead_code)]
#[path = "faults/kit.rs"]
mod kit;
#[path = "agent/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of the agent")]
mod machine;
#[path = "faults/manifests.rs"]
mod manifests;
#[path = "faults/ports.rs"]
mod ports;
#[path = "faults/releases.rs"]
mod releases;
#[path = "faults/users.rs"]
mod users;
