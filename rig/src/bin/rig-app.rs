//! The small web app of the tests and the demo. `--help` says what it can be told.

use std::process::ExitCode;

use bluegreen_rig::app::{Options, serve};

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rig-app: {error}");
            ExitCode::FAILURE
        }
    }
}
