//! Links and folders, put in place atomically and looked at without being led astray: each step goes from a descriptor, and follows no link.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, Stat};

/// Puts a link in place of whatever stands under `name`, atomically, and returns when it is on disk.
pub(super) fn place_link(dir: &OwnedFd, name: &str, target: &str) -> io::Result<()> {
    if read_link(dir, name)?.is_some_and(|now| now.to_bytes() == target.as_bytes()) {
        return Ok(());
    }
    let beside = format!(".{name}.new");
    // Left behind by an agent that was killed between the two calls.
    remove(dir, &beside)?;
    rustix::fs::symlinkat(target, dir, &beside)?;
    if let Err(error) = rustix::fs::renameat(dir, &beside, dir, name) {
        remove(dir, &beside)?;
        return Err(error.into());
    }
    rustix::fs::fsync(dir)?;
    Ok(())
}

pub(super) fn open_dir(at: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, path, flags, Mode::empty())?)
}

/// Missing, a link, or no folder: nothing that we made.
pub(super) fn found(opened: io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The mode is set apart from the creation, so that the umask has no say: the web server's workers must get through.
pub(super) fn ensure_dir(at: &OwnedFd, name: &Path) -> io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o755);
    let made = match rustix::fs::mkdirat(at, name, mode) {
        Ok(()) => true,
        Err(rustix::io::Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let dir = open_dir(at, name)?;
    if rustix::fs::fstat(&dir)?.st_mode & 0o7777 != mode.as_raw_mode() {
        rustix::fs::fchmod(&dir, mode)?;
    }
    if made {
        rustix::fs::fsync(at)?;
    }
    Ok(dir)
}

/// Whether it had to be made. Markers are folders: of a file, nginx would keep a descriptor for each name by which it remembers it.
pub(super) fn ensure_marker(dir: &OwnedFd, name: &str) -> io::Result<bool> {
    if is_dir(dir, name)? {
        return Ok(false);
    }
    remove(dir, name)?;
    ensure_dir(dir, Path::new(name))?;
    Ok(true)
}

pub(super) fn is_dir(dir: &OwnedFd, name: &str) -> io::Result<bool> {
    Ok(stat(dir, name)?.is_some_and(|stat| file_type(&stat) == FileType::Directory))
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode as RawMode)
}

pub(super) fn stat(dir: &OwnedFd, name: &str) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `None`: missing, or no link.
pub(super) fn read_link(dir: &OwnedFd, name: &str) -> io::Result<Option<Box<CStr>>> {
    match rustix::fs::readlinkat(dir, name, Vec::new()) {
        Ok(text) => Ok(Some(text.into_boxed_c_str())),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn remove(dir: &OwnedFd, name: &str) -> io::Result<()> {
    let gone = match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        // A marker of the other colour; a folder that holds something was never ours.
        Err(rustix::io::Errno::ISDIR) => rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR),
        gone => gone,
    };
    match gone {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
