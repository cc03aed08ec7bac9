//! What a site from elsewhere than this host's own folder is given here. The agent decides it once; whoever opens something for the site looks again, since
//! what a link leads to, and what a hub lets this host read, changes without anybody telling.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use crate::api::remote::SecretName;

/// What a site from afar is given.
#[derive(Clone, Debug)]
pub struct Afar {
    /// Where its certificates may lie, whatever leads there.
    pub certificates: Fence,
    /// Where the Secrets that it names are; `None`: where it comes from there are none.
    pub secrets: Option<Arc<dyn Secrets>>,
}

/// Folders that something may lie in, and some that it never may.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    within: Vec<PathBuf>,
    never: Vec<PathBuf>,
}

impl Fence {
    /// Within one of these, and in none of those.
    #[must_use]
    pub fn new(within: Vec<PathBuf>, never: Vec<PathBuf>) -> Fence {
        Fence { within, never }
    }

    /// Whether what really lies here, behind all links, may be given.
    #[must_use]
    pub fn holds(&self, path: &Path) -> bool {
        let in_one_of = |folders: &[PathBuf]| folders.iter().any(|folder| path.starts_with(real(folder)));
        in_one_of(&self.within) && !in_one_of(&self.never)
    }
}

/// Where a path leads; itself, if there is nothing.
#[must_use]
pub fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads Secrets of the place that a site comes from.
pub trait Secrets: Send + Sync + fmt::Debug {
    /// Reads one, as it is now.
    fn read(&self, name: SecretName) -> Pin<Box<dyn Future<Output = Result<Sealed, Unread>> + Send>>;
}

/// What a Secret holds. It can't be printed.
pub struct Sealed(pub BTreeMap<String, Vec<u8>>);

/// Why a Secret was not read. Nothing of it is in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Somebody has to change something.
    Refused(String),
    /// Nobody can be asked now.
    Away(String),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_about_where_things_really_are() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["archive/shop", "archive/ours"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::os::unix::fs::symlink(at("archive"), at("live")).unwrap();
        let fence = Fence::new(vec![at("live")], vec![at("live/ours")]);
        assert!(fence.holds(&real(&at("live/shop"))));
        assert!(!fence.holds(&real(&at("live/ours"))) && !fence.holds(&real(&at("archive/ours/key"))));
        assert!(!fence.holds(Path::new("/etc/shadow")) && !Fence::default().holds(Path::new("/")));
    }
}
