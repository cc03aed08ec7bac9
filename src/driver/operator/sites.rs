//! The sites that this replica turns, and what it remembers of each from one turn to the next. All of it can be lost: a replica that begins to
//! lead begins with nothing.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::{Client, Resource, ResourceExt};

use super::entry::{Entry, Outcome};
use super::events::Events;
use super::metrics::Metrics;
use super::object::SiteObject;
use super::queue::Queue;
use super::reign::Term;
use crate::platform::cluster::children::{Cache, Key};

/// At rest, a site is looked at so often, for what nobody told us of. Watches tell everything, so it is rarely worth anything.
const HEARTBEAT: Duration = Duration::from_secs(120);

/// What every site needs.
pub struct Common {
    pub client: Client,
    pub cache: Arc<Cache>,
    pub queue: Arc<Queue>,
    pub events: Events,
    pub metrics: Arc<Metrics>,
}

/// The sites that this replica turns.
pub struct Sites {
    common: Common,
    entries: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Entry>>>>,
}

impl Sites {
    /// None yet.
    #[must_use]
    pub fn new(common: Common) -> Sites {
        Sites { common, entries: Mutex::default() }
    }

    /// One turn of a site. Says what it came to, and when the next one is due whatever happens.
    pub async fn turn(&self, key: &Key, site: Arc<SiteObject>, term: Term) -> (&'static str, Option<Duration>) {
        if site.meta().deletion_timestamp.is_some() {
            // Everything that the site has is its property, and goes with it.
            self.gone(key);
            return ("deleted", None);
        }
        if site.is_a_hosts() {
            self.gone(key);
            return ("elsewhere", None);
        }
        let entry = self.entry(key, &site, term);
        // Turned by one at a time: the lock is for the compiler.
        let Outcome { result, wait } = entry.lock().await.turn(&site).await;
        let heartbeat = HEARTBEAT + jitter(key);
        (result, Some(wait.map_or(heartbeat, |wait| wait.min(heartbeat))))
    }

    /// A site is gone: nothing more is remembered of it.
    pub fn gone(&self, key: &Key) {
        drop(self.lock().remove(key));
    }

    /// Forgets all others.
    pub fn keep(&self, which: impl Fn(&Key) -> bool) {
        self.lock().retain(|key, _| which(key));
    }

    /// What is remembered of the site: of this one, not of another that had its name, and in this term.
    fn entry(&self, key: &Key, site: &SiteObject, term: Term) -> Arc<tokio::sync::Mutex<Entry>> {
        let uid = site.uid().unwrap_or_default();
        let mut entries = self.lock();
        if let Some(known) = entries.get(key)
            && known.try_lock().is_ok_and(|entry| entry.is(&uid, term))
        {
            return known.clone();
        }
        let entry = Arc::new(tokio::sync::Mutex::new(Entry::new(&self.common, key.clone(), uid, term)));
        entries.insert(key.clone(), entry.clone());
        entry
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<tokio::sync::Mutex<Entry>>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spreads what begins together: after a start, ten thousand sites would be looked at in the same moment for ever.
fn jitter(key: &Key) -> Duration {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    HEARTBEAT * u32::try_from(hasher.finish() % 64).unwrap_or(0) / 64
}
