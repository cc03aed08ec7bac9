//! Process start.

use std::path::Path;
use std::process::ExitCode;

use bluegreen::driver::agent::daemon;
use bluegreen::platform::host::release::{SUBCOMMAND, unpack_main};
use bluegreen::platform::host::supervise::direct::launch;

fn main() -> ExitCode {
    // Before anything makes a thread: these two give up rights that belong to a thread.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(word) if word == SUBCOMMAND => return unpack_main(arguments),
        Some(word) if word == launch::WORD => return launch::main(std::env::args().skip(2)),
        _ => {}
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["host", "run"] => daemon::run(None),
        ["host", "run", "--config", file] => daemon::run(Some(Path::new(file))),
        _ => return ExitCode::from(2),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
