//! Asks nginx what it thinks of a configuration before it is in place: `nginx -T` in a mount namespace of its own, where the candidate's folders lie
//! over the real ones. The live files are not touched, and nobody else sees the candidate.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;

use super::syntax::Dump;

/// nginx looks up host names while it tests, and waits for name servers that don't answer.
const WITHIN: Duration = Duration::from_secs(60);

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// nginx says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such program.
    #[error("there is no program {}; install nginx", .0.display())]
    NoProgram(PathBuf),
    /// It did not come to an end.
    #[error("nginx -T did not end within {} s; can it look up every host name in its configuration?", WITHIN.as_secs())]
    Late,
    /// Not without touching the live files: nothing may be mounted here, as in most containers.
    #[error("the candidate could not be laid over nginx's folders in a mount namespace: {0}")]
    NoNamespace(#[source] io::Error),
    /// It could not be asked.
    #[error("could not {0}: {1}")]
    Failed(&'static str, #[source] io::Error),
}

/// What nginx says is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// In its own words, with the place.
    pub text: String,
    /// The file and line, where it names one.
    pub place: Option<(PathBuf, u32)>,
}

/// Tests the configuration that `nginx` would read, with each of `over` (what, over what) in place, and returns all of it.
///
/// # Errors
/// When nginx refuses it, or can't be asked.
pub fn trial(nginx: &Command, over: &[(PathBuf, PathBuf)]) -> Result<Dump, TrialError> {
    let mut command = Command::new(nginx.get_program());
    command
        .args(nginx.get_args())
        .args(["-T"])
        // Sockets are handed over in a variable; messages are wanted untranslated.
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A namespace belongs to a thread and to what it starts: this one ends with it.
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            if !over.is_empty() {
                lay_over(over)?;
            }
            run(&mut command)
        });
        asked.join().unwrap_or_else(|_| {
            Err(TrialError::Failed("run nginx -T", io::Error::other("the thread that ran it panicked")))
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

fn run(command: &mut Command) -> Result<Dump, TrialError> {
    let failed = |error| TrialError::Failed("run nginx -T", error);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(TrialError::NoProgram(PathBuf::from(command.get_program())));
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
            true => Ok(Dump::read(&out)),
            false => Err(TrialError::Refused(Refusal::read(&err))),
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

impl Refusal {
    /// From what nginx writes to its standard error or its log: `nginx: [emerg] unknown directive "x" in /etc/nginx/nginx.conf:3`.
    #[must_use]
    pub fn read(messages: &str) -> Refusal {
        let grave = |line: &&str| line.contains("[emerg]") || line.contains("[alert]") || line.contains("[crit]");
        let line = messages
            .lines()
            .rfind(grave)
            .or_else(|| messages.lines().rfind(|line| !line.trim().is_empty()))
            .unwrap_or("it says nothing");
        let text = line.split_once("] ").map_or(line, |(_, text)| text);
        // In a log, the number of the process stands before the message.
        let text = match text.split_once(": ") {
            Some((process, text)) if process.bytes().all(|b| b.is_ascii_digit() || b == b'#') => text,
            _ => text,
        };
        let place = text.rsplit_once(" in ").and_then(|(_, place)| {
            let (file, line) = place.trim().rsplit_once(':')?;
            Some((PathBuf::from(file), line.parse().ok()?))
        });
        Refusal { text: text.trim().to_owned(), place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nginx_says_is_read_with_its_place() {
        for (said, text, place) in [
            (
                "nginx: [warn] conflicting\nnginx: [emerg] unknown directive \"x\" in /etc/nginx/a b.conf:12\nnginx: configuration file /e test failed\n",
                "unknown directive \"x\" in /etc/nginx/a b.conf:12",
                Some(("/etc/nginx/a b.conf", 12)),
            ),
            (
                "2026/11/22 18:29:40 [emerg] 1204#1204: bind() to 0.0.0.0:80 failed (98: Address already in use)\n",
                "bind() to 0.0.0.0:80 failed (98: Address already in use)",
                None,
            ),
            ("", "it says nothing", None),
            ("segfault\n\n", "segfault", None),
        ] {
            let read = Refusal::read(said);
            assert_eq!(read.text, text);
            assert_eq!(read.place, place.map(|(file, line)| (PathBuf::from(file), line)));
        }
    }
}
