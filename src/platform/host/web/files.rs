//! Our files in the web server's folders: which they are, what is in them, and how a new set takes the place of the old one. Called by `apply`.
//!
//! | file | what |
//! |---|---|
//! | `SITES/bluegreen--common.conf` | what all sites share, the door; sorts before every other of ours, and no site can be called so |
//! | `SITES/bluegreen-NAME.conf` | the instances and the server block of a site |
//! | `SNIPPETS/NAME.conf` | what the user's own server block includes |

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use crate::api::types::SiteName;

/// A file of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// What all sites share.
    Common,
    /// What the whole configuration includes for a site.
    Site(SiteName),
    /// What the user's server block includes for a site.
    Snippet(SiteName),
}

/// Where our files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// A folder of which the whole configuration includes every `*.conf`.
    pub sites: PathBuf,
    /// A folder of ours alone.
    pub snippets: PathBuf,
}

/// The first words of every file of ours: tells it from a file of somebody else's with such a name.
const MARK: &[u8] = b"# Rendered by bluegreen for ";

/// Files of ours and what is in them.
pub type Set = BTreeMap<Name, Vec<u8>>;

/// A file has the name of one of ours, and isn't.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Somebody else wrote it.
    #[error("{} has the name of a file of bluegreen's and was not written by it; move it away", .0.display())]
    NotOurs(PathBuf),
    /// It can't be read or written.
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
}

impl Name {
    /// Where it lies.
    #[must_use]
    pub fn path(&self, folders: &Folders) -> PathBuf {
        match self {
            Name::Common => folders.sites.join("bluegreen--common.conf"),
            Name::Site(site) => folders.sites.join(format!("bluegreen-{site}.conf")),
            Name::Snippet(site) => folders.snippets.join(format!("{site}.conf")),
        }
    }

    /// Whose it is; `None` for the common one.
    #[must_use]
    pub fn site(&self) -> Option<&SiteName> {
        match self {
            Name::Common => None,
            Name::Site(site) | Name::Snippet(site) => Some(site),
        }
    }

    /// The name of ours that this path is, if it is one.
    #[must_use]
    pub fn of(path: &Path, folders: &Folders) -> Option<Name> {
        let (folder, file) = (path.parent()?, path.file_name()?);
        let same = |other: &Path| folder.components().eq(other.components());
        if same(&folders.sites) {
            Name::in_sites(file)
        } else if same(&folders.snippets) {
            Name::in_snippets(file)
        } else {
            None
        }
    }

    fn in_sites(file: &OsStr) -> Option<Name> {
        match file.to_str()?.strip_prefix("bluegreen-")?.strip_suffix(".conf")? {
            "-common" => Some(Name::Common),
            site => site.parse().ok().map(Name::Site),
        }
    }

    fn in_snippets(file: &OsStr) -> Option<Name> {
        let site = file.to_str()?.strip_suffix(".conf")?;
        site.parse().ok().map(Name::Snippet)
    }
}

impl Folders {
    /// Makes the folder that is ours alone, where it is missing.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn prepare(&self) -> Result<(), FilesError> {
        let failed = |error| FilesError::Io(self.snippets.clone(), error);
        if !self.snippets.is_dir() {
            fs::create_dir_all(&self.snippets).map_err(failed)?;
            fs::set_permissions(&self.snippets, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        }
        Ok(())
    }

    /// Reads all files of ours.
    ///
    /// # Errors
    /// When one can't be read, or has the name of ours and isn't.
    pub fn read(&self) -> Result<Set, FilesError> {
        let mut set = Set::new();
        for (folder, name_of) in
            [(&self.sites, Name::in_sites as fn(&OsStr) -> Option<Name>), (&self.snippets, Name::in_snippets)]
        {
            let failed = |error| FilesError::Io(folder.clone(), error);
            for entry in fs::read_dir(folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if let Some(name) = name_of(&entry.file_name()) {
                    let text = read_plain(&entry.path()).map_err(|error| FilesError::Io(entry.path(), error))?;
                    if !text.starts_with(MARK) {
                        return Err(FilesError::NotOurs(entry.path()));
                    }
                    set.insert(name, text);
                }
            }
        }
        Ok(set)
    }

    /// Puts `new` in the place of `old`: first all of it is on disk beside its place, then each file is renamed. A file that is the same is
    /// not touched.
    ///
    /// # Errors
    /// When something can't be written. A disk that is full is noticed before anything is in place; after another error some files may be
    /// new already, and the caller puts `old` back.
    pub fn replace(&self, old: &Set, new: &Set) -> Result<(), FilesError> {
        let changed: Vec<(PathBuf, &Vec<u8>)> = new
            .iter()
            .filter(|(name, text)| old.get(name) != Some(text))
            .map(|(name, text)| (name.path(self), text))
            .collect();
        for (done, (path, text)) in changed.iter().enumerate() {
            if let Err(error) = write_beside(path, text) {
                // A full disk should not be left fuller.
                for (path, _) in changed.iter().take(done + 1) {
                    let _ = fs::remove_file(beside(path));
                }
                return Err(FilesError::Io(path.clone(), error));
            }
        }
        let mut touched = false;
        for (path, _) in &changed {
            fs::rename(beside(path), path).map_err(|error| FilesError::Io(path.clone(), error))?;
            touched = true;
        }
        for name in old.keys().filter(|name| !new.contains_key(name)) {
            let path = name.path(self);
            match fs::remove_file(&path) {
                Ok(()) => touched = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(FilesError::Io(path, error)),
            }
        }
        if touched {
            for folder in [&self.sites, &self.snippets] {
                let synced = File::open(folder).and_then(|dir| dir.sync_all());
                synced.map_err(|error| FilesError::Io(folder.clone(), error))?;
            }
        }
        Ok(())
    }

    /// Lays out, in `work`, what both folders would hold with `new` in the place of ours, and everybody else's files as they are. Returns
    /// the folder that stands for each.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn lay_out(&self, work: &Path, new: &Set) -> Result<[(PathBuf, PathBuf); 2], FilesError> {
        let failed = |error| FilesError::Io(work.to_owned(), error);
        match fs::remove_dir_all(work) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::create_dir_all(work).map_err(failed)?;
        fs::set_permissions(work, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let stand_in = Folders { sites: work.join("sites"), snippets: work.join("snippets") };
        fs::create_dir(&stand_in.snippets).map_err(failed)?;
        copy_tree(&self.sites, &stand_in.sites).map_err(failed)?;
        for file in fs::read_dir(&stand_in.sites).map_err(failed)? {
            let file = file.map_err(failed)?;
            if Name::in_sites(&file.file_name()).is_some() {
                fs::remove_file(file.path()).map_err(failed)?;
            }
        }
        for (name, text) in new {
            fs::write(name.path(&stand_in), text).map_err(failed)?;
        }
        Ok([(stand_in.sites, self.sites.clone()), (stand_in.snippets, self.snippets.clone())])
    }
}

/// The generation that a set makes: the same files, the same generation, whoever asks and after whatever restart. The common file takes part
/// without its own line that says it.
#[must_use]
pub fn generation<'a>(files: impl IntoIterator<Item = (&'a Name, &'a [u8])>) -> String {
    let mut hash = Sha256::new();
    for (name, text) in files {
        let name = format!("{name:?}");
        for part in [name.as_bytes(), text] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
    }
    hex::encode(hash.finalize().get(..8).unwrap_or_default())
}

/// What changes when a file is written, replaced or removed; `None`: it isn't there.
#[must_use]
pub fn fingerprint(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let meta = path.symlink_metadata().ok()?;
    Some((meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()))
}

fn read_plain(path: &Path) -> io::Result<Vec<u8>> {
    // Not through a link, and not waiting for the other end of a pipe.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(i32::try_from(flags).unwrap_or(0)).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = Vec::new();
    file.take(16 << 20).read_to_end(&mut text)?;
    Ok(text)
}

/// Begins with a dot and ends otherwise than ours do, so that no include ever reads it.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn write_beside(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.sync_all()
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            // As it is: it will be followed from where the original lies.
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_ours_is_known_by_its_place_and_no_other_is() {
        let folders = Folders { sites: "/c".into(), snippets: "/s".into() };
        let site: SiteName = "a-b".parse().unwrap();
        for name in [Name::Common, Name::Site(site.clone()), Name::Snippet(site)] {
            assert_eq!(Name::of(&name.path(&folders), &folders), Some(name));
        }
        for other in ["/c/a-b.conf", "/c/bluegreen-.conf", "/c/bluegreen-A.conf", "/c/x/bluegreen-a.conf", "/s/.a.conf"]
        {
            assert_eq!(Name::of(Path::new(other), &folders), None, "{other}");
        }
    }

    #[test]
    fn a_generation_is_what_the_files_say_and_where() {
        let (a, b) = (Name::Site("a".parse().unwrap()), Name::Site("b".parse().unwrap()));
        let of =
            |files: &[(&Name, &'static str)]| generation(files.iter().map(|(name, text)| (*name, text.as_bytes())));
        let one = of(&[(&a, "x"), (&b, "y")]);
        assert_eq!(one, of(&[(&a, "x"), (&b, "y")]));
        for other in [&[(&a, "y"), (&b, "x")][..], &[(&a, "xy"), (&b, "")], &[(&a, "x")]] {
            assert_ne!(one, of(other));
        }
    }
}
