//! Processes and folders that never outlive this process, whatever becomes of it. A control plane that a test binary's tests share lies in
//! a static, which nobody drops; and a test run may be killed.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::Guarded;

/// Starts a server whose output goes to a file. It is killed when the value is dropped, and by the kernel when this process ends.
///
/// # Errors
/// When it can't be started.
pub fn start(program: &Path, arguments: &[String], log: &Path) -> Result<Guarded> {
    let log = File::options().create(true).append(true).open(log)?;
    // Safe Rust can't ask for the signal between fork and exec; this program does, and becomes the server.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // Ctrl-C at a terminal is for us alone, so that we end things in order.
    command.process_group(0);
    for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "KUBECONFIG"] {
        command.env_remove(proxy);
    }
    let child = spawn(command).with_context(|| format!("cannot start {}", program.display()))?;
    Ok(Guarded::of(child, Signal::KILL, Duration::from_secs(10)))
}

type Order = (Command, Sender<io::Result<Child>>);

/// The kernel sends the signal when the *thread* that started the child ends, and a test's thread ends with the test. So one thread that
/// lives as long as the process starts them all.
fn spawn(command: Command) -> io::Result<Child> {
    static NURSE: OnceLock<Sender<Order>> = OnceLock::new();
    let nurse = NURSE.get_or_init(|| {
        let (orders, taken) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in taken {
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, answered) = channel();
    nurse.send((command, answer)).map_err(io::Error::other)?;
    answered.recv().map_err(io::Error::other)?
}

/// Somebody who waits until this is dropped, or until this process has ended without dropping it, and then cleans up.
#[derive(Debug)]
pub struct Janitor {
    child: Child,
    // Its other end reads from it until we are gone.
    pipe: Option<ChildStdin>,
}

impl Janitor {
    /// One that will run this shell script, with these arguments.
    ///
    /// # Errors
    /// When there is no shell.
    pub fn new(script: &str, arguments: &[&Path]) -> Result<Janitor> {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("read -r _; {script}"), "sh"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().context("cannot start sh")?;
        let pipe = child.stdin.take();
        Ok(Janitor { child, pipe })
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.child.wait();
    }
}

/// A temporary folder that goes when it is dropped, or when this process ends without dropping it.
#[derive(Debug)]
pub struct Folder {
    _janitor: Janitor,
    folder: TempDir,
}

impl Folder {
    /// Makes one below the system's folder for temporary files.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn new(prefix: &str) -> Result<Folder> {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir()?;
        // Servers that die at the same moment may still write a file or two.
        let clean = "for try in 1 2 3 4 5; do rm -rf -- \"$1\" && break; sleep 0.2; done";
        Ok(Folder { _janitor: Janitor::new(clean, &[folder.path()])?, folder })
    }

    /// A path in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}
