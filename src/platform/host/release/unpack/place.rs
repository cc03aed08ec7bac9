//! Writes what an archive holds below one folder, never through a link, never over what is there, and counts.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{UnpackError, words};
use crate::platform::host::release::beneath;
use crate::platform::host::release::entry::{Danger, EntryPath, Judged, show};
use crate::platform::host::release::limits::{Excess, Limits, Tally};

/// The folder that an archive is unpacked into.
pub(super) struct Place {
    root: OwnedFd,
    limits: Limits,
    tally: Tally,
    buffer: Vec<u8>,
}

/// A file as an archive describes it.
pub(super) struct Described {
    /// May be executed.
    pub executable: bool,
    /// Seconds since the epoch when it was last changed, if the archive says so.
    pub changed: Option<i64>,
}

impl Place {
    pub fn new(root: OwnedFd, limits: Limits) -> Place {
        Place { root, limits, tally: Tally::default(), buffer: vec![0; 128 << 10] }
    }

    /// What was written so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Judges the raw name of an entry; `None` is the root itself.
    pub fn path(&self, raw: &[u8]) -> Result<Option<EntryPath>, UnpackError> {
        EntryPath::parse(raw, &self.limits).map_err(|judged| match judged {
            Judged::Danger(danger) => refused(raw, danger),
            Judged::Excess(excess) => exceeded(raw, excess),
        })
    }

    /// Makes a folder; one that is there already is fine.
    pub fn folder(&mut self, raw: &[u8]) -> Result<(), UnpackError> {
        if let Some(path) = self.path(raw)? {
            let (folders, name) = path.split();
            let above = self.reach(folders, raw)?;
            self.step(above.as_fd(), name, raw)?;
        }
        Ok(())
    }

    /// Makes a file with this content.
    pub fn file(&mut self, raw: &[u8], content: &mut impl Read, described: &Described) -> Result<(), UnpackError> {
        let path = self.path(raw)?.ok_or_else(|| refused(raw, Danger::BadName))?;
        self.count(raw)?;
        let (folders, name) = path.split();
        let above = self.reach(folders, raw)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if described.executable { 0o700 } else { 0o600 });
        let file = rustix::fs::openat(&above, name, flags, mode).map_err(|error| writing(raw, error.into()))?;
        let mut file = File::from(file);
        loop {
            let got = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(UnpackError::Damaged { at: format!("in {:?}", show(raw)), why: words(&error) });
                }
            };
            self.tally.add(got, &self.limits).map_err(|excess| exceeded(raw, excess))?;
            file.write_all(&self.buffer[..got]).map_err(|error| writing(raw, error))?;
        }
        if let Some(seconds) = described.changed {
            let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::futimens(&file, &times).map_err(|error| writing(raw, error.into()))?;
        }
        Ok(())
    }

    /// Makes a symbolic link.
    pub fn link(&mut self, raw: &[u8], target: &[u8]) -> Result<(), UnpackError> {
        let path = self.path(raw)?.ok_or_else(|| refused(raw, Danger::BadName))?;
        path.link(target).map_err(|danger| refused(raw, danger))?;
        self.count(raw)?;
        let (folders, name) = path.split();
        let above = self.reach(folders, raw)?;
        rustix::fs::symlinkat(target, &above, name).map_err(|error| writing(raw, error.into()))
    }

    /// Makes another name for a file that the archive brought before.
    pub fn hard_link(&mut self, raw: &[u8], target: &[u8]) -> Result<(), UnpackError> {
        let path = self.path(raw)?.ok_or_else(|| refused(raw, Danger::BadName))?;
        let outside = || refused(raw, Danger::HardLink { target: show(target) });
        let target_path = match EntryPath::parse(target, &self.limits) {
            Ok(Some(path)) => path,
            _ => return Err(outside()),
        };
        self.count(raw)?;
        let mut from = beneath::folder(self.root.as_fd(), ".").map_err(|error| writing(raw, error.into()))?;
        let (folders, from_name) = target_path.split();
        for folder in folders {
            from = beneath::folder(from.as_fd(), folder.as_slice()).map_err(|_| outside())?;
        }
        match rustix::fs::statat(&from, from_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
            _ => return Err(outside()),
        }
        let (folders, name) = path.split();
        let above = self.reach(folders, raw)?;
        rustix::fs::linkat(&from, from_name, &above, name, AtFlags::empty()).map_err(|error| writing(raw, error.into()))
    }

    /// Removes what a layer before brought, whatever it is; nothing happens if it isn't there.
    pub fn remove(&mut self, raw: &[u8]) -> Result<(), UnpackError> {
        let Some(path) = self.path(raw)? else { return self.empty(raw) };
        let (folders, name) = path.split();
        match self.find(folders, raw)? {
            Some(above) => beneath::remove_all(above.as_fd(), name).map_err(|error| writing(raw, error.into())),
            None => Ok(()),
        }
    }

    /// Removes what layers before brought into a folder.
    pub fn empty(&mut self, raw: &[u8]) -> Result<(), UnpackError> {
        let path = self.path(raw)?;
        let (folders, name) = path.as_ref().map_or((&[][..], None), |path| (path.split().0, Some(path.split().1)));
        let all: Vec<Vec<u8>> = folders.iter().cloned().chain(name.map(<[u8]>::to_vec)).collect();
        let Some(folder) = self.find(&all, raw)? else { return Ok(()) };
        for name in beneath::names(folder.as_fd(), u64::MAX).map_err(|error| writing(raw, error.into()))? {
            beneath::remove_all(folder.as_fd(), name.as_c_str()).map_err(|error| writing(raw, error.into()))?;
        }
        Ok(())
    }

    /// What is at a path; `None`: nothing, or nothing that can be got to.
    pub fn is(&mut self, raw: &[u8]) -> Result<Option<FileType>, UnpackError> {
        let Some(path) = self.path(raw)? else { return Ok(Some(FileType::Directory)) };
        let (folders, name) = path.split();
        let Some(above) = self.find(folders, raw)? else { return Ok(None) };
        match rustix::fs::statat(&above, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(writing(raw, error.into())),
        }
    }

    /// Opens the innermost of these folders, if they are all there.
    fn find(&self, folders: &[Vec<u8>], raw: &[u8]) -> Result<Option<OwnedFd>, UnpackError> {
        let mut at = beneath::folder(self.root.as_fd(), ".").map_err(|error| writing(raw, error.into()))?;
        for folder in folders {
            at = match beneath::folder(at.as_fd(), folder.as_slice()) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                other => other.map_err(|error| writing(raw, error.into()))?,
            };
        }
        Ok(Some(at))
    }

    /// Opens the innermost of these folders, making those that are missing.
    fn reach(&mut self, folders: &[Vec<u8>], raw: &[u8]) -> Result<OwnedFd, UnpackError> {
        let mut at = beneath::folder(self.root.as_fd(), ".").map_err(|error| writing(raw, error.into()))?;
        for folder in folders {
            at = self.step(at.as_fd(), folder, raw)?;
        }
        Ok(at)
    }

    fn step(&mut self, at: BorrowedFd<'_>, name: &[u8], raw: &[u8]) -> Result<OwnedFd, UnpackError> {
        match beneath::folder(at, name) {
            Err(Errno::NOENT) => {
                self.count(raw)?;
                rustix::fs::mkdirat(at, name, Mode::RWXU).map_err(|error| writing(raw, error.into()))?;
                beneath::folder(at, name).map_err(|error| writing(raw, error.into()))
            }
            Err(Errno::LOOP) => Err(refused(raw, Danger::ThroughLink)),
            Err(Errno::NOTDIR) => Err(refused(raw, self.in_the_way(at, name))),
            other => other.map_err(|error| writing(raw, error.into())),
        }
    }

    fn in_the_way(&self, at: BorrowedFd<'_>, name: &[u8]) -> Danger {
        match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => Danger::ThroughLink,
            _ => Danger::ThroughFile,
        }
    }

    fn count(&mut self, raw: &[u8]) -> Result<(), UnpackError> {
        self.tally.entry(&self.limits).map_err(|excess| exceeded(raw, excess))
    }
}

pub(super) fn refused(raw: &[u8], danger: Danger) -> UnpackError {
    UnpackError::Unsafe { entry: show(raw), danger }
}

fn exceeded(raw: &[u8], excess: Excess) -> UnpackError {
    UnpackError::TooLarge { entry: show(raw), excess }
}

fn writing(raw: &[u8], error: io::Error) -> UnpackError {
    match Errno::from_io_error(&error) {
        Some(Errno::EXIST) => refused(raw, Danger::Twice),
        Some(Errno::NOSPC | Errno::DQUOT) => UnpackError::DiskFull { entry: show(raw) },
        _ => UnpackError::Failed { what: format!("{:?}: {}", show(raw), words(&error)) },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// Everything below a folder, without following links.
    fn below(folder: &Path) -> BTreeSet<std::path::PathBuf> {
        let mut found = BTreeSet::new();
        let mut todo = vec![folder.to_owned()];
        while let Some(at) = todo.pop() {
            for entry in std::fs::read_dir(&at).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    todo.push(entry.path());
                }
                found.insert(entry.path());
            }
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
        /// Without the jail around it: names and links alone must not lead out, whatever an archive says in whatever order.
        #[test]
        fn no_entry_ever_lands_outside(
            entries in prop::collection::vec(
                (0..4_u8, "(/|\\.\\./|\\./|a/|b/|c){1,5}", "(/|\\.\\./|a/|b/|\\.\\.|c|outside){1,4}"),
                1..12,
            ),
        ) {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("outside"), "untouched").unwrap();
            let inside = dir.path().join("x/y/inside");
            std::fs::create_dir_all(&inside).unwrap();
            let before: BTreeSet<_> = below(dir.path());
            let mut place = Place::new(beneath::own(&inside).unwrap(), Limits::default());
            let plain = Described { executable: false, changed: None };
            for (kind, name, target) in &entries {
                let (name, target) = (name.as_bytes(), target.as_bytes());
                let _ = match kind {
                    0 => place.folder(name),
                    1 => place.file(name, &mut &b"written"[..], &plain),
                    2 => place.link(name, target),
                    _ => place.hard_link(name, target),
                };
            }
            prop_assert_eq!(std::fs::read_to_string(dir.path().join("outside")).unwrap(), "untouched");
            for path in below(dir.path()).difference(&before) {
                prop_assert!(path.starts_with(&inside), "{:?} is outside", path);
                if let Ok(real) = std::fs::canonicalize(path) {
                    prop_assert!(real.starts_with(&inside), "{:?} leads to {:?}", path, real);
                }
            }
        }
    }
}
