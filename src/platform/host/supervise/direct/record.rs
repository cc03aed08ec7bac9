//! What `direct` keeps on disk of each instance, in the site's folder, for root's eyes only:
//!
//! ```text
//! run/blue.0.json     how to run it, and whether it is wanted; holds secrets
//! run/blue.0.pid      the process that was made of it, written by that process itself before it becomes the app
//! run/blue.0.lock     held from the look at the other two until the app runs: no instance is ever started twice
//! run/blue.0.error    why the app could not be executed, in words
//! ```
//!
//! The agent may be killed between any two instructions: the launcher looks and writes under the lock, and the agent, after it has
//! taken back its wish, passes through the same lock before it looks for what to stop.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::api::types::EnvName;
use crate::platform::host::supervise::files::write_whole;
use crate::platform::host::supervise::process::{self, Process};
use crate::rollout::Colour;

/// How to run an instance, resolved to what the kernel takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    /// Whether it shall run. False while it is being stopped.
    pub wanted: bool,
    /// The boot in which it was asked for; see `process::boot`.
    pub boot: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The whole environment, without the mark.
    pub env: BTreeMap<EnvName, String>,
    /// The working folder.
    pub dir: PathBuf,
    /// Who runs it.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
    /// Where its output goes.
    pub log: PathBuf,
    /// From SIGTERM to SIGKILL.
    pub stop_within: Duration,
    /// The link that names the live colour: any other one is the first that the kernel kills when memory runs out.
    pub live: PathBuf,
}

/// The process that was made of a specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Born {
    /// The process.
    #[serde(flatten)]
    pub process: Process,
    /// In this boot.
    pub boot: String,
    /// How often the instance had been started again by then.
    pub restarts: u32,
}

impl Born {
    /// The process, if it is still there.
    pub(crate) fn alive(&self) -> Option<Process> {
        (self.boot == process::boot() && self.process.is_alive()).then_some(self.process)
    }
}

/// The files of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    base: PathBuf,
}

impl Record {
    /// The record of an instance in the folder `run` of its site.
    pub(crate) fn new(run: &Path, colour: Colour, index: u16) -> Record {
        Record { base: run.join(format!("{}.{index}", colour.name())) }
    }

    /// The record whose specification is this file.
    pub(crate) fn of_spec(file: &Path) -> Option<Record> {
        (file.extension()? == "json").then(|| Record { base: file.with_extension("") })
    }

    /// The colour and index, read from the name.
    pub(crate) fn place(&self) -> Option<(Colour, u16)> {
        let (colour, index) = self.base.file_name()?.to_str()?.split_once('.')?;
        let colour = Colour::BOTH.into_iter().find(|c| c.name() == colour)?;
        Some((colour, index.parse().ok()?))
    }

    /// What marks the instance's processes.
    pub(crate) fn marker(&self) -> &Path {
        &self.base
    }

    fn file(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(self.base.as_os_str());
        name.push(ending);
        PathBuf::from(name)
    }

    /// The file that says how to run it.
    pub(crate) fn spec_file(&self) -> PathBuf {
        self.file(".json")
    }

    /// How to run it; `None` if that was never said.
    pub(crate) fn spec(&self) -> io::Result<Option<Spec>> {
        read(&self.spec_file())
    }

    /// Says how to run it. It survives a power cut.
    pub(crate) fn set_spec(&self, spec: &Spec) -> io::Result<()> {
        write(&self.spec_file(), spec, true)
    }

    /// The process that was made of it last.
    pub(crate) fn born(&self) -> io::Result<Option<Born>> {
        read(&self.file(".pid"))
    }

    /// Says which process was made of it. A power cut ends the process, so the record need not survive one.
    pub(crate) fn set_born(&self, born: &Born) -> io::Result<()> {
        write(&self.file(".pid"), born, false)
    }

    /// Waits for the lock and takes it, until the file is closed.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let file = private().create(true).truncate(false).write(true).open(self.file(".lock"))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    /// An empty file for why the app could not be executed.
    pub(crate) fn new_error(&self) -> io::Result<File> {
        private().create(true).truncate(true).write(true).open(self.file(".error"))
    }

    /// Why the app could not be executed; `None` if it could.
    pub(crate) fn error(&self) -> Option<String> {
        let text = fs::read_to_string(self.file(".error")).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Forgets the instance.
    pub(crate) fn remove(&self) -> io::Result<()> {
        // The lock stays: a late launcher that waits for it must not get another one than the next launcher.
        for ending in [".json", ".pid", ".error"] {
            match fs::remove_file(self.file(ending)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits();
    options.mode(0o600).custom_flags(flags.cast_signed());
    options
}

fn read<T: DeserializeOwned>(file: &Path) -> io::Result<Option<T>> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from)
}

fn write<T: Serialize>(file: &Path, content: &T, durable: bool) -> io::Result<()> {
    write_whole(file, &serde_json::to_vec(content)?, 0o600, durable)
}
