//! The folder of what was fetched, one for all sites of the machine.
//!
//! ```text
//! STATE/downloads/HEX          whole, and what its name says: the SHA-256 of its content
//! STATE/downloads/HEX.part     on its way; whoever has its lock writes in it
//! STATE/downloads/HEX.same     how its server tells whether it is still the same there
//! ```

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::FlockOperation;
use serde_json::Value;

use super::download::Wanted;
use super::transient;
use crate::api::types::Sha256;
use crate::platform::host::release::take::Order;
use crate::platform::host::release::{beneath, fingerprint};
use crate::platform::{Class, Fault};

/// The largest artifact that is fetched.
pub(super) const LARGEST: u64 = 2 << 30;
/// A manifest of a registry is no larger.
pub(super) const MANIFEST: usize = 4 << 20;
/// What nothing refers to stays so long: a release of it may be on its way.
const UNUSED: Duration = Duration::from_secs(60 * 60);
/// What broke off stays so long, to be gone on with.
const BROKEN_OFF: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What was fetched for the sites of a machine.
#[derive(Clone, Debug)]
pub struct Downloads {
    folder: PathBuf,
}

impl Downloads {
    /// In the agent's state folder.
    #[must_use]
    pub fn of(state: &Path) -> Downloads {
        Downloads { folder: state.join("downloads") }
    }

    /// Removes what belongs to no release that any site of `state` keeps.
    ///
    /// # Errors
    /// What the system says; the rest is removed the next time.
    pub fn prune(&self, state: &Path) -> io::Result<()> {
        let Some(files) = there(std::fs::read_dir(&self.folder))? else { return Ok(()) };
        let needed = self.needed(state)?;
        for file in files {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            let age = file.metadata()?.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            let old = if name.contains('.') { BROKEN_OFF } else { UNUSED };
            if !needed.contains(&name) && age.is_some_and(|age| age > old) {
                std::fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    fn needed(&self, state: &Path) -> io::Result<BTreeSet<String>> {
        let mut needed = BTreeSet::new();
        for site in there(std::fs::read_dir(state.join("sites")))?.into_iter().flatten() {
            let releases = there(std::fs::read_dir(site?.path().join("releases")))?;
            for record in releases.into_iter().flatten() {
                let path = record?.path();
                if path.extension().is_none_or(|end| end != "json") {
                    continue;
                }
                let record: Value = serde_json::from_slice(&std::fs::read(&path)?).unwrap_or_default();
                if let Some(digest) = record.pointer("/identity/fingerprint/digest").and_then(Value::as_str) {
                    needed.insert(digest.to_owned());
                }
            }
        }
        // What an image is made of: its index names manifests, and a manifest its layers.
        let mut todo: Vec<String> = needed.iter().cloned().collect();
        while let Some(digest) = todo.pop() {
            let manifest = self.manifest(&digest)?;
            let parts = ["manifests", "layers"].into_iter().filter_map(|name| manifest[name].as_array()).flatten();
            for part in parts.filter_map(|part| part["digest"].as_str()?.strip_prefix("sha256:")) {
                if needed.insert(part.to_owned()) {
                    todo.push(part.to_owned());
                }
            }
        }
        Ok(needed)
    }

    /// What was fetched under this digest, if it is a manifest. What a manifest says comes from outside: its words become a name only if they are one.
    fn manifest(&self, digest: &str) -> io::Result<Value> {
        let Ok(digest) = digest.parse::<Sha256>() else { return Ok(Value::Null) };
        let folder = beneath::own(&self.folder)?;
        let file = there(beneath::file(folder.as_fd(), digest.as_str()).map_err(io::Error::from))?;
        let content = file.map(|file| beneath::content(file, MANIFEST as u64)).transpose()?.flatten();
        Ok(serde_json::from_slice(&content.unwrap_or_default()).unwrap_or_default())
    }
}

fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The store, as one order uses it.
pub(super) struct Store<'a> {
    folder: PathBuf,
    order: &'a Order<'a>,
}

impl<'a> Store<'a> {
    /// Opens it, and makes it if it isn't there.
    pub fn open(order: &'a Order<'a>) -> Result<Store<'a>, Fault> {
        let folder = order.fetching.downloads.folder.clone();
        let made = match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        made.and_then(|()| std::fs::set_permissions(&folder, Permissions::from_mode(0o700)))
            .map_err(|error| failed(&folder, &error))?;
        Ok(Store { folder, order })
    }

    /// How much one artifact may be.
    pub fn limit(&self) -> u64 {
        LARGEST.min(self.order.limits.bytes)
    }

    pub fn tell(&self, message: String) {
        (self.order.fetching.told)(message);
    }

    /// What was fetched before, if it is still what its name says.
    pub fn kept(&self, wanted: &Wanted<'_>) -> Result<Option<File>, Fault> {
        let path = self.path(wanted.digest, "");
        let io = |error: &io::Error| failed(&path, error);
        let Some(mut file) = there(File::open(&path)).map_err(|error| io(&error))? else { return Ok(None) };
        let (digest, _) = fingerprint::drain(&mut file, &mut io::sink(), u64::MAX).map_err(|error| io(&error))?;
        if digest != wanted.digest {
            std::fs::remove_file(&path).map_err(|error| io(&error))?;
            return Ok(None);
        }
        file.rewind().map_err(|error| io(&error))?;
        // It is in use: what isn't goes after a while.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(file))
    }

    /// Keeps a small one, whose digest was compared.
    pub fn put(&self, digest: &str, content: &[u8]) -> Result<(), Fault> {
        let path = self.path(digest, ".new");
        let write = || {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(content)?;
            file.sync_all()?;
            self.name(&path, digest)
        };
        write().map_err(|error| failed(&path, &error))
    }

    /// The file in which a download is on its way, for nobody else; once somebody else is done with it there may be nothing left to do.
    pub async fn part(&self, wanted: &Wanted<'_>) -> Result<File, Fault> {
        let path = self.path(wanted.digest, ".part");
        let io = |error: &io::Error| failed(&path, error);
        let begun = Instant::now();
        let mut told = Duration::from_secs(2);
        loop {
            let open = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = open.map_err(|error| io(&error))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    let here = file.metadata().map_err(|error| io(&error))?.ino();
                    let named = there(path.symlink_metadata()).map_err(|error| io(&error))?;
                    // Otherwise whoever had it gave it its final name, or threw it away.
                    if named.is_some_and(|named| named.ino() == here) {
                        return Ok(file);
                    }
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                    if begun.elapsed() > told {
                        told += Duration::from_secs(60);
                        self.tell("another site of this machine is fetching the same".to_owned());
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(io(&error.into())),
            }
        }
    }

    /// A whole one gets its name. Its content is on the disk before.
    pub fn finish(&self, file: &File, digest: &str) -> Result<(), Fault> {
        let path = self.path(digest, ".part");
        let done = file.sync_all().and_then(|()| self.name(&path, digest));
        done.map_err(|error| failed(&path, &error))?;
        let _ = std::fs::remove_file(self.path(digest, ".same"));
        Ok(())
    }

    /// Throws away what is on its way.
    pub fn discard(&self, digest: &str) {
        for end in [".same", ".part"] {
            let _ = std::fs::remove_file(self.path(digest, end));
        }
    }

    /// How the server tells whether it is still the same.
    pub fn same(&self, digest: &str) -> Option<String> {
        std::fs::read_to_string(self.path(digest, ".same")).ok()
    }

    pub fn set_same(&self, digest: &str, same: Option<&str>) {
        let path = self.path(digest, ".same");
        // Lost, it costs a download from the start, and no more.
        let _ = match same {
            Some(same) => std::fs::write(path, same),
            None => std::fs::remove_file(path),
        };
    }

    /// Looks whether there is room for so many more bytes.
    pub fn room(&self, more: u64) -> Result<(), Fault> {
        let disk = rustix::fs::statvfs(&self.folder).map_err(|error| failed(&self.folder, &error.into()))?;
        let (free, spare) = (disk.f_bavail.saturating_mul(disk.f_frsize), self.order.limits.spare);
        if more.saturating_add(spare) <= free {
            return Ok(());
        }
        Err(full(&format!(
            "not enough room in {}: {more} bytes are still to be fetched and {free} are free, of which {spare} are left to the rest of the \
             machine; make room",
            self.folder.display()
        )))
    }

    fn name(&self, from: &Path, digest: &str) -> io::Result<()> {
        std::fs::rename(from, self.path(digest, ""))?;
        File::open(&self.folder)?.sync_all()
    }

    /// `digest` is 64 hexadecimal digits wherever it comes from.
    fn path(&self, digest: &str, end: &str) -> PathBuf {
        self.folder.join(format!("{digest}{end}"))
    }
}

fn full(message: &str) -> Fault {
    Fault { class: Class::Transient, reason: "DiskFull", message: message.to_owned() }
}

/// The system refused.
pub(super) fn failed(path: &Path, error: &io::Error) -> Fault {
    let message = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full(&message),
        _ => transient(message),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_manifest_names_is_kept_and_its_words_lead_nowhere_else() {
        let state = tempfile::tempdir().unwrap();
        let downloads = Downloads::of(state.path());
        let (index, layer, gone) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        let releases = state.path().join("sites/shop/releases");
        std::fs::create_dir_all(&releases).unwrap();
        std::fs::create_dir(&downloads.folder).unwrap();
        let record = json!({ "identity": { "fingerprint": { "digest": index } } });
        std::fs::write(releases.join("1.json"), record.to_string()).unwrap();
        let digests =
            ["/dev/zero", "../sites", ".", "", &layer].map(|name| json!({ "digest": format!("sha256:{name}") }));
        let old = SystemTime::now() - 2 * UNUSED;
        for (name, content) in
            [(&index, json!({ "manifests": digests }).to_string()), (&layer, String::new()), (&gone, String::new())]
        {
            let path = downloads.folder.join(name);
            std::fs::write(&path, content).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        }
        downloads.prune(state.path()).unwrap();
        let left: BTreeSet<String> = std::fs::read_dir(&downloads.folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(left, BTreeSet::from([index, layer]));
    }
}
