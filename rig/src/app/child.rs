//! The app as a process of its own, for tests and benchmarks that run it without the agent.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::ports::Port;
use crate::process::Guarded;
use crate::{binaries, load, wait};

/// A running app. It ends when this is dropped.
#[derive(Debug)]
pub struct Child {
    /// The process.
    pub process: Guarded,
    port: Port,
}

impl Child {
    /// Starts the app as `version` on a port of its own, with further arguments, and waits until it is healthy.
    ///
    /// # Errors
    /// When it can't be started or doesn't get healthy.
    pub fn start(version: &str, arguments: &[&str]) -> Result<Child> {
        let port = Port::take()?;
        // In a session of its own, as an agent starts it: the kernel may share out the processors by sessions.
        let mut command = Command::new("setsid");
        command
            .arg(binaries::rig_app()?)
            .args(["--port", &port.number().to_string(), "--version-name", version])
            .args(arguments);
        let process = Guarded::start(command.stdin(Stdio::null()), Signal::TERM, Duration::from_secs(5))?;
        let child = Child { process, port };
        wait::until(&format!("{version} was healthy"), wait::PATIENCE, || {
            load::get(child.address(), "localhost", "/health").ok().filter(|answer| answer.status == 200)
        })
        .context("the app does not come up")?;
        Ok(child)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number()))
    }
}
