//! Releases that arrive over SFTP, for real: OpenSSH's own server and clients, the built agent, a real nginx, and load. What is on its way
//! never starts anything; what is whole goes live. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "uploads/arriving.rs"]
mod arriving;
#[path = "uploads/bad.rs"]
mod bad;
#[path = "uploads/cut.rs"]
mod cut;
#[path = "uploads/kit.rs"]
mod kit;
#[path = "agent/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of the agent")]
mod machine;
#[path = "uploads/push.rs"]
mod push;
#[path = "faults/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of faults")]
mod served;
