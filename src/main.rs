//! Process start.

use std::process::ExitCode;

use bluegreen::platform::host::release::{SUBCOMMAND, unpack_main};

fn main() -> ExitCode {
    // Before anything else, while there is one thread: the unpacker gives up this thread's rights.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == SUBCOMMAND) {
        return unpack_main(args);
    }
    ExitCode::SUCCESS
}
