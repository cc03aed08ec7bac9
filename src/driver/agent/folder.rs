//! The folder of manifests: one file a site, `NAME.yaml`. Says which files changed, and reads them with suspicion, since who writes a
//! manifest decides what runs as whom.
//!
//! A file counts when it was closed after writing or moved into place: a half-written one is no change. Temporary files, hidden
//! files and an editor's copies don't count at all.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::fs::{Mode, OFlags, open, openat};
use tokio::io::unix::AsyncFd;

use crate::api::types::SiteName;
use crate::control::api::MANIFEST_LIMIT;

/// The folder, as it was opened and found trustworthy.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    fd: OwnedFd,
}

/// Why the folder, or a file in it, is not read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Others than root decide what stands in it.
    #[error("{} is refused: {why}. Who writes there decides what runs as whom: `chown root: {0} && chmod go-w {0}`", path.display())]
    Untrusted {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is not the folder of before, and holds nothing of what was there: a disk that is not mounted looks like that.
    #[error(
        "{} is another folder than before, and holds no manifest of the {sites} sites that there are: nothing is deleted because of it. Mount the \
         disk that holds the manifests or put them back; or make the sites go away with `bluegreen delete`",
        path.display()
    )]
    Replaced {
        /// The folder.
        path: PathBuf,
        /// So many sites are known.
        sites: usize,
    },
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

type Print = (u64, u64, SystemTime, Option<Duration>);

/// A file that was written so recently may still be being written.
const FRESH: Duration = Duration::from_secs(1);
/// Whoever writes it writes again within this.
const SETTLES: Duration = Duration::from_millis(20);
/// So often that is waited for; closing the file is heard of anyway.
const TRIES: u32 = 5;

/// What happened in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// These files may have another content, have come, or have gone.
    Files(BTreeSet<SiteName>),
    /// Look at everything again: events were lost, or the folder itself was moved or replaced.
    Everything,
}

impl Folder {
    /// Opens the folder, if nobody but root (or the user that the agent runs as) can write in it.
    pub fn open(path: &Path) -> Result<Folder, FolderError> {
        let fd = open(path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())
            .map_err(|e| match e {
                rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => {
                    FolderError::Untrusted { path: path.to_owned(), why: "it is a link, or no folder" }
                }
                e => io_error(path, e.into()),
            })?;
        let file = File::from(fd);
        let meta = file.metadata().map_err(|e| io_error(path, e))?;
        trusted(path, &meta)?;
        Ok(Folder { path: path.to_owned(), fd: file.into() })
    }

    /// Whether the path still leads to the folder that was opened.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let (Ok(there), Ok(here)) = (std::fs::symlink_metadata(&self.path), rustix::fs::fstat(&self.fd)) else {
            return false;
        };
        there.dev() == here.st_dev && there.ino() == here.st_ino
    }

    /// Which folder it is: its device and its number there.
    pub fn identity(&self) -> Result<(u64, u64), FolderError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|e| io_error(&self.path, e.into()))?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// The sites that have a file here.
    pub fn names(&self) -> Result<BTreeSet<SiteName>, FolderError> {
        let io = |e: rustix::io::Errno| io_error(&self.path, e.into());
        let mut names = BTreeSet::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(io)? {
            names.extend(site_of(OsStr::new(&*entry.map_err(io)?.file_name().to_string_lossy())));
        }
        Ok(names)
    }

    /// The manifest of a site. `None`: it has no file.
    pub fn read(&self, name: &SiteName) -> Result<Option<String>, FolderError> {
        let path = self.file(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match openat(&self.fd, file_name(name), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => {
                return Err(FolderError::Untrusted { path, why: "it is a link" });
            }
            Err(e) => return Err(io_error(&path, e.into())),
        };
        let file = File::from(fd);
        let meta = file.metadata().map_err(|e| io_error(&path, e))?;
        if !meta.is_file() {
            return Err(FolderError::Untrusted { path, why: "it is no regular file" });
        }
        trusted(&path, &meta)?;
        let mut text = String::new();
        file.take(MANIFEST_LIMIT as u64 + 1).read_to_string(&mut text).map_err(|e| io_error(&path, e))?;
        if text.len() > MANIFEST_LIMIT {
            return Err(io_error(&path, io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 256 KiB")));
        }
        Ok(Some(text))
    }

    /// The manifest of a site, once nobody writes it any more: whoever begins to write it again right after somebody closed it is waited for.
    /// `None`: it has no file, or is being written; then more will be heard of it.
    pub async fn read_settled(&self, name: &SiteName) -> Result<Option<String>, FolderError> {
        for _ in 0..TRIES {
            let before = self.print(name);
            let text = self.read(name)?;
            let fresh = before.as_ref().is_some_and(|(.., age)| age.is_none_or(|age| age < FRESH));
            if !fresh {
                return Ok(text);
            }
            tokio::time::sleep(SETTLES).await;
            let after = self.print(name);
            let same = |a: &Print, b: &Print| (a.0, a.1, a.2) == (b.0, b.1, b.2);
            if before.as_ref().zip(after.as_ref()).is_some_and(|(a, b)| same(a, b)) {
                return Ok(text);
            }
        }
        Ok(None)
    }

    /// Which file it is, how large, when it was written last, and how long ago that is.
    fn print(&self, name: &SiteName) -> Option<Print> {
        let meta = std::fs::symlink_metadata(self.file(name)).ok()?;
        let written = meta.modified().ok()?;
        Some((meta.ino(), meta.len(), written, written.elapsed().ok()))
    }

    /// The path of a site's file.
    #[must_use]
    pub fn file(&self, name: &SiteName) -> PathBuf {
        self.path.join(file_name(name))
    }
}

/// Tells what happens in the folder from the moment that it was made.
#[derive(Debug)]
pub struct Watch {
    inotify: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Watches the folder. To miss nothing, read the folder after this.
    #[expect(
        deprecated,
        reason = "the constructor that isn't is unsafe; this one is sound for a descriptor that we own"
    )]
    pub fn start(folder: &Folder) -> Result<Watch, FolderError> {
        let io = |e: io::Error| io_error(&folder.path, e);
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|e| io(e.into()))?;
        add_watch(
            &inotify,
            &folder.path,
            WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::MOVED_FROM
                | WatchFlags::DELETE
                | WatchFlags::ATTRIB
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR
                | WatchFlags::DONT_FOLLOW,
        )
        .map_err(|e| io(e.into()))?;
        Ok(Watch { inotify: AsyncFd::new(inotify).map_err(io)? })
    }

    /// Waits for something to happen. May be dropped while it waits.
    pub async fn next(&mut self) -> io::Result<Event> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let event = drain(self.inotify.get_ref().as_fd())?;
            ready.clear_ready();
            match event {
                Event::Files(files) if files.is_empty() => {}
                event => return Ok(event),
            }
        }
    }
}

fn drain(fd: impl AsFd) -> io::Result<Event> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(fd, &mut buffer);
    let mut files = BTreeSet::new();
    let mut everything = false;
    loop {
        match reader.next() {
            Ok(event) => {
                let whole = ReadFlags::QUEUE_OVERFLOW
                    | ReadFlags::DELETE_SELF
                    | ReadFlags::MOVE_SELF
                    | ReadFlags::IGNORED
                    | ReadFlags::UNMOUNT;
                // Without a name it is the folder itself: its owner or mode may have changed.
                match event.file_name() {
                    Some(name) if !event.events().intersects(whole) => {
                        files.extend(site_of(OsStr::new(&*name.to_string_lossy())));
                    }
                    _ => everything = true,
                }
            }
            Err(rustix::io::Errno::AGAIN) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(if everything { Event::Everything } else { Event::Files(files) })
}

fn file_name(name: &SiteName) -> String {
    format!("{name}.yaml")
}

/// The site whose file has this name. `None`: a temporary or hidden file, an editor's copy, or nothing of ours.
fn site_of(file: &OsStr) -> Option<SiteName> {
    file.to_str()?.strip_suffix(".yaml")?.parse().ok()
}

fn trusted(path: &Path, meta: &std::fs::Metadata) -> Result<(), FolderError> {
    let wrong = |why| Err(FolderError::Untrusted { path: path.to_owned(), why });
    if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
        return wrong("its owner is not root");
    }
    if meta.mode() & 0o022 != 0 {
        return wrong("others than its owner may write it");
    }
    Ok(())
}

fn io_error(path: &Path, source: io::Error) -> FolderError {
    FolderError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn site(name: &str) -> SiteName {
        name.parse().expect("a site name")
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own");
    }

    fn put(path: &Path, text: &str) {
        fs::write(path, text).expect("writable");
        mode(path, 0o644);
    }

    async fn next(watch: &mut Watch) -> Event {
        tokio::time::timeout(Duration::from_secs(10), watch.next()).await.expect("an event").expect("inotify works")
    }

    fn files(names: &[&str]) -> Event {
        Event::Files(names.iter().map(|n| site(n)).collect())
    }

    #[tokio::test]
    async fn a_half_written_file_is_no_change_and_other_files_are_none_at_all() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        mode(temp.path(), 0o755);
        let folder = Folder::open(temp.path()).expect("ours");
        let mut watch = Watch::start(&folder).expect("watched");
        let mut half = fs::File::create(temp.path().join("shop.yaml")).expect("made");
        half.write_all(b"kind: Blue").expect("written");
        half.sync_all().expect("synced");
        for noise in [".shop.yaml.swp", "shop.yaml~", "4913", "shop.yml.bak", "Shop Two.yaml"] {
            put(&temp.path().join(noise), "x");
        }
        // The first thing heard of is this one, which came after all of the above.
        put(&temp.path().join("blog.yaml"), "x");
        let mut heard = BTreeSet::new();
        while !heard.contains(&site("blog")) {
            match next(&mut watch).await {
                Event::Files(files) => heard.extend(files),
                Event::Everything => panic!("nothing was lost"),
            }
        }
        assert!(!heard.contains(&site("shop")), "{heard:?}");
        drop(half);
        loop {
            if next(&mut watch).await == files(&["shop"]) {
                break;
            }
        }
        assert_eq!(folder.names().expect("readable"), [site("blog"), site("shop")].into());
    }

    #[tokio::test]
    async fn a_file_that_is_moved_in_or_away_is_heard_of() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        mode(temp.path(), 0o755);
        let folder = Folder::open(temp.path()).expect("ours");
        let mut watch = Watch::start(&folder).expect("watched");
        let outside = tempfile::tempdir_in(temp.path()).expect("a folder beside");
        put(&outside.path().join("x"), "one");
        fs::rename(outside.path().join("x"), temp.path().join("shop.yaml")).expect("moved in");
        assert_eq!(next(&mut watch).await, files(&["shop"]));
        assert_eq!(folder.read(&site("shop")).expect("readable").as_deref(), Some("one"));
        fs::remove_file(temp.path().join("shop.yaml")).expect("removed");
        assert_eq!(next(&mut watch).await, files(&["shop"]));
        assert_eq!(folder.read(&site("shop")).expect("readable"), None);
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused_and_so_is_a_link_to_one() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let sites = temp.path().join("sites");
        fs::create_dir(&sites).expect("made");
        for bad in [0o775, 0o757, 0o777] {
            mode(&sites, bad);
            let refusal = Folder::open(&sites).expect_err("refused").to_string();
            assert!(refusal.contains("chmod go-w"), "{refusal}");
        }
        mode(&sites, 0o755);
        Folder::open(&sites).expect("only ours");
        let link = temp.path().join("link");
        symlink(&sites, &link).expect("made");
        assert!(matches!(Folder::open(&link), Err(FolderError::Untrusted { .. })));
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_and_so_are_links_folders_and_pipes() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        mode(temp.path(), 0o755);
        let folder = Folder::open(temp.path()).expect("ours");
        put(&temp.path().join("shop.yaml"), "fine");
        mode(&temp.path().join("shop.yaml"), 0o664);
        assert!(matches!(folder.read(&site("shop")), Err(FolderError::Untrusted { .. })));
        put(&temp.path().join("elsewhere"), "fine");
        symlink(temp.path().join("elsewhere"), temp.path().join("link.yaml")).expect("made");
        assert!(matches!(folder.read(&site("link")), Err(FolderError::Untrusted { .. })));
        fs::create_dir(temp.path().join("folder.yaml")).expect("made");
        assert!(matches!(folder.read(&site("folder")), Err(FolderError::Untrusted { .. })));
        assert!(folder.read(&site("absent")).expect("readable").is_none());
    }

    #[test]
    fn a_folder_that_was_replaced_is_not_current() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let sites = temp.path().join("sites");
        fs::create_dir(&sites).expect("made");
        mode(&sites, 0o755);
        let folder = Folder::open(&sites).expect("ours");
        assert!(folder.is_current());
        fs::rename(&sites, temp.path().join("old")).expect("moved");
        assert!(!folder.is_current());
        fs::create_dir(&sites).expect("made");
        assert!(!folder.is_current());
    }
}
