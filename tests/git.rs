//! Sites from a Git repository, for real: Git's own HTTP backend behind a real nginx with TLS, or a real sshd, the built agent, and load. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "git/bad.rs"]
mod bad;
#[path = "git/faults.rs"]
mod faults;
#[path = "git/history.rs"]
mod history;
#[path = "git/hook.rs"]
mod hook;
#[path = "git/kit.rs"]
mod kit;
#[path = "agent/kit.rs"]
#[allow(dead_code, reason = "shared with the tests of the agent")]
mod machine;
#[path = "git/rollout.rs"]
mod rollout;
#[path = "git/server.rs"]
mod server;
