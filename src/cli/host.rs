//! `bluegreen host run`: the agent of a plain machine.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::driver::agent::config::DEFAULT_FILE;
use crate::driver::agent::daemon;
use crate::driver::agent::git::config::GitWords;
use crate::driver::agent::git::names::{GitPath, GitRef, GitUrl};

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
    /// The agent's configuration; what it leaves out has a default.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,

    /// Follow this Git repository: https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH. Keys and the rest are in the configuration (`git:`).
    #[arg(long, value_name = "URL")]
    git: Option<GitUrl>,

    /// Its branch, or a tag as refs/tags/NAME [default: main].
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<GitRef>,

    /// The folder in it that holds the manifests [default: its top].
    #[arg(long)]
    path: Option<GitPath>,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let Sub::Run(run) = args.subcommand;
    // The usual file may be missing; one that somebody named may not.
    let named = Some(run.config.as_path()).filter(|file| *file != Path::new(DEFAULT_FILE));
    let words = GitWords { url: run.git, reference: run.reference, path: run.path };
    Ok(daemon::run(named, words)?)
}
