//! Why a repository could not be read.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::types::UserName;
use crate::platform::host::store::StoreError;

/// Why a repository could not be read. What was taken from it before goes on.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no Git on this machine.
    #[error(
        "there is no program `git` on this machine, which following a repository takes: install it (apt-get install git)"
    )]
    NoProgram,
    /// It knows too little.
    #[error("`git` on this machine is {version}; 2.34 or later is needed: update it")]
    TooOld {
        /// What it said.
        version: String,
    },
    /// A user that Git is to run as can't be.
    #[error(
        "git.user: {why}; make one with `useradd --system --no-create-home --shell /usr/sbin/nologin {name}`, or name another one"
    )]
    User {
        /// Who.
        name: UserName,
        /// Why not.
        why: &'static str,
    },
    /// A file that the configuration names can't be used.
    #[error("git.{key}: {} {why}", path.display())]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// Git did not do what was asked.
    #[error("{what} failed: {said}")]
    Failed {
        /// What was asked.
        what: &'static str,
        /// What it said.
        said: String,
    },
    /// It took too long.
    #[error("{what} took longer than {} s and was ended; is the server slow, or the way to it?", after.as_secs())]
    TooLong {
        /// What was asked.
        what: &'static str,
        /// So long it was waited for.
        after: Duration,
    },
    /// The repository is too large.
    #[error(
        "the repository takes more than {} MiB here (git.sizeLimit), and was removed again: raise the limit, keep large files out of it, or let \
         its server serve partial clones (uploadpack.allowFilter), which leave them out",
        limit >> 20
    )]
    TooLarge {
        /// What it may take, in bytes.
        limit: u64,
    },
    /// The disk is nearly full.
    #[error("there are less than {} MiB left on the disk of {}, and the sites need them: make room", least >> 20, path.display())]
    NoRoom {
        /// What is left for others, in bytes.
        least: u64,
        /// The folder.
        path: PathBuf,
    },
    /// What came is not what Git sends.
    #[error("{what} said something that is not understood: {said:?}")]
    Nonsense {
        /// What was asked.
        what: &'static str,
        /// The answer's beginning.
        said: String,
    },
    /// A file of ours could not be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl GitError {
    /// A word for it, for the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            GitError::NoProgram | GitError::TooOld { .. } => "git-missing",
            GitError::User { .. } | GitError::File { .. } => "configuration",
            GitError::Failed { .. } | GitError::Nonsense { .. } => "failed",
            GitError::TooLong { .. } => "too-long",
            GitError::TooLarge { .. } => "too-large",
            GitError::NoRoom { .. } => "no-room",
            GitError::Store(_) | GitError::Io { .. } => "disk",
        }
    }

    /// Whether trying again soon would only cost: nothing but a person mends it.
    #[must_use]
    pub fn is_costly(&self) -> bool {
        matches!(self, GitError::TooLarge { .. } | GitError::TooLong { .. } | GitError::NoRoom { .. })
    }
}

/// Makes an error of a system's refusal.
pub(super) fn io<'a>(what: &'static str, path: &'a std::path::Path) -> impl Fn(io::Error) -> GitError + 'a {
    move |source| GitError::Io { what, path: path.to_owned(), source }
}

/// Why a commit is not taken. Nothing of it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The condition's reason.
    pub reason: &'static str,
    /// What is wrong, in which file, and what to do.
    pub why: String,
    /// The sites that it is about.
    pub at_fault: Vec<crate::api::types::SiteName>,
}

/// Why nothing was taken.
#[derive(Debug)]
pub enum Untaken {
    /// It could not be read.
    Unread(GitError),
    /// It is refused.
    Refused(Refusal),
}

impl From<GitError> for Untaken {
    fn from(error: GitError) -> Untaken {
        Untaken::Unread(error)
    }
}
