//! The host daemon: takes sites from a folder of manifests and from the control socket, and turns each of them in a task of its own.

pub mod config;
pub mod folder;
pub mod lock;
pub mod metrics;
pub mod orders;
