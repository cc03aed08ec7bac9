//! Why a release could not be taken, and whose fault that is.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::account::AccountError;
use super::config::ConfigError;
use super::programs::ProgramError;
use super::python::PythonError;
use super::shared::SharedError;
use super::shelf::ShelfError;
use super::source::SourceError;
use super::tree::TreeError;
use super::unpack::UnpackError;
use crate::api::types::RelPath;
use crate::platform::host::store::StoreError;
use crate::platform::{Class, Fault};

/// A release could not be taken. Nothing of it is left but, after a kill, a working folder.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// What was uploaded can't be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The user can't run a site.
    #[error(transparent)]
    Account(#[from] AccountError),
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
    /// The web server is to answer from a folder that isn't in it: every file would be missing.
    #[error(
        "spec.target.host.static[{index}].root: the release has no folder {root}; name one that it has, or upload a release that has it"
    )]
    NoRoot {
        /// Which of the static paths.
        index: usize,
        /// What was named.
        root: RelPath,
    },
    /// It can't be run, or must not be.
    #[error(transparent)]
    Runtime(Fault),
    /// The web server is to answer with a file that isn't in it.
    #[error(
        "spec.target.host.static[{index}].fallback: the release has no file {root}/{file}; name one that it has, or upload a release that has it"
    )]
    NoFallback {
        /// Which of the static paths.
        index: usize,
        /// Its folder.
        root: RelPath,
        /// What was named.
        file: RelPath,
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
    /// What it requires can't be installed.
    #[error(transparent)]
    Python(#[from] PythonError),
    /// Its programs can't be run.
    #[error(transparent)]
    Programs(#[from] ProgramError),
    /// A shared folder can't be used.
    #[error(transparent)]
    Shared(#[from] SharedError),
    /// It can't be fetched, or not now.
    #[error(transparent)]
    Fetch(Fault),
    /// There is nothing in what was fetched.
    #[error("{}: nothing is in it where the release should be; correct spec.target.host.release.oci", .path.display())]
    NothingInside {
        /// What was fetched.
        path: PathBuf,
    },
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
            TakeError::Account(error) => error.reason(),
            TakeError::Tree { source, .. } => source.reason(),
            TakeError::Unpack { source, .. } => match source {
                UnpackError::Unsafe { .. } => "ReleaseUnsafe",
                UnpackError::TooLarge { .. } | UnpackError::Stopped { .. } => "ReleaseTooLarge",
                UnpackError::Damaged { .. } => "ReleaseIncomplete",
                UnpackError::DiskFull { .. } => "DiskFull",
                UnpackError::Failed { .. } => "ReleaseNotUnpacked",
            },
            TakeError::Changed { .. } => "ReleaseChanged",
            TakeError::NoRoot { .. } => "StaticRootMissing",
            TakeError::Runtime(fault) | TakeError::Fetch(fault) => fault.reason,
            TakeError::NothingInside { .. } => "ReleaseIncomplete",
            TakeError::NoFallback { .. } => "StaticFallbackMissing",
            TakeError::NoRoom { .. } => "DiskFull",
            TakeError::Python(error) => error.reason(),
            TakeError::Programs(error) => error.reason(),
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
            TakeError::Account(error) => error.class(),
            TakeError::Tree { source, .. } => source.class(),
            TakeError::Unpack { source, .. } => match source {
                UnpackError::DiskFull { .. } | UnpackError::Failed { .. } => Class::Transient,
                _ => Class::User,
            },
            TakeError::Changed { .. } => Class::Conflict,
            TakeError::Python(error) => error.class(),
            TakeError::Programs(ProgramError::Io { .. }) => Class::Transient,
            TakeError::NoRoot { .. } | TakeError::NoFallback { .. } | TakeError::Programs(_) => Class::User,
            TakeError::Runtime(fault) | TakeError::Fetch(fault) => fault.class,
            TakeError::NothingInside { .. } => Class::User,
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
