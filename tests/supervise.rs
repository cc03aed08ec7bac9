//! The supervisor `direct`, the prober and the socket table, with real processes. Those that need root (other users, `/proc` of other users) say so.

#![allow(clippy::panic, reason = "that is how a test fails")]

#[path = "supervise/app.rs"]
mod app;
#[path = "supervise/container.rs"]
mod container;
#[path = "supervise/direct.rs"]
mod direct;
#[path = "supervise/probe.rs"]
mod probe;
#[path = "supervise/survive.rs"]
mod survive;
