//! A host that follows a hub: a real API server, the built agent, a real nginx, a real app, real load. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "hub/away.rs"]
mod away;
#[path = "hub/cuts.rs"]
mod cuts;
#[path = "hub/escapes.rs"]
mod escapes;
#[path = "hub/fetched.rs"]
mod fetched;
#[path = "hub/kit.rs"]
mod kit;
#[path = "hub/leaving.rs"]
mod leaving;
#[path = "hub/long.rs"]
mod long;
#[path = "hub/machines.rs"]
mod machines;
#[path = "hub/proxy.rs"]
mod proxy;
#[path = "hub/rollout.rs"]
mod rollout;
#[path = "hub/secrets.rs"]
mod secrets;
