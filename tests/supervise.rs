//! The supervisor `direct`, the prober and the socket table, with real processes. Those that need root (other users, `/proc` of other users) say so.

#[path = "supervise/app.rs"]
mod app;
#[path = "supervise/direct.rs"]
mod direct;
#[path = "supervise/probe.rs"]
mod probe;
