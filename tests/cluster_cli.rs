//! The command line against a real API server: what it shows, writes and says. The operator's part is played by the test where only the
//! display is judged: it writes the status and the children as the operator does.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "cluster_cli/applying.rs"]
mod applying;
#[path = "cluster_cli/commanding.rs"]
mod commanding;
#[path = "cluster_cli/kit.rs"]
mod kit;
#[path = "cluster_cli/looking.rs"]
mod looking;
#[path = "cluster_cli/refusals.rs"]
mod refusals;
