//! The operator, as a process.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::binaries;
use crate::cluster::ControlPlane;
use crate::process::Guarded;

/// The operator, as a process.
pub struct Program {
    process: Guarded,
    log: PathBuf,
}

impl Program {
    /// Starts it. Whether it works is seen by what it does.
    pub fn start(plane: &ControlPlane, namespace: &str) -> Result<Program> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let log = plane.folder().join(format!("bench-operator-{}.log", COUNT.fetch_add(1, Ordering::Relaxed)));
        let out = File::create(&log)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(binaries::bluegreen()?);
        command.args(["operator", "--lease-namespace", namespace]);
        command.args(["--metrics-address", "127.0.0.1:0", "--health-address", "127.0.0.1:0"]);
        command.env("KUBECONFIG", plane.kubeconfig());
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        Ok(Program { process: Guarded::start(&mut command, Signal::TERM, Duration::from_secs(30))?, log })
    }

    /// Its resident memory, in MiB.
    pub fn memory(&self) -> Result<f64> {
        super::memory(self.process.pid()).with_context(|| format!("the operator has ended:\n{}", self.said()))
    }

    /// The most that it ever was.
    pub fn peak(&self) -> Result<f64> {
        super::peak(self.process.pid()).with_context(|| format!("the operator has ended:\n{}", self.said()))
    }

    /// Asks it to end, and waits.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// The end of what it logged.
    pub fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}
