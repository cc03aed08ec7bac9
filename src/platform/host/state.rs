//! A site's memory on disk: two small files beside the link, and what happened last. Written whole or not at all (see `store`). Called
//! by the driver; the folder itself is the agent's alone.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::layout::SiteDir;
use super::store::{self, StoreError};
use crate::control::api::HistoryEntry;
use crate::platform::Store;
use crate::platform::{Class, Fault};
use crate::rollout::{Ledger, Memory, Status};

/// So many events of a site are kept.
pub const HISTORY: usize = 50;

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
        match store::read(&self.history(), store::LIMIT) {
            Err(damage @ StoreError::Damaged { .. }) => put_aside(&self.history(), &damage).map(|()| Vec::new()),
            all => Ok(all?.unwrap_or_default()),
        }
    }

    /// Adds to what happened, and forgets what is older than the last [`HISTORY`] events.
    pub fn add_history(&self, new: Vec<HistoryEntry>) -> Result<(), Fault> {
        if new.is_empty() {
            return Ok(());
        }
        let mut all = self.read_history()?;
        all.extend(new);
        let skip = all.len().saturating_sub(HISTORY);
        write_for_people(&self.history(), &all[skip..])
    }
}

impl Store for FileStore {
    async fn load(&self) -> Result<Memory, Fault> {
        let ledger = store::read::<Ledger>(&self.ledger(), store::LIMIT);
        let status = store::read::<Status>(&self.status(), store::LIMIT);
        match (ledger, status) {
            (Err(damage @ StoreError::Damaged { .. }), Ok(Some(status))) => {
                put_aside(&self.ledger(), &damage)?;
                Ok(Memory { status: Some(status), ..Memory::default() })
            }
            (Ok(Some(ledger)), Err(damage @ StoreError::Damaged { .. })) => {
                put_aside(&self.status(), &damage)?;
                Ok(Memory { ledger: Some(ledger), ..Memory::default() })
            }
            (ledger, status) => Ok(Memory { ledger: ledger?, status: status?, left: None }),
        }
    }

    async fn record_ledger(&self, before: Option<&Ledger>, after: &Ledger) -> Result<(), Fault> {
        swap(&self.ledger(), before, after)
    }

    async fn record_status(&self, before: Option<&Status>, after: &Status) -> Result<(), Fault> {
        swap(&self.status(), before, after)
    }
}

fn swap<T: Serialize + DeserializeOwned + PartialEq>(path: &Path, before: Option<&T>, after: &T) -> Result<(), Fault> {
    let now: Option<T> = store::read(path, store::LIMIT)?;
    if now.as_ref() != before {
        return Err(Fault {
            class: Class::Conflict,
            reason: "StateChanged",
            message: format!("{} was changed by somebody else; it is read again", path.display()),
        });
    }
    write(path, after, 0o644)
}

/// Writes a file of a site's folder, which is made if it isn't there. The web server passes through the folder, so it is open to all.
fn write<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<(), Fault> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        make_folder(folder).map_err(|source| StoreError::Write { path: folder.to_owned(), source })?;
    }
    Ok(store::write(path, value, mode)?)
}

/// Writes what is for people only, whole, and without waiting for the disk: a power cut may cost it, and nothing depends on it.
///
/// # Errors
/// It could not be written; what was there is whole.
pub fn write_for_people<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), Fault> {
    let written = || -> io::Result<()> {
        let fresh = path.with_extension("json.new");
        std::fs::write(&fresh, serde_json::to_vec_pretty(value)?)?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        std::fs::rename(&fresh, path)
    };
    written().map_err(|source| StoreError::Write { path: path.to_owned(), source }.into())
}

/// Makes a folder, and those above it, with mode 0755 whatever the umask says.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folder(above)?;
    }
    match std::fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    std::fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// One memory is enough: a damaged one is put aside for somebody to look at, as long as the other one is whole.
fn put_aside(path: &Path, damage: &StoreError) -> Result<(), Fault> {
    let aside = PathBuf::from(format!("{}.damaged", path.display()));
    tracing::warn!(
        kept = %aside.display(), error = %damage,
        "one of a site's two memories is damaged; it is put aside and made anew from the other one"
    );
    std::fs::rename(path, &aside).map_err(|source| StoreError::Write { path: path.to_owned(), source }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{Phase, Revision, Time};
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    fn store() -> (tempfile::TempDir, FileStore) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = "shop".parse().expect("a site name");
        let store = FileStore::new(SiteDir::new(folder.path(), &site));
        (folder, store)
    }

    fn ledger(version: u64) -> Ledger {
        Ledger { version, cleared: [Revision::new(7)].into(), ..Ledger::default() }
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
            let fault = store.record_ledger(stale.as_ref(), &ledger(3)).await.expect_err("refused");
            assert_eq!(fault.class, Class::Conflict);
        }
        assert_eq!(store.load().await.expect("loads").ledger, Some(ledger(2)));
    }

    #[tokio::test]
    async fn a_memory_cut_in_half_is_put_aside_as_long_as_the_other_one_is_whole() {
        let (_folder, store) = store();
        let status = Status { phase: Phase::Idle, about: None, since: Time(1), deadline: None, ledger: ledger(1) };
        store.record_ledger(None, &ledger(1)).await.expect("records");
        store.record_status(None, &status).await.expect("records");
        let cut = |path: &Path| {
            let whole = fs::read(path).expect("readable");
            fs::write(path, &whole[..whole.len() / 2]).expect("writable");
        };
        cut(&store.ledger());
        let memory = store.load().await.expect("loads");
        assert_eq!((memory.ledger, memory.status), (None, Some(status.clone())));
        assert!(store.ledger().with_file_name("ledger.json.damaged").exists());
        store.record_ledger(None, &ledger(5)).await.expect("goes on");
        cut(&store.status());
        let memory = store.load().await.expect("loads");
        assert_eq!((memory.ledger, memory.status), (Some(ledger(5)), None));
        // With neither, nobody knows what was rejected: nothing is decided until somebody looks.
        store.record_status(None, &status).await.expect("goes on");
        cut(&store.ledger());
        cut(&store.status());
        assert_eq!(store.load().await.expect_err("unknown").reason, "StateDamaged");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_a_fault_and_not_a_loss() {
        let (folder, store) = store();
        fs::create_dir_all(store.ledger()).expect("a folder in the file's place");
        let fault = store.load().await.expect_err("unknown");
        assert_eq!(fault.reason, "StateNotRead");
        fs::remove_dir(store.ledger()).expect("removed");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), store.ledger()).expect("a link");
        assert!(store.load().await.is_err(), "a link is not followed");
    }

    #[test]
    fn history_is_bounded_and_keeps_the_newest() {
        let (_folder, store) = store();
        make_folder(store.history().parent().expect("a folder")).expect("made");
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
}
