//! Hashed assets of earlier releases: a page that was loaded before a cutover asks for its files after it, and after a way back.
//!
//! ```text
//! kept/0                      → .tree-0-DIGEST: what the web server reads, for the first static path
//! kept/.tree-0-DIGEST/…       hard links to the files of some releases, the newest of each name
//! ```
//! The web server must never miss a file that was there, so a tree is built beside the one in use, and the link is renamed over. The tree before
//! it stays until the next change: a request may still be on its way through it.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::beneath;
use super::shelf::{self, Shelf, ShelfError};
use super::tree;
use crate::api::site::Static;
use crate::api::types::RelPath;
use crate::platform::host::layout::SiteDir;
use crate::platform::{Class, Fault};
use crate::rollout::Revision;

/// The kept assets could not be brought up to date; those that were there are untouched.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The folder of releases can't be used.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The disk is full.
    #[error("no space left to keep the assets of earlier releases in {}: make room on that disk", .path.display())]
    DiskFull {
        /// Where they are kept.
        path: PathBuf,
    },
    /// The system refused.
    #[error("keeping the assets of earlier releases in {}: {source}", .path.display())]
    Io {
        /// Where they are kept.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl KeptError {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            KeptError::Shelf(error) => error.reason(),
            KeptError::DiskFull { .. } => "DiskFull",
            KeptError::Io { .. } => "AssetsNotKept",
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        Class::Transient
    }
}

impl From<KeptError> for Fault {
    fn from(error: KeptError) -> Fault {
        Fault { class: error.class(), reason: error.reason(), message: error.to_string() }
    }
}

/// Brings the kept assets up to date. To be called when a release was taken, before its candidate starts, and before old releases are
/// pruned.
///
/// `slots` are the revisions that a slot runs or is about to; `earlier` are the others, newest first, of which each static path keeps as many
/// as it says. Of two files with one path the one of the revision that is named first wins. Static paths that keep nothing are
/// left out, and what was kept for them is removed. Costs nothing when nothing changed.
///
/// # Errors
/// See [`KeptError`].
pub fn keep_assets(
    dir: &SiteDir,
    slots: &[Revision],
    earlier: &[Revision],
    statics: &[Static],
) -> Result<(), KeptError> {
    let shelf = Shelf::to_read(dir)?;
    let kept = dir.kept();
    let done = shelf::make_folder(&kept).and_then(|()| {
        let kept = beneath::own(&kept)?;
        // Of its own: a take that lasts must not hold up a colour that is to be started.
        rustix::io::retry_on_intr(|| rustix::fs::flock(&kept, FlockOperation::LockExclusive))?;
        let mut used = BTreeSet::new();
        for (index, one) in statics.iter().enumerate().filter(|(_, one)| one.keep > 0) {
            let wanted: Vec<(Revision, RelPath)> = slots
                .iter()
                .chain(earlier.iter().filter(|revision| !slots.contains(revision)).take(one.keep.into()))
                .filter_map(|revision| root_of(dir, *revision, one).map(|root| (*revision, root)))
                .collect();
            let tree = format!("{TREE}{index}-{}", digest(&wanted));
            used.insert(index.to_string());
            used.extend(point(kept.as_fd(), &shelf, index, &tree, &wanted)?);
        }
        tidy(kept.as_fd(), &used)
    });
    done.map_err(|source| match Errno::from_io_error(&source) {
        Some(Errno::NOSPC | Errno::DQUOT) => KeptError::DiskFull { path: kept },
        _ => KeptError::Io { path: kept, source },
    })
}

/// How the name of a tree begins.
const TREE: &str = ".tree-";
/// A tree that is being built, or was when somebody killed us.
const BUILDING: &str = ".building";
/// A link that is about to be renamed.
const LINKING: &str = ".linking";

/// Makes the link of a static path lead to `tree`, which is built if it isn't there. Returns the trees that must stay: this one and the one
/// before it.
fn point(
    kept: BorrowedFd<'_>,
    shelf: &Shelf,
    index: usize,
    tree: &str,
    wanted: &[(Revision, RelPath)],
) -> io::Result<Vec<String>> {
    let link = index.to_string();
    let before = match rustix::fs::readlinkat(kept, link.as_str(), Vec::new()) {
        Ok(target) => target.into_string().ok(),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(error.into()),
    };
    if before.as_deref() == Some(tree) && rustix::fs::statat(kept, tree, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        // Nothing changed, so this may be a moment after the last change: the tree before is still left alone.
        let of_this_path = format!("{TREE}{index}-");
        let names = beneath::names(kept, u64::MAX)?;
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        return Ok(names.filter(|name| name.starts_with(&of_this_path)).collect());
    }
    match rustix::fs::statat(kept, tree, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => {}
        Err(Errno::NOENT) => build(kept, shelf, tree, wanted)?,
        Err(error) => return Err(error.into()),
    }
    beneath::remove_all(kept, LINKING)?;
    rustix::fs::symlinkat(tree, kept, LINKING)?;
    rustix::fs::renameat(kept, LINKING, kept, link.as_str())?;
    rustix::fs::fsync(kept)?;
    Ok(before.into_iter().chain([tree.to_owned()]).collect())
}

fn build(kept: BorrowedFd<'_>, shelf: &Shelf, tree: &str, wanted: &[(Revision, RelPath)]) -> io::Result<()> {
    beneath::remove_all(kept, BUILDING)?;
    let building = make(kept, BUILDING)?;
    for (revision, root) in wanted {
        let from = beneath::folder(shelf.folder.as_fd(), revision.to_string().as_str())
            .and_then(|release| beneath::folder(release.as_fd(), root.as_str()));
        match from {
            Ok(from) => merge(from.as_fd(), building.as_fd())?,
            // A release without that folder has no assets.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    sync_folders(building.as_fd())?;
    Ok(rustix::fs::renameat(kept, BUILDING, kept, tree)?)
}

/// Syncs the folders of a tree: the files in it are on the disk since their release was taken.
fn sync_folders(folder: BorrowedFd<'_>) -> io::Result<()> {
    for name in beneath::names(folder, u64::MAX)? {
        if let Ok(inner) = beneath::folder(folder, name.as_c_str()) {
            sync_folders(inner.as_fd())?;
        }
    }
    Ok(rustix::fs::fsync(folder)?)
}

/// Adds to `to` the files of `from` whose paths it has not. Releases are as deep as their limits allow, and no deeper.
fn merge(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    for name in beneath::names(from, u64::MAX)? {
        let stat = rustix::fs::statat(from, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => hard_link(from, to, &name)?,
            FileType::Directory => {
                let inner = beneath::folder(from, name.as_c_str())?;
                match make(to, name.as_c_str()) {
                    Ok(copy) => merge(inner.as_fd(), copy.as_fd())?,
                    // A newer release has a file of this name.
                    Err(Errno::NOTDIR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            // The web server answers nothing through a link.
            _ => {}
        }
    }
    Ok(())
}

fn hard_link(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match rustix::fs::linkat(from, name, to, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        // Another disk, too many links to one file, a file system without links.
        Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOTSUP) => copy(from, to, name),
        Err(error) => Err(error.into()),
    }
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let mut source = beneath::file(from, name)?;
    let stat = rustix::fs::fstat(&source)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = match rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR) {
        Err(Errno::EXIST) => return Ok(()),
        other => File::from(other?),
    };
    io::copy(&mut source, &mut file)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444))?;
    rustix::fs::futimens(&file, &tree::times(&stat))?;
    file.sync_all()
}

/// Opens a folder, and makes it if it isn't there.
fn make<P: rustix::path::Arg + Copy>(folder: BorrowedFd<'_>, name: P) -> Result<std::os::fd::OwnedFd, Errno> {
    match beneath::folder(folder, name) {
        Err(Errno::NOENT) => {
            rustix::fs::mkdirat(folder, name, Mode::RWXU)?;
            let made = beneath::folder(folder, name)?;
            rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
            Ok(made)
        }
        other => other,
    }
}

fn tidy(kept: BorrowedFd<'_>, used: &BTreeSet<String>) -> io::Result<()> {
    for name in beneath::names(kept, u64::MAX)? {
        if let Ok(name) = name.to_str()
            && !used.contains(name)
        {
            beneath::remove_all(kept, name)?;
        }
    }
    Ok(())
}

/// The folder that a static path had in a release; `None`: it had none, or nobody knows any more.
fn root_of(dir: &SiteDir, revision: Revision, wanted: &Static) -> Option<RelPath> {
    let record = shelf::record(dir, revision).ok()?;
    let mut statics = record.run.statics.into_iter();
    statics.find(|one| one.path == wanted.path).map(|one| one.root)
}

fn digest(wanted: &[(Revision, RelPath)]) -> String {
    let mut hash = Sha256::new();
    for (revision, root) in wanted {
        hash.update(format!("{revision}/{root}\n"));
    }
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(20);
    digits
}

/// Where the assets of a static path are kept, by its place in the list.
#[must_use]
pub fn kept_dir(dir: &SiteDir, index: usize) -> PathBuf {
    dir.kept().join(index.to_string())
}
