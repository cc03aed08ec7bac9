//! Takes what somebody uploaded over into a release: root's, read-only, complete before it is visible.
//!
//! Everything happens in a working folder beside the releases that only root may enter; the last step is a rename. Killed at any moment, it leaves a
//! working folder that the next take removes, and never half a release. What was taken is compared with what was wanted: a
//! revision names its content, so an upload that changed meanwhile is not that revision.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::account::Account;
use super::beneath;
use super::config::{Config, ConfigError};
use super::fingerprint::{self, Identity};
use super::limits::{Limits, Measure, Tally};
use super::shared::{self, SharedError};
use super::shelf::{self, Record, Shelf, ShelfError, TAKING};
use super::source::{self, Kind, Opened, SourceError};
use super::tree::{self, Copy, TreeError};
use super::unpack::{self, UnpackError};
use crate::api::site::{ReleaseSource, Run};
use crate::platform::host::layout::SiteDir;
use crate::platform::host::store::{self, StoreError};
use crate::platform::{Class, Fault};
use crate::rollout::Revision;

/// What to take. Its revision is [`Identity::revision`] of `identity` and `run`.
pub struct Order<'a> {
    /// Where it lies.
    pub source: &'a ReleaseSource,
    /// What it must turn out to be.
    pub identity: &'a Identity,
    /// How it is to be run.
    pub run: &'a Run,
    /// The site's user.
    pub account: &'a Account,
    /// How large it may be.
    pub limits: &'a Limits,
    /// The program that unpacks archives: [`unpack::OURSELVES`], and in tests the one that was built.
    pub unpacker: &'a Path,
    /// Told of each step, for a log or a progress line.
    pub progress: &'a dyn Fn(Step<'_>),
}

/// How far a take has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// What was uploaded is open.
    Opened,
    /// The archive was copied to where nobody else can change it, and is what it should be.
    Secured,
    /// The archive was unpacked.
    Unpacked,
    /// This entry is in the release to be.
    Entry(&'a [u8]),
    /// All of the content is in the release to be.
    Filled,
    /// The configuration files and the record are there.
    Recorded,
    /// Everything is on the disk.
    Synced,
    /// The configuration files have their final name.
    ConfigPlaced,
    /// The record has its final name.
    RecordPlaced,
    /// The release has its final name: it is complete.
    Placed,
}

/// A release could not be taken. Nothing of it is left but, after a kill, a working folder.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// What was uploaded can't be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Something in it can't be used.
    #[error("in {}: {source}", .path.display())]
    Tree {
        /// What was uploaded.
        path: PathBuf,
        /// What is wrong in it.
        source: TreeError,
    },
    /// The archive can't be unpacked.
    #[error("{}: {source}", .path.display())]
    Unpack {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: UnpackError,
    },
    /// It isn't any more what it was when the rollout was decided.
    #[error("{} changed since it was looked at: let the upload finish, then `bluegreen retry`", .path.display())]
    Changed {
        /// What was uploaded, or a configuration file.
        path: PathBuf,
    },
    /// There is no room for it.
    #[error(
        "not enough room in {}: it takes {need} bytes and {free} are free, of which {spare} are left to the rest of the machine; make room, or \
         let fewer releases be kept", .path.display()
    )]
    NoRoom {
        /// The folder of releases.
        path: PathBuf,
        /// What it takes.
        need: u64,
        /// What is free.
        free: u64,
        /// What is never used.
        spare: u64,
    },
    /// A configuration file can't be taken.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A shared folder can't be used.
    #[error(transparent)]
    Shared(#[from] SharedError),
    /// The folder of releases can't be used.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The record can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refused.
    #[error("{what} in {}: {source}", .path.display())]
    Io {
        /// The folder of releases.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl TakeError {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            TakeError::Source(error) => error.reason(),
            TakeError::Tree { source, .. } => source.reason(),
            TakeError::Unpack { source, .. } => match source {
                UnpackError::Unsafe { .. } => "ReleaseUnsafe",
                UnpackError::TooLarge { .. } | UnpackError::Stopped { .. } => "ReleaseTooLarge",
                UnpackError::Damaged { .. } => "ReleaseIncomplete",
                UnpackError::DiskFull { .. } => "DiskFull",
                UnpackError::Failed { .. } => "ReleaseNotUnpacked",
            },
            TakeError::Changed { .. } => "ReleaseChanged",
            TakeError::NoRoom { .. } => "DiskFull",
            TakeError::Config(error) => error.reason(),
            TakeError::Shared(error) => error.reason(),
            TakeError::Shelf(error) => error.reason(),
            TakeError::Store(error) => error.reason(),
            TakeError::Io { source, .. } => match Errno::from_io_error(source) {
                Some(Errno::NOSPC | Errno::DQUOT) => "DiskFull",
                _ => "ReleaseNotTaken",
            },
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            TakeError::Source(error) => error.class(),
            TakeError::Tree { source, .. } => source.class(),
            TakeError::Unpack { source, .. } => match source {
                UnpackError::DiskFull { .. } | UnpackError::Failed { .. } => Class::Transient,
                _ => Class::User,
            },
            TakeError::Changed { .. } => Class::Conflict,
            TakeError::Config(error) => error.class(),
            TakeError::Shared(error) => error.class(),
            TakeError::Shelf(error) => error.class(),
            TakeError::Store(error) => error.class(),
            TakeError::NoRoom { .. } | TakeError::Io { .. } => Class::Transient,
        }
    }
}

impl From<TakeError> for Fault {
    fn from(error: TakeError) -> Fault {
        Fault { class: error.class(), reason: error.reason(), message: error.to_string() }
    }
}

/// Takes a release, and does nothing if it was taken already (but mends its record). Blocks: for the thread of a pool. Needs root.
///
/// # Errors
/// See [`TakeError`]. Other releases, and whatever runs them, are untouched.
pub fn take(dir: &SiteDir, order: &Order<'_>) -> Result<Record, TakeError> {
    let revision = order.identity.revision(order.run)?;
    let shelf = Shelf::open(dir)?;
    shelf.tidy()?;
    let config = Config::read(&order.run.config_files, order.account)?;
    if config.digest() != order.identity.config {
        return Err(TakeError::Changed {
            path: order.run.config_files.first().map_or_else(PathBuf::new, |file| file.as_path().to_owned()),
        });
    }
    if shelf::is_complete(dir, revision) {
        return mend(dir, &shelf, order, revision, &config);
    }
    shared::check(&order.run.shared_dirs, order.account)?;

    let opened = source::open(order.source, order.account, order.limits)?;
    (order.progress)(Step::Opened);
    let work = Work::begin(&shelf, revision)?;
    work.make("release", Mode::RWXU)?;
    let release = work.open("release")?;
    let size = match opened {
        Opened::Folder(folder) => work.copy_folder(&folder, &release, order)?,
        Opened::Archive(kind, file, bytes) => work.take_archive(&kind, file, bytes, &release, order)?,
    };
    shared::link(release.as_fd(), &order.run.shared_dirs)?;
    rustix::fs::fchmod(&release, Mode::from_raw_mode(0o555)).map_err(|error| work.failed("sealing", error))?;
    (order.progress)(Step::Filled);

    if !config.is_empty() {
        config.place(work.folder.as_fd(), "config", order.account)?;
    }
    let record = record(order, revision, size);
    store::write(&work.path.join("record"), &record, 0o600)?;
    (order.progress)(Step::Recorded);

    // One call for all of it: a file at a time would wait for the disk as often as there are files.
    rustix::fs::syncfs(&work.folder).map_err(|error| work.failed("syncing", error))?;
    (order.progress)(Step::Synced);
    if !config.is_empty() {
        work.put("config", &format!("{revision}.config"))?;
        (order.progress)(Step::ConfigPlaced);
    }
    work.put("record", &format!("{revision}.json"))?;
    (order.progress)(Step::RecordPlaced);
    work.put("release", &revision.to_string())?;
    rustix::fs::fsync(&shelf.folder).map_err(|error| work.failed("syncing", error))?;
    (order.progress)(Step::Placed);
    Ok(record)
}

/// What stands beside a release that is there already, put back if it is missing or damaged.
fn mend(
    dir: &SiteDir,
    shelf: &Shelf,
    order: &Order<'_>,
    revision: Revision,
    config: &Config,
) -> Result<Record, TakeError> {
    let name = format!("{revision}.config");
    if !config.is_empty() && !shelf.has(&name) {
        let work = Work::begin(shelf, revision)?;
        config.place(work.folder.as_fd(), "config", order.account)?;
        rustix::fs::syncfs(&work.folder).map_err(|error| work.failed("syncing", error))?;
        work.put("config", &name)?;
    }
    match shelf::record(dir, revision) {
        Err(StoreError::Damaged { .. }) => {
            let record = record(order, revision, Tally::default());
            store::write(&dir.release_json(revision), &record, 0o600)?;
            Ok(record)
        }
        other => Ok(other?),
    }
}

fn record(order: &Order<'_>, revision: Revision, size: Tally) -> Record {
    Record {
        revision,
        identity: order.identity.clone(),
        run: order.run.clone(),
        source: order.source.clone(),
        taken_at: jiff::Timestamp::now(),
        size,
    }
}

/// The working folder of a take; removed when the take ends, however it ends.
struct Work<'a> {
    shelf: &'a Shelf,
    name: String,
    path: PathBuf,
    folder: OwnedFd,
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // What can't be removed now is removed before the next take.
        let _ = self.shelf.remove(&self.name);
    }
}

impl Work<'_> {
    fn begin(shelf: &Shelf, revision: Revision) -> Result<Work<'_>, TakeError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{TAKING}{revision}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let failed = |error: Errno| TakeError::Io {
            path: shelf.path().to_owned(),
            what: "making a working folder",
            source: error.into(),
        };
        rustix::fs::mkdirat(&shelf.folder, name.as_str(), Mode::RWXU).map_err(failed)?;
        let folder = beneath::folder(shelf.folder.as_fd(), name.as_str()).map_err(failed)?;
        Ok(Work { path: shelf.path().join(&name), shelf, name, folder })
    }

    fn copy_folder(&self, from: &OwnedFd, to: &OwnedFd, order: &Order<'_>) -> Result<Tally, TakeError> {
        let wanted = &order.identity.fingerprint;
        self.room(wanted.bytes, order.limits)?;
        let sum = self.copy(from.as_fd(), to.as_fd(), Some(order.account), order)?;
        if wanted.kind != Kind::Folder || hex::encode(sum.digest) != wanted.digest {
            return Err(self.changed(order));
        }
        Ok(sum.tally)
    }

    fn take_archive(
        &self,
        kind: &Kind,
        mut file: File,
        bytes: u64,
        release: &OwnedFd,
        order: &Order<'_>,
    ) -> Result<Tally, TakeError> {
        let path = source::path(order.source);
        let packed = !matches!(kind, Kind::File(_));
        // A packed one is here three times for a moment: itself, unpacked, and copied; it unpacks to no less than about itself.
        self.room(if packed { bytes.saturating_mul(3) } else { bytes }, order.limits)?;

        // Copied first, so that nobody changes it between the check of its checksum and its use.
        let changed = rustix::fs::fstat(&file).map_err(|error| self.failed("looking at the archive", error))?;
        let secured = self.secure(&mut file, order)?;
        (order.progress)(Step::Secured);
        let Kind::File(name) = kind else {
            let tally = self.unpack(kind, secured, bytes, &path, order)?;
            (order.progress)(Step::Unpacked);
            rustix::fs::unlinkat(&self.folder, "archive", AtFlags::empty())
                .map_err(|error| self.failed("removing the archive's copy", error))?;
            let unpacked = self.open("unpacked")?;
            self.copy(unpacked.as_fd(), release.as_fd(), None, order)?;
            return Ok(tally);
        };
        let seal = || {
            rustix::fs::fchmod(&secured, Mode::from_raw_mode(0o444))?;
            rustix::fs::futimens(&secured, &tree::times(&changed))?;
            rustix::fs::renameat(&self.folder, "archive", release, name.as_str())
        };
        seal().map_err(|error| self.failed("sealing", error))?;
        (order.progress)(Step::Entry(name.as_bytes()));
        Ok(Tally { bytes, entries: 1 })
    }

    /// A private copy of an archive that is what it should be.
    fn secure(&self, file: &mut File, order: &Order<'_>) -> Result<File, TakeError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let secured = rustix::fs::openat(&self.folder, "archive", flags, Mode::RUSR | Mode::WUSR);
        let mut secured = secured.map(File::from).map_err(|error| self.failed("copying the archive", error))?;
        let (digest, bytes) = fingerprint::drain(file, &mut secured, order.limits.bytes).map_err(|source| {
            TakeError::Io { path: self.shelf.path().to_owned(), what: "copying the archive", source }
        })?;
        let is = fingerprint::Fingerprint { kind: order.identity.fingerprint.kind.clone(), digest, bytes };
        fingerprint::check(order.source, &is)?;
        if is == order.identity.fingerprint { Ok(secured) } else { Err(self.changed(order)) }
    }

    fn unpack(
        &self,
        kind: &Kind,
        archive: File,
        bytes: u64,
        path: &Path,
        order: &Order<'_>,
    ) -> Result<Tally, TakeError> {
        let account = order.account;
        self.make("unpacked", Mode::RWXU)?;
        let unpacked = self.open("unpacked")?;
        let owner = (Some(Uid::from_raw(account.uid)), Some(Gid::from_raw(account.gid)));
        rustix::fs::fchown(&unpacked, owner.0, owner.1).map_err(|error| self.failed("making a folder", error))?;

        // Never so much that the disk is full: what is unpacked is copied once more.
        let free = self.free()?;
        let room = free.saturating_sub(order.limits.spare) / 2;
        let allowed = order.limits.unpacked(bytes);
        let limits = Limits { bytes: allowed.min(room), ..*order.limits };
        let done = unpack::unpack(order.unpacker, archive, kind, &self.path.join("unpacked"), account, &limits);
        done.map_err(|source| match source {
            UnpackError::TooLarge { excess, .. } if excess.measure == Measure::Bytes && room < allowed => {
                TakeError::NoRoom {
                    path: self.shelf.path().to_owned(),
                    need: limits.bytes.saturating_mul(2).saturating_add(1),
                    free,
                    spare: order.limits.spare,
                }
            }
            source => TakeError::Unpack { path: path.to_owned(), source },
        })
    }

    fn copy(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        reader: Option<&Account>,
        order: &Order<'_>,
    ) -> Result<tree::Sum, TakeError> {
        let progress = |path: &[u8]| (order.progress)(Step::Entry(path));
        let copy = Copy { to, progress: &progress };
        tree::walk(from, Some(&copy), reader, order.limits)
            .map_err(|source| TakeError::Tree { path: source::path(order.source), source })
    }

    fn room(&self, need: u64, limits: &Limits) -> Result<(), TakeError> {
        let free = self.free()?;
        if need.saturating_add(limits.spare) > free {
            return Err(TakeError::NoRoom { path: self.shelf.path().to_owned(), need, free, spare: limits.spare });
        }
        Ok(())
    }

    fn free(&self) -> Result<u64, TakeError> {
        let disk = rustix::fs::fstatvfs(&self.folder).map_err(|error| self.failed("looking for room", error))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn make(&self, name: &str, mode: Mode) -> Result<(), TakeError> {
        rustix::fs::mkdirat(&self.folder, name, mode).map_err(|error| self.failed("making a folder", error))
    }

    fn open(&self, name: &str) -> Result<OwnedFd, TakeError> {
        beneath::folder(self.folder.as_fd(), name).map_err(|error| self.failed("opening a folder", error))
    }

    /// Gives something its final name, which nothing has yet.
    fn put(&self, name: &str, to: &str) -> Result<(), TakeError> {
        rustix::fs::renameat_with(&self.folder, name, &self.shelf.folder, to, RenameFlags::NOREPLACE)
            .map_err(|error| self.failed("giving it its name", error))
    }

    fn changed(&self, order: &Order<'_>) -> TakeError {
        TakeError::Changed { path: source::path(order.source) }
    }

    fn failed(&self, what: &'static str, error: Errno) -> TakeError {
        TakeError::Io { path: self.shelf.path().to_owned(), what, source: error.into() }
    }
}
