//! Process start.

fn main() {}
