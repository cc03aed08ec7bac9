//! What a commit says of this host: its manifests, read and judged as a whole. One that is bad makes all of them bad.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::config::GitConfig;
use super::error::{Refusal, Untaken};
use super::mirror::{Mirror, Read};
use super::tree::{Entry, Kind};
use crate::api::names::reasons;
use crate::api::types::SiteName;

/// One manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its file in the repository.
    pub file: String,
    /// The text.
    pub text: String,
}

impl Manifest {
    /// The SHA-256 of its text.
    #[must_use]
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.text.as_bytes()))
    }
}

/// What a commit says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: String,
    /// Who signed it, where somebody has to.
    pub signer: Option<String>,
    /// Its manifests.
    pub manifests: BTreeMap<SiteName, Manifest>,
}

/// The files that are manifests, with their sites; and the names that are left out, with why.
type Sorted<'a> = (Vec<(SiteName, &'a Entry)>, Vec<String>);

/// Reads all of it.
pub async fn read(mirror: &Mirror, config: &GitConfig, id: &str) -> Result<Commit, Untaken> {
    let signer = match &config.require_signature {
        Some(wanted) => Some(mirror.signer(id, &wanted.allowed_signers).await?),
        None => None,
    };
    let Some(entries) = mirror.list(id).await? else {
        return Err(refusal(
            format!("it has no folder {}: put it back, or name another one (git.path)", config.path),
            Vec::new(),
        ));
    };
    let (files, ignored) = sort(&entries, config)?;
    if !ignored.is_empty() {
        tracing::debug!(commit = id, "not looked at: {}", ignored.join(", "));
    }
    let objects: Vec<String> = files.iter().map(|(_, entry)| entry.object.clone()).collect();
    let texts = match mirror.read(&objects).await? {
        Read::All(texts) => texts,
        Read::TooLarge { index, size } => {
            let (site, entry) = &files[index];
            let file = config.path.file(&entry.name);
            return Err(refusal(
                format!("{file}: it has {size} bytes, and a manifest has at most 256 KiB"),
                vec![site.clone()],
            ));
        }
        Read::TooMany { most } => {
            return Err(refusal(format!("its manifests are together larger than {} MiB", most >> 20), Vec::new()));
        }
    };
    let mut manifests = BTreeMap::new();
    for ((site, entry), bytes) in files.iter().zip(texts) {
        let file = config.path.file(&entry.name);
        let text = String::from_utf8(bytes)
            .map_err(|_| refusal(format!("{file}: it is no text in UTF-8"), vec![site.clone()]))?;
        manifests.insert(site.clone(), Manifest { file, text });
    }
    Ok(Commit { id: id.to_owned(), signer, manifests })
}

/// What somebody names as their site and isn't a file is refused, since to leave it out would take the site away.
fn sort<'a>(entries: &'a [Entry], config: &GitConfig) -> Result<Sorted<'a>, Untaken> {
    let (mut files, mut ignored) = (Vec::new(), Vec::new());
    for entry in entries {
        let file = config.path.file(&entry.name);
        let site = entry.name.strip_suffix(".yaml").filter(|stem| *stem != "kustomization");
        match (site, entry.kind) {
            (None, _) | (_, Kind::Folder) => ignored.push(file),
            (Some(_), Kind::Link) => {
                return Err(refusal(
                    format!("{file}: it is a symbolic link, which is not followed: put the manifest itself there"),
                    entry.name.strip_suffix(".yaml").and_then(|stem| stem.parse().ok()).into_iter().collect(),
                ));
            }
            (Some(_), Kind::Submodule) => {
                return Err(refusal(
                    format!("{file}: it is a submodule, which is not fetched: put the manifest itself there"),
                    Vec::new(),
                ));
            }
            (Some(stem), Kind::File) => {
                let site = stem.parse().map_err(|error| {
                    refusal(
                        format!("{file}: {error}; call the file like its site, or give it another ending than .yaml"),
                        Vec::new(),
                    )
                })?;
                files.push((site, entry));
            }
        }
    }
    Ok((files, ignored))
}

fn refusal(why: String, at_fault: Vec<SiteName>) -> Untaken {
    Untaken::Refused(Refusal { reason: reasons::INVALID, why, at_fault })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: Kind) -> Entry {
        Entry { kind, object: "aa".to_owned(), name: name.to_owned() }
    }

    fn config() -> GitConfig {
        let mut config = GitConfig::of("https://h/x".parse().expect("a url"));
        config.path = "sites".parse().expect("a folder");
        config
    }

    #[test]
    fn manifests_are_told_from_what_lies_beside_them() {
        let entries = [
            entry("shop.yaml", Kind::File),
            entry("README.md", Kind::File),
            entry("kustomization.yaml", Kind::File),
            entry("base", Kind::Folder),
            entry("old.yaml", Kind::Folder),
            entry("link", Kind::Link),
            entry("sub", Kind::Submodule),
        ];
        let (files, ignored) = sort(&entries, &config()).expect("sorted");
        assert_eq!(files.iter().map(|(site, _)| site.as_str()).collect::<Vec<_>>(), ["shop"]);
        assert_eq!(ignored.len(), 6);
    }

    #[test]
    fn a_manifest_that_is_no_file_is_refused_and_not_left_out() {
        for (name, kind, says) in [
            ("shop.yaml", Kind::Link, "sites/shop.yaml: it is a symbolic link"),
            ("shop.yaml", Kind::Submodule, "submodule"),
            ("Shop Two.yaml", Kind::File, "sites/Shop Two.yaml"),
            ("..yaml", Kind::File, "site's name"),
        ] {
            match sort(&[entry(name, kind)], &config()) {
                Err(Untaken::Refused(refusal)) => assert!(refusal.why.contains(says), "{}", refusal.why),
                other => unreachable!("{other:?}"),
            }
        }
    }
}
