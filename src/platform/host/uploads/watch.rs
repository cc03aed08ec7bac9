//! Hears of what happens in the folder, and tells a rename from an upload: the kernel says both names of a rename. OpenSSH's server does an
//! SFTP rename with a second link whose first it removes; a name that appeared without anybody opening it is such a link.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::names::{is_release, proves};

/// Events that come close together are heard of together.
const TOGETHER: Duration = Duration::from_millis(20);

/// What happened since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Releases that got their names by a rename which says that they are whole, and that nobody wrote since.
    pub renamed: BTreeSet<String>,
    /// The folder is not there any more, or is another one.
    pub gone: bool,
    /// Whether anything happened that is worth a look.
    something: bool,
}

/// Hears of what happens in one folder from the moment that it was made.
#[derive(Debug)]
pub struct Watch {
    inotify: AsyncFd<OwnedFd>,
    sense: Sense,
}

impl Watch {
    /// Watches the folder that is open. To miss nothing, look at it after this.
    ///
    /// # Errors
    /// The system's.
    #[expect(
        deprecated,
        reason = "the constructor that isn't is unsafe; this one is sound for a descriptor that we own"
    )]
    pub fn start(folder: &impl AsFd) -> io::Result<Watch> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let what = WatchFlags::CREATE
            | WatchFlags::OPEN
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        // By its descriptor: the path may lead elsewhere by now.
        add_watch(&inotify, format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd()), what)?;
        Ok(Watch { inotify: AsyncFd::new(inotify)?, sense: Sense::default() })
    }

    /// Waits for something to happen. May be dropped while it waits.
    ///
    /// # Errors
    /// The system's.
    pub async fn next(&mut self) -> io::Result<Heard> {
        loop {
            // Heard by a wait that was dropped, it is told by the next one.
            if !(self.sense.heard.something || self.sense.heard.gone) {
                let mut ready = self.inotify.readable().await?;
                self.sense.read(self.inotify.get_ref())?;
                ready.clear_ready();
            }
            if self.sense.heard.something || self.sense.heard.gone {
                tokio::time::sleep(TOGETHER).await;
                self.sense.read(self.inotify.get_ref())?;
                return Ok(std::mem::take(&mut self.sense.heard));
            }
        }
    }
}

/// Makes sense of events, one after the other.
#[derive(Debug, Default)]
struct Sense {
    heard: Heard,
    /// The name that was left last, by its cookie.
    left: BTreeMap<u32, String>,
    /// Releases that appeared, and that nobody has opened.
    linked: BTreeSet<String>,
}

impl Sense {
    fn read(&mut self, fd: &OwnedFd) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = Reader::new(fd, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().and_then(|name| name.to_str().ok()).unwrap_or_default();
                    self.take(event.events(), event.cookie(), name);
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self, what: ReadFlags, cookie: u32, name: &str) {
        let over = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
        self.heard.gone |= what.intersects(over);
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            // What was told by a rename before may have been written since.
            *self = Sense { heard: Heard { something: true, ..Heard::default() }, ..Sense::default() };
        }
        // We open files ourselves, and whoever writes one closes it.
        self.heard.something |= !name.is_empty() && !what.contains(ReadFlags::OPEN);
        if what.contains(ReadFlags::MOVED_FROM) {
            // Its other half comes next, or it left the folder.
            self.left = BTreeMap::from([(cookie, name.to_owned())]);
        }
        if what.contains(ReadFlags::DELETE) && !is_release(name) {
            let partner = |to: &String| is_partner(name, to) && proves(Some(name), to);
            let (made, rest) = std::mem::take(&mut self.linked).into_iter().partition(partner);
            self.linked = rest;
            self.heard.renamed.extend::<BTreeSet<String>>(made);
        }
        if !is_release(name) {
            return;
        }
        if what.contains(ReadFlags::MOVED_TO) {
            let from = self.left.remove(&cookie);
            if proves(from.as_deref(), name) {
                self.heard.renamed.insert(name.to_owned());
            } else {
                self.heard.renamed.remove(name);
            }
        } else if what.contains(ReadFlags::CREATE) {
            self.heard.renamed.remove(name);
            self.linked.insert(name.to_owned());
        } else {
            if what.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
                self.heard.renamed.remove(name);
            }
            self.linked.remove(name);
        }
    }
}

/// Whether `from` is a name that a program gives to `to` while it isn't done.
fn is_partner(from: &str, to: &str) -> bool {
    from.strip_prefix(to).is_some_and(|rest| rest.starts_with('.'))
        || from.strip_prefix('.').is_some_and(|rest| rest.starts_with(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(events: &[(ReadFlags, u32, &str)]) -> Vec<String> {
        let mut sense = Sense::default();
        for (what, cookie, name) in events {
            sense.take(*what, *cookie, name);
        }
        sense.heard.renamed.into_iter().collect()
    }

    const NEW: ReadFlags = ReadFlags::CREATE;
    const OPEN: ReadFlags = ReadFlags::OPEN;
    const CLOSED: ReadFlags = ReadFlags::CLOSE_WRITE;
    const FROM: ReadFlags = ReadFlags::MOVED_FROM;
    const TO: ReadFlags = ReadFlags::MOVED_TO;
    const GONE: ReadFlags = ReadFlags::DELETE;

    #[test]
    fn a_rename_is_heard_of_and_one_between_releases_says_nothing() {
        assert_eq!(heard(&[(FROM, 7, "x.zip.part"), (TO, 7, "x.zip")]), ["x.zip"]);
        assert_eq!(heard(&[(TO, 7, "x.zip")]), ["x.zip"], "from outside of the folder");
        assert!(heard(&[(FROM, 7, "y.zip"), (TO, 7, "x.zip")]).is_empty());
        assert!(heard(&[(FROM, 7, ".x.zip.Ab12cD"), (TO, 7, "x.zip")]).is_empty(), "rsync's says nothing");
    }

    #[test]
    fn a_second_link_whose_first_goes_is_a_rename_and_an_upload_is_none() {
        let linked = [
            (NEW, 0, "x.zip.part"),
            (OPEN, 0, "x.zip.part"),
            (CLOSED, 0, "x.zip.part"),
            (NEW, 0, "x.zip"),
            (GONE, 0, "x.zip.part"),
        ];
        assert_eq!(heard(&linked), ["x.zip"]);
        let uploaded = [(NEW, 0, "x.zip"), (OPEN, 0, "x.zip"), (GONE, 0, "x.zip.part")];
        assert!(heard(&uploaded).is_empty());
        assert!(heard(&[(NEW, 0, "x.zip"), (GONE, 0, "y.zip.part")]).is_empty(), "another one's first link");
    }

    #[test]
    fn what_is_written_after_its_rename_is_not_known_to_be_whole() {
        assert!(
            heard(&[(FROM, 7, "x.zip.part"), (TO, 7, "x.zip"), (OPEN, 0, "x.zip"), (CLOSED, 0, "x.zip")]).is_empty()
        );
        assert!(heard(&[(TO, 7, "x.zip"), (NEW, 0, "x.zip"), (OPEN, 0, "x.zip")]).is_empty());
    }

    #[tokio::test]
    async fn the_kernel_tells_what_is_expected_of_it() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let folder = std::fs::File::open(temp.path()).expect("opened");
        let mut watch = Watch::start(&folder).expect("watched");
        let at = |name: &str| temp.path().join(name);
        std::fs::write(at("a.zip.part"), "a").expect("written");
        std::fs::rename(at("a.zip.part"), at("a.zip")).expect("renamed");
        std::fs::write(at("b.zip.part"), "b").expect("written");
        std::fs::hard_link(at("b.zip.part"), at("b.zip")).expect("linked");
        std::fs::remove_file(at("b.zip.part")).expect("removed");
        std::fs::write(at("c.zip"), "c").expect("written");
        let mut all = BTreeSet::new();
        while !all.contains("b.zip") {
            let heard = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
            all.extend(heard.expect("heard of").expect("read").renamed);
        }
        assert_eq!(all.into_iter().collect::<Vec<_>>(), ["a.zip", "b.zip"]);
    }
}
