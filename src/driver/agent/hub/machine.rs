//! Which machine this is, without telling anybody its machine-id: systemd asks that the id itself never leaves the machine, and gives a way to make another
//! one of it for each application (`sd_id128_get_machine_app_specific`), which this is.
//!
//! A copy of a machine has its machine-id too. So who holds a name is told apart by the boot as well, and two that share even that (a snapshot with its memory)
//! by a word of chance, as soon as one of them notices the other.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// What an application is told apart by: made once by chance.
const APPLICATION: [u8; 16] =
    [0xa0, 0x8a, 0xd4, 0xcb, 0xde, 0x8a, 0x43, 0x73, 0xbc, 0x71, 0x0d, 0x09, 0x96, 0x6a, 0x04, 0xc4];
/// Where the machine's id is.
const FILE: &str = "/etc/machine-id";
/// Where the number of this boot is.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
const BLOCK: usize = 64;

/// This machine, as its hub knows it: 32 hexadecimal digits that lead nobody back to the machine-id.
///
/// # Errors
/// The machine has no machine-id, or one that can't be read.
pub fn id() -> io::Result<String> {
    read(Path::new(FILE))
}

/// This boot of this machine: `MACHINE.BOOT`. Another one is another machine, as far as anybody can tell.
///
/// # Errors
/// As [`id`].
pub fn boot() -> io::Result<String> {
    let text = std::fs::read_to_string(BOOT)?;
    let boot =
        hex::decode(text.trim().replace('-', "")).map_err(|error| io::Error::other(format!("{BOOT}: {error}")))?;
    let boot = specific(&boot, &APPLICATION);
    Ok(format!("{}.{}", id()?, boot.get(..16).unwrap_or_default()))
}

/// Whether two of these are the same machine, or copies of one.
#[must_use]
pub fn are_copies(one: &str, other: &str) -> bool {
    one.split('.').next() == other.split('.').next()
}

/// Who this is on the hub, for as long as the agent runs.
#[derive(Debug, Default)]
pub struct Identity(Mutex<Option<String>>);

impl Identity {
    /// `MACHINE.BOOT`, and a word of chance where that alone was not enough.
    ///
    /// # Errors
    /// As [`id`].
    pub fn get(&self) -> io::Result<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(known) => Ok(known.clone()),
            None => Ok(known.insert(boot()?).clone()),
        }
    }

    /// Somebody else goes by the same words: from now on this is another one.
    pub fn part(&self) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_mut() {
            known.push_str(&format!(".{:016x}", RandomState::new().hash_one(())));
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let wrong =
        |why: String| io::Error::other(format!("{}: {why}; make one with: systemd-machine-id-setup", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let id = hex::decode(text.trim()).ok().filter(|id| id.len() == 16 && id.iter().any(|byte| *byte != 0));
    let id = id.ok_or_else(|| wrong("it holds no machine-id".to_owned()))?;
    Ok(specific(&id, &APPLICATION))
}

/// HMAC-SHA256 of the application under the machine's id, cut to 16 bytes, and marked as a UUID that was made by chance.
fn specific(machine: &[u8], application: &[u8]) -> String {
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        for (byte, key) in block.iter_mut().zip(machine) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(application).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    let mut id: Vec<u8> = outer.iter().copied().take(16).collect();
    if let Some(byte) = id.get_mut(6) {
        *byte = (*byte & 0x0f) | 0x40;
    }
    if let Some(byte) = id.get_mut(8) {
        *byte = (*byte & 0x3f) | 0x80;
    }
    hex::encode(id)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_known_by_another_id_than_its_own_and_always_by_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("machine-id");
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let id = read(&file).unwrap();
        assert_eq!(id, read(&file).unwrap());
        assert!(id.len() == 32 && !id.contains("0123456789abcdef"), "{id}");
        std::fs::write(&file, "1123456789abcdef0123456789abcdef\n").unwrap();
        assert_ne!(id, read(&file).unwrap());
    }

    #[test]
    fn the_id_is_the_one_that_systemd_makes() {
        // What `systemd-id128 machine-id --app-specific=` says on a machine of this id.
        let machine = hex::decode("51df0b4bc3b04c9780e299b98ca373b8").unwrap();
        let application = hex::decode("f03daaeb1c334b43a732172944bf772e").unwrap();
        assert_eq!(specific(&machine, &application), "1dee5954e75c4d6fb96cc6c04ca18a86");
    }

    #[test]
    fn who_noticed_a_twin_is_another_one_from_then_on_and_still_the_same_machine() {
        let identity = Identity::default();
        let first = identity.get().unwrap();
        assert_eq!(first, boot().unwrap());
        assert!(first.starts_with(&format!("{}.", id().unwrap())));
        identity.part();
        let second = identity.get().unwrap();
        assert_ne!(first, second);
        assert!(second.starts_with(&first) && are_copies(&first, &second) && !are_copies(&first, "m.b"));
        assert_eq!(identity.get().unwrap(), second);
    }

    #[test]
    fn a_machine_without_an_id_is_told_how_to_get_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("machine-id");
        for text in ["", "uninitialized\n", "00000000000000000000000000000000", "0123"] {
            std::fs::write(&file, text).unwrap();
            assert!(read(&file).unwrap_err().to_string().contains("systemd-machine-id-setup"), "{text:?}");
        }
        assert!(read(&folder.path().join("none")).is_err());
    }
}
