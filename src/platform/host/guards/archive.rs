//! The settings inside a jar or a war, packed or as a folder.

use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::LARGEST;
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
    /// `None`: it is none.
    pub(super) fn open(path: &Path) -> Option<Archive> {
        let name = path.file_name()?.to_string_lossy().into_owned();
        if path.is_dir() {
            return Some(Archive { name, inside: Inside::Folder(path.to_owned()) });
        }
        let zip = zip::ZipArchive::new(BufReader::new(fs::File::open(path).ok()?)).ok()?;
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
            let mut bytes = Vec::new();
            match &self.inside {
                Inside::Folder(folder) => {
                    let file = fs::File::open(folder.join(&inner)).ok()?;
                    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
                }
                Inside::File(zip, names) => {
                    names.iter().find(|name| **name == inner)?;
                    let mut zip = zip.lock().ok()?;
                    zip.by_name(&inner).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
                }
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Some(File { name: format!("{}!/{inner}", self.name), text })
        })
    }
}
