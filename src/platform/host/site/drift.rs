//! Hears of it when somebody moves or removes the link that decides which colour is live, so that it is put back at once and not only at the
//! next heartbeat.

use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The folder may not be there yet, or be made anew.
const AGAIN: Duration = Duration::from_secs(10);

/// Wakes the site's driver when the link changes; ends when it is dropped.
pub(super) struct Drift(AbortHandle);

impl Drift {
    pub(super) fn watch(folder: PathBuf, wake: Arc<Notify>) -> Drift {
        let task = tokio::spawn(async move {
            loop {
                // What can't be watched is looked at by the heartbeat.
                if let Err(error) = attend(&folder, &wake).await {
                    tracing::debug!(folder = %folder.display(), %error, "the live link is not watched");
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
        Drift(task.abort_handle())
    }
}

impl Drop for Drift {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[expect(deprecated, reason = "the constructor that isn't is unsafe; this one is sound for a descriptor that we own")]
async fn attend(folder: &PathBuf, wake: &Notify) -> std::io::Result<()> {
    let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let what = WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE | WatchFlags::CREATE;
    add_watch(&inotify, folder, what | WatchFlags::ONLYDIR | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF)?;
    let inotify = AsyncFd::new(inotify)?;
    loop {
        let mut ready = inotify.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 2048];
        let mut reader = Reader::new(inotify.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF) => return Ok(()),
                Ok(event) => {
                    let live = event.file_name().is_none_or(|name| name.to_bytes() == b"live");
                    if live || event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                        wake.notify_one();
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        ready.clear_ready();
    }
}
