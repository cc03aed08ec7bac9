//! `make bench-hub`: many hosts and their sites on a real API server.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bluegreen_rig::bench::hub::{Plan, measure};
use clap::Parser;

/// Measures how soon a commit is a cutover, and what many hosts take of an API server.
#[derive(Debug, Parser)]
struct Options {
    /// So many hosts.
    #[arg(long, env = "N", default_value_t = 500)]
    hosts: usize,
    /// So many sites on each of them.
    #[arg(long, default_value_t = 4)]
    sites: usize,
    /// So many commits to two hosts.
    #[arg(long, default_value_t = 50)]
    commits: usize,
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench/hub.json")]
    out: PathBuf,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    bluegreen_rig::interrupt::heed()?;
    let report = measure(Plan { hosts: options.hosts, sites: options.sites, commits: options.commits })?;
    if let Some(folder) = options.out.parent() {
        fs::create_dir_all(folder)?;
    }
    let json = serde_json::to_string_pretty(&report)?;
    fs::write(&options.out, format!("{json}\n")).with_context(|| format!("cannot write {}", options.out.display()))?;
    println!("{report}");
    if let Some(complaint) = report.complaint() {
        eprintln!("bench-hub: {complaint}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
