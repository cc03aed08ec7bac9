//! No app is reached but through the web server: real programs that listen on every address, and a neighbour that scans. Needs root; each test has a
//! network of its own, and the machine's own tables are never touched.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "exposure/doctor.rs"]
mod doctor;
#[path = "exposure/doctor_of_apache.rs"]
mod doctor_of_apache;
#[path = "exposure/firewall.rs"]
mod firewall;
#[path = "exposure/guard.rs"]
mod guard;
#[path = "exposure/kit.rs"]
mod kit;
#[path = "exposure/runtimes.rs"]
mod runtimes;
#[path = "exposure/warnings.rs"]
mod warnings;
