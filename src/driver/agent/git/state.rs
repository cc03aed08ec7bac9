//! What must not be forgotten of the repository, in `STATE/git/state.json`: what was read of it last, and what was applied.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::config::GitConfig;
use crate::platform::host::store::{self, StoreError};

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Remembered {
    /// What it is about.
    pub source: Source,
    /// The object that the branch or tag named when it was read last.
    pub tip: Option<String>,
    /// The commit that was read last.
    pub commit: Option<String>,
    /// The commit that was applied last, whole.
    pub applied: Option<String>,
    /// Why the one that was read last is not applied.
    pub refused: Option<String>,
    /// When the server last answered.
    pub fetched: Option<Timestamp>,
    /// Whether the sites that there are may have come from another place: then a commit that has none of them takes none away.
    pub moved: bool,
}

/// Which folder of which branch of which repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// Where the repository is.
    pub url: String,
    /// What is followed.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The folder.
    pub path: String,
    /// In seconds, how often it is asked for.
    pub interval: u64,
}

impl Source {
    fn of(config: &GitConfig) -> Source {
        Source {
            url: config.url.to_string(),
            reference: config.reference.whole().to_owned(),
            path: config.path.to_string(),
            interval: config.interval.as_secs(),
        }
    }

    fn is_where(&self, other: &Source) -> bool {
        (&self.url, &self.reference, &self.path) == (&other.url, &other.reference, &other.path)
    }
}

impl Remembered {
    /// The file.
    #[must_use]
    pub fn file(state: &Path) -> PathBuf {
        state.join("git/state.json")
    }

    /// What is remembered of this repository. What was remembered of another one is forgotten, but that there was one.
    pub fn load(state: &Path, config: &GitConfig) -> Result<Remembered, StoreError> {
        let source = Source::of(config);
        let before: Option<Remembered> = match store::read(&Remembered::file(state), store::LIMIT) {
            Err(damage @ StoreError::Damaged { .. }) => {
                tracing::warn!(error = %damage, "what was remembered of the repository is forgotten; it is read anew");
                Some(Remembered::default())
            }
            before => before?,
        };
        Ok(match before {
            Some(before) if before.source.is_where(&source) => Remembered { source, ..before },
            Some(_) => Remembered { source, moved: true, ..Remembered::default() },
            None => Remembered { source, ..Remembered::default() },
        })
    }

    /// Writes it down.
    pub fn save(&self, state: &Path) -> Result<(), StoreError> {
        store::write(&Remembered::file(state), self, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_repository_branch_or_folder_is_remembered_as_another_place() {
        let state = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(state.path().join("git")).expect("made");
        let config = GitConfig::of("https://h/x".parse().expect("a url"));
        let mut first = Remembered::load(state.path(), &config).expect("loads");
        assert!(!first.moved);
        first.applied = Some("c".to_owned());
        first.save(state.path()).expect("saved");
        assert_eq!(Remembered::load(state.path(), &config).expect("loads"), first);
        let elsewhere = GitConfig { path: "sites".parse().expect("a folder"), ..config.clone() };
        let moved = Remembered::load(state.path(), &elsewhere).expect("loads");
        assert_eq!((moved.moved, moved.applied), (true, None));
        std::fs::write(Remembered::file(state.path()), "{").expect("written");
        assert!(
            Remembered::load(state.path(), &config).expect("loads").moved,
            "nobody knows where the sites came from"
        );
    }
}
