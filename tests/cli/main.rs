//! The command line: what it draws, what it refuses, and what it says to an agent.

#![allow(clippy::panic)] // A test fails by it.

mod expiry;
mod pods;
mod render;
mod samples;
mod talk;
mod validate;
