//! `bluegreen doctor`: what is wrong with this machine, for people, for machines and for cron. Works without the agent, which may be what is wrong.

use std::path::{Path, PathBuf};

use super::output::{Terminal, print};
use super::{Exit, render};
use crate::driver::agent;
use crate::driver::agent::config::{AgentConfig, DEFAULT_FILE};
use crate::platform::host::audit::{self, Report};

/// Look for what is wrong with this machine: who can be reached, what can be read, what will fail. Changes nothing.
///
/// Ends with 0 when nothing is wrong, 1 when something is, and 2 when nothing was found but not everything could be looked at. Run it as root.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent's configuration, which says where to look.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,

    /// A port that is meant to be reached by others, besides ssh and the web server. May be given several times.
    #[arg(long, value_name = "PORT")]
    expect: Vec<u16>,

    /// Another form than text.
    #[arg(short, long, value_enum)]
    output: Option<Output>,

    /// Say nothing while nothing is wrong, and only what is: for cron.
    #[arg(short, long)]
    quiet: bool,
}

/// Other forms than text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// All of it, as JSON.
    Json,
}

/// Something is wrong.
const FOUND: u8 = 1;
/// Not everything could be looked at.
const UNSEEN: u8 = 2;

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    // The usual file may be missing; one that somebody named may not.
    let named = Some(args.config.as_path()).filter(|file| *file != Path::new(DEFAULT_FILE));
    let config = AgentConfig::load(named).map_err(|error| Exit::because(UNSEEN, error))?;
    let mut report = audit::audit(&agent::places(&config, args.expect.into_iter().collect())).await;
    report.findings.extend(agent::hub::standing::finding(&config.state_dir));
    report.findings.extend(agent::hub::standing::authority(&config.state_dir, jiff::Timestamp::now()));
    report.findings.extend(agent::git::doctor::findings(&config, jiff::Timestamp::now()));
    match args.output {
        Some(Output::Json) => print(&serde_json::to_string_pretty(&report)?)?,
        None => print(&render::doctor::text(&report, Terminal::now().map(|terminal| terminal.columns), args.quiet))?,
    }
    match code(&report) {
        0 => Ok(()),
        code => Err(Exit::quietly(code).into()),
    }
}

fn code(report: &Report) -> u8 {
    match (report.findings.is_empty(), report.unseen.is_empty()) {
        (false, _) => FOUND,
        (true, false) => UNSEEN,
        (true, true) => 0,
    }
}
