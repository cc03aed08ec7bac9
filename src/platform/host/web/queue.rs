//! The queue before a web server: calls come from many sites at once, and whatever waits while one batch is applied makes the next.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::apply::{Applier, Change};
use super::door::{self, Says};
use super::files::{self, Name};
use super::kind::Kind;
use super::{Mode, Shape, WebServer, fault, no, reason};
use crate::api::types::SiteName;
use crate::platform::{Class, Fault};
use crate::rollout::Colour;

/// A running, or stopped, web server of some kind. Cheap to clone; all clones share one queue.
#[derive(Clone)]
pub struct Front<K: Kind> {
    shared: Arc<Shared<K>>,
}

struct Shared<K: Kind> {
    kind: K,
    reloads: AtomicU64,
    applier: Mutex<Applier<K>>,
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

impl<K: Kind> Front<K> {
    /// The one at these places. Nothing is touched until the first call.
    #[must_use]
    pub fn new(kind: K) -> Front<K> {
        Front {
            shared: Arc::new(Shared {
                reloads: AtomicU64::new(0),
                applier: Mutex::new(Applier::new(kind.clone())),
                queue: Mutex::new(Queue::default()),
                kind,
            }),
        }
    }

    /// How often it was told to reload, since this was made.
    #[must_use]
    pub fn reloads(&self) -> u64 {
        self.shared.reloads.load(Ordering::Relaxed)
    }

    /// The file that the user's server block is to include for a site.
    #[must_use]
    pub fn snippet(&self, site: &SiteName) -> PathBuf {
        Name::Snippet(site.clone()).path(self.shared.kind.places().folders)
    }

    /// The sites that have files of ours: those that are gone otherwise are to be removed.
    ///
    /// # Errors
    /// When the folders can't be read.
    pub async fn sites(&self) -> Result<Vec<SiteName>, Fault> {
        let shared = Arc::clone(&self.shared);
        let read = blocking(move || shared.kind.places().folders.read()).await?;
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

impl<K: Kind> WebServer for Front<K> {
    async fn ensure(&self, site: Shape) -> Result<(), Fault> {
        if self.shared.has_in_force(&site) {
            return Ok(());
        }
        self.submit(Change::Put(site)).await
    }

    async fn lacks(&self, site: &Shape) -> Option<Fault> {
        let (shared, site) = (Arc::clone(&self.shared), site.clone());
        blocking(move || shared.kind.lacks(&site)).await.ok().flatten()
    }

    async fn remove(&self, site: &SiteName) -> Result<(), Fault> {
        self.submit(Change::Remove(site.clone())).await
    }

    async fn seen(&self, site: &SiteName) -> Result<Option<Colour>, Fault> {
        let (shared, name) = (Arc::clone(&self.shared), door::name(site));
        let answer = blocking(move || door::ask(shared.kind.places().door, &name)).await?;
        let says = match answer {
            Ok(answer) => answer.says,
            Err(error) => {
                lock(&self.shared.queue).in_force.clear();
                let kind = &self.shared.kind;
                if !kind.runs() {
                    return Err(no::down(kind));
                }
                let (name, door) = (kind.words().name, kind.places().door);
                return Err(fault(
                    Class::Transient,
                    reason::NOT_IN_FORCE,
                    format!("{name} runs but does not answer on {door}: {error}"),
                ));
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
                    format!(
                        "{} does not serve {site}: its configuration is not in force",
                        self.shared.kind.words().name
                    ),
                ))
            }
        }
    }

    fn pool_timeout(&self) -> Duration {
        self.shared.kind.pool_timeout()
    }

    async fn in_flight(&self, site: &SiteName, ago: Duration) -> Result<Option<bool>, Fault> {
        let (shared, site) = (Arc::clone(&self.shared), site.clone());
        blocking(move || shared.kind.in_flight(&site, ago)).await?
    }
}

impl<K: Kind> Shared<K> {
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
        let path = |name: &Name| name.path(self.kind.places().folders);
        names.iter().map(|name| files::fingerprint(&path(name))).collect()
    }
}

struct Leave<'a, K: Kind>(&'a Shared<K>);

impl<K: Kind> Drop for Leave<'_, K> {
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
        .map_err(|error| fault(Class::Transient, reason::DOWN, format!("the web server could not be asked: {error}")))
}
