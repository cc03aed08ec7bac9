//! The working folder of a take: how the content gets from an upload into the release to be.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::account::Account;
use super::beneath;
use super::error::TakeError;
use super::fingerprint;
use super::limits::{Limits, Measure, Tally};
use super::shelf::{Shelf, TAKING};
use super::source::{self, Kind, Piece};
use super::take::{Order, Step};
use super::tree::{self, Copy};
use super::unpack::{self, UnpackError};
use crate::rollout::Revision;

/// The working folder of a take; removed when the take ends, however it ends.
pub(super) struct Work<'a> {
    shelf: &'a Shelf,
    name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// The folder itself.
    pub folder: OwnedFd,
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // What can't be removed now is removed before the next take.
        let _ = self.shelf.remove(&self.name);
    }
}

impl Work<'_> {
    pub fn begin(shelf: &Shelf, revision: Revision) -> Result<Work<'_>, TakeError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{TAKING}{revision}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let failed = |error: Errno| TakeError::Io {
            path: shelf.path().to_owned(),
            what: "making a working folder",
            source: error.into(),
        };
        rustix::fs::mkdirat(&shelf.folder, name.as_str(), Mode::RWXU).map_err(failed)?;
        let folder = beneath::folder(shelf.folder.as_fd(), name.as_str()).map_err(failed)?;
        Ok(Work { path: shelf.path().join(&name), shelf, name, folder })
    }

    pub fn copy_folder(&self, from: &OwnedFd, to: &OwnedFd, order: &Order<'_>) -> Result<Tally, TakeError> {
        let wanted = &order.identity.fingerprint;
        self.room(wanted.bytes, order.limits)?;
        let sum = self.copy(from.as_fd(), to.as_fd(), Some(order.account), order)?;
        if wanted.kind != Kind::Folder || hex::encode(sum.digest) != wanted.digest {
            return Err(self.changed(order));
        }
        Ok(sum.tally)
    }

    pub fn take_archive(
        &self,
        kind: &Kind,
        mut file: File,
        bytes: u64,
        release: &OwnedFd,
        order: &Order<'_>,
    ) -> Result<Tally, TakeError> {
        let path = source::path(order.source);
        let packed = !matches!(kind, Kind::File(_));
        // A packed one is here three times for a moment: itself, unpacked, and copied; it unpacks to no less than about itself.
        self.room(if packed { bytes.saturating_mul(3) } else { bytes }, order.limits)?;

        // Copied first, so that nobody changes it between the check of its checksum and its use.
        let changed = rustix::fs::fstat(&file).map_err(|error| self.failed("looking at the archive", error))?;
        let secured = self.secure(&mut file, order)?;
        (order.progress)(Step::Secured);
        let Kind::File(name) = kind else {
            self.make_unpacked(order)?;
            self.unpack(kind, secured, bytes, &path, order, Tally::default())?;
            (order.progress)(Step::Unpacked);
            rustix::fs::unlinkat(&self.folder, "archive", AtFlags::empty())
                .map_err(|error| self.failed("removing the archive's copy", error))?;
            return self.take_unpacked(release, order);
        };
        let seal = || {
            rustix::fs::fchmod(&secured, Mode::from_raw_mode(0o444))?;
            rustix::fs::futimens(&secured, &tree::times(&changed))?;
            rustix::fs::renameat(&self.folder, "archive", release, name.as_str())
        };
        seal().map_err(|error| self.failed("sealing", error))?;
        (order.progress)(Step::Entry(name.as_bytes()));
        Ok(Tally { bytes, entries: 1 })
    }

    /// Lays what a registry had one over the other.
    pub fn take_pieces(&self, pieces: Vec<Piece>, release: &OwnedFd, order: &Order<'_>) -> Result<Tally, TakeError> {
        let path = source::path(order.source);
        let bytes = pieces.iter().fold(0_u64, |sum, piece| sum.saturating_add(piece.bytes));
        self.room(bytes.saturating_mul(2), order.limits)?;
        self.make_unpacked(order)?;
        let mut so_far = Tally::default();
        for Piece { kind, file, bytes } in pieces {
            let more = self.unpack(&kind, file, bytes, &path, order, so_far)?;
            so_far.bytes = so_far.bytes.saturating_add(more.bytes);
            so_far.entries = so_far.entries.saturating_add(more.entries);
        }
        if so_far.entries == 0 {
            return Err(TakeError::NothingInside { path });
        }
        (order.progress)(Step::Unpacked);
        self.take_unpacked(release, order)
    }

    fn make_unpacked(&self, order: &Order<'_>) -> Result<(), TakeError> {
        self.make("unpacked", Mode::RWXU)?;
        let unpacked = self.open("unpacked")?;
        let owner = (Some(Uid::from_raw(order.account.uid)), Some(Gid::from_raw(order.account.gid)));
        rustix::fs::fchown(&unpacked, owner.0, owner.1).map_err(|error| self.failed("making a folder", error))
    }

    fn take_unpacked(&self, release: &OwnedFd, order: &Order<'_>) -> Result<Tally, TakeError> {
        let unpacked = self.open("unpacked")?;
        let sum = self.copy(unpacked.as_fd(), release.as_fd(), None, order)?;
        beneath::remove_all(self.folder.as_fd(), "unpacked")
            .map_err(|error| self.failed("removing what was unpacked", error))?;
        Ok(sum.tally)
    }

    /// A private copy of an archive that is what it should be.
    fn secure(&self, file: &mut File, order: &Order<'_>) -> Result<File, TakeError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let secured = rustix::fs::openat(&self.folder, "archive", flags, Mode::RUSR | Mode::WUSR);
        let mut secured = secured.map(File::from).map_err(|error| self.failed("copying the archive", error))?;
        let (digest, bytes) = fingerprint::drain(file, &mut secured, order.limits.bytes).map_err(|source| {
            TakeError::Io { path: self.shelf.path().to_owned(), what: "copying the archive", source }
        })?;
        let is = fingerprint::Fingerprint { kind: order.identity.fingerprint.kind.clone(), digest, bytes };
        fingerprint::check(order.source, &is)?;
        let wanted = &order.identity.fingerprint;
        // Of what is fetched the size is not known before.
        let wanted =
            fingerprint::Fingerprint { bytes: if wanted.bytes == 0 { bytes } else { wanted.bytes }, ..wanted.clone() };
        if is == wanted { Ok(secured) } else { Err(self.changed(order)) }
    }

    fn unpack(
        &self,
        kind: &Kind,
        archive: File,
        bytes: u64,
        path: &Path,
        order: &Order<'_>,
        before: Tally,
    ) -> Result<Tally, TakeError> {
        let account = order.account;
        // Never so much that the disk is full: what is unpacked is copied once more.
        let free = self.free()?;
        let room = free.saturating_sub(order.limits.spare) / 2;
        let allowed = order.limits.unpacked(bytes);
        let allowed = allowed.min(order.limits.bytes.saturating_sub(before.bytes));
        let entries = order.limits.entries.saturating_sub(before.entries);
        let limits = Limits { bytes: allowed.min(room), entries, ..*order.limits };
        let done = unpack::unpack(order.unpacker, archive, kind, &self.path.join("unpacked"), account, &limits);
        done.map_err(|source| match source {
            UnpackError::TooLarge { excess, .. } if excess.measure == Measure::Bytes && room < allowed => {
                TakeError::NoRoom {
                    path: self.shelf.path().to_owned(),
                    need: limits.bytes.saturating_mul(2).saturating_add(1),
                    free,
                    spare: order.limits.spare,
                }
            }
            source => TakeError::Unpack { path: path.to_owned(), source },
        })
    }

    fn copy(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        reader: Option<&Account>,
        order: &Order<'_>,
    ) -> Result<tree::Sum, TakeError> {
        let progress = |path: &[u8]| (order.progress)(Step::Entry(path));
        let copy = Copy { to, progress: &progress };
        tree::walk(from, Some(&copy), reader, order.limits)
            .map_err(|source| TakeError::Tree { path: source::path(order.source), source })
    }

    fn room(&self, need: u64, limits: &Limits) -> Result<(), TakeError> {
        let free = self.free()?;
        if need.saturating_add(limits.spare) > free {
            return Err(TakeError::NoRoom { path: self.shelf.path().to_owned(), need, free, spare: limits.spare });
        }
        Ok(())
    }

    fn free(&self) -> Result<u64, TakeError> {
        let disk = rustix::fs::fstatvfs(&self.folder).map_err(|error| self.failed("looking for room", error))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    pub fn make(&self, name: &str, mode: Mode) -> Result<(), TakeError> {
        rustix::fs::mkdirat(&self.folder, name, mode).map_err(|error| self.failed("making a folder", error))
    }

    pub fn open(&self, name: &str) -> Result<OwnedFd, TakeError> {
        beneath::folder(self.folder.as_fd(), name).map_err(|error| self.failed("opening a folder", error))
    }

    /// Gives something its final name, which nothing has yet.
    pub fn put(&self, name: &str, to: &str) -> Result<(), TakeError> {
        rustix::fs::renameat_with(&self.folder, name, &self.shelf.folder, to, RenameFlags::NOREPLACE)
            .map_err(|error| self.failed("giving it its name", error))
    }

    fn changed(&self, order: &Order<'_>) -> TakeError {
        TakeError::Changed { path: source::path(order.source) }
    }

    pub fn failed(&self, what: &'static str, error: Errno) -> TakeError {
        TakeError::Io { path: self.shelf.path().to_owned(), what, source: error.into() }
    }
}
