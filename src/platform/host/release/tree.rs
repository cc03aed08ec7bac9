//! Walks a folder that somebody else may be changing, to tell its content's identity or to copy it into a release: the same walk for
//! both, so that what was copied can be compared with what was wanted.
//!
//! The identity of a tree is a SHA-256 over its entries in the order of their names: kind, path, whether a file may be executed, the file's
//! content, a link's target. Owners, times and other permissions don't count: a release has its own.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::account::Account;
use super::beneath;
use super::entry::{self, Danger, Special, show};
use super::limits::{Excess, Limits, Measure, Tally, bound};

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    /// The identity of the content.
    pub digest: [u8; 32],
    /// How much it was.
    pub tally: Tally,
}

/// A tree could not be walked or copied. Paths are those inside the tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// An entry has no place in a release.
    #[error("{entry:?} {danger}")]
    Unsafe {
        /// Which.
        entry: String,
        /// Why.
        danger: Danger,
    },
    /// It is larger than a release may be.
    #[error("{entry:?} is beyond the limit of {} {}", .excess.limit, .excess.measure)]
    TooLarge {
        /// Where the limit was passed.
        entry: String,
        /// Which limit.
        excess: Excess,
    },
    /// An entry changed while it was looked at.
    #[error("{entry:?} changed while it was read")]
    Changed {
        /// Which.
        entry: String,
    },
    /// The disk of the releases is full.
    #[error("no space left on the disk of the releases, at {entry:?}")]
    DiskFull {
        /// What was being written.
        entry: String,
    },
    /// The system refused.
    #[error("{entry:?}: {source}")]
    Io {
        /// At which entry.
        entry: String,
        /// What it said.
        source: io::Error,
    },
}

/// Where the copy of a tree goes, and who hears of it.
pub(super) struct Copy<'a> {
    /// An empty folder.
    pub to: BorrowedFd<'a>,
    /// Called with the path of each entry once it is there.
    pub progress: &'a dyn Fn(&[u8]),
}

/// Walks the tree below `source`. With `reader`, a file that lies elsewhere too must be one that this user may read: whoever owns the folder
/// could have put a hard link there to something that only root may read, and a release is for the site's user to read.
///
/// # Errors
/// See [`TreeError`]. What was copied so far stays.
pub(super) fn walk(
    source: BorrowedFd<'_>,
    copy: Option<&Copy<'_>>,
    reader: Option<&Account>,
    limits: &Limits,
) -> Result<Sum, TreeError> {
    let mut walk = Walk {
        copy,
        reader,
        limits,
        tally: Tally::default(),
        hash: Sha256::new(),
        buffer: vec![0; 128 << 10],
        path: Vec::new(),
    };
    walk.folder(source, copy.map(|copy| copy.to), 0)?;
    Ok(Sum { digest: walk.hash.finalize().into(), tally: walk.tally })
}

struct Walk<'a> {
    copy: Option<&'a Copy<'a>>,
    reader: Option<&'a Account>,
    limits: &'a Limits,
    tally: Tally,
    hash: Sha256,
    buffer: Vec<u8>,
    path: Vec<u8>,
}

impl Walk<'_> {
    fn folder(&mut self, source: BorrowedFd<'_>, to: Option<BorrowedFd<'_>>, depth: usize) -> Result<(), TreeError> {
        let before = rustix::fs::fstat(source).map_err(|error| self.reading(error))?;
        let names = beneath::names(source, self.limits.entries).map_err(|error| match error {
            Errno::TOOBIG => self.excess(Excess { measure: Measure::Entries, limit: self.limits.entries }),
            error => self.reading(error),
        })?;
        for name in names {
            let length = self.path.len();
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.to_bytes());
            self.entry(source, to, &name, depth)?;
            if let Some(copy) = self.copy {
                (copy.progress)(&self.path);
            }
            self.path.truncate(length);
        }
        // Something that came after the names were read: an upload that goes on.
        let after = rustix::fs::fstat(source).map_err(|error| self.reading(error))?;
        if stamp(&before) == stamp(&after) { Ok(()) } else { Err(self.changed()) }
    }

    fn entry(
        &mut self,
        source: BorrowedFd<'_>,
        to: Option<BorrowedFd<'_>>,
        name: &CStr,
        depth: usize,
    ) -> Result<(), TreeError> {
        self.tally.entry(self.limits).map_err(|excess| self.excess(excess))?;
        let size = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        bound(Measure::Path, size(self.path.len()), self.limits.path).map_err(|excess| self.excess(excess))?;
        bound(Measure::Depth, size(depth), self.limits.depth).map_err(|excess| self.excess(excess))?;

        let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| self.reading(error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.note(b'd');
                let inner = beneath::folder(source, name).map_err(|error| self.reading(error))?;
                let Some(to) = to else {
                    return self.folder(inner.as_fd(), None, depth + 1);
                };
                rustix::fs::mkdirat(to, name, Mode::RWXU).map_err(|error| self.writing(error.into()))?;
                let copy = beneath::folder(to, name).map_err(|error| self.writing(error.into()))?;
                self.folder(inner.as_fd(), Some(copy.as_fd()), depth + 1)?;
                rustix::fs::fchmod(&copy, Mode::from_raw_mode(0o555)).map_err(|error| self.writing(error.into()))
            }
            FileType::RegularFile => self.file(source, to, name),
            FileType::Symlink => self.link(source, to, name, depth),
            other => Err(self.danger(Danger::Special(special(other)))),
        }
    }

    fn file(&mut self, source: BorrowedFd<'_>, to: Option<BorrowedFd<'_>>, name: &CStr) -> Result<(), TreeError> {
        let mut file = beneath::file(source, name).map_err(|error| self.reading(error))?;
        let before = rustix::fs::fstat(&file).map_err(|error| self.reading(error))?;
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
            return Err(self.changed());
        }
        if before.st_mode & 0o6000 != 0 {
            return Err(self.danger(Danger::SetId));
        }
        if before.st_nlink > 1 && self.reader.is_some_and(|reader| !may_read(&before, reader)) {
            return Err(self.danger(Danger::Foreign { owner: before.st_uid, mode: before.st_mode & 0o7777 }));
        }
        let executable = before.st_mode & 0o111 != 0;
        let mut copy = match to {
            None => None,
            Some(to) => Some(self.fresh(to, name)?),
        };
        let mut content = Sha256::new();
        let mut length = 0_u64;
        loop {
            let got = match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.io(error)),
            };
            self.tally.add(got, self.limits).map_err(|excess| self.excess(excess))?;
            length += u64::try_from(got).unwrap_or(u64::MAX);
            content.update(&self.buffer[..got]);
            if let Some(copy) = &mut copy {
                let written = copy.write_all(&self.buffer[..got]);
                written.map_err(|error| self.writing(error))?;
            }
        }
        let after = rustix::fs::fstat(&file).map_err(|error| self.reading(error))?;
        if stamp(&before) != stamp(&after) || u64::try_from(after.st_size).ok() != Some(length) {
            return Err(self.changed());
        }
        if let Some(copy) = copy {
            let mode = Mode::from_raw_mode(if executable { 0o555 } else { 0o444 });
            rustix::fs::fchmod(&copy, mode).map_err(|error| self.writing(error.into()))?;
            // A web server makes its validators of a file's time: kept, an asset that is the same in two releases stays in the browsers' caches.
            rustix::fs::futimens(&copy, &times(&before)).map_err(|error| self.writing(error.into()))?;
        }
        self.note(if executable { b'x' } else { b'f' });
        self.hash.update(length.to_be_bytes());
        self.hash.update(content.finalize());
        Ok(())
    }

    fn link(
        &mut self,
        source: BorrowedFd<'_>,
        to: Option<BorrowedFd<'_>>,
        name: &CStr,
        depth: usize,
    ) -> Result<(), TreeError> {
        let target = rustix::fs::readlinkat(source, name, Vec::new()).map_err(|error| self.reading(error))?;
        entry::link(depth, target.to_bytes()).map_err(|danger| self.danger(danger))?;
        if let Some(to) = to {
            rustix::fs::symlinkat(target.as_c_str(), to, name).map_err(|error| self.writing(error.into()))?;
        }
        self.note(b'l');
        self.hash_text(target.to_bytes());
        Ok(())
    }

    fn fresh(&self, to: BorrowedFd<'_>, name: &CStr) -> Result<File, TreeError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(|error| self.writing(error.into()))
    }

    fn note(&mut self, kind: u8) {
        self.hash.update([kind]);
        let path = std::mem::take(&mut self.path);
        self.hash_text(&path);
        self.path = path;
    }

    fn hash_text(&mut self, text: &[u8]) {
        self.hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.hash.update(text);
    }

    fn here(&self) -> String {
        if self.path.is_empty() { ".".to_owned() } else { show(&self.path) }
    }

    fn danger(&self, danger: Danger) -> TreeError {
        TreeError::Unsafe { entry: self.here(), danger }
    }

    fn excess(&self, excess: Excess) -> TreeError {
        TreeError::TooLarge { entry: self.here(), excess }
    }

    fn changed(&self) -> TreeError {
        TreeError::Changed { entry: self.here() }
    }

    /// An entry that was listed is not there any more, or is something else now: somebody is at work in the folder.
    fn reading(&self, error: Errno) -> TreeError {
        match error {
            Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::INVAL | Errno::XDEV | Errno::STALE | Errno::NXIO => {
                self.changed()
            }
            error => self.io(error.into()),
        }
    }

    fn writing(&self, source: io::Error) -> TreeError {
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT) => TreeError::DiskFull { entry: self.here() },
            _ => self.io(source),
        }
    }

    fn io(&self, source: io::Error) -> TreeError {
        TreeError::Io { entry: self.here(), source }
    }
}

/// Whether the mode of a file lets this user read it.
pub(super) fn may_read(stat: &Stat, reader: &Account) -> bool {
    let bit: RawMode = if stat.st_uid == reader.uid {
        0o400
    } else if reader.groups.contains(&stat.st_gid) {
        0o040
    } else {
        0o004
    };
    stat.st_mode & bit != 0
}

/// What changes when a file's content does.
pub(super) fn stamp(stat: &Stat) -> (u64, i64, i64, u64, i64, u64) {
    (stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
}

/// The times of a file, to be given to its copy.
pub(super) fn times(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) };
    Timestamps { last_access: time, last_modification: time }
}

fn special(kind: FileType) -> Special {
    match kind {
        FileType::BlockDevice | FileType::CharacterDevice => Special::Device,
        FileType::Fifo => Special::Fifo,
        FileType::Socket => Special::Socket,
        _ => Special::Other,
    }
}
