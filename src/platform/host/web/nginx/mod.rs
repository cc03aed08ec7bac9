//! A stock nginx (1.22 or later) as the front door.
//!
//! | part | what it does |
//! |---|---|
//! | `render` | from a shape to the text of files |
//! | `files` | which files are ours, and how a new set takes their place |
//! | `trial` | has nginx test a configuration that is not in place |
//! | `syntax`, `theirs` | what else nginx serves |
//! | `process`, `reload`, `door` | a reload, and seeing it in every worker |
//! | `draft`, `apply`, `no` | what the files shall be; all of that in order, and back; why not |
//!
//! This file is the queue before it: calls come from many sites at once, and whatever waits while one batch is applied makes the next.

mod apply;
mod door;
mod draft;
mod files;
mod no;
mod process;
mod reload;
pub mod render;
mod syntax;
mod theirs;
mod trial;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use self::apply::{Applier, Change};
use self::door::Says;
pub use self::files::Folders;
use self::files::Name;
use super::{Mode, Shape, WebServer};
use crate::api::types::SiteName;
use crate::platform::{Class, Fault};
use crate::rollout::Colour;

/// The reasons of this module's faults.
pub mod reason {
    /// nginx is not running.
    pub const DOWN: &str = "WebServerDown";
    /// nginx is not installed.
    pub const MISSING: &str = "WebServerMissing";
    /// nginx refuses its configuration because of somebody else's file.
    pub const CONFIGURATION_BROKEN: &str = "WebServerConfigBroken";
    /// nginx refuses its configuration because of ours.
    pub const CONFIGURATION_REFUSED: &str = "WebServerConfigRefused";
    /// The configuration could not be tested.
    pub const UNTESTED: &str = "WebServerConfigUntested";
    /// A reload was refused, or came to nothing.
    pub const RELOAD_FAILED: &str = "WebServerReloadFailed";
    /// Somebody else serves the host name, or listens in a way that takes its requests.
    pub const HOSTNAME_TAKEN: &str = "HostnameTaken";
    /// nginx does not read our folder.
    pub const FOLDER_NOT_INCLUDED: &str = "WebServerFolderNotIncluded";
    /// No server block includes the snippet.
    pub const SNIPPET_NOT_INCLUDED: &str = "SnippetNotIncluded";
    /// Our files can't be read or written.
    pub const FILES: &str = "WebServerFiles";
    /// The site is not in what nginx has in force.
    pub const NOT_IN_FORCE: &str = "WebServerNotInForce";
}

/// Where nginx is and what it reads. The default is what Debian's package brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NginxSettings {
    /// The program.
    pub program: PathBuf,
    /// Its `-p`, where it is not the built-in one.
    pub prefix: Option<PathBuf>,
    /// Its `-c`, where it is not the built-in one.
    pub conf: Option<PathBuf>,
    /// Where the master writes its number.
    pub pid: PathBuf,
    /// Where our files go.
    pub folders: Folders,
    /// A folder of root's for candidates; made when it is missing, emptied at will.
    pub work: PathBuf,
    /// Where the door listens: an address of loopback, and a port that only root can take.
    pub door: SocketAddr,
    /// How long a reload may take until every worker has it.
    pub reload_within: Duration,
}

impl Default for NginxSettings {
    fn default() -> Self {
        NginxSettings {
            program: "/usr/sbin/nginx".into(),
            prefix: None,
            conf: None,
            pid: "/run/nginx.pid".into(),
            folders: Folders { sites: "/etc/nginx/conf.d".into(), snippets: "/etc/nginx/bluegreen".into() },
            work: "/run/bluegreen/nginx".into(),
            // Of loopback, but not the address that everybody uses; a port that nobody registered, below those that a user may take.
            door: SocketAddr::from((Ipv4Addr::new(127, 98, 103, 1), 947)),
            reload_within: Duration::from_secs(10),
        }
    }
}

impl NginxSettings {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (flag, path) in [("-p", &self.prefix), ("-c", &self.conf)] {
            if let Some(path) = path {
                command.arg(flag).arg(path);
            }
        }
        command
    }
}

/// A running, or stopped, nginx. Cheap to clone; all clones share one queue.
#[derive(Clone)]
pub struct Nginx {
    shared: Arc<Shared>,
}

struct Shared {
    settings: NginxSettings,
    reloads: AtomicU64,
    applier: Mutex<Applier>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(Change, oneshot::Sender<Result<(), Fault>>)>,
    busy: bool,
    /// What was seen to be in force, and what its files looked like then.
    in_force: BTreeMap<SiteName, (Shape, Prints)>,
}

type Prints = Vec<Option<(u64, u64, i64, i64)>>;

impl Nginx {
    /// The nginx at these places. Nothing is touched until the first call.
    #[must_use]
    pub fn new(settings: NginxSettings) -> Nginx {
        Nginx {
            shared: Arc::new(Shared {
                reloads: AtomicU64::new(0),
                applier: Mutex::new(Applier::new(settings.clone())),
                queue: Mutex::new(Queue::default()),
                settings,
            }),
        }
    }

    /// How often nginx was told to reload, since this was made.
    #[must_use]
    pub fn reloads(&self) -> u64 {
        self.shared.reloads.load(Ordering::Relaxed)
    }

    /// The file that the user's server block is to include for a site.
    #[must_use]
    pub fn snippet(&self, site: &SiteName) -> PathBuf {
        Name::Snippet(site.clone()).path(&self.shared.settings.folders)
    }

    /// The sites that have files of ours: those that are gone otherwise are to be removed.
    ///
    /// # Errors
    /// When the folders can't be read.
    pub async fn sites(&self) -> Result<Vec<SiteName>, Fault> {
        let shared = Arc::clone(&self.shared);
        let read = blocking(move || shared.settings.folders.read()).await?;
        let set = read.map_err(|error| fault(Class::Transient, reason::FILES, error.to_string()))?;
        let sites = set.into_keys().filter_map(|name| match name {
            Name::Site(site) => Some(site),
            _ => None,
        });
        Ok(sites.collect())
    }

    async fn submit(&self, change: Change) -> Result<(), Fault> {
        let (answer, result) = oneshot::channel();
        let start = {
            let mut queue = lock(&self.shared.queue);
            queue.waiting.push((change, answer));
            !std::mem::replace(&mut queue.busy, true)
        };
        if start {
            let shared = Arc::clone(&self.shared);
            // Apart from whoever called: a caller that goes away must not leave a batch half applied.
            tokio::task::spawn_blocking(move || shared.work());
        }
        result.await.unwrap_or_else(|_| {
            Err(fault(
                Class::Transient,
                reason::RELOAD_FAILED,
                "the batch in which this site's configuration was applied came to a sudden end".to_owned(),
            ))
        })
    }
}

impl WebServer for Nginx {
    async fn ensure(&self, site: Shape) -> Result<(), Fault> {
        if self.shared.has_in_force(&site) {
            return Ok(());
        }
        self.submit(Change::Put(site)).await
    }

    async fn remove(&self, site: &SiteName) -> Result<(), Fault> {
        self.submit(Change::Remove(site.clone())).await
    }

    async fn seen(&self, site: &SiteName) -> Result<Option<Colour>, Fault> {
        let (shared, name) = (Arc::clone(&self.shared), render::door_name(site));
        let answer = blocking(move || door::ask(shared.settings.door, &name)).await?;
        let says = match answer {
            Ok(answer) => answer.says,
            Err(error) => {
                lock(&self.shared.queue).in_force.clear();
                return Err(match process::master(&self.shared.settings.pid) {
                    None => no::down(&self.shared.settings),
                    Some(_) => fault(
                        Class::Transient,
                        reason::NOT_IN_FORCE,
                        format!("nginx runs but does not answer on {}: {error}", self.shared.settings.door),
                    ),
                });
            }
        };
        match says {
            Says::Colour(colour) => Ok(Some(colour)),
            Says::NoColour => Ok(None),
            Says::Unknown => {
                lock(&self.shared.queue).in_force.remove(site);
                Err(fault(
                    Class::Conflict,
                    reason::NOT_IN_FORCE,
                    format!("nginx does not serve {site}: its configuration is not in force"),
                ))
            }
        }
    }

    fn pool_timeout(&self) -> Duration {
        Duration::from_secs(render::POOL_SECONDS)
    }
}

impl Shared {
    fn work(&self) {
        // Also when a batch panics: whoever waits is told, and the next call starts again.
        let _leave = Leave(self);
        loop {
            let batch = {
                let mut queue = lock(&self.queue);
                if queue.waiting.is_empty() {
                    queue.busy = false;
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            let (changes, answers): (Vec<Change>, Vec<_>) = batch.into_iter().unzip();
            let results = lock(&self.applier).batch(&changes, &self.reloads);
            let mut queue = lock(&self.queue);
            for ((change, answer), result) in changes.into_iter().zip(answers).zip(results) {
                queue.in_force.remove(change.site());
                if let (Change::Put(shape), Ok(())) = (change, &result) {
                    let prints = self.prints(&shape);
                    queue.in_force.insert(shape.site.clone(), (shape, prints));
                }
                // Whoever asked may be gone: it is in force all the same.
                let _ = answer.send(result);
            }
        }
    }

    fn has_in_force(&self, shape: &Shape) -> bool {
        let queue = lock(&self.queue);
        let same = queue.in_force.get(&shape.site).filter(|(known, _)| known == shape);
        same.is_some_and(|(_, prints)| *prints == self.prints(shape))
    }

    fn prints(&self, shape: &Shape) -> Prints {
        let mut names = vec![Name::Common, Name::Site(shape.site.clone())];
        if shape.mode == Mode::Include {
            names.push(Name::Snippet(shape.site.clone()));
        }
        let path = |name: &Name| name.path(&self.settings.folders);
        names.iter().map(|name| files::fingerprint(Path::new(&path(name)))).collect()
    }
}

struct Leave<'a>(&'a Shared);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = lock(&self.0.queue);
            queue.waiting.clear();
            queue.busy = false;
        }
    }
}

/// What a mutex guards here is whole between any two statements: a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| fault(Class::Transient, reason::DOWN, format!("nginx could not be asked: {error}")))
}

fn fault(class: Class, reason: &'static str, message: String) -> Fault {
    Fault { class, reason, message }
}
