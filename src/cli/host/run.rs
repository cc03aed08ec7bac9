//! `bluegreen host run`: the agent, in the foreground.

use std::path::{Path, PathBuf};

use crate::driver::agent::config::DEFAULT_FILE;
use crate::driver::agent::daemon;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The agent's configuration; what it leaves out has a default.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    // The usual file may be missing; one that somebody named may not.
    let named = Some(args.config.as_path()).filter(|file| *file != Path::new(DEFAULT_FILE));
    Ok(daemon::run(named)?)
}
