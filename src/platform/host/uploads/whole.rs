//! What makes a release whole: the rules, without a disk.

use serde::{Deserialize, Serialize};

use super::names::{DONE, SUM};
use crate::api::types::Sha256;

/// What lies under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a device, a pipe: never taken.
    Other,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    /// What it is.
    pub what: What,
    /// Its number on its file system.
    pub number: u64,
    /// Its length.
    pub bytes: u64,
    /// When it was written last, in nanoseconds; whoever uploads it may set this.
    pub written: i128,
    /// When anything of it changed last, in nanoseconds: the kernel alone sets this.
    pub changed: i128,
}

impl Print {
    /// Whether it is the same content, as far as its outside tells: another owner or mode is no other content.
    #[must_use]
    pub fn same(&self, other: &Print) -> bool {
        (self.what, self.number, self.bytes, self.written) == (other.what, other.number, other.bytes, other.written)
    }
}

/// What lies beside a release, and what was seen of it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The release itself.
    pub release: Print,
    /// `NAME.done`.
    pub done: Option<Print>,
    /// `NAME.sha256`, and what it says.
    pub sum: Option<(Print, Result<Sha256, String>)>,
    /// It was renamed to its name, as it is.
    pub renamed: bool,
}

/// What the rules say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is whole; with a checksum, if that holds.
    Whole(Option<Sha256>),
    /// Nothing says so yet: what would.
    NotYet(String),
    /// It never will be: why.
    Wrong(String),
}

impl Facts {
    /// What the rules say of it.
    #[must_use]
    pub fn judge(&self, name: &str) -> Verdict {
        if self.release.what == What::Other {
            return Verdict::Wrong(format!("{name} is a link, a device or the like: upload the file or folder itself"));
        }
        if let Some((_, said)) = &self.sum {
            if self.release.what == What::Folder {
                return Verdict::Wrong(format!(
                    "{name} is a folder, which has no checksum: put {name}{DONE} beside it instead of {name}{SUM}"
                ));
            }
            return match said {
                Ok(sum) => Verdict::Whole(Some(sum.clone())),
                Err(why) => Verdict::Wrong(format!(
                    "{name}{SUM} is no checksum of {name}: {why}; write it with `sha256sum {name} > {name}{SUM}`"
                )),
            };
        }
        match &self.done {
            Some(done) if done.what != What::File => {
                Verdict::Wrong(format!("{name}{DONE} is no regular file: make it an empty one"))
            }
            Some(done) if done.changed >= self.release.changed => Verdict::Whole(None),
            _ if self.renamed => Verdict::Whole(None),
            Some(_) => Verdict::NotYet(format!(
                "{name}{DONE} is older than {name}: once the upload has ended, remove {name}{DONE} and put it there again"
            )),
            None => Verdict::NotYet(format!(
                "nothing says that {name} is whole: once the upload has ended, put an empty {name}{DONE} beside it"
            )),
        }
    }

    /// When it became whole, if it is.
    #[must_use]
    pub fn moment(&self) -> i128 {
        let beside = match (&self.sum, &self.done) {
            (Some((sum, _)), _) => Some(sum.changed),
            (None, done) => done.map(|done| done.changed),
        };
        beside.into_iter().chain([self.release.changed]).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(changed: i128) -> Print {
        Print { what: What::File, number: 1, bytes: 10, written: 1, changed }
    }

    fn facts(done: Option<i128>) -> Facts {
        Facts { release: at(5), done: done.map(at), sum: None, renamed: false }
    }

    #[test]
    fn a_marker_counts_unless_it_is_older_than_the_upload() {
        assert_eq!(facts(Some(6)).judge("x.zip"), Verdict::Whole(None));
        assert!(matches!(facts(Some(4)).judge("x.zip"), Verdict::NotYet(why) if why.contains("older")));
        assert!(matches!(facts(None).judge("x.zip"), Verdict::NotYet(why) if why.contains("x.zip.done")));
        let link = Facts { done: Some(Print { what: What::Other, ..at(9) }), ..facts(None) };
        assert!(matches!(link.judge("x.zip"), Verdict::Wrong(_)));
    }

    #[test]
    fn a_rename_counts_and_a_checksum_decides_where_there_is_one() {
        assert_eq!(Facts { renamed: true, ..facts(None) }.judge("x.zip"), Verdict::Whole(None));
        let sum: Sha256 = "ab".repeat(32).parse().expect("it is one");
        let said = Facts { sum: Some((at(1), Ok(sum.clone()))), renamed: true, ..facts(Some(9)) };
        assert_eq!(said.judge("x.zip"), Verdict::Whole(Some(sum)));
        let wrong = Facts { sum: Some((at(1), Err("it is empty".into()))), renamed: true, ..facts(Some(9)) };
        assert!(matches!(wrong.judge("x.zip"), Verdict::Wrong(why) if why.contains("it is empty")));
    }

    #[test]
    fn what_is_no_file_and_no_folder_never_counts() {
        let link = Facts { release: Print { what: What::Other, ..at(5) }, ..facts(Some(9)) };
        assert!(matches!(link.judge("x.zip"), Verdict::Wrong(_)));
        let folder = Facts { release: Print { what: What::Folder, ..at(5) }, ..facts(Some(9)) };
        assert_eq!(folder.judge("v2"), Verdict::Whole(None));
    }

    #[test]
    fn another_mode_or_owner_is_no_other_content() {
        assert!(at(5).same(&at(9)));
        assert!(!at(5).same(&Print { bytes: 11, ..at(5) }));
    }
}
