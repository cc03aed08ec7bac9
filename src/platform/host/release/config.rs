//! Configuration files: named by the site, outside of the release, and copied beside it when a rollout starts, so that a rollback brings the
//! old ones back. They hold secrets: their content is in no error, no log and no `Debug`.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::account::Account;
use super::beneath;
use crate::api::types::AbsPath;
use crate::platform::{Class, Fault};

/// The largest configuration file that is taken.
pub const LARGEST: u64 = 1 << 20;

/// The identity of a set of configuration files: 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigDigest(String);

impl ConfigDigest {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Configuration files, read. `Debug` shows their names only.
pub struct Config {
    files: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files.iter().map(|(name, _)| name)).finish()
    }
}

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

impl Config {
    /// Reads the configuration files of a site that runs as `account`. Only files that nobody but root and that user may read or change.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(paths: &[AbsPath], account: &Account) -> Result<Config, ConfigError> {
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for path in paths {
            let name = path.as_str().rsplit('/').next().unwrap_or_default().to_owned();
            if files.iter().any(|(other, _)| *other == name) {
                return Err(ConfigError::SameName { name });
            }
            files.push((name, content(path, account)?));
        }
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Config { files })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::try_from(self.files.len()).unwrap_or(u64::MAX)
    }

    /// Which they are: names and content.
    #[must_use]
    pub fn digest(&self) -> ConfigDigest {
        let mut hash = Sha256::new();
        for (name, content) in &self.files {
            for part in [name.as_bytes(), content] {
                hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(part);
            }
        }
        ConfigDigest(hex::encode(hash.finalize()))
    }

    /// Makes the folder `name` below `folder` with the files in it, all of them readable by the site's user alone.
    pub(super) fn place(&self, folder: BorrowedFd<'_>, name: &str, account: &Account) -> Result<(), ConfigError> {
        self.put(folder, name, account).map_err(|(name, error)| match error {
            Errno::NOSPC | Errno::DQUOT => ConfigError::DiskFull { name },
            error => ConfigError::Io { path: PathBuf::from(name), source: error.into() },
        })
    }

    fn put(&self, folder: BorrowedFd<'_>, name: &str, account: &Account) -> Result<(), (String, Errno)> {
        let at = |error| (name.to_owned(), error);
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        rustix::fs::mkdirat(folder, name, Mode::RWXU).map_err(at)?;
        let inner = beneath::folder(folder, name).map_err(at)?;
        for (name, content) in &self.files {
            let write = || -> io::Result<()> {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(rustix::fs::openat(&inner, name, flags, Mode::RUSR | Mode::WUSR)?);
                file.write_all(content)?;
                rustix::fs::fchmod(&file, Mode::RUSR)?;
                Ok(rustix::fs::fchown(&file, Some(uid), Some(gid))?)
            };
            write().map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                (name.clone(), errno)
            })?;
        }
        rustix::fs::fchmod(&inner, Mode::RUSR | Mode::XUSR).map_err(at)?;
        rustix::fs::fchown(&inner, Some(uid), Some(gid)).map_err(at)
    }
}

fn content(path: &AbsPath, account: &Account) -> Result<Vec<u8>, ConfigError> {
    let path = path.as_path();
    let at = || path.to_owned();
    let opened = beneath::absolute(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY);
    let file = opened.map_err(|error| match (error, beneath::link_in(path)) {
        (Errno::LOOP | Errno::NOTDIR | Errno::XDEV, Some((link, _))) => ConfigError::Link { path: at(), link },
        (Errno::NOENT | Errno::NOTDIR, _) => ConfigError::Missing { path: at() },
        (error, _) => ConfigError::Io { path: at(), source: error.into() },
    })?;
    let stat = rustix::fs::fstat(file.as_fd()).map_err(|error| ConfigError::Io { path: at(), source: error.into() })?;
    judge(path, &stat, account)?;
    let mut text = Vec::new();
    let read = File::from(file).take(LARGEST + 1).read_to_end(&mut text);
    read.map_err(|source| ConfigError::Io { path: at(), source })?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(ConfigError::TooLarge { path: at() });
    }
    Ok(text)
}

/// Whether a file may be handed to the site's user as configuration: it is a plain file of root's or of that user's, and nobody else could read
/// or change it before.
fn judge(path: &std::path::Path, stat: &Stat, account: &Account) -> Result<(), ConfigError> {
    let not_a_file = |what| ConfigError::NotAFile { path: path.to_owned(), what };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_a_file("not a regular file"));
    }
    // A user who owns the folder can put a hard link to a file of root's there.
    if stat.st_nlink > 1 {
        return Err(not_a_file("a hard link, so it is another file too; make a copy of its own"));
    }
    let theirs = stat.st_uid == 0 || stat.st_uid == account.uid;
    let group_is_ours = stat.st_gid == 0 || stat.st_gid == account.gid;
    let may = if !theirs || stat.st_mode & 0o022 != 0 {
        "change"
    } else if stat.st_mode & 0o004 != 0 || (stat.st_mode & 0o040 != 0 && !group_is_ours) {
        "read"
    } else {
        return Ok(());
    };
    let shown = path.display();
    Err(ConfigError::Foreign {
        path: path.to_owned(),
        owner: stat.st_uid,
        group: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        user: account.name.to_string(),
        may,
        mend: format!("chown root:{} {shown} && chmod 0640 {shown}", account.gid),
    })
}
