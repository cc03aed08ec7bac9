//! What is in a jar or a war, told by a process of its own that may do nothing else.
//!
//! Such a file is run as it was uploaded, so the agent never unpacks it; but whether Java can begin with it, and with which settings, stands inside.
//! The list of what is in it may be as long as the file, and whoever reads it holds it in memory: that happens in `bluegreen read-jar`, which has shut
//! itself in (`jail`) with bounds on memory and time before it reads a byte. Each question is a line of JSON on its standard input, each answer
//! one on its standard output, and the file is its standard error: what a process has three of from the start needs no other way in.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use zip::ZipArchive;

use super::entry::show;
use super::jail::{self, Bounds, Who};
use crate::platform::Class;

/// The name of the hidden subcommand.
pub const SUBCOMMAND: &str = "read-jar";
/// The largest file in it that is read: settings, manifests. What is beyond that is left out.
pub const LARGEST: u64 = 1 << 20;
/// The longest answer in bytes. No jar that anybody built comes near: the names in a Spring Boot app come to some 50 KB.
const LONGEST: u64 = 16 << 20;
/// How a program ends that has given up on itself.
const PANICKED: i32 = 101;
/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(30);
/// Processor time for all answers together.
const CPU: Duration = Duration::from_secs(60);
/// The longest name of a file in it. Java takes more; the kernel takes no path that is longer.
const LONGEST_NAME: usize = 4096;

/// Nothing can be told of a jar: why, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JarError {
    /// It is cut off, or was never one.
    #[error("{0}")]
    Damaged(String),
    /// It took more time or memory than the list of a jar's files needs.
    #[error("the list of what is in it is larger than that of any jar, or damaged")]
    Stopped,
    /// The system refused.
    #[error("its reader failed: {0}")]
    Failed(String),
}

impl JarError {
    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            JarError::Failed(_) => Class::Transient,
            JarError::Damaged(_) | JarError::Stopped => Class::User,
        }
    }
}

/// What is asked: a file's name.
#[derive(Serialize, Deserialize)]
struct Asked(String);

/// What is answered. The first answer comes unasked.
#[derive(Serialize, Deserialize)]
enum Answer {
    Names(Vec<String>),
    /// What is in a file, `None` if there is none; what is no text in it is replaced.
    File(Option<String>),
    Damaged(String),
    Failed(String),
}

/// A jar, a war or another zip archive.
pub struct Jar {
    names: Vec<String>,
    reader: Mutex<Reader>,
}

impl Jar {
    /// Starts `binary`, which is this program, as the reader of a file.
    ///
    /// # Errors
    /// See [`JarError`].
    pub fn open(binary: &Path, file: File) -> Result<Jar, JarError> {
        let mut reader = Reader::start(binary, file)?;
        match reader.answer()? {
            Answer::Names(names) if names.iter().any(|name| name.len() > LONGEST_NAME) => Err(JarError::Stopped),
            Answer::Names(names) => Ok(Jar { names, reader: Mutex::new(reader) }),
            other => Err(unexpected(other)),
        }
    }

    /// The names of all that is in it.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The text of the file of this name, up to [`LARGEST`] bytes; `None`: there is none.
    ///
    /// # Errors
    /// See [`JarError`].
    pub fn read(&self, name: &str) -> Result<Option<String>, JarError> {
        if !self.names.iter().any(|one| one == name) {
            return Ok(None);
        }
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.ask(&Asked(name.to_owned()))?;
        match reader.answer()? {
            Answer::File(text) => Ok(text),
            other => Err(unexpected(other)),
        }
    }
}

fn unexpected(answer: Answer) -> JarError {
    match answer {
        Answer::Damaged(why) => JarError::Damaged(why),
        Answer::Failed(why) => JarError::Failed(why),
        Answer::Names(_) | Answer::File(_) => JarError::Failed("it answered what nobody had asked".to_owned()),
    }
}

/// The other process; it ends with this.
struct Reader {
    child: Child,
    questions: ChildStdin,
    /// `None`: an answer was too long.
    answers: Receiver<Option<Vec<u8>>>,
    /// Its whole world, which is empty.
    _folder: TempDir,
}

impl Reader {
    fn start(binary: &Path, file: File) -> Result<Reader, JarError> {
        let failed = |error: io::Error| JarError::Failed(error.to_string());
        let folder = tempfile::Builder::new().prefix("bluegreen-jar.").tempdir().map_err(failed)?;
        let mut child = Command::new(binary)
            .args([SUBCOMMAND, &std::process::id().to_string()])
            .env_clear()
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(failed)?;
        let (Some(questions), Some(told)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(JarError::Failed("it has no pipes".to_owned()));
        };
        Ok(Reader { child, questions, answers: listen(told), _folder: folder })
    }

    fn ask(&mut self, asked: &Asked) -> Result<(), JarError> {
        let mut line = serde_json::to_vec(asked).map_err(|error| JarError::Failed(error.to_string()))?;
        line.push(b'\n');
        // It has ended: the answer tells why.
        let _ = self.questions.write_all(&line);
        Ok(())
    }

    fn answer(&mut self) -> Result<Answer, JarError> {
        match self.answers.recv_timeout(WITHIN) {
            Ok(Some(line)) => serde_json::from_slice(&line).map_err(|error| JarError::Failed(error.to_string())),
            Ok(None) => Err(JarError::Stopped),
            Err(RecvTimeoutError::Timeout) => {
                Err(JarError::Failed(format!("it did not answer within {} s", WITHIN.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    /// Why it ended: by the jar's doing, or by somebody else's (a machine without memory left, say).
    fn ended(&mut self) -> JarError {
        let _ = self.child.kill();
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(error) => return JarError::Failed(error.to_string()),
        };
        let by = |signal: Signal| status.signal() == Some(signal.as_raw());
        // Out of the processor time or the memory that it may have; or its parser gave up.
        match by(Signal::XCPU) || by(Signal::ABORT) || status.code() == Some(PANICKED) {
            true => JarError::Stopped,
            false => JarError::Failed(format!("it ended ({status})")),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each line that it says, until one is too long or it ends.
fn listen(told: ChildStdout) -> Receiver<Option<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut speech = BufReader::new(told);
        loop {
            let mut line = Vec::new();
            let read = speech.by_ref().take(LONGEST).read_until(b'\n', &mut line).unwrap_or(0);
            let told = match line.pop() {
                Some(b'\n') => Some(line),
                _ if u64::try_from(read) == Ok(LONGEST) => None,
                // It was killed while it spoke: how it ended tells why.
                _ => return,
            };
            let too_long = told.is_none();
            if sender.send(told).is_err() || too_long {
                return;
            }
        }
    });
    receiver
}

/// The hidden subcommand `bluegreen read-jar PARENT`. To be called first thing in `main`, while there is one thread: it gives up the rights of
/// that thread.
pub fn read_jar_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = args.next().and_then(|word| word.to_str()?.parse().ok());
    let done = parent.map_or_else(
        || Err(io::Error::other(format!("`bluegreen {SUBCOMMAND}` is for the agent's own use"))),
        |parent| {
            jail::shut(Who::NobodyElse, parent, &Bounds { cpu: CPU, file: 0 })?;
            serve()
        },
    );
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody listens any more.
            let _ = say(&Answer::Failed(error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let file = File::from(rustix::io::dup(io::stderr())?);
    let mut archive = match ZipArchive::new(BufReader::new(file)) {
        Ok(archive) => archive,
        Err(error) => return say(&Answer::Damaged(show(error.to_string().as_bytes()))),
    };
    let names = archive.file_names().flatten().map(std::borrow::Cow::into_owned).collect();
    say(&Answer::Names(names))?;
    for line in io::stdin().lines() {
        let Asked(name) = serde_json::from_str(&line?)?;
        say(&match archive.by_name(&name).map_err(io::Error::from).and_then(text) {
            Ok(text) => Answer::File(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Answer::File(None),
            Err(error) => Answer::Damaged(show(error.to_string().as_bytes())),
        })?;
    }
    Ok(())
}

fn text(entry: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    entry.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn say(answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    io::stdout().write_all(&line)
}
