//! The settings inside a jar or a war, packed or as a folder.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::{beside, plain};
use crate::guards::spring::File;
use crate::platform::Fault;
use crate::platform::host::release::{Jar, JarError};

/// Where the classes of a packed Spring app are, of a war, and of any other jar.
const CLASSES: &[&str] = &["BOOT-INF/classes/", "WEB-INF/classes/", ""];

/// A jar or war.
pub(super) struct Archive {
    name: String,
    inside: Inside,
    /// Why a file in it could not be read.
    unread: RefCell<Option<Fault>>,
}

enum Inside {
    Folder(PathBuf),
    File(Jar),
}

impl Archive {
    /// `None`: there is none in the release.
    ///
    /// # Errors
    /// It can't be looked into.
    pub(super) fn open(release: &Path, path: &Path, reader: &Path) -> Result<Option<Archive>, Fault> {
        let (Some(inner), Some(name)) = (path.strip_prefix(release).ok().and_then(Path::to_str), path.file_name())
        else {
            return Ok(None);
        };
        let name = name.to_string_lossy().into_owned();
        let inside = match plain(release, inner) {
            Some(file) => match Jar::open(reader, file) {
                Ok(jar) => Inside::File(jar),
                Err(error) => return Err(unread(&name, &error)),
            },
            None if path.symlink_metadata().is_ok_and(|found| found.is_dir()) => Inside::Folder(path.to_owned()),
            None => return Ok(None),
        };
        Ok(Some(Archive { name, inside, unread: RefCell::default() }))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the path of something in it begins so.
    pub(super) fn has(&self, begin: &str) -> bool {
        match &self.inside {
            Inside::Folder(folder) => folder.join(begin).exists(),
            Inside::File(jar) => jar.names().iter().any(|name| name.starts_with(begin)),
        }
    }

    /// The file of this name among its classes.
    pub(super) fn read(&self, path: &str) -> Option<File> {
        CLASSES.iter().find_map(|classes| {
            let inner = format!("{classes}{path}");
            let name = format!("{}!/{inner}", self.name);
            let text = match &self.inside {
                Inside::Folder(folder) => beside(folder, &inner)?.text,
                Inside::File(jar) => match jar.read(&inner) {
                    Ok(text) => text?,
                    Err(error) => {
                        self.unread.borrow_mut().get_or_insert_with(|| unread(&name, &error));
                        return None;
                    }
                },
            };
            Some(File { name, text })
        })
    }

    /// Whether all that was asked for could be read.
    ///
    /// # Errors
    /// Something could not: what is known of it is less than what the app will read.
    pub(super) fn all_read(&self) -> Result<(), Fault> {
        self.unread.take().map_or(Ok(()), Err)
    }
}

fn unread(what: &str, error: &JarError) -> Fault {
    Fault { class: error.class(), reason: "ReleaseNotRead", message: format!("{what} can't be read: {error}") }
}
