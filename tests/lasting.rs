//! What lasts: requests that outlive a cutover, traffic that needs no agent, a site whose nginx fails. The built program, a real nginx, a real
//! app, real load. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "lasting/across.rs"]
mod across;
#[path = "lasting/begun.rs"]
mod begun;
#[path = "lasting/front.rs"]
mod front;
#[path = "lasting/killed.rs"]
mod killed;
#[allow(dead_code, reason = "each test program uses another part of it")]
#[path = "agent/kit.rs"]
mod kit;
#[path = "lasting/ways.rs"]
mod ways;
