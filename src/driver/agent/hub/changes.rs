//! Tells when this host joins or leaves a hub, or gets another token: `hub.yaml` and `token` are replaced by renaming.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use tokio::io::unix::AsyncFd;

use super::membership::private_folder;

/// A folder that can't be watched is looked at again so often.
const AGAIN: Duration = Duration::from_secs(5);
/// The files that count.
const FILES: [&[u8]; 2] = [b"hub.yaml", b"token"];

/// A watch on the folder of a hub.
#[derive(Debug)]
pub struct Changes {
    folder: PathBuf,
    inotify: Option<AsyncFd<OwnedFd>>,
}

impl Changes {
    /// Watches the folder, which is made if it isn't there. To miss nothing, read the files after this.
    pub fn start(folder: PathBuf) -> Changes {
        let inotify = watch(&folder);
        if let Err(error) = &inotify {
            tracing::warn!(folder = %folder.display(), %error, "whether this host joins a hub is looked at now and then only");
        }
        Changes { folder, inotify: inotify.ok() }
    }

    /// Waits until something changed, or may have. May be dropped while it waits.
    pub async fn next(&mut self) {
        loop {
            let Some(inotify) = &self.inotify else {
                tokio::time::sleep(AGAIN).await;
                self.inotify = watch(&self.folder).ok();
                return;
            };
            match heard(inotify).await {
                Ok(Heard::Nothing) => {}
                Ok(Heard::Change) => return,
                Ok(Heard::Gone) | Err(_) => {
                    self.inotify = None;
                    return;
                }
            }
        }
    }
}

enum Heard {
    Nothing,
    Change,
    Gone,
}

#[expect(deprecated, reason = "the constructor that isn't is unsafe; this one is sound for a descriptor that we own")]
fn watch(folder: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    private_folder(folder)?;
    let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let what = WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR
        | WatchFlags::DONT_FOLLOW;
    add_watch(&inotify, folder, what)?;
    AsyncFd::new(inotify)
}

async fn heard(inotify: &AsyncFd<OwnedFd>) -> io::Result<Heard> {
    let mut ready = inotify.readable().await?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut reader = Reader::new(inotify.get_ref(), &mut buffer);
    let mut heard = Heard::Nothing;
    loop {
        match reader.next() {
            Ok(event) => {
                let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
                if event.events().intersects(gone) {
                    heard = Heard::Gone;
                } else if event.events().intersects(ReadFlags::QUEUE_OVERFLOW)
                    || event.file_name().is_some_and(|name| FILES.contains(&name.to_bytes()))
                {
                    heard = if matches!(heard, Heard::Gone) { heard } else { Heard::Change };
                }
            }
            Err(rustix::io::Errno::AGAIN) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    ready.clear_ready();
    Ok(heard)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::platform::host::store;

    async fn hears(changes: &mut Changes) {
        tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap();
    }

    #[tokio::test]
    async fn a_token_that_is_replaced_is_heard_of_and_so_is_a_folder_that_goes_and_comes() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("hub");
        let mut changes = Changes::start(folder.clone());
        store::write_bytes(&folder.join("standing.json"), b"{}", 0o600).unwrap();
        store::write_bytes(&folder.join("token"), b"a", 0o600).unwrap();
        hears(&mut changes).await;
        std::fs::remove_dir_all(&folder).unwrap();
        hears(&mut changes).await;
        while !folder.exists() {
            hears(&mut changes).await;
        }
    }
}
