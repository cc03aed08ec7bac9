//! A site's memory on disk: two small files beside the link, and what happened last. Written whole or not at all: temporary file, fsync,
//! rename, fsync of the folder. Called by the driver; the folder itself is the agent's alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::OFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::layout::SiteDir;
use crate::control::api::HistoryEntry;
use crate::driver::Store;
use crate::platform::{Class, Fault};
use crate::rollout::{Ledger, Memory, Status};

/// So many events of a site are kept.
pub const HISTORY: usize = 50;

/// No memory of ours is larger; a file that is, isn't ours.
const LIMIT: u64 = 4 * 1024 * 1024;

/// The two memories of one site, as files.
#[derive(Clone, Debug)]
pub struct FileStore {
    dir: SiteDir,
}

impl FileStore {
    /// The memories in the folder of a site. The folder is made when something is recorded.
    #[must_use]
    pub fn new(dir: SiteDir) -> FileStore {
        FileStore { dir }
    }

    /// Where the ledger is.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.dir.root().join("ledger.json")
    }

    /// Where the status is.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.dir.root().join("status.json")
    }

    fn history(&self) -> PathBuf {
        self.dir.root().join("history.json")
    }

    /// What happened last, oldest first.
    pub fn read_history(&self) -> Result<Vec<HistoryEntry>, Fault> {
        Ok(read_json(&self.history())?.unwrap_or_default())
    }

    /// Adds to what happened, and forgets what is older than the last [`HISTORY`] events.
    pub fn add_history(&self, new: Vec<HistoryEntry>) -> Result<(), Fault> {
        if new.is_empty() {
            return Ok(());
        }
        let mut all = self.read_history()?;
        all.extend(new);
        let skip = all.len().saturating_sub(HISTORY);
        write_json(&self.history(), &all[skip..], 0o600)
    }
}

impl Store for FileStore {
    async fn load(&self) -> Result<Memory, Fault> {
        Ok(Memory {
            ledger: read_json(&self.ledger())?,
            status: read_json(&self.status())?,
        })
    }

    async fn record_ledger(&self, before: Option<&Ledger>, after: &Ledger) -> Result<(), Fault> {
        swap(&self.ledger(), before, after)
    }

    async fn record_status(&self, before: Option<&Status>, after: &Status) -> Result<(), Fault> {
        swap(&self.status(), before, after)
    }
}

fn swap<T: Serialize + DeserializeOwned + PartialEq>(path: &Path, before: Option<&T>, after: &T) -> Result<(), Fault> {
    let now: Option<T> = read_json(path)?;
    if now.as_ref() != before {
        return Err(Fault {
            class: Class::Conflict,
            reason: "StateChanged",
            message: format!("{} was changed by somebody else; it is read again", path.display()),
        });
    }
    write_json(path, after, 0o644)
}

/// What stands in a file of ours. `None`: there is none, or it is no longer understood; then it is put aside, so that somebody can
/// look at it, and what is said in the log says so.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Fault> {
    let Some(bytes) = read_whole(path).map_err(|e| unreadable(path, &e))? else {
        return Ok(None);
    };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(e) => {
            let aside = PathBuf::from(format!("{}.broken", path.display()));
            tracing::warn!(
                file = %path.display(), kept = %aside.display(), error = %e,
                "a file of the state folder is not understood; going on without it"
            );
            fs::rename(path, &aside).map_err(|e| unreadable(path, &e))?;
            Ok(None)
        }
    }
}

/// Writes a value as JSON, whole or not at all.
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T, mode: u32) -> Result<(), Fault> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| unwritable(path, &e.into()))?;
    bytes.push(b'\n');
    write_whole(path, &bytes, mode).map_err(|e| unwritable(path, &e))
}

/// The bytes of a file that isn't a link; `None`: there is no such file.
pub fn read_whole(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC))
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB"));
    }
    Ok(Some(bytes))
}

/// Writes a file whole or not at all, with exactly this mode, in a folder that is made if it isn't there. When it returns, the file is
/// on the disk.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let fresh = folder.join(format!(".{name}.{}.{count}", std::process::id()));
    let written = write_new(&fresh, bytes, mode).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // The disk may be full: what was begun must not fill it further. The first error is the one that counts.
        let _ = fs::remove_file(&fresh);
    }
    written?;
    sync_folder(folder)
}

/// Makes what was renamed or removed in a folder survive a power cut.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(flags(OFlags::NOFOLLOW))
        .mode(mode)
        .open(path)?;
    // `mode` above is what the umask leaves of it.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or(0)
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault {
        class: Class::Transient,
        reason: "StateUnreadable",
        message: format!(
            "cannot read {}: {error}; nothing is changed while it is unknown what it says. Make it readable for root, or remove it",
            path.display()
        ),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    let what_to_do = match error.kind() {
        io::ErrorKind::StorageFull => "; make room on that disk",
        io::ErrorKind::ReadOnlyFilesystem => "; mount it writable",
        _ => "",
    };
    Fault {
        class: Class::Transient,
        reason: "StateUnwritable",
        message: format!(
            "cannot write {}: {error}{what_to_do}. Nothing is changed that can't be written down first",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::Revision;
    use std::os::unix::fs::MetadataExt;

    fn store() -> (tempfile::TempDir, FileStore) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = "shop".parse().expect("a site name");
        let store = FileStore::new(SiteDir::new(folder.path(), &site));
        (folder, store)
    }

    fn ledger(version: u64) -> Ledger {
        Ledger {
            version,
            cleared: [Revision::new(7)].into(),
            ..Ledger::default()
        }
    }

    #[tokio::test]
    async fn what_was_recorded_is_loaded() {
        let (_folder, store) = store();
        assert_eq!(store.load().await.expect("loads"), Memory::default());
        store.record_ledger(None, &ledger(1)).await.expect("records");
        assert_eq!(store.load().await.expect("loads").ledger, Some(ledger(1)));
        let mode = fs::metadata(store.ledger()).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o644);
    }

    #[tokio::test]
    async fn a_record_on_another_ledger_than_the_one_on_disk_is_a_conflict_and_writes_nothing() {
        let (_folder, store) = store();
        store.record_ledger(None, &ledger(2)).await.expect("records");
        for stale in [None, Some(ledger(1))] {
            let fault = store
                .record_ledger(stale.as_ref(), &ledger(3))
                .await
                .expect_err("refused");
            assert_eq!(fault.class, Class::Conflict);
        }
        assert_eq!(store.load().await.expect("loads").ledger, Some(ledger(2)));
    }

    #[tokio::test]
    async fn a_ledger_cut_in_half_is_put_aside_and_counts_as_lost() {
        let (_folder, store) = store();
        store.record_ledger(None, &ledger(1)).await.expect("records");
        let whole = fs::read(store.ledger()).expect("readable");
        fs::write(store.ledger(), &whole[..whole.len() / 2]).expect("writable");
        assert_eq!(store.load().await.expect("loads").ledger, None);
        let aside = store.ledger().with_file_name("ledger.json.broken");
        assert_eq!(fs::read(aside).expect("kept"), &whole[..whole.len() / 2]);
        store.record_ledger(None, &ledger(5)).await.expect("goes on");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_a_fault_and_not_a_loss() {
        let (folder, store) = store();
        fs::create_dir_all(store.ledger()).expect("a folder in the file's place");
        let fault = store.load().await.expect_err("unknown");
        assert_eq!(fault.reason, "StateUnreadable");
        fs::remove_dir(store.ledger()).expect("removed");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), store.ledger()).expect("a link");
        assert!(store.load().await.is_err(), "a link is not followed");
    }

    #[test]
    fn history_is_bounded_and_keeps_the_newest() {
        let (_folder, store) = store();
        let event = |n: usize| HistoryEntry {
            time: jiff::Timestamp::UNIX_EPOCH,
            reason: "Test".into(),
            message: n.to_string(),
            revision: None,
        };
        for n in 0..HISTORY + 7 {
            store.add_history(vec![event(n)]).expect("written");
        }
        let all = store.read_history().expect("read");
        assert_eq!(all.len(), HISTORY);
        assert_eq!(all[0].message, "7");
        assert_eq!(all[HISTORY - 1].message, (HISTORY + 6).to_string());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let target = folder.path().join("folder-in-the-way");
        fs::create_dir(&target).expect("made");
        assert!(write_whole(&target, b"x", 0o600).is_err());
        let names: Vec<_> = fs::read_dir(folder.path()).expect("read").collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}
