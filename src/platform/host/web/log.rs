//! What a web server wrote to a log since some moment: the one place where it says why a reload came to nothing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The end of a log at some moment.
pub struct Mark {
    path: PathBuf,
    inode: u64,
    end: u64,
}

impl Mark {
    /// The end of this log now; `None`: it can't be looked at.
    #[must_use]
    pub fn at_end(path: &Path) -> Option<Mark> {
        let meta = path.metadata().ok()?;
        Some(Mark { path: path.to_owned(), inode: meta.ino(), end: meta.len() })
    }

    /// What was written since then.
    #[must_use]
    pub fn since(&self) -> Option<String> {
        let mut file = File::open(&self.path).ok()?;
        // Rotated in between: then the new file holds what was said since.
        let from = if file.metadata().ok()?.ino() == self.inode { self.end } else { 0 };
        file.seek(SeekFrom::Start(from)).ok()?;
        let mut bytes = Vec::new();
        file.take(256 << 10).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}
