//! The releases on disk: which there are, how each is run, and which may go.
//!
//! ```text
//! releases/REVISION/            a release; it is complete because it has this name
//! releases/REVISION.json        how to run it: written before
//! releases/REVISION.config/     its configuration files, the site's user's alone: written before
//! releases/REVISION.venv/       what was installed for it, if it is one of Python's: written before
//! releases/REVISION.env         its further variables, root's alone: written before
//! releases/.taking-…            a take under way, or killed
//! releases/.gone-…              a removal under way, or killed
//! ```

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::beneath;
use super::fingerprint::Identity;
use super::limits::Tally;
use crate::api::site::{ReleaseSource, Run};
use crate::api::types::EnvName;
use crate::platform::host::layout::SiteDir;
use crate::platform::host::store::{self, StoreError};
use crate::platform::{Class, Fault};
use crate::rollout::{Colour, Revision};

/// What stands beside a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Which release.
    pub revision: Revision,
    /// What makes it that one.
    pub identity: Identity,
    /// How to run it.
    pub run: Run,
    /// Where it was taken from.
    pub source: ReleaseSource,
    /// When.
    pub taken_at: jiff::Timestamp,
    /// How much it is.
    pub size: Tally,
    /// What its settings do that they should not, for people; it runs all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A complete release, and its record or what is wrong with it.
pub type Listed = (Revision, Result<Record, StoreError>);

/// The releases could not be listed or tidied.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The folder of releases can't be used.
    #[error("the releases in {}: {source}", .path.display())]
    Io {
        /// What was being looked at or removed.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ShelfError {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        "ReleasesNotRead"
    }

    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        Class::Transient
    }
}

impl From<ShelfError> for Fault {
    fn from(error: ShelfError) -> Fault {
        Fault { class: error.class(), reason: error.reason(), message: error.to_string() }
    }
}

/// The complete releases of a site, in the order of their revisions; each with its record, or with what is wrong with the record. A release
/// whose record is missing or damaged is mended by taking it again.
///
/// # Errors
/// [`ShelfError`]: never an empty list for a folder that can't be read.
pub fn list(dir: &SiteDir) -> Result<Vec<Listed>, ShelfError> {
    let path = dir.releases();
    let folder = match beneath::own(&path) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(error) => return Err(failed(&path, error)),
    };
    let mut releases = Vec::new();
    for name in beneath::names(folder.as_fd(), u64::MAX).map_err(|error| failed(&path, error))? {
        if let Some(revision) = revision_of(&name) {
            releases.push((revision, record(dir, revision)));
        }
    }
    Ok(releases)
}

/// The record of a release.
///
/// # Errors
/// [`StoreError`]; a record that isn't there is as bad as a damaged one.
pub fn record(dir: &SiteDir, revision: Revision) -> Result<Record, StoreError> {
    let path = dir.release_json(revision);
    let damaged = |why: &str| StoreError::Damaged { path: path.clone(), why: why.to_owned() };
    let record: Record = store::read(&path, store::LIMIT)?.ok_or_else(|| damaged("it is missing"))?;
    if record.revision != revision {
        return Err(damaged("it is the record of another release"));
    }
    Ok(record)
}

/// Whether a release is complete.
#[must_use]
pub fn is_complete(dir: &SiteDir, revision: Revision) -> bool {
    dir.release(revision).symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// The folder of a release's configuration files; it is there only if the release has any.
#[must_use]
pub fn config_dir(dir: &SiteDir, revision: Revision) -> PathBuf {
    dir.releases().join(format!("{revision}.config"))
}

/// The environment of a release of Python's.
#[must_use]
pub fn venv_dir(dir: &SiteDir, revision: Revision) -> PathBuf {
    dir.releases().join(format!("{revision}.venv"))
}

/// A release's further variables; none if it has no file of them.
///
/// # Errors
/// [`StoreError`]; a file that should be there and isn't is as bad as a damaged one.
pub fn env(dir: &SiteDir, revision: Revision, run: &Run) -> Result<BTreeMap<EnvName, String>, StoreError> {
    if run.env_file.is_none() {
        return Ok(BTreeMap::new());
    }
    let path = dir.releases().join(format!("{revision}.env"));
    let damaged = || StoreError::Damaged { path: path.clone(), why: "it is missing".to_owned() };
    store::read(&path, store::LIMIT)?.ok_or_else(damaged)
}

/// Removes old releases: all but those in `keep`, those that a slot runs, and the `count` newest of the others. Returns what it removed.
///
/// # Errors
/// [`ShelfError`]; what was not removed yet is removed the next time. So is everything while a release is being taken.
pub fn prune(dir: &SiteDir, keep: &[Revision], count: usize) -> Result<Vec<Revision>, ShelfError> {
    // A take may last as long as its server likes, and whoever stops a colour doesn't wait for it.
    let Some(shelf) = Shelf::free(dir)? else { return Ok(Vec::new()) };
    shelf.tidy()?;
    let mut others: Vec<_> = list(dir)?
        .into_iter()
        .filter(|(revision, _)| !keep.contains(revision) && !runs_in_a_slot(dir, *revision))
        // One whose record can't be read counts as the oldest.
        .map(|(revision, record)| (record.ok().map(|record| record.taken_at), revision))
        .collect();
    others.sort_by(|a, b| b.cmp(a));
    let old: Vec<Revision> = others.into_iter().skip(count).map(|(_, revision)| revision).collect();
    for revision in &old {
        shelf.discard(*revision)?;
    }
    Ok(old)
}

fn runs_in_a_slot(dir: &SiteDir, revision: Revision) -> bool {
    Colour::BOTH.iter().any(|colour| {
        std::fs::read_link(dir.slot_release(*colour))
            .is_ok_and(|target| target.file_name().is_some_and(|name| name == revision.to_string().as_str()))
    })
}

/// The folder of releases, locked: one take or removal at a time. The lock goes with the process that holds it.
pub(super) struct Shelf {
    pub folder: OwnedFd,
    path: PathBuf,
}

impl Shelf {
    /// Opens the folder, makes it if it isn't there, and waits for whoever works in it.
    pub fn open(dir: &SiteDir) -> Result<Shelf, ShelfError> {
        let shelf = Shelf::to_read(dir)?;
        shelf.lock(FlockOperation::LockExclusive)?;
        Ok(shelf)
    }

    /// As [`Shelf::open`]; `None`: somebody works in it, and goes on to.
    fn free(dir: &SiteDir) -> Result<Option<Shelf>, ShelfError> {
        // A program that was started just now holds the lock of whoever started it, until it is another program.
        const PATIENCE: Duration = Duration::from_millis(500);
        let shelf = Shelf::to_read(dir)?;
        let until = Instant::now() + PATIENCE;
        while !shelf.lock(FlockOperation::NonBlockingLockExclusive)? {
            if Instant::now() > until {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(shelf))
    }

    /// As [`Shelf::open`], beside whoever works in it: a release that is there is complete.
    pub fn to_read(dir: &SiteDir) -> Result<Shelf, ShelfError> {
        let path = dir.releases();
        match make_folder(&path).and_then(|()| Ok(beneath::own(&path)?)) {
            Ok(folder) => Ok(Shelf { folder, path }),
            Err(source) => Err(ShelfError::Io { path, source }),
        }
    }

    fn lock(&self, how: FlockOperation) -> Result<bool, ShelfError> {
        loop {
            match rustix::fs::flock(&self.folder, how) {
                Ok(()) => return Ok(true),
                Err(Errno::WOULDBLOCK) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(&self.path, error)),
            }
        }
    }

    /// The folder's path, for messages and for a working folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what a killed take or removal left.
    pub fn tidy(&self) -> Result<(), ShelfError> {
        let names = beneath::names(self.folder.as_fd(), u64::MAX).map_err(|error| failed(&self.path, error))?;
        for name in &names {
            let Ok(text) = name.to_str() else { continue };
            let revision = text
                .strip_suffix(".json")
                .or_else(|| text.strip_suffix(".config"))
                .or_else(|| text.strip_suffix(".env"))
                .or_else(|| text.strip_suffix(".venv"))
                .and_then(|stem| stem.parse::<Revision>().ok());
            let orphan = revision.is_some_and(|of| !names.iter().any(|name| revision_of(name) == Some(of)));
            if orphan || text.starts_with(TAKING) || text.starts_with(GONE) {
                self.remove(text)?;
            }
        }
        Ok(())
    }

    /// Removes a release: it is gone from sight in one step, whatever happens afterwards.
    fn discard(&self, revision: Revision) -> Result<(), ShelfError> {
        let gone = format!("{GONE}{revision}");
        let path = || self.path.join(revision.to_string());
        rustix::fs::renameat_with(
            &self.folder,
            revision.to_string().as_str(),
            &self.folder,
            gone.as_str(),
            RenameFlags::NOREPLACE,
        )
        .and_then(|()| rustix::fs::fsync(&self.folder))
        .map_err(|error| failed(&path(), error))?;
        self.remove(&format!("{revision}.json"))?;
        self.remove(&format!("{revision}.config"))?;
        self.remove(&format!("{revision}.env"))?;
        self.remove(&format!("{revision}.venv"))?;
        self.remove(&gone)
    }

    /// Removes one thing of this name, file or folder.
    pub fn remove(&self, name: &str) -> Result<(), ShelfError> {
        beneath::remove_all(self.folder.as_fd(), name).map_err(|error| failed(&self.path.join(name), error))
    }

    /// Whether something of this name is there.
    pub fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }
}

/// How the name of a take under way begins.
pub(super) const TAKING: &str = ".taking-";
/// How the name of a removal under way begins.
const GONE: &str = ".gone-";

/// Makes a folder that everybody may look into, whatever the umask, and those above it.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_folder(above)?;
    }
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o755))),
    }
}

fn revision_of(name: &CStr) -> Option<Revision> {
    name.to_str().ok()?.parse().ok()
}

fn failed(path: &Path, error: Errno) -> ShelfError {
    ShelfError::Io { path: path.to_owned(), source: error.into() }
}
