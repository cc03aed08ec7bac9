//! Configuration files: named by the site, outside of the release, and copied beside it when a rollout starts, so that a rollback brings the
//! old ones back. They hold secrets: their content is in no error, no log and no `Debug`.

mod env;
mod error;
mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::error::ConfigError;
use super::account::Account;
use super::beneath;
use crate::api::site::{Run, Runtime};
use crate::api::types::{AbsPath, EnvName};
use crate::guards::files;
use crate::platform::host::store::{self, StoreError};

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
    files: Vec<Taken>,
    /// `None`: the site names no file of variables.
    env: Option<BTreeMap<EnvName, String>>,
}

/// A configuration file, read.
pub struct Taken {
    /// What its copy is called.
    pub name: String,
    /// Where it was.
    pub path: PathBuf,
    /// What it holds.
    pub content: Vec<u8>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files.iter().map(|file| &file.name)).finish()
    }
}

impl Config {
    /// Reads the configuration files of a site that runs as `account`. Only files that nobody but root and that user may read or change.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(paths: &[AbsPath], account: &Account) -> Result<Config, ConfigError> {
        let mut files: Vec<Taken> = Vec::new();
        for path in paths {
            for file in read::entry(path, account)? {
                if files.iter().any(|other| other.name == file.name) {
                    return Err(ConfigError::SameName { name: file.name });
                }
                files.push(file);
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Config { files, env: None })
    }

    /// [`read`](Config::read), with the file of variables; and what the kind of app can't read is refused.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn of(run: &Run, account: &Account) -> Result<Config, ConfigError> {
        let mut config = Config::read(&run.config_files, account)?;
        if let Some(path) = &run.env_file {
            config.env = Some(env::parse(&read::file(path, account)?)?);
        }
        if matches!(run.runtime, Runtime::SpringBoot(_) | Runtime::Tomcat(_)) {
            config.files.iter().try_for_each(readable)?;
        }
        Ok(config)
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &[Taken] {
        &self.files
    }

    /// The variables.
    pub fn env(&self) -> impl Iterator<Item = (&EnvName, &String)> {
        self.env.iter().flatten()
    }

    /// Whether there is no file.
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
        let mut part = |part: &[u8]| {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        };
        for file in &self.files {
            part(file.name.as_bytes());
            part(&file.content);
        }
        if let Some(env) = &self.env {
            // No file is called so.
            part(b"/env");
            for (name, value) in env {
                part(name.as_str().as_bytes());
                part(value.as_bytes());
            }
        }
        ConfigDigest(hex::encode(hash.finalize()))
    }

    /// Writes the variables to `path`, for root alone; nothing if the site names no file of them.
    pub(super) fn place_env(&self, path: &Path) -> Result<(), StoreError> {
        self.env.as_ref().map_or(Ok(()), |env| store::write(path, env, 0o600))
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
        for Taken { name, content, .. } in &self.files {
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

/// What Spring reads by the ending of its name must be what that says.
fn readable(file: &Taken) -> Result<(), ConfigError> {
    if !files::is_yaml(&file.name) {
        return Ok(());
    }
    files::read(&file.name, &String::from_utf8_lossy(&file.content))
        .map(drop)
        .map_err(|source| ConfigError::Syntax { path: file.path.clone(), source })
}
