//! What a specification says of its release on a plain machine.

use super::host::HOST;
use super::judge::Judge;
use crate::api::remote::{Access, ArchiveUrl, Credentials, ImageRef};
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
        let given = [
            (folder.is_some(), "path"),
            (file.is_some(), "archive"),
            (uploads.is_some(), "uploads"),
            (release.url.is_some(), "url"),
            (release.oci.is_some(), "oci"),
        ];
        let has: Vec<&str> = given.iter().filter(|(there, _)| *there).map(|(_, name)| *name).collect();
        match has.len() {
            0 => {
                self.wrong(
                    path,
                    "needs exactly one of path (a folder), archive (a file), uploads (a folder in which they arrive), url (an archive to be \
                     fetched) and oci (an image or an artifact of a registry)",
                );
                return None;
            }
            1 => {}
            _ => {
                self.wrong(path, format!("has {}; it needs exactly one of them", has.join(" and ")));
                return None;
            }
        }
        if release.url.is_some() || release.oci.is_some() {
            return self.fetched(&path, release, sha256).map(Release::Given);
        }
        if release.ca_file.is_some() || release.credentials.is_some() {
            self.wrong(path, "has caFile or credentials, which are for what is fetched (url, oci): leave them out");
            return None;
        }
        match (folder, file, uploads) {
            (Some(folder), _, _) => folder.map(ReleaseSource::Path).map(Release::Given),
            (_, Some(file), _) => {
                let sha256 = sha256.map_or(Some(None), |sum| sum.map(Some));
                Some(Release::Given(ReleaseSource::Archive { file: file?, sha256: sha256? }))
            }
            (_, _, uploads) => Some(Release::Uploads { uploads: uploads?? }),
        }
    }

    fn fetched(
        &mut self,
        path: &str,
        release: &spec::Release,
        sha256: Option<Option<Sha256>>,
    ) -> Option<ReleaseSource> {
        let ca_file = self.maybe::<AbsPath>(&format!("{path}.caFile"), release.ca_file.as_deref());
        let credentials = match &release.credentials {
            None => Some(None),
            Some(credentials) => self.credentials(&format!("{path}.credentials"), credentials).map(Some),
        };
        let access = || Some(Access { ca_file: ca_file?, credentials: credentials? });
        if let Some(oci) = &release.oci {
            if sha256.is_some() {
                self.wrong(
                    format!("{path}.sha256"),
                    "is the checksum of an archive; of an image the digest says it all: leave this out",
                );
            }
            let image = self.narrow::<ImageRef>(&format!("{path}.oci.image"), &oci.image);
            let inside = self.maybe::<AbsPath>(&format!("{path}.oci.path"), oci.path.as_deref());
            let inside = inside?.map(|path| path.as_str().trim_start_matches('/').parse()).transpose().ok()?;
            return Some(ReleaseSource::Oci { image: image?, path: inside, access: access()? });
        }
        let url = release.url.as_deref().and_then(|text| self.narrow::<ArchiveUrl>(&format!("{path}.url"), text));
        if sha256.is_none() {
            self.wrong(
                format!("{path}.sha256"),
                "is needed with url: it alone says what is to be run; `sha256sum FILE` prints it",
            );
        }
        Some(ReleaseSource::Url { url: url?, sha256: sha256??, access: access()? })
    }

    fn credentials(&mut self, path: &str, given: &spec::CredentialsSpec) -> Option<Credentials> {
        match (&given.file, &given.secret) {
            (Some(file), None) => self.narrow(&format!("{path}.file"), file).map(Credentials::File),
            (None, Some(secret)) => self.narrow(&format!("{path}.secret"), secret).map(Credentials::Secret),
            _ => {
                self.wrong(path, "needs exactly one of file (on this host) and secret (of the hub)");
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
