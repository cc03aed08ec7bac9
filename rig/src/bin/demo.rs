//! `make demo`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match bluegreen_rig::demo::run() {
        Ok(report) => {
            print!("\n{report}");
            let lost = report.totals.complaint().is_some();
            if lost { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
