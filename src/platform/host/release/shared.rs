//! Folders that outlive releases (uploads, logs, a database file): they appear inside a release as links.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::account::Account;
use super::beneath;
use crate::api::site::SharedDir;
use crate::platform::{Class, Fault};

/// A shared folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// Nothing is there.
    #[error("there is no shared folder {source_path}: `install -d -o {user} -g {user} {source_path}`", source_path = .source_path.display())]
    Missing {
        /// Where it was looked for.
        source_path: PathBuf,
        /// The site's user.
        user: String,
    },
    /// The way there goes through a link.
    #[error("the shared folder {} is reached through the link {}, and links are not followed here; name the folder itself", .source_path.display(), .link.display())]
    Link {
        /// What was named.
        source_path: PathBuf,
        /// The link.
        link: PathBuf,
    },
    /// It isn't a folder.
    #[error("{} is not a folder and can't be shared", .source_path.display())]
    NotAFolder {
        /// What was named.
        source_path: PathBuf,
    },
    /// The site's user may not write there.
    #[error(
        "the shared folder {source_path} belongs to user {owner}, group {group}, with mode {mode:04o}, and {user} may not write in it: \
         `chown {user} {source_path}`", source_path = .source_path.display()
    )]
    Foreign {
        /// What was named.
        source_path: PathBuf,
        /// The number of its owner.
        owner: u32,
        /// The number of its group.
        group: u32,
        /// Its mode.
        mode: u32,
        /// The site's user.
        user: String,
    },
    /// The artifact has something there.
    #[error("the release has {what} at {path:?}, where the shared folder {source_path} belongs; take one of them away", source_path = .source_path.display())]
    Taken {
        /// The path in the release.
        path: String,
        /// What is there.
        what: &'static str,
        /// What was to be shared there.
        source_path: PathBuf,
    },
    /// The system refused.
    #[error("the shared folder {}: {source}", .source_path.display())]
    Io {
        /// What was named.
        source_path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl SharedError {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            SharedError::Io { source, .. } if full(source) => "DiskFull",
            SharedError::Io { .. } => "SharedFolderNotRead",
            SharedError::Missing { .. } => "SharedFolderMissing",
            SharedError::Taken { .. } => "SharedFolderConflict",
            _ => "SharedFolderRefused",
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            SharedError::Io { .. } => Class::Transient,
            _ => Class::User,
        }
    }
}

impl From<SharedError> for Fault {
    fn from(error: SharedError) -> Fault {
        Fault { class: error.class(), reason: error.reason(), message: error.to_string() }
    }
}

fn full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

/// Judges the folders that a site shares: each must be there, be reached without a link, and be one that the site's user may write in.
///
/// # Errors
/// See [`SharedError`].
pub fn check(shared: &[SharedDir], account: &Account) -> Result<(), SharedError> {
    shared.iter().try_for_each(|one| judge(one, account))
}

fn judge(shared: &SharedDir, account: &Account) -> Result<(), SharedError> {
    let path = shared.source.as_path();
    let source_path = || path.to_owned();
    let opened = beneath::absolute(path, OFlags::PATH | OFlags::DIRECTORY);
    let folder = opened.map_err(|error| match (error, beneath::link_in(path)) {
        (Errno::LOOP | Errno::NOTDIR | Errno::XDEV, Some((link, _))) => {
            SharedError::Link { source_path: source_path(), link }
        }
        (Errno::NOENT, _) => SharedError::Missing { source_path: source_path(), user: account.name.to_string() },
        (Errno::NOTDIR, _) => SharedError::NotAFolder { source_path: source_path() },
        (error, _) => io_error(shared, error),
    })?;
    let stat = rustix::fs::fstat(folder.as_fd()).map_err(|error| io_error(shared, error))?;
    let may_write = if stat.st_uid == account.uid {
        stat.st_mode & 0o300 == 0o300
    } else {
        account.groups.contains(&stat.st_gid) && stat.st_mode & 0o030 == 0o030
    };
    if may_write {
        return Ok(());
    }
    Err(SharedError::Foreign {
        source_path: source_path(),
        owner: stat.st_uid,
        group: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        user: account.name.to_string(),
    })
}

/// Makes the links inside a release that is being made. What the artifact brought is never replaced, but for an empty folder.
pub(super) fn link(release: BorrowedFd<'_>, shared: &[SharedDir]) -> Result<(), SharedError> {
    shared.iter().try_for_each(|one| place(release, one))
}

fn place(release: BorrowedFd<'_>, shared: &SharedDir) -> Result<(), SharedError> {
    let taken = |what| SharedError::Taken {
        path: shared.path.to_string(),
        what,
        source_path: shared.source.as_path().to_owned(),
    };
    let (folders, name) = match shared.path.as_str().rsplit_once('/') {
        Some((folders, name)) => (folders, name),
        None => ("", shared.path.as_str()),
    };
    let io = |error| io_error(shared, error);
    let mut at: OwnedFd = beneath::folder(release, ".").map_err(io)?;
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        at = match beneath::folder(at.as_fd(), part) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&at, part, Mode::RWXU).map_err(io)?;
                let made = beneath::folder(at.as_fd(), part).map_err(io)?;
                rustix::fs::fchmod(&made, Mode::from_raw_mode(0o555)).map_err(io)?;
                made
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(taken("a file, a link or another shared folder on the way"));
            }
            other => other.map_err(io)?,
        };
    }
    match rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Err(Errno::NOENT) => {}
        Ok(FileType::Directory) => match rustix::fs::unlinkat(&at, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Err(taken("a folder that isn't empty")),
            other => other.map_err(io)?,
        },
        Ok(FileType::Symlink) => return Err(taken("a link")),
        Ok(_) => return Err(taken("a file")),
        Err(error) => return Err(io(error)),
    }
    rustix::fs::symlinkat(shared.source.as_str(), &at, name).map_err(io)
}

fn io_error(shared: &SharedDir, error: Errno) -> SharedError {
    SharedError::Io { source_path: shared.source.as_path().to_owned(), source: error.into() }
}
