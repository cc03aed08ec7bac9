//! Searches every reachable state of the rollout logic.

#[path = "../../src/rollout/mod.rs"]
pub mod rollout;
