//! `make bench-operator`: the operator with many sites on a real API server.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bluegreen_rig::bench::operator::{Plan, measure};
use clap::Parser;

/// Measures what the operator takes, and how quickly it acts, with many sites.
#[derive(Debug, Parser)]
struct Options {
    /// So many sites.
    #[arg(long, env = "N", default_value_t = 1000)]
    sites: usize,
    /// So many of them are rolled out at once for the time from ready to cut over.
    #[arg(long, default_value_t = 100)]
    at_once: usize,
    /// So often all of them are rolled out.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench/operator.json")]
    out: PathBuf,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    bluegreen_rig::interrupt::heed()?;
    let report = measure(Plan { sites: options.sites, at_once: options.at_once, rounds: options.rounds })?;
    if let Some(folder) = options.out.parent() {
        fs::create_dir_all(folder)?;
    }
    let json = serde_json::to_string_pretty(&report)?;
    fs::write(&options.out, format!("{json}\n")).with_context(|| format!("cannot write {}", options.out.display()))?;
    println!("{report}");
    if let Some(complaint) = report.complaint() {
        eprintln!("bench-operator: {complaint}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
