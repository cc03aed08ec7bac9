//! The command line: what it draws, what it refuses, and what it says to an agent.

mod render;
mod samples;
mod talk;
mod validate;
