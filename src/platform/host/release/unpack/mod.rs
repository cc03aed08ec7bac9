//! Unpacks archives, in a process of its own that may do nothing else.
//!
//! An archive is the most hostile thing that reaches this program, and its parsers are the largest code that touches it. So the agent, which
//! is root, never parses one: it starts its own binary again as `bluegreen unpack`, which shuts itself into an empty folder as the site's user
//! (`jail`), reads the archive from a descriptor (`read`, and `layer` for those of an image), writes what it finds (`place`), and says how it went in one line of JSON. What it
//! wrote is then taken over like a folder that a user uploaded: looked at again, entry by entry.

mod layer;
mod place;
mod read;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::entry::{Danger, show};
use super::jail::{self, Bounds, Who};
use super::limits::{Excess, Limits, Tally};
use super::source::Kind;

/// The name of the hidden subcommand.
pub const SUBCOMMAND: &str = "unpack";

/// The binary that is running, even if its file was replaced since.
pub const OURSELVES: &str = "/proc/self/exe";

/// An archive could not be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum UnpackError {
    /// An entry has no place in a release.
    #[error("{entry:?} {danger}")]
    Unsafe {
        /// Which.
        entry: String,
        /// Why.
        danger: Danger,
    },
    /// It is larger than a release may be.
    #[error("{entry:?} is beyond the limit of {} {}", .excess.limit, .excess.measure)]
    TooLarge {
        /// Where the limit was passed.
        entry: String,
        /// Which limit.
        excess: Excess,
    },
    /// The archive is cut off, or was never one.
    #[error(
        "the archive is not whole ({why}, {at}): it is still being uploaded, or the upload broke off; upload it again"
    )]
    Damaged {
        /// After or in which entry.
        at: String,
        /// What the parser said.
        why: String,
    },
    /// The disk of the releases is full.
    #[error("no space left on the disk of the releases, at {entry:?}")]
    DiskFull {
        /// What was being written.
        entry: String,
    },
    /// It was not done in time, or used more processor time or memory than it may.
    #[error("the unpacker was stopped ({how}): an archive should not need that; pack it anew, without tricks")]
    Stopped {
        /// How it ended.
        how: String,
    },
    /// The system refused.
    #[error("the unpacker failed: {what}")]
    Failed {
        /// At what.
        what: String,
    },
}

/// What the unpacker is told.
#[derive(Debug, Serialize, Deserialize)]
struct Task {
    kind: Kind,
    uid: u32,
    gid: u32,
    parent: u32,
    limits: Limits,
}

/// What the unpacker says.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Done(Tally),
    Refused(UnpackError),
}

/// The most that is read of what the unpacker says: it may have been taken over by what it unpacked.
const LONGEST_REPORT: u64 = 64 << 10;

/// Unpacks `archive` into the empty folder `into`, which must belong to `account`, with `binary` as the unpacker.
pub(super) fn unpack(
    binary: &Path,
    mut archive: File,
    kind: &Kind,
    into: &Path,
    account: &Account,
    limits: &Limits,
) -> Result<Tally, UnpackError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| UnpackError::Failed { what: format!("{what}: {error}") };
    archive.rewind().map_err(|error| failed("the archive can't be read", &error))?;
    let task =
        Task { kind: kind.clone(), uid: account.uid, gid: account.gid, parent: std::process::id(), limits: *limits };
    let task = serde_json::to_string(&task).map_err(|error| failed("its task has no JSON", &error))?;
    let mut child = Command::new(binary)
        .args([SUBCOMMAND, &task])
        .env_clear()
        .current_dir(into)
        .stdin(archive)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&format!("{} can't be started", binary.display()), &error))?;
    let said = listen(&mut child, limits);
    // It has said all that it will: an honest one has ended or is about to, and one that hasn't must not keep us waiting.
    let _ = child.kill();
    let status = child.wait().map_err(|error| failed("it was lost", &error))?;
    let Some(said) = said else {
        return Err(UnpackError::Stopped { how: format!("it was not done within {} s", limits.within.as_secs()) });
    };
    match serde_json::from_slice(&said) {
        Ok(Report::Done(tally)) => Ok(tally),
        Ok(Report::Refused(error)) => Err(error),
        _ => Err(UnpackError::Stopped { how: status.to_string() }),
    }
}

/// Everything that the unpacker says until it ends; `None`: it was not done in time.
fn listen(child: &mut Child, limits: &Limits) -> Option<Vec<u8>> {
    let output = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut said = Vec::new();
        let _ = output.take(LONGEST_REPORT).read_to_end(&mut said);
        // Nobody listens any more: the time is up.
        let _ = sender.send(said);
    });
    receiver.recv_timeout(limits.within).ok()
}

/// The hidden subcommand `bluegreen unpack TASK`: the archive on standard input, the folder to fill as working folder. To be called first thing in
/// `main`, while there is one thread: it gives up the rights of that thread.
pub fn unpack_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let report = match task(args.next()).and_then(|task| unpack_here(&task)) {
        Ok(tally) => Report::Done(tally),
        Err(error) => Report::Refused(error),
    };
    let told = serde_json::to_vec(&report).map_err(io::Error::from).and_then(|text| io::stdout().write_all(&text));
    match (report, told) {
        (Report::Done(_), Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn task(argument: Option<OsString>) -> Result<Task, UnpackError> {
    let wrong = |what: &str| UnpackError::Failed {
        what: format!("`bluegreen {SUBCOMMAND}` is for the agent's own use: {what}"),
    };
    let argument = argument.ok_or_else(|| wrong("it was given no task"))?;
    let text = argument.to_str().ok_or_else(|| wrong("its task is no text"))?;
    serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))
}

fn unpack_here(task: &Task) -> Result<Tally, UnpackError> {
    let bounds = Bounds { cpu: task.limits.cpu, file: task.limits.bytes };
    let root = jail::enter(Who::Account { uid: task.uid, gid: task.gid }, task.parent, &bounds)
        .map_err(|error| UnpackError::Failed { what: format!("it can't shut itself in: {error}") })?;
    let archive = rustix::io::dup(io::stdin())
        .map_err(|error| UnpackError::Failed { what: format!("it was given no archive: {error}") })?;
    let mut place = place::Place::new(root, task.limits);
    read::archive(&task.kind, File::from(archive), &mut place)?;
    Ok(place.tally())
}

/// A parser's words about bytes of somebody else's choosing.
fn words(error: &dyn std::fmt::Display) -> String {
    show(error.to_string().as_bytes())
}
