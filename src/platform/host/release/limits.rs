//! How large a release may be. Whoever uploads an archive doesn't get to fill the disk, nor to keep a core busy for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds on one release. The defaults are far above what a web site needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of all files together, unpacked.
    pub bytes: u64,
    /// Files, folders and links together.
    pub entries: u64,
    /// How many folders a path may go down.
    pub depth: u64,
    /// Bytes of one name.
    pub name: u64,
    /// Bytes of a whole path inside the release.
    pub path: u64,
    /// How many times larger than the archive its content may be, once it is above [`Limits::RATIO_FROM`].
    pub ratio: u64,
    /// Bytes of the disk that a release never uses: the rest of the machine needs them.
    pub spare: u64,
    /// Processor time that unpacking may use.
    pub cpu: Duration,
    /// How long unpacking may take.
    pub within: Duration,
}

impl Limits {
    /// Content up to this size may be packed as tightly as anybody likes.
    pub const RATIO_FROM: u64 = 64 << 20;

    /// How many bytes an archive of this size may unpack to.
    #[must_use]
    pub(super) fn unpacked(&self, archive: u64) -> u64 {
        self.bytes.min(Limits::RATIO_FROM.max(archive.saturating_mul(self.ratio)))
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 4 << 30,
            entries: 250_000,
            depth: 48,
            name: 255,
            path: 1024,
            ratio: 200,
            spare: 64 << 20,
            cpu: Duration::from_secs(600),
            within: Duration::from_secs(900),
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// [`Limits::bytes`], or what [`Limits::ratio`] makes of the archive's size.
    Bytes,
    /// [`Limits::entries`].
    Entries,
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::name`].
    Name,
    /// [`Limits::path`].
    Path,
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Measure::Bytes => "bytes",
            Measure::Entries => "files and folders",
            Measure::Depth => "folders deep",
            Measure::Name => "bytes in a name",
            Measure::Path => "bytes in a path",
        })
    }
}

/// A limit was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess {
    /// Which.
    pub measure: Measure,
    /// What was allowed.
    pub limit: u64,
}

/// Counts against the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Bytes so far.
    pub bytes: u64,
    /// Entries so far.
    pub entries: u64,
}

impl Tally {
    /// One more file, folder or link.
    pub(super) fn entry(&mut self, limits: &Limits) -> Result<(), Excess> {
        self.entries += 1;
        bound(Measure::Entries, self.entries, limits.entries)
    }

    /// So many more bytes.
    pub(super) fn add(&mut self, bytes: usize, limits: &Limits) -> Result<(), Excess> {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        bound(Measure::Bytes, self.bytes, limits.bytes)
    }
}

pub(super) fn bound(measure: Measure, is: u64, limit: u64) -> Result<(), Excess> {
    if is > limit { Err(Excess { measure, limit }) } else { Ok(()) }
}
