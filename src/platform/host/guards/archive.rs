//! The settings inside a jar or a war, packed or as a folder.

use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::{LARGEST, beside, plain};
use crate::guards::spring::File;

/// Where the classes of a packed Spring app are, of a war, and of any other jar.
const CLASSES: &[&str] = &["BOOT-INF/classes/", "WEB-INF/classes/", ""];

/// A jar or war.
pub(super) struct Archive {
    name: String,
    inside: Inside,
}

enum Inside {
    Folder(PathBuf),
    File(Mutex<zip::ZipArchive<BufReader<fs::File>>>, Vec<String>),
}

impl Archive {
    /// `None`: it is none, or not in the release.
    pub(super) fn open(release: &Path, path: &Path) -> Option<Archive> {
        let inner = path.strip_prefix(release).ok()?.to_str()?;
        let name = path.file_name()?.to_string_lossy().into_owned();
        let Some(file) = plain(release, inner) else {
            let folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
            return folder.then(|| Archive { name, inside: Inside::Folder(path.to_owned()) });
        };
        let zip = zip::ZipArchive::new(BufReader::new(file)).ok()?;
        let names = zip.file_names().flatten().map(std::borrow::Cow::into_owned).collect();
        Some(Archive { name, inside: Inside::File(Mutex::new(zip), names) })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the path of something in it begins so.
    pub(super) fn has(&self, begin: &str) -> bool {
        match &self.inside {
            Inside::Folder(folder) => folder.join(begin).exists(),
            Inside::File(_, names) => names.iter().any(|name| name.starts_with(begin)),
        }
    }

    /// The file of this name among its classes.
    pub(super) fn read(&self, path: &str) -> Option<File> {
        CLASSES.iter().find_map(|classes| {
            let inner = format!("{classes}{path}");
            let text = match &self.inside {
                Inside::Folder(folder) => beside(folder, &inner)?.text,
                Inside::File(zip, names) => {
                    names.iter().find(|name| **name == inner)?;
                    let (mut zip, mut bytes) = (zip.lock().ok()?, Vec::new());
                    zip.by_name(&inner).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
                    String::from_utf8_lossy(&bytes).into_owned()
                }
            };
            Some(File { name: format!("{}!/{inner}", self.name), text })
        })
    }
}
