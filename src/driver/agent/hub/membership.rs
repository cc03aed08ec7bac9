//! Which hub this host has joined, as it stands in `STATE/hub/hub.yaml`. Written by `bluegreen host join`, removed by `bluegreen host leave`, read by
//! the agent each time that it connects. The token lies beside it, in a file of its own that is replaced by renaming.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::api::names::hub;
use crate::api::types::HostName;
use crate::platform::host::store::{self, StoreError};

/// No file of these is larger than that: a bundle of certificates is the most of it.
const LIMIT: u64 = 1 << 20;
/// Root's alone: who reads a token is this host.
const PRIVATE: u32 = 0o600;

/// The hub, and who this host is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// Its URL: `https://…`.
    pub server: String,
    /// What its certificate is judged by, in PEM form.
    pub certificate_authority: String,
    /// This host's name there.
    pub host: HostName,
    /// The namespace that holds this host's sites.
    pub namespace: String,
    /// What tells this hub from another one at the same address: the uid of the namespace.
    pub hub: String,
    /// Since when.
    pub since: Timestamp,
}

impl Membership {
    /// The namespace of a host on its hub.
    #[must_use]
    pub fn namespace_of(host: &HostName) -> String {
        format!("{}{host}", hub::NAMESPACE)
    }

    /// The folder of everything about the hub, below the agent's state folder.
    #[must_use]
    pub fn folder(state: &Path) -> PathBuf {
        state.join("hub")
    }

    /// The membership.
    #[must_use]
    pub fn file(state: &Path) -> PathBuf {
        Membership::folder(state).join("hub.yaml")
    }

    /// The token that this host shows.
    #[must_use]
    pub fn token_file(state: &Path) -> PathBuf {
        Membership::folder(state).join("token")
    }

    /// Reads it. `None`: this host has joined no hub.
    ///
    /// # Errors
    /// It can't be read, or is not what was written.
    pub fn load(state: &Path) -> Result<Option<Membership>, StoreError> {
        // What was written is JSON, which is YAML: a person may have put comments in.
        let path = Membership::file(state);
        let Some(text) = store::read_text(&path, LIMIT)? else { return Ok(None) };
        let membership: Membership = serde_saphyr::from_str(&text)
            .map_err(|error| StoreError::Damaged { path: path.clone(), why: error.to_string() })?;
        if !membership.server.starts_with("https://") {
            let why = format!("server: {:?} does not begin with https://", membership.server);
            return Err(StoreError::Damaged { path, why });
        }
        Ok(Some(membership))
    }

    /// Writes it, for root alone.
    ///
    /// # Errors
    /// It could not be written; what was there before is whole.
    pub fn save(&self, state: &Path) -> Result<(), StoreError> {
        let path = Membership::file(state);
        private_folder(&Membership::folder(state))
            .map_err(|source| StoreError::Write { path: Membership::folder(state), source })?;
        let text = serde_saphyr::to_string(self)
            .map_err(|error| StoreError::Encode { path: path.clone(), why: error.to_string() })?;
        store::write_bytes(&path, text.as_bytes(), PRIVATE)
    }
}

/// Makes a folder that only root may look into, or makes the one that is there so.
pub(super) fn private_folder(path: &Path) -> io::Result<()> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let folder = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    Ok(rustix::fs::fchmod(folder, Mode::RWXU)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn membership(server: &str) -> Membership {
        Membership {
            server: server.to_owned(),
            certificate_authority: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_owned(),
            host: "vps-1".parse().unwrap(),
            namespace: Membership::namespace_of(&"vps-1".parse().unwrap()),
            hub: "7f0c".to_owned(),
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    #[test]
    fn what_was_joined_is_read_back_and_is_for_root_alone() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(Membership::load(state.path()).unwrap(), None);
        let joined = membership("https://hub.example:6443");
        joined.save(state.path()).unwrap();
        joined.save(state.path()).unwrap();
        assert_eq!(Membership::load(state.path()).unwrap(), Some(joined));
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(Membership::folder(state.path())), 0o700);
        assert_eq!(mode(Membership::file(state.path())), 0o600);
    }

    #[test]
    fn a_hub_without_https_and_a_file_that_was_cut_off_are_no_membership() {
        let state = tempfile::tempdir().unwrap();
        membership("http://hub.example").save(state.path()).unwrap();
        assert!(Membership::load(state.path()).unwrap_err().to_string().contains("https://"));
        std::fs::write(Membership::file(state.path()), "server: https://hub\n").unwrap();
        assert!(matches!(Membership::load(state.path()), Err(StoreError::Damaged { .. })));
    }
}
