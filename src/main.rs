//! Process start.

use std::process::ExitCode;

use bluegreen::platform::host::release::{INSTALL, READ_JAR, SUBCOMMAND, install_main, read_jar_main, unpack_main};
use bluegreen::platform::host::supervise::direct::launch;

fn main() -> ExitCode {
    // Before anything makes a thread: these give up rights that belong to a thread. None is for people, so the command line knows
    // nothing of them.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(word) if word == SUBCOMMAND => unpack_main(arguments),
        Some(word) if word == READ_JAR => read_jar_main(arguments),
        Some(word) if word == INSTALL => install_main(arguments),
        Some(word) if word == launch::WORD => launch::main(std::env::args().skip(2)),
        _ => bluegreen::cli::main(),
    }
}
