//! Which machine this is, without telling anybody its machine-id: systemd asks that the id itself never leaves the machine, and gives a way to make another
//! one of it for each application (`sd_id128_get_machine_app_specific`), which this is.

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

/// What an application is told apart by: made once by chance.
const APPLICATION: [u8; 16] =
    [0xa0, 0x8a, 0xd4, 0xcb, 0xde, 0x8a, 0x43, 0x73, 0xbc, 0x71, 0x0d, 0x09, 0x96, 0x6a, 0x04, 0xc4];
/// Where the machine's id is.
const FILE: &str = "/etc/machine-id";
const BLOCK: usize = 64;

/// This machine, as its hub knows it: 32 hexadecimal digits that lead nobody back to the machine-id.
///
/// # Errors
/// The machine has no machine-id, or one that can't be read.
pub fn id() -> io::Result<String> {
    read(Path::new(FILE))
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
