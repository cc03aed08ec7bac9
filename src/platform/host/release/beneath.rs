//! Opening files without being led astray. The folders that a site names may belong to a user who swaps a folder for a link while we
//! look; so each step goes from a descriptor of the folder before it, and the kernel follows no link.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

/// To read a file; what isn't one doesn't block.
const TO_READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// Never above the folder that it starts from, never through a link of any kind.
const STRAIGHT: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Opens `path` below `folder`.
pub(in crate::platform::host) fn open<P: rustix::path::Arg + Copy>(
    folder: BorrowedFd<'_>,
    path: P,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    resolved(folder, path, flags | OFlags::NOFOLLOW, STRAIGHT)
}

fn resolved<P: rustix::path::Arg + Copy>(
    folder: BorrowedFd<'_>,
    path: P,
    flags: OFlags,
    how: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    // EAGAIN: something was renamed on the way, and the kernel could not tell whether it climbed.
    for _ in 0..16 {
        match rustix::fs::openat2(folder, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    rustix::fs::openat2(folder, path, flags, Mode::empty(), how)
}

/// Opens a folder below `folder`, to be listed.
pub(super) fn folder<P: rustix::path::Arg + Copy>(folder: BorrowedFd<'_>, path: P) -> Result<OwnedFd, Errno> {
    open(folder, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens a file below `folder`, to be read. What isn't a regular file doesn't block; the caller looks at what it got.
pub(in crate::platform::host) fn file<P: rustix::path::Arg + Copy>(
    folder: BorrowedFd<'_>,
    path: P,
) -> Result<File, Errno> {
    open(folder, path, TO_READ).map(File::from)
}

/// Opens a file of a folder of our own, to be read, through links too as long as they stay below it. What isn't a regular file doesn't block.
pub(in crate::platform::host) fn within<P: rustix::path::Arg + Copy>(
    folder: BorrowedFd<'_>,
    path: P,
) -> Result<File, Errno> {
    resolved(folder, path, TO_READ, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS).map(File::from)
}

/// What a regular file holds, if it is no larger than so many bytes.
pub(in crate::platform::host) fn content(file: File, most: u64) -> io::Result<Option<Vec<u8>>> {
    let found = file.metadata()?;
    if !found.is_file() || found.len() > most {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(most).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Opens an absolute path, without a link in any of its components.
pub(in crate::platform::host) fn absolute(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let root = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    open(root.as_fd(), path.strip_prefix("/").unwrap_or(path), flags)
}

/// Opens a folder of our own: the state is root's, and where it lies root may have chosen with a link.
pub(in crate::platform::host) fn own(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

/// The first component of `path` that is a link, and what the whole path leads to through it. For messages only.
pub(in crate::platform::host) fn link_in(path: &Path) -> Option<(PathBuf, Option<PathBuf>)> {
    let mut so_far = PathBuf::new();
    for part in path.components() {
        so_far.push(part);
        if std::fs::symlink_metadata(&so_far).ok()?.is_symlink() {
            return Some((so_far, std::fs::canonicalize(path).ok()));
        }
    }
    None
}

/// The names in a folder, sorted; an error beyond `most` of them.
pub(in crate::platform::host) fn names(folder: BorrowedFd<'_>, most: u64) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
            if u64::try_from(names.len()).unwrap_or(u64::MAX) > most {
                return Err(Errno::TOOBIG);
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Puts a tree of ours on the disk. `entries` says about how many there are.
///
/// Two ways, because either is bad at the other's: a sync of the whole file system is one call for any number of files, and waits for whatever
/// else the machine is writing (0.7 s beside a busy compiler); a sync of each file costs 2 to 5 ms each.
pub(super) fn sync(folder: BorrowedFd<'_>, entries: u64) -> Result<(), Errno> {
    const FEW: u64 = 32;
    if entries > FEW { rustix::fs::syncfs(folder) } else { sync_each(folder) }
}

/// Syncs each file and folder of a tree of ours, which is no deeper than a release may be.
pub(super) fn sync_each(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    for name in names(folder, u64::MAX)? {
        let stat = rustix::fs::statat(folder, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => sync_each(self::folder(folder, name.as_c_str())?.as_fd())?,
            FileType::RegularFile => rustix::fs::fsync(file(folder, name.as_c_str())?)?,
            // A link is all in its folder.
            _ => {}
        }
    }
    rustix::fs::fsync(folder)
}

/// Removes `name` below `folder` with all that is in it; nothing happens if it isn't there.
///
/// The tree may have been made by an unpacker gone wrong, deeper than any stack: each folder inside is moved up before it is emptied, so this
/// recurses nowhere.
pub(super) fn remove_all<P: rustix::path::Arg + Copy>(folder: BorrowedFd<'_>, name: P) -> Result<(), Errno> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let top = self::folder(folder, name)?;
    let mut hoisted: Vec<CString> = Vec::new();
    let mut count = 0_u64;
    loop {
        // The top itself is emptied first, then each folder that was moved up into it.
        let (current, inside) = match hoisted.pop() {
            None if count > 0 => break,
            None => (top.try_clone().map_err(|_| Errno::MFILE)?, None),
            Some(name) => (self::folder(top.as_fd(), name.as_c_str())?, Some(name)),
        };
        for name in names(current.as_fd(), u64::MAX)? {
            match rustix::fs::unlinkat(&current, name.as_c_str(), AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {
                    hoisted.push(hoist(&current, &name, &top, &mut count)?);
                }
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        match inside {
            Some(name) => rustix::fs::unlinkat(&top, name.as_c_str(), AtFlags::REMOVEDIR)?,
            None if hoisted.is_empty() => break,
            None => {}
        }
    }
    rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}

/// Moves a folder up into `top` under a name that nothing there has.
fn hoist(from: &OwnedFd, name: &CString, top: &OwnedFd, count: &mut u64) -> Result<CString, Errno> {
    loop {
        *count += 1;
        let up = CString::new(format!(".hoisted-{count}")).map_err(|_| Errno::INVAL)?;
        match rustix::fs::renameat_with(from, name.as_c_str(), top, up.as_c_str(), RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(up),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
}
