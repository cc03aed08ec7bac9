//! `bluegreen host run`: the agent, in the foreground.

use std::path::{Path, PathBuf};

use crate::driver::agent::config::DEFAULT_FILE;
use crate::driver::agent::daemon;
use crate::driver::agent::git::config::GitWords;
use crate::driver::agent::git::names::{GitPath, GitRef, GitUrl};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
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
    // The usual file may be missing; one that somebody named may not.
    let named = Some(args.config.as_path()).filter(|file| *file != Path::new(DEFAULT_FILE));
    let words = GitWords { url: args.git, reference: args.reference, path: args.path };
    Ok(daemon::run(named, words)?)
}
