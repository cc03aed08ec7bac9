//! Process start.

use std::process::ExitCode;

use bluegreen::platform::host::supervise::direct::launch;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    // Before anything makes a thread: see `launch`.
    if arguments.next().as_deref() == Some(launch::WORD) {
        return launch::main(arguments);
    }
    bluegreen::cli::main()
}
