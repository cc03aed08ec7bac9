//! Blue/green deployment of web sites with nothing lost.
//!
//! A reading order: `api` (what a user writes), `rollout` (the logic, pure), `platform` (the worlds), `guards` (settings that must not reach production), `driver` (the loop that ties them
//! together), `cli`.

pub mod api;
pub mod cli;
pub mod control;
pub mod driver;
pub mod guards;
pub mod platform;
pub mod rollout;
