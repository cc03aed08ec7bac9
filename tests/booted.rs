//! What only a booted machine can show. Each test boots a Debian of its own; needs root, `debootstrap` and `systemd-container`.
//!
//! The tests in `inside` are run within such a machine, by those in `systemd`, from this same program.

#![allow(clippy::panic, reason = "that is how a test fails")]

#[path = "booted/agent.rs"]
mod agent;
#[path = "booted/firewall.rs"]
mod firewall;
#[path = "booted/inside.rs"]
mod inside;
#[path = "booted/machine.rs"]
mod machine;
#[path = "booted/runtimes.rs"]
mod runtimes;
#[path = "booted/systemd.rs"]
mod systemd;
#[path = "booted/vps.rs"]
mod vps;
