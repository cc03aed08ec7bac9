//! Searches every reachable state of the rollout logic, breadth first, within bounds: spec edits, commands, faults.
//!
//! The logic is compiled here alone, with `serde` and nothing else: that it compiles is the proof that it is pure.
//!
//! Read in this order: `state` (a small world and both memories), `step` (what the product does in it), `nature` (what
//! people, apps, time and bad luck do), `policy` (when they leave it alone), `judge` (the invariants), `search`.

#[path = "../../src/rollout/mod.rs"]
pub mod rollout;

pub mod judge;
pub mod nature;
pub mod policy;
pub mod search;
pub mod state;
pub mod step;
