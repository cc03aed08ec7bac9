//! The command line against a real API server: what it shows, writes and says. Where only the display is judged the test plays the
//! operator's part: it writes the status and the children as the operator does. In `turning` the real one does.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "cluster_cli/applying.rs"]
mod applying;
#[path = "cluster_cli/commanding.rs"]
mod commanding;
#[path = "cluster_cli/fleet.rs"]
mod fleet;
#[path = "cluster_cli/kit.rs"]
mod kit;
#[path = "cluster_cli/looking.rs"]
mod looking;
#[path = "operator/kit.rs"]
#[allow(dead_code, reason = "the operator's own tests ask it more")]
mod operator;
#[path = "cluster_cli/refusals.rs"]
mod refusals;
#[path = "cluster_cli/turning.rs"]
mod turning;
