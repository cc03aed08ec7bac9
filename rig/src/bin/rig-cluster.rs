//! A control plane to play with: starts one, says how to reach it, and holds it until Ctrl-C.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use bluegreen_rig::cluster::{ControlPlane, Options};
use bluegreen_rig::{interrupt, wait};

fn main() -> ExitCode {
    match hold() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rig-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn hold() -> Result<()> {
    interrupt::heed()?;
    let plane = ControlPlane::start(Options::pods())?;
    println!("export KUBECONFIG={}", plane.kubeconfig().display());
    // Nothing to wait for but the end.
    let _ = wait::until::<()>("somebody asks it to end", Duration::MAX, || None);
    Ok(())
}
