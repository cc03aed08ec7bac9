//! `bluegreen completion`: what a shell needs to complete our words.

use clap::CommandFactory;
use clap_complete::Shell;

use super::output::print;

/// Print what a shell needs to complete this program's words.
///
/// In bash, for this session: source <(bluegreen completion bash)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "bluegreen", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(())
}
