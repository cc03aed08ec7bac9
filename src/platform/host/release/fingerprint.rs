//! Which release it is: the identity of what was uploaded, and with it and everything else that makes a release, the revision.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::account::Account;
use super::config::ConfigDigest;
use super::limits::Limits;
use super::source::{self, Kind, Opened, SourceError};
use super::tree;
use crate::api::site::{ReleaseSource, Run};
use crate::rollout::Revision;

/// The identity of what was uploaded: equal content, equal fingerprint, wherever it lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fingerprint {
    /// What it is; a tar archive and a zip archive with the same files are two.
    pub kind: Kind,
    /// Of an archive, the SHA-256 of its bytes; of a folder, of its tree. Hexadecimal.
    pub digest: String,
    /// How large it is: the archive, or the files of the folder together.
    pub bytes: u64,
}

/// Everything that makes a release, apart from how it is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// What was uploaded.
    pub fingerprint: Fingerprint,
    /// The content of the configuration files.
    pub config: ConfigDigest,
    /// What a `restart` changes, so that the same content is another release.
    pub incarnation: String,
}

impl Identity {
    /// The revision that this identity, run like this, is.
    ///
    /// # Errors
    /// [`SourceError::Encode`].
    pub fn revision(&self, run: &Run) -> Result<Revision, SourceError> {
        revision(&self.fingerprint, run, &self.config, &self.incarnation)
    }
}

/// The revision: 128 bits of a SHA-256 over everything that makes a release.
///
/// Each part is preceded by its length, so no two different releases encode alike. `run` counts as its JSON, whose field order is
/// that of the type: a field that is added to [`Run`] later must be left out of the JSON while it has its default, or an upgrade of the agent
/// rolls every site out again.
///
/// # Errors
/// [`SourceError::Encode`].
pub fn revision(
    fingerprint: &Fingerprint,
    run: &Run,
    config: &ConfigDigest,
    incarnation: &str,
) -> Result<Revision, SourceError> {
    let run = serde_json::to_vec(run).map_err(|error| SourceError::Encode(error.to_string()))?;
    let kind = serde_json::to_vec(&fingerprint.kind).map_err(|error| SourceError::Encode(error.to_string()))?;
    let mut hash = Sha256::new();
    let parts: [&[u8]; 6] = [
        b"bluegreen.dev/revision/1",
        &kind,
        fingerprint.digest.as_bytes(),
        &run,
        config.as_str().as_bytes(),
        incarnation.as_bytes(),
    ];
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let (front, _) = digest.split_at(16);
    let hash = front.iter().fold(0_u128, |hash, byte| (hash << 8) | u128::from(*byte));
    Ok(Revision::new(hash))
}

/// Reads what was uploaded, all of it, and tells its identity. `reader` is the site's user.
///
/// # Errors
/// See [`SourceError`]; a `sha256` that was given and isn't met is [`SourceError::Checksum`].
pub fn read(source: &ReleaseSource, reader: &Account, limits: &Limits) -> Result<Fingerprint, SourceError> {
    if let Some(fingerprint) = named(source) {
        return Ok(fingerprint);
    }
    let path = source::path(source);
    let fingerprint = match source::open(source, reader, limits)? {
        Opened::Folder(folder) => {
            let sum = tree::walk(folder.as_fd(), None, Some(reader), limits)
                .map_err(|error| SourceError::Tree { path: path.clone(), source: error })?;
            if sum.tally.entries == 0 {
                return Err(SourceError::Empty { path });
            }
            Fingerprint { kind: Kind::Folder, digest: hex::encode(sum.digest), bytes: sum.tally.bytes }
        }
        Opened::Archive(kind, mut file, _) => {
            let (digest, bytes) = drain(&mut file, &mut io::sink(), limits.bytes)
                .map_err(|error| SourceError::Io { path, source: error })?;
            Fingerprint { kind, digest, bytes }
        }
        Opened::Pieces(_) => return Err(SourceError::WrongKind { path, right: "on this machine" }),
    };
    check(source, &fingerprint)?;
    Ok(fingerprint)
}

/// What is fetched is known by its digest, before and without fetching it, and wherever it is fetched from. How large it is is not known.
fn named(source: &ReleaseSource) -> Option<Fingerprint> {
    match source {
        ReleaseSource::Url { url, sha256, .. } => {
            let kind = source::kind_of(url.file_name())?;
            Some(Fingerprint { kind, digest: sha256.as_str().to_owned(), bytes: 0 })
        }
        ReleaseSource::Oci { image, path, .. } => {
            Some(Fingerprint { kind: Kind::Oci(path.clone()), digest: image.digest().to_owned(), bytes: 0 })
        }
        ReleaseSource::Path(_) | ReleaseSource::Archive { .. } => None,
    }
}

/// Compares a fingerprint with the checksum that the site gives, if it gives one.
pub(super) fn check(source: &ReleaseSource, fingerprint: &Fingerprint) -> Result<(), SourceError> {
    match source {
        ReleaseSource::Archive { file, sha256: Some(wanted) } if wanted.as_str() != fingerprint.digest => {
            Err(SourceError::Checksum {
                path: file.as_path().to_owned(),
                wanted: wanted.clone(),
                is: fingerprint.digest.clone(),
            })
        }
        _ => Ok(()),
    }
}

/// Copies all of `from` to `to` and tells its SHA-256 and its length; stops beyond `most` bytes.
pub(super) fn drain(from: &mut impl Read, to: &mut impl Write, most: u64) -> io::Result<(String, u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut length = 0_u64;
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => return Ok((hex::encode(hash.finalize()), length)),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        length += u64::try_from(got).unwrap_or(u64::MAX);
        if length > most {
            return Err(io::Error::other(format!("it grew beyond {most} bytes while it was read")));
        }
        hash.update(&buffer[..got]);
        to.write_all(&buffer[..got])?;
    }
}

/// Fingerprints that were read, so that an unchanged upload isn't read again at each look.
///
/// Nothing here notices by itself that an upload changed: whoever knows of a reason to look again (a manifest was applied, a retry was asked
/// for) calls [`Fingerprints::read`]. That is meant so: a folder into which somebody begins to copy the next release must not become a
/// release half-way.
#[derive(Debug, Default)]
pub struct Fingerprints {
    known: Mutex<HashMap<ReleaseSource, Fingerprint>>,
}

impl Fingerprints {
    /// What the last read said.
    #[must_use]
    pub fn known(&self, source: &ReleaseSource) -> Option<Fingerprint> {
        self.lock().get(source).cloned()
    }

    /// Reads it again; what was known before is forgotten, also when the read fails.
    ///
    /// # Errors
    /// See [`read`].
    pub fn read(&self, source: &ReleaseSource, reader: &Account, limits: &Limits) -> Result<Fingerprint, SourceError> {
        self.forget(source);
        let fingerprint = read(source, reader, limits)?;
        self.remember(source, &fingerprint);
        Ok(fingerprint)
    }

    /// Takes over what an earlier run of the agent read: what stands in the record of a release.
    pub fn remember(&self, source: &ReleaseSource, fingerprint: &Fingerprint) {
        self.lock().insert(source.clone(), fingerprint.clone());
    }

    /// Forgets it: the site is gone, or a take found that the upload changed.
    pub fn forget(&self, source: &ReleaseSource) {
        self.lock().remove(source);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ReleaseSource, Fingerprint>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
