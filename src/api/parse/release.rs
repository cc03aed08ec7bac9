//! What a specification says of its release on a plain machine.

use super::host::HOST;
use super::judge::Judge;
use crate::api::site::{Release, ReleaseSource};
use crate::api::spec;
use crate::api::types::{AbsPath, Sha256};

impl Judge {
    pub(super) fn release(&mut self, release: &spec::Release) -> Option<Release> {
        let path = format!("{HOST}.release");
        let folder = release.path.as_deref().map(|text| self.narrow::<AbsPath>(&format!("{path}.path"), text));
        let file = release.archive.as_deref().map(|text| self.archive(&path, text));
        let uploads = release.uploads.as_deref().map(|text| self.narrow::<AbsPath>(&format!("{path}.uploads"), text));
        let sha256: Option<Option<Sha256>> =
            release.sha256.as_deref().map(|text| self.narrow(&format!("{path}.sha256"), text));
        if release.sha256.is_some() && folder.is_some() && file.is_none() {
            self.wrong(
                format!("{path}.sha256"),
                "is the checksum of an archive, and a folder has none: leave it out, or name an archive instead of a path",
            );
        }
        if release.sha256.is_some() && uploads.is_some() && file.is_none() {
            self.wrong(
                format!("{path}.sha256"),
                "is the checksum of one archive: of what arrives in uploads, NAME.sha256 beside NAME says it; leave this out",
            );
        }
        match (folder, file, uploads) {
            (Some(folder), None, None) => folder.map(ReleaseSource::Path).map(Release::Given),
            (None, Some(file), None) => {
                let sha256 = sha256.map_or(Some(None), |sum| sum.map(Some));
                Some(Release::Given(ReleaseSource::Archive { file: file?, sha256: sha256? }))
            }
            (None, None, Some(uploads)) => Some(Release::Uploads { uploads: uploads? }),
            (None, None, None) => {
                self.wrong(
                    path,
                    "needs exactly one of path (a folder), archive (a file) and uploads (a folder in which they arrive)",
                );
                None
            }
            (folder, file, uploads) => {
                let all = [(folder.is_some(), "path"), (file.is_some(), "archive"), (uploads.is_some(), "uploads")];
                let has: Vec<&str> = all.iter().filter(|(there, _)| *there).map(|(_, name)| *name).collect();
                self.wrong(path, format!("has {}; it needs exactly one of them", has.join(" and ")));
                None
            }
        }
    }

    fn archive(&mut self, path: &str, text: &str) -> Option<AbsPath> {
        let place = format!("{path}.archive");
        let file: AbsPath = self.narrow(&place, text)?;
        let known = [".tar.gz", ".tgz", ".zip", ".jar", ".war"];
        if !known.iter().any(|ending| text.ends_with(ending)) {
            self.wrong(
                place,
                format!("{text:?} is no archive that is understood: its name ends in {}", known.join(", ")),
            );
            return None;
        }
        Some(file)
    }
}
