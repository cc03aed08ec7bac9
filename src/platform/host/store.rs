//! State on disk: files that are written whole or not at all, and read back with suspicion.
//!
//! Everything that the agent remembers goes through here: ledger, status, what stands beside a release. A write makes a temporary file in
//! the same folder, syncs it, renames it over the old one and syncs the folder, so that a kill, a crash of the machine or a full disk leaves
//! either the old file or the new one. A file that is there but can't be understood is an error that names it, never "absent": to forget
//! that a revision was rejected because its file was cut in half would promote it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::platform::{Class, Fault};

/// The size above which a state file is not read: nothing that we write comes near it.
pub const LIMIT: u64 = 4 << 20;

/// A state file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or a quota, is full. The old file, if there was one, is whole.
    #[error("no space left to write {}: the old one is untouched; make room on that disk (`df -h {0}`)", .path.display())]
    DiskFull {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// The file was not written; the old one is whole.
    #[error("{} could not be written: {source}", .path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there, or may be, and could not be read.
    #[error("{} could not be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there and isn't what was written: cut off, emptied, edited.
    #[error("{path} is damaged ({why}): put a whole one back, or move it away with `mv {path} {path}.damaged` to go on without it", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        why: String,
    },
    /// The value has no JSON.
    #[error("{} can't be put into JSON: {why}", .path.display())]
    Encode {
        /// The file that was to be written.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl StoreError {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            StoreError::DiskFull { .. } => "DiskFull",
            StoreError::Write { .. } => "StateNotWritten",
            StoreError::Read { .. } => "StateNotRead",
            StoreError::Damaged { .. } => "StateDamaged",
            StoreError::Encode { .. } => "StateNotEncoded",
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            StoreError::DiskFull { .. } | StoreError::Write { .. } | StoreError::Read { .. } => Class::Transient,
            StoreError::Damaged { .. } | StoreError::Encode { .. } => Class::User,
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        Fault { class: error.class(), reason: error.reason(), message: error.to_string() }
    }
}

/// Writes `value` as JSON to `path`, whole or not at all, with exactly this mode. The folder must be there.
///
/// # Errors
/// [`StoreError::DiskFull`], [`StoreError::Write`]: the old file, if any, is untouched.
pub fn write<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<(), StoreError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| StoreError::Encode { path: path.to_owned(), why: error.to_string() })?;
    text.push(b'\n');
    write_bytes(path, &text, mode)
}

/// Writes `content` to `path`, whole or not at all, with exactly this mode. The folder must be there.
///
/// # Errors
/// As [`write()`].
pub fn write_bytes(path: &Path, content: &[u8], mode: u32) -> Result<(), StoreError> {
    put(path, content, mode).map_err(|source| match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::DQUOT) => StoreError::DiskFull { path: path.to_owned() },
        _ => StoreError::Write { path: path.to_owned(), source },
    })
}

/// Reads a file that [`write()`] wrote. `None`: there is none.
///
/// # Errors
/// [`StoreError::Read`] when it can't be read, is no regular file, or is larger than `limit` bytes; [`StoreError::Damaged`] when it isn't what
/// was written.
pub fn read<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<Option<T>, StoreError> {
    let Some(text) = get(path, limit).map_err(|source| StoreError::Read { path: path.to_owned(), source })? else {
        return Ok(None);
    };
    let value = serde_json::from_slice(&text).map_err(|error| StoreError::Damaged {
        path: path.to_owned(),
        why: if text.is_empty() { "it is empty".to_owned() } else { error.to_string() },
    })?;
    Ok(Some(value))
}

/// Reads a file as text. `None`: there is none.
///
/// # Errors
/// As [`read()`].
pub fn read_text(path: &Path, limit: u64) -> Result<Option<String>, StoreError> {
    let text = get(path, limit).map_err(|source| StoreError::Read { path: path.to_owned(), source })?;
    let text = text.map(String::from_utf8).transpose();
    text.map_err(|error| StoreError::Damaged { path: path.to_owned(), why: error.to_string() })
}

/// Removes a state file; nothing happens if there is none.
///
/// # Errors
/// [`StoreError::Write`].
pub fn remove(path: &Path) -> Result<(), StoreError> {
    let gone = || -> io::Result<()> {
        let (folder, name) = split(path)?;
        match rustix::fs::unlinkat(&folder, &name, AtFlags::empty()) {
            Ok(()) => Ok(rustix::fs::fsync(&folder)?),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    };
    gone().map_err(|source| StoreError::Write { path: path.to_owned(), source })
}

/// Removes what writers that were killed left in a folder. Only while nobody writes there: at the start of the agent, under its lock.
///
/// # Errors
/// [`StoreError::Read`], [`StoreError::Write`].
pub fn sweep(folder: &Path) -> Result<(), StoreError> {
    let listing = std::fs::File::open(folder)
        .and_then(|folder| Ok(Dir::new(folder)?))
        .map_err(|source| StoreError::Read { path: folder.to_owned(), source })?;
    for entry in listing {
        let entry = entry.map_err(|error| StoreError::Read { path: folder.to_owned(), source: error.into() })?;
        let name = entry.file_name().to_bytes();
        if name.starts_with(b".") && name.ends_with(TEMPORARY.as_bytes()) && entry.file_type() == FileType::RegularFile
        {
            remove(&folder.join(OsStr::from_bytes(name)))?;
        }
    }
    Ok(())
}

/// How the name of a temporary file ends.
const TEMPORARY: &str = ".new";

fn put(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (folder, name) = split(path)?;
    // Two writers of one file, in one process or in two, each get a temporary file of their own: the later rename wins, whole.
    let mut temporary = OsString::from(".");
    temporary.push(&name);
    temporary.push(format!(".{}-{}{TEMPORARY}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let done = fill(&folder, &temporary, content, mode).and_then(|()| {
        rustix::fs::renameat(&folder, &temporary, &folder, &name)?;
        Ok(rustix::fs::fsync(&folder)?)
    });
    if done.is_err() {
        // After a rename there is nothing of this name; before it, what is left would only take up room.
        let _ = rustix::fs::unlinkat(&folder, &temporary, AtFlags::empty());
    }
    done
}

fn fill(folder: &OwnedFd, name: &OsStr, content: &[u8], mode: u32) -> io::Result<()> {
    let fresh = || {
        rustix::fs::openat(
            folder,
            name,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
    };
    let file = match fresh() {
        // A process with our number was killed here, long ago.
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
            fresh()?
        }
        other => other?,
    };
    let mut file = File::from(file);
    file.write_all(content)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    file.sync_all()
}

fn get(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let (folder, name) = match split(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(&folder, &name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(io::Error::other("it is a link, and links are not followed here")),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    file.take(limit + 1).read_to_end(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(Some(text))
}

fn split(path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("it is not the path of a file"));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = rustix::fs::openat(CWD, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((folder, name.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    type Value = BTreeMap<String, u32>;

    fn value(n: u32) -> Value {
        BTreeMap::from([("n".to_owned(), n)])
    }

    #[test]
    fn what_was_written_is_read_back_with_the_mode_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.json");
        assert_eq!(read::<Value>(&path, LIMIT).unwrap(), None);
        write(&path, &value(1), 0o640).unwrap();
        write(&path, &value(2), 0o604).unwrap();
        assert_eq!(read::<Value>(&path, LIMIT).unwrap(), Some(value(2)));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o604);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read::<Value>(&path, LIMIT).unwrap(), None);
    }

    #[test]
    fn a_file_cut_at_any_byte_is_damaged_and_never_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.json");
        write(&path, &value(1), 0o600).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let end = whole.len() - "}\n".len();
        for cut in 0..=end {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = read::<Value>(&path, LIMIT).unwrap_err();
            assert_eq!(error.reason(), "StateDamaged", "cut at {cut}");
            assert!(error.to_string().contains("ledger.json"), "{error}");
            assert!(error.to_string().contains("mv "), "{error}");
        }
        std::fs::write(&path, vec![0; whole.len()]).unwrap();
        assert_eq!(read::<Value>(&path, LIMIT).unwrap_err().reason(), "StateDamaged");
    }

    #[test]
    fn a_link_a_folder_and_a_giant_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real.json");
        write(&real, &value(1), 0o600).unwrap();
        let link = dir.path().join("link.json");
        symlink(&real, &link).unwrap();
        assert_eq!(read::<Value>(&link, LIMIT).unwrap_err().reason(), "StateNotRead");
        assert_eq!(read::<Value>(dir.path(), LIMIT).unwrap_err().reason(), "StateNotRead");
        assert_eq!(read::<Value>(&real, 3).unwrap_err().reason(), "StateNotRead");
    }

    #[test]
    fn a_write_over_a_link_replaces_the_link_and_not_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "mine").unwrap();
        let path = dir.path().join("status.json");
        symlink(&victim, &path).unwrap();
        write(&path, &value(3), 0o600).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
        assert_eq!(read::<Value>(&path, LIMIT).unwrap(), Some(value(3)));
    }

    #[test]
    fn what_a_killed_writer_left_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("ledger.json"), &value(1), 0o600).unwrap();
        std::fs::write(dir.path().join(".ledger.json.77-0.new"), "{").unwrap();
        sweep(dir.path()).unwrap();
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["ledger.json"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_file_when_read_and_an_error_when_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none").join("ledger.json");
        assert_eq!(read::<Value>(&path, LIMIT).unwrap(), None);
        assert_eq!(write(&path, &value(1), 0o600).unwrap_err().reason(), "StateNotWritten");
    }
}
