//! Reads configuration files: only those that nobody but root and the site's user may read or change, and none through a link.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use super::error::ConfigError;
use super::{LARGEST, Taken};
use crate::api::types::{AbsPath, RelPath};
use crate::platform::host::release::account::Account;
use crate::platform::host::release::beneath;

/// A folder of configuration holds no more files than this.
const MOST: u64 = 64;

/// Reads a file, or all files of a folder.
pub(super) fn entry(path: &AbsPath, account: &Account) -> Result<Vec<Taken>, ConfigError> {
    let path = path.as_path();
    let (file, stat) = open(path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(vec![taken(path.to_owned(), file, &stat, account)?]);
    }
    judge_folder(path, &stat, account)?;
    let io = |error: Errno| ConfigError::Io { path: path.to_owned(), source: error.into() };
    let names = beneath::names(file.as_fd(), MOST).map_err(|error| match error {
        Errno::TOOBIG => ConfigError::TooMany { path: path.to_owned(), most: MOST },
        error => io(error),
    })?;
    let mut all = Vec::new();
    for name in names {
        let inner = path.join(name.to_string_lossy().as_ref());
        if name.to_str().ok().is_none_or(|name| name.parse::<RelPath>().is_err()) {
            let what = "a file whose name holds more than letters, digits, '-', '_', '.', '~', '+', '@', ',' and '='";
            return Err(ConfigError::NotAFile { path: inner, what });
        }
        let opened = beneath::file(file.as_fd(), name.as_c_str()).map_err(|error| match error {
            Errno::LOOP => ConfigError::Link { path: inner.clone(), link: inner.clone() },
            error => ConfigError::Io { path: inner.clone(), source: error.into() },
        })?;
        let stat = rustix::fs::fstat(&opened).map_err(io)?;
        all.push(taken(inner, opened.into(), &stat, account)?);
    }
    Ok(all)
}

/// Reads a file.
pub(super) fn file(path: &AbsPath, account: &Account) -> Result<Taken, ConfigError> {
    let (file, stat) = open(path.as_path())?;
    taken(path.as_path().to_owned(), file, &stat, account)
}

fn open(path: &Path) -> Result<(OwnedFd, Stat), ConfigError> {
    let at = || path.to_owned();
    let opened = beneath::absolute(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY);
    let file = opened.map_err(|error| match (error, beneath::link_in(path)) {
        (Errno::LOOP | Errno::NOTDIR | Errno::XDEV, Some((link, _))) => ConfigError::Link { path: at(), link },
        (Errno::NOENT | Errno::NOTDIR, _) => ConfigError::Missing { path: at() },
        (error, _) => ConfigError::Io { path: at(), source: error.into() },
    })?;
    let stat = rustix::fs::fstat(file.as_fd()).map_err(|error| ConfigError::Io { path: at(), source: error.into() })?;
    Ok((file, stat))
}

fn taken(path: PathBuf, file: OwnedFd, stat: &Stat, account: &Account) -> Result<Taken, ConfigError> {
    judge(&path, stat, account)?;
    let mut content = Vec::new();
    let read = File::from(file).take(LARGEST + 1).read_to_end(&mut content);
    if let Err(source) = read {
        return Err(ConfigError::Io { path, source });
    }
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(ConfigError::TooLarge { path });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Taken { name, path, content })
}

/// Whether what lies in a folder is what root or the site's user put there.
fn judge_folder(path: &Path, stat: &Stat, account: &Account) -> Result<(), ConfigError> {
    let theirs = stat.st_uid == 0 || stat.st_uid == account.uid;
    if theirs && stat.st_mode & 0o022 == 0 {
        return Ok(());
    }
    let shown = path.display();
    Err(foreign(path, stat, account, "change", format!("chown root:{} {shown} && chmod 0750 {shown}", account.gid)))
}

/// Whether a file may be handed to the site's user as configuration: it is a plain file of root's or of that user's, and nobody else could read
/// or change it before.
fn judge(path: &Path, stat: &Stat, account: &Account) -> Result<(), ConfigError> {
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
    Err(foreign(path, stat, account, may, format!("chown root:{} {shown} && chmod 0640 {shown}", account.gid)))
}

fn foreign(path: &Path, stat: &Stat, account: &Account, may: &'static str, mend: String) -> ConfigError {
    ConfigError::Foreign {
        path: path.to_owned(),
        owner: stat.st_uid,
        group: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        user: account.name.to_string(),
        may,
        mend,
    }
}
