//! Why a configuration file can't be taken.

use std::io;
use std::path::PathBuf;

use super::LARGEST;
use crate::guards::files::Unreadable;
use crate::platform::{Class, Fault};

/// A configuration file can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nothing is there.
    #[error("there is no configuration file {}: make it, or take it out of spec.target.host.configFiles", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The way there goes through a link.
    #[error("the configuration file {} is reached through the link {}, and links are not followed here; name the file itself", .path.display(), .link.display())]
    Link {
        /// What was named.
        path: PathBuf,
        /// The link.
        link: PathBuf,
    },
    /// It isn't a file, or lies in two places.
    #[error("{} is not taken as configuration: it is {what}", .path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is somebody else's, or somebody else's too.
    #[error(
        "{path} is not taken as configuration: it belongs to user {owner}, group {group}, with mode {mode:04o}, so others than root and \
         {user} may {may} it; if it is meant for this site: `{mend}`", path = .path.display()
    )]
    Foreign {
        /// What was named.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
        /// The number of its group.
        group: u32,
        /// Its mode.
        mode: u32,
        /// The site's user.
        user: String,
        /// What others may do: read or change it.
        may: &'static str,
        /// The command that mends it.
        mend: String,
    },
    /// It is larger than configuration may be.
    #[error("{} is larger than {LARGEST} bytes and is not taken as configuration", .path.display())]
    TooLarge {
        /// What was named.
        path: PathBuf,
    },
    /// It is not what its name says.
    #[error("{path}, {source}: correct it (what stands there is not shown, it may be a secret)", path = .path.display())]
    Syntax {
        /// What was named.
        path: PathBuf,
        /// Where, and what is wrong.
        source: Unreadable,
    },
    /// A file of variables holds something else.
    #[error("{path}, line {line}: {what}; a line of it is KEY=VALUE (what stands there is not shown, it may be a secret)", path = .path.display())]
    Variables {
        /// What was named.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A folder holds more files than a site has.
    #[error("the folder {} holds more than {most} files and is not taken as configuration", .path.display())]
    TooMany {
        /// What was named.
        path: PathBuf,
        /// So many are taken.
        most: u64,
    },
    /// Two files with one name.
    #[error("two configuration files are called {name}; in a release each needs a name of its own")]
    SameName {
        /// The name.
        name: String,
    },
    /// The disk of the releases is full.
    #[error("no space left on the disk of the releases, at the configuration file {name}")]
    DiskFull {
        /// What was being written.
        name: String,
    },
    /// The system refused.
    #[error("the configuration file {}: {source}", .path.display())]
    Io {
        /// What was named.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl ConfigError {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            ConfigError::Missing { .. } => "ConfigurationMissing",
            ConfigError::DiskFull { .. } => "DiskFull",
            ConfigError::Io { .. } => "ConfigurationNotRead",
            ConfigError::Syntax { .. } | ConfigError::Variables { .. } => "ConfigurationInvalid",
            _ => "ConfigurationRefused",
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            ConfigError::DiskFull { .. } | ConfigError::Io { .. } => Class::Transient,
            _ => Class::User,
        }
    }
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Fault {
        Fault { class: error.class(), reason: error.reason(), message: error.to_string() }
    }
}
