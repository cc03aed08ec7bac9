//! A folder that gives every site's folder another name each millisecond, so that a web server may remember what it found there.
//!
//! nginx asks the link `live` which colour it names. A stat for each request costs a sixth of its throughput. It can remember the answer
//! (`open_file_cache`), but only for whole seconds, and by the text of the path. So the path holds the time: `tick/456/shop/live/blue`
//! at 123.456 s. Each of `tick/000` to `tick/999` is a link to `../sites`, so all of these are `sites/shop/live/blue`; and an answer is asked for again a millisecond later. Nobody needs to be there for that, and a cutover stays one
//! rename.
//!
//! The same name comes back a second later, and what is remembered under it is older than a second by then, so it is asked for again. A clock that
//! steps back may keep one of the few answers that are remembered; if the colour that it names is gone, the request is sent to the other one
//! after all (`@bluegreen_again` asks the link itself).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The folder of all sites, as each link names it.
const SITES: &str = "../sites";
/// As many as a second has milliseconds.
pub const LINKS: u16 = 1000;

/// A folder as it was when all of its links were in order: inode, and the time of its last change.
type Seen = (u64, i64, i64);

static IN_ORDER: Mutex<BTreeMap<PathBuf, Seen>> = Mutex::new(BTreeMap::new());

/// Makes the folder where it is missing, and puts back links that were changed. Costs one stat when nothing was.
///
/// # Errors
/// When it can't be made, or something else stands in its place.
pub fn prepare(folder: &Path) -> io::Result<()> {
    let mut in_order = IN_ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(now) = seen(folder)?
        && in_order.get(folder) == Some(&now)
    {
        return Ok(());
    }
    if let Err(error) = fs::create_dir(folder)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    // Apart from the creation, so that the umask has no say: the web server's workers must get through.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for number in 0..LINKS {
        ensure(folder, &format!("{number:03}"))?;
    }
    fs::File::open(folder)?.sync_all()?;
    if let Some(now) = seen(folder)? {
        in_order.insert(folder.to_owned(), now);
    }
    Ok(())
}

/// `None`: it isn't there.
fn seen(folder: &Path) -> io::Result<Option<Seen>> {
    match fs::symlink_metadata(folder) {
        Ok(meta) if meta.is_dir() => Ok(Some((meta.ino(), meta.ctime(), meta.ctime_nsec()))),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{} is no folder; remove it, and it is made anew", folder.display()),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn ensure(folder: &Path, name: &str) -> io::Result<()> {
    let link = folder.join(name);
    match fs::read_link(&link) {
        Ok(now) if now.as_os_str() == SITES => return Ok(()),
        // Another link, or something that is none.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return symlink(SITES, link),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
        Err(error) => return Err(error),
    }
    let beside = folder.join(format!(".{name}.new"));
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    symlink(SITES, &beside)?;
    fs::rename(beside, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_millisecond_names_the_same_folder() {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir_all(state.path().join("sites/shop/live")).unwrap();
        let folder = state.path().join("tick");
        prepare(&folder).unwrap();
        for tick in ["000", "456", "999"] {
            assert!(folder.join(tick).join("shop/live").is_dir(), "{tick}");
        }
    }

    #[test]
    fn a_link_that_was_changed_is_put_back() {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir_all(state.path().join("sites")).unwrap();
        let folder = state.path().join("tick");
        prepare(&folder).unwrap();
        fs::remove_file(folder.join("123")).unwrap();
        fs::remove_file(folder.join("124")).unwrap();
        symlink("/etc", folder.join("124")).unwrap();
        prepare(&folder).unwrap();
        for link in ["123", "124"] {
            assert_eq!(fs::read_link(folder.join(link)).unwrap(), Path::new(SITES));
        }
    }

    #[test]
    fn nothing_is_written_through_a_link_in_its_place() {
        let state = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), state.path().join("tick")).unwrap();
        assert!(prepare(&state.path().join("tick")).is_err());
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}
