//! What somebody uploaded, opened: a folder or an archive, without following a link on the way.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::beneath;
use super::entry::Danger;
use super::limits::Limits;
use super::tree::{self, TreeError};
use crate::api::site::ReleaseSource;
use crate::api::types::{AbsPath, RelPath, Sha256};
use crate::platform::{Class, Fault};

/// What an artifact is, told by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A folder.
    Folder,
    /// A tar archive, packed by gzip.
    TarGz,
    /// A zip archive.
    Zip,
    /// One file that becomes the whole release, under this name.
    File(String),
    /// An image or an artifact of a registry; of an image only this folder, or all of it.
    Oci(Option<RelPath>),
    /// One layer of an image: a tar archive, packed or not, that is laid over those before it. For the unpacker alone.
    Layer {
        /// Packed by gzip.
        gzip: bool,
        /// The folder of the image that is wanted; `None`: all of it.
        inside: Option<RelPath>,
    },
}

/// What somebody uploaded can't be used, or not now.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing is there.
    #[error("there is no {}: upload the release, then `bluegreen retry`", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The way there goes through a link.
    #[error("{path} goes through the link {link}, and links are not followed here: whoever owns it could make it lead elsewhere; {instead}",
        path = .path.display(), link = .link.display(), instead = instead(.leads_to.as_ref()))]
    Link {
        /// What was named.
        path: PathBuf,
        /// The link.
        link: PathBuf,
        /// Where the whole path leads.
        leads_to: Option<PathBuf>,
    },
    /// A file where a folder was named, or the other way round.
    #[error("{} is not {right}", .path.display())]
    WrongKind {
        /// What was named.
        path: PathBuf,
        /// What it should be.
        right: &'static str,
    },
    /// The name doesn't tell what kind of archive it is.
    #[error("{} is no archive that is known here: its name must end in .tar.gz, .tgz, .zip, .jar or .war", .path.display())]
    UnknownKind {
        /// What was named.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error("{} is empty: the upload has not begun, or went elsewhere; upload the release, then `bluegreen retry`", .path.display())]
    Empty {
        /// What was named.
        path: PathBuf,
    },
    /// It isn't what its checksum says.
    #[error(
        "{} has the SHA-256 {is}, and spec.target.host.release.sha256 says {wanted}: upload it again, or correct the checksum",
        .path.display()
    )]
    Checksum {
        /// What was named.
        path: PathBuf,
        /// What was said.
        wanted: Sha256,
        /// What it is.
        is: String,
    },
    /// It is larger than a release may be.
    #[error("{} has {bytes} bytes; a release may have {limit}", .path.display())]
    TooLarge {
        /// What was named.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The archive itself is something that root must not hand out.
    #[error("{} {danger}", .path.display())]
    Unsafe {
        /// What was named.
        path: PathBuf,
        /// Why.
        danger: Danger,
    },
    /// The folder can't be walked.
    #[error("in {}: {source}", .path.display())]
    Tree {
        /// The folder.
        path: PathBuf,
        /// What is wrong in it.
        source: TreeError,
    },
    /// The system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// What was named.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// How it is to be run has no canonical form.
    #[error("how to run the release can't be put into JSON: {0}")]
    Encode(String),
}

impl SourceError {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            SourceError::Missing { .. } => "ReleaseMissing",
            SourceError::Empty { .. } => "ReleaseIncomplete",
            SourceError::Link { .. } | SourceError::Unsafe { .. } => "ReleaseUnsafe",
            SourceError::WrongKind { .. } | SourceError::UnknownKind { .. } => "ReleaseUnknownKind",
            SourceError::Checksum { .. } => "ChecksumMismatch",
            SourceError::TooLarge { .. } => "ReleaseTooLarge",
            SourceError::Tree { source, .. } => source.reason(),
            SourceError::Io { .. } | SourceError::Encode(_) => "ReleaseNotRead",
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            SourceError::Tree { source, .. } => source.class(),
            SourceError::Io { .. } => Class::Transient,
            _ => Class::User,
        }
    }
}

impl TreeError {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            TreeError::Unsafe { .. } => "ReleaseUnsafe",
            TreeError::TooLarge { .. } => "ReleaseTooLarge",
            TreeError::Changed { .. } => "ReleaseChanged",
            TreeError::DiskFull { .. } => "DiskFull",
            TreeError::Io { .. } => "ReleaseNotRead",
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            TreeError::Unsafe { .. } | TreeError::TooLarge { .. } => Class::User,
            TreeError::Changed { .. } => Class::Conflict,
            TreeError::DiskFull { .. } | TreeError::Io { .. } => Class::Transient,
        }
    }
}

impl From<SourceError> for Fault {
    fn from(error: SourceError) -> Fault {
        Fault { class: error.class(), reason: error.reason(), message: error.to_string() }
    }
}

/// What somebody uploaded, open.
pub(super) enum Opened {
    /// A folder.
    Folder(OwnedFd),
    /// An archive, or a file that is the whole release, with its size.
    Archive(Kind, File, u64),
    /// What a registry had: laid one over the other.
    Pieces(Vec<Piece>),
}

/// One file of what a registry had.
pub(super) struct Piece {
    /// What it is.
    pub kind: Kind,
    /// Its content, checked.
    pub file: File,
    /// Its size.
    pub bytes: u64,
}

/// Opens what somebody uploaded. `reader` is the site's user.
pub(super) fn open(source: &ReleaseSource, reader: &Account, limits: &Limits) -> Result<Opened, SourceError> {
    match source {
        ReleaseSource::Path(path) => {
            let fd = reach(path, OFlags::RDONLY | OFlags::DIRECTORY, "a folder; a single file is named as `archive`")?;
            Ok(Opened::Folder(fd))
        }
        ReleaseSource::Archive { file: path, .. } => {
            let kind = kind(path)?;
            let right = "a regular file; a folder is named as `path`";
            let fd = reach(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, right)?;
            let at = || path.as_path().to_owned();
            let stat =
                rustix::fs::fstat(fd.as_fd()).map_err(|error| SourceError::Io { path: at(), source: error.into() })?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(SourceError::WrongKind { path: at(), right });
            }
            if stat.st_nlink > 1 && !tree::may_read(&stat, reader) {
                return Err(SourceError::Unsafe {
                    path: at(),
                    danger: Danger::Foreign { owner: stat.st_uid, mode: stat.st_mode & 0o7777 },
                });
            }
            let bytes = u64::try_from(stat.st_size).unwrap_or(0);
            if bytes == 0 {
                return Err(SourceError::Empty { path: at() });
            }
            if bytes > limits.bytes {
                return Err(SourceError::TooLarge { path: at(), bytes, limit: limits.bytes });
            }
            Ok(Opened::Archive(kind, File::from(fd), bytes))
        }
        // Whoever wants one fetches it first.
        ReleaseSource::Url { .. } | ReleaseSource::Oci { .. } => {
            Err(SourceError::WrongKind { path: path(source), right: "on this machine" })
        }
    }
}

/// The path of a source, for messages.
pub(super) fn path(source: &ReleaseSource) -> PathBuf {
    match source {
        ReleaseSource::Path(path) | ReleaseSource::Archive { file: path, .. } => path.as_path().to_owned(),
        ReleaseSource::Url { url, .. } => PathBuf::from(url.shown()),
        ReleaseSource::Oci { image, .. } => PathBuf::from(image.to_string()),
    }
}

fn kind(path: &AbsPath) -> Result<Kind, SourceError> {
    let name = path.as_str().rsplit('/').next().unwrap_or_default();
    kind_of(name).ok_or_else(|| SourceError::UnknownKind { path: path.as_path().to_owned() })
}

/// What a file of this name is, if it is an archive or a whole release.
pub(super) fn kind_of(name: &str) -> Option<Kind> {
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".tar.gz") || lower.ends_with(".tgz") {
        Some(Kind::TarGz)
    } else if lower.ends_with(".zip") {
        Some(Kind::Zip)
    } else if lower.ends_with(".jar") || lower.ends_with(".war") {
        Some(Kind::File(name.to_owned()))
    } else {
        None
    }
}

fn reach(path: &AbsPath, flags: OFlags, right: &'static str) -> Result<OwnedFd, SourceError> {
    let path = path.as_path();
    beneath::absolute(path, flags).map_err(|error| match (error, beneath::link_in(path)) {
        (Errno::LOOP | Errno::NOTDIR | Errno::XDEV, Some((link, leads_to))) => {
            SourceError::Link { path: path.to_owned(), link, leads_to }
        }
        (Errno::NOENT, _) => SourceError::Missing { path: path.to_owned() },
        (Errno::NOTDIR, None) if std::fs::symlink_metadata(path).is_ok() => {
            SourceError::WrongKind { path: path.to_owned(), right }
        }
        (Errno::NOTDIR, None) => SourceError::Missing { path: path.to_owned() },
        (error, _) => SourceError::Io { path: path.to_owned(), source: error.into() },
    })
}

fn instead(leads_to: Option<&PathBuf>) -> String {
    match leads_to {
        Some(path) => format!("name what it leads to: {}", path.display()),
        None => "name what it leads to, once that is there".to_owned(),
    }
}
