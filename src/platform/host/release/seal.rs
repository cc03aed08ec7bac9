//! Who may read a release: the site's user, and everybody what the web server is to answer from.
//!
//! It is root's and nobody's to change. What was uploaded may hold a password, and the machine may have other people's accounts on it, and other
//! sites' apps; what the web server gives to anybody is no secret to them. Which that is belongs to the revision ([`Run`]), so it never changes.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, RawMode};

use super::account::Account;
use super::beneath;
use crate::api::site::Run;

/// For the site's user: read, pass through or execute, as its owner may.
const GROUP: RawMode = 0o550;
/// Others may pass through a folder, by a name that they know.
const PASS: RawMode = 0o001;

/// Gives a release that is complete its last permissions. It lies in a folder of root's that nobody else can enter.
///
/// # Errors
/// The system refused.
pub(super) fn seal(release: &Path, run: &Run, account: &Account) -> io::Result<()> {
    close(beneath::own(release)?.as_fd(), Gid::from_raw(account.gid))?;
    let release = release.canonicalize()?;
    for one in &run.statics {
        let named = one.root.below(&release);
        pass(&release, &named)?;
        // What lies elsewhere is a shared folder, and the app's own.
        if let Some(root) = named.canonicalize().ok().filter(|root| root.starts_with(&release)) {
            pass(&release, &root)?;
            open(&root)?;
        }
    }
    Ok(())
}

/// Gives a folder with all that is in it to a group, and takes it from everybody else.
///
/// # Errors
/// The system refused.
pub(super) fn close(folder: BorrowedFd<'_>, group: Gid) -> io::Result<()> {
    for name in beneath::names(folder, u64::MAX)? {
        let name = name.as_c_str();
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => close(beneath::folder(folder, name)?.as_fd(), group)?,
            FileType::RegularFile => {
                rustix::fs::chownat(folder, name, None, Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
                rustix::fs::chmodat(folder, name, Mode::from_raw_mode(stat.st_mode & GROUP), AtFlags::empty())?;
            }
            // Whoever may enter a folder may read where its links lead.
            _ => {}
        }
    }
    rustix::fs::fchown(folder, None, Some(group))?;
    Ok(rustix::fs::fchmod(folder, Mode::from_raw_mode(GROUP))?)
}

/// Lets everybody pass through the folders on the way from the release to something in it, as far as none of them is a link.
fn pass(release: &Path, to: &Path) -> io::Result<()> {
    let mut on_the_way: Vec<&Path> = to.ancestors().skip(1).take_while(|folder| folder.starts_with(release)).collect();
    on_the_way.reverse();
    let real = |folder: &&Path| fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir());
    on_the_way.into_iter().take_while(real).try_for_each(|folder| add(folder, |_| PASS))
}

/// Lets everybody do with all of this what the site's user may. The web server answers nothing through a link, so none is followed.
fn open(at: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(at)?;
    if kind.is_symlink() {
        return Ok(());
    }
    if kind.is_dir() {
        fs::read_dir(at)?.try_for_each(|entry| open(&entry?.path()))?;
    }
    add(at, |mode| (mode & 0o070) >> 3)
}

fn add(path: &Path, more: impl Fn(RawMode) -> RawMode) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    fs::set_permissions(path, fs::Permissions::from_mode(mode | more(mode)))
}
