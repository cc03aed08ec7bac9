//! `bluegreen crd`: the CustomResourceDefinition, for `kubectl apply -f -`.

use super::output::print;

/// Print the CustomResourceDefinition, for kubectl apply -f -.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(super) fn run() -> anyhow::Result<()> {
    print(&crate::api::crd::yaml()?)?;
    Ok(())
}
