//! Watches everything that a site is made of, for as long as the process lives. What is seen goes into memory and wakes its site.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::health::Health;
use super::metrics::Metrics;
use super::object::SiteObject;
use super::queue::Queue;
use super::sites::Sites;
use crate::api::names::cluster;
use crate::platform::cluster::children::{self, Cache, Fact, Key, Kind, Watched};

/// A watch is asked for anew this often, so that one whose connection died is noticed soon. It goes on where it was.
const LASTS: u32 = 60;
/// So many objects a page: what is dropped of each is held until its page was read.
const PAGE: u32 = 100;
/// The resource of sites, for health and metrics.
const SITES: &str = "bluegreensites.bluegreen.dev";

/// What a replica must have seen before it can lead.
pub fn all() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().map(Kind::resource).chain([SITES])
}

/// What the watches need.
#[derive(Clone)]
pub struct Watches {
    pub client: Client,
    /// Only there; `None`: everywhere.
    pub namespace: Option<String>,
    pub cache: Arc<Cache>,
    pub sites: Arc<Sites>,
    pub queue: Arc<Queue>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    /// What was last said of a resource that can't be watched: it is tried again for ever, and said once.
    pub said: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Watches {
    /// Watches, until the future is dropped.
    pub async fn run(self, writer: Writer<SiteObject>) {
        tokio::join!(
            self.sites(writer),
            self.children::<children::Deployment>(),
            self.children::<children::Service>(),
            self.children::<children::Slice>(),
            self.children::<children::Release>(),
            self.children::<children::Budget>(),
            self.children::<children::HttpRoute>(),
        );
    }

    async fn sites(&self, mut writer: Writer<SiteObject>) {
        let config = watcher::Config::default().timeout(LASTS).page_size(PAGE);
        let mut events = pin!(events(watcher(self.api::<SiteObject>(), config)));
        let mut listed: BTreeSet<Key> = BTreeSet::new();
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    self.broke(SITES, &error);
                    continue;
                }
            };
            writer.apply_watcher_event(&event);
            match event {
                Event::Init => listed.clear(),
                Event::InitApply(site) => {
                    listed.insert(key(&site));
                }
                Event::Apply(site) => self.queue.wake(&key(&site)),
                Event::Delete(site) => self.sites.gone(&key(&site)),
                Event::InitDone => {
                    self.whole(SITES);
                    self.sites.keep(|known| listed.contains(known));
                    for site in std::mem::take(&mut listed) {
                        self.queue.wake(&site);
                    }
                }
            }
        }
    }

    async fn children<F: Fact>(&self) {
        let ours = format!("{}={},{}", cluster::MANAGED_BY, cluster::MANAGER, cluster::SITE);
        let config = watcher::Config::default().labels(&ours).timeout(LASTS).page_size(PAGE);
        let resource = F::KIND.resource();
        let mut events = pin!(events(watcher(self.api::<Watched<F>>(), config)));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let done = matches!(event, Event::InitDone);
                    for key in self.cache.apply(event) {
                        self.queue.wake(&key);
                    }
                    if done {
                        self.whole(resource);
                    }
                }
                Err(error) => {
                    match refusal(&error) {
                        // Not every cluster has a Gateway API; when it gets one, the list succeeds.
                        Some(404) => {
                            self.cache.absent(F::KIND);
                            self.health.saw(resource);
                            tokio::time::sleep(ABSENT).await;
                            continue;
                        }
                        Some(403) => self.cache.fails(F::KIND, error.to_string()),
                        _ => {}
                    }
                    self.broke(resource, &error);
                }
            }
        }
    }

    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// A watch has everything, and goes on.
    fn whole(&self, resource: &'static str) {
        self.health.saw(resource);
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(resource);
    }

    /// A watch ended, and begins anew.
    fn broke(&self, resource: &'static str, error: &watcher::Error) {
        self.metrics.watch_broke(resource);
        let text = error.to_string();
        let before = self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(resource, text.clone());
        if before == Some(text) {
            return;
        }
        match refusal(error) {
            // Its place in the stream of changes is forgotten: everything is listed anew.
            Some(410) => tracing::info!(resource, "a watch fell behind and begins anew"),
            Some(404) => tracing::warn!(
                resource,
                "are not known to this cluster: install the CRD (bluegreen crd | kubectl apply -f -)"
            ),
            Some(403) => tracing::error!(resource, "may not be watched: {error}; grant list and watch"),
            _ => tracing::warn!(resource, "a watch broke and begins anew: {error}"),
        }
    }
}

/// The key of a site.
#[must_use]
pub fn key(site: &SiteObject) -> Key {
    Key::new(site.namespace().as_deref().unwrap_or_default(), &site.name_any())
}

/// The code with which the API server refused, if it did.
fn refusal(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// Events, with a pause after each error.
fn events<K>(
    watch: impl Stream<Item = watcher::Result<Event<K>>> + Send,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch.backoff(ResetTimerBackoff::new(Pause(FIRST), CALM))
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// A watch that went well for so long had only a short hiccup.
const CALM: Duration = Duration::from_secs(15);
/// What isn't there is asked for again so often.
const ABSENT: Duration = Duration::from_secs(30);

/// Longer and longer, up to a few seconds: a cluster whose API server is back must not wait half a minute for us.
struct Pause(Duration);

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        Some(pause)
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {
        self.0 = FIRST;
    }
}
