//! Asks a web server what it thinks of a configuration before it is in place: its own test in a mount namespace of its own, where the candidate's
//! folders lie over the real ones. The live files are not touched, and nobody else sees the candidate.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;

use super::version::Version;

/// A web server looks up host names while it tests, and waits for name servers that don't answer.
const WITHIN: Duration = Duration::from_secs(60);

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// It says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such program.
    #[error("there is no program {}; install {}", .0.display(), .1)]
    NoProgram(PathBuf, &'static str),
    /// It is too old.
    #[error(
        "{name} {found} is too old: {oldest} or later is needed; install that from your distribution or from the makers of {name}"
    )]
    TooOld {
        /// Its name.
        name: &'static str,
        /// What it is.
        found: Version,
        /// What is needed.
        oldest: Version,
    },
    /// It lacks modules that our files need: whose, and which, with spaces between.
    #[error("{} lacks what sites need, {}: run `a2enmod {}` and restart it, or load it as your distribution does", .0, .1, .1)]
    NoModule(&'static str, String),
    /// It did not come to an end.
    #[error("the test of the configuration did not end within {} s; can it look up every host name in its configuration?", WITHIN.as_secs())]
    Late,
    /// Not without touching the live files: nothing may be mounted here, as in most containers.
    #[error("the candidate could not be laid over the web server's folders in a mount namespace: {0}")]
    NoNamespace(#[source] io::Error),
    /// It could not be asked.
    #[error("could not {0}: {1}")]
    Failed(&'static str, #[source] io::Error),
}

/// What a web server says is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// In its own words, with the place.
    pub text: String,
    /// The file and line, where it names one.
    pub place: Option<(PathBuf, u32)>,
    /// The address at which it could not listen, where that is what is wrong.
    pub address: Option<SocketAddr>,
}

/// How a program is asked to test its configuration.
#[derive(Debug)]
pub struct Ask<'a> {
    /// What to install where there is no such program.
    pub package: &'static str,
    /// The program with its arguments.
    pub command: Command,
    /// Reads what it writes when it says no.
    pub refusal: fn(&str) -> Refusal,
    /// What lies over what meanwhile.
    pub over: &'a [(PathBuf, PathBuf)],
}

/// Runs the test, and returns what it printed.
///
/// # Errors
/// When the configuration is refused, or the program can't be asked.
pub fn trial(mut ask: Ask<'_>) -> Result<String, TrialError> {
    ask.command
        // Sockets are handed over in a variable; messages are wanted untranslated.
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A namespace belongs to a thread and to what it starts: this one ends with it.
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            if !ask.over.is_empty() {
                lay_over(ask.over)?;
            }
            run(&mut ask)
        });
        asked.join().unwrap_or_else(|_| {
            Err(TrialError::Failed("test the configuration", io::Error::other("the thread that ran it panicked")))
        })
    })
}

fn lay_over(over: &[(PathBuf, PathBuf)]) -> Result<(), TrialError> {
    let refused = |errno: rustix::io::Errno| TrialError::NoNamespace(errno.into());
    // Deprecated for what it does to file descriptors with another flag; with this one it is as safe as its signature.
    #[expect(deprecated, reason = "the successor is unsafe because of CLONE_FILES, which is not asked for")]
    let unshared = rustix::thread::unshare(UnshareFlags::NEWNS);
    unshared.map_err(refused)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(refused)?;
    for (what, over_what) in over {
        rustix::mount::mount_bind(what, over_what).map_err(refused)?;
    }
    Ok(())
}

fn run(ask: &mut Ask<'_>) -> Result<String, TrialError> {
    let failed = |error| TrialError::Failed("test the configuration", error);
    let mut child = match ask.command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(TrialError::NoProgram(PathBuf::from(ask.command.get_program()), ask.package));
        }
        Err(error) => return Err(failed(error)),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let out = scope.spawn(|| text(stdout));
        let err = scope.spawn(|| text(stderr));
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                break status;
            }
            if begun.elapsed() > WITHIN {
                child.kill().map_err(failed)?;
                child.wait().map_err(failed)?;
                return Err(TrialError::Late);
            }
            thread::sleep(Duration::from_millis(2));
        };
        let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        match status.success() {
            true => Ok(out),
            false => Err(TrialError::Refused((ask.refusal)(&err))),
        }
    })
}

fn text(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What was read until it broke off is still worth showing.
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
