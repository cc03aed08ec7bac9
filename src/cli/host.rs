//! `bluegreen host run`: the agent of a plain machine.

use std::path::PathBuf;

use clap::Subcommand;

use crate::driver::agent::daemon;

/// The agent of a plain machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    subcommand: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Run the agent in the foreground, until it is told to end.
    Run(RunArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The agent's configuration. Default: /etc/bluegreen/agent.yaml if it is there; what it leaves out has a default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let Sub::Run(run) = args.subcommand;
    daemon::run(run.config.as_deref())?;
    Ok(())
}
