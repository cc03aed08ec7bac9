//! `bluegreen version`.

use super::output::print;
use crate::api::names;

/// Print the version.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(super) fn run() -> anyhow::Result<()> {
    print(&format!("bluegreen {} ({})", env!("CARGO_PKG_VERSION"), names::API_VERSION))?;
    Ok(())
}
