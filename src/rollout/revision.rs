//! What is released: a revision, and the attempts at it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The identity of a release: a 128-bit content hash of everything that makes it (artifact, runtime,
/// configuration, static roots, and the incarnation that a `restart` asks for). Two releases with the same revision are the same
/// release. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u128);

impl Revision {
    /// The revision with this hash.
    #[must_use]
    pub const fn new(hash: u128) -> Revision {
        Revision(hash)
    }

    /// The first ten digits: enough to tell the revisions of one site apart by eye.
    #[must_use]
    pub fn short(self) -> String {
        format!("{:010x}", self.0 >> 88)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a revision: 32 lower-case hexadecimal digits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARevision;

impl fmt::Display for NotARevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a revision is 32 lower-case hexadecimal digits")
    }
}

impl std::error::Error for NotARevision {}

impl FromStr for Revision {
    type Err = NotARevision;

    fn from_str(text: &str) -> Result<Self, NotARevision> {
        let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 32 || !digits {
            return Err(NotARevision);
        }
        u128::from_str_radix(text, 16).map(Revision).map_err(|_| NotARevision)
    }
}

impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// One try at rolling out a revision. A retry after a rejection is the next attempt; commands and verdicts name
/// an attempt, so that what was said of an earlier one never counts for a later one. Written `REVISION/NUMBER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// What is tried.
    pub revision: Revision,
    /// Which try it is, counted from 1.
    pub number: u32,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.revision, self.number)
    }
}

impl FromStr for Attempt {
    type Err = NotARevision;

    fn from_str(text: &str) -> Result<Self, NotARevision> {
        let (revision, number) = text.split_once('/').ok_or(NotARevision)?;
        let number = number.parse().map_err(|_| NotARevision)?;
        Ok(Attempt { revision: revision.parse()?, number })
    }
}
