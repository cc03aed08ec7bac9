//! The runtimes that are neither Java's nor Python's, behind a real nginx and a real Apache, by the built agent, under load: `static`, `command`, and
//! what speaks HTTP or FastCGI as a `command` (Node, PHP-FPM). Needs root.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "runtimes/cutovers.rs"]
mod cutovers;
#[path = "python/kit.rs"]
#[allow(dead_code, reason = "the tests of Python need more of it")]
mod kit;
#[path = "runtimes/node.rs"]
mod node;
#[path = "runtimes/php.rs"]
mod php;
