//! `bluegreen man`: the manual pages, one a command, as a package ships them. Hidden, since nobody needs it but who builds one.

use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;

/// Write the manual pages into a folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder, which must be there.
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    clap_mangen::generate_to(super::Cli::command(), &args.folder)
        .with_context(|| format!("cannot write the manual pages into {}", args.folder.display()))
}
