//! Searches every reachable state of the rollout logic.

#[allow(dead_code)]
#[path = "../../src/rollout/mod.rs"]
mod rollout;

fn main() {}
