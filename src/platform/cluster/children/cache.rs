//! All facts of all sites. The operator's watches feed it, and so do the answers to our own writes, so that the next look is not older than what
//! was just done.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use kube::runtime::watcher::{self, Event};

use super::facts::{Budget, Deployment, HttpRoute, Kind, Release, Service, Slice};
use super::wire::{Fact, Watched};

/// A site's name and its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The site of this name in this namespace.
    #[must_use]
    pub fn new(namespace: &str, site: &str) -> Key {
        Key(format!("{namespace}/{site}").into())
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The name.
    #[must_use]
    pub fn site(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, site)| site)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The objects of one site, as they were last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Children {
    /// Deployments.
    pub deployments: Vec<Deployment>,
    /// Services.
    pub services: Vec<Service>,
    /// EndpointSlices.
    pub slices: Vec<Slice>,
    /// Releases.
    pub releases: Vec<Release>,
    /// PodDisruptionBudgets.
    pub budgets: Vec<Budget>,
    /// HTTPRoutes.
    pub routes: Vec<HttpRoute>,
}

impl Children {
    /// The Deployment of this name.
    #[must_use]
    pub fn deployment(&self, name: &str) -> Option<&Deployment> {
        self.deployments.iter().find(|one| &*one.name == name)
    }

    /// The Service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|one| &*one.name == name)
    }

    /// The HTTPRoute of this name.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<&HttpRoute> {
        self.routes.iter().find(|one| &*one.name == name)
    }

    /// The slices of this Service.
    pub fn slices_of(&self, service: &str) -> impl Iterator<Item = &Slice> {
        self.slices.iter().filter(move |one| &*one.service == service)
    }

    fn is_empty(&self) -> bool {
        self.deployments.is_empty()
            && self.services.is_empty()
            && self.slices.is_empty()
            && self.releases.is_empty()
            && self.budgets.is_empty()
            && self.routes.is_empty()
    }
}

/// All facts of all sites.
#[derive(Debug, Default)]
pub struct Cache {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    sites: HashMap<Key, Arc<Children>>,
    watches: HashMap<Kind, Watch>,
}

/// How far a kind is known.
#[derive(Debug, Default)]
struct Watch {
    /// All of them were listed at least once.
    listed: bool,
    /// Why they can't be.
    fails: Option<String>,
    /// The newest version that the watch has shown: it has shown every change up to there.
    shown: u64,
    /// What a list that is under way has shown.
    listing: Option<HashSet<(Key, Box<str>)>>,
}

impl Cache {
    /// Takes what a watch says, and answers with the sites that look otherwise now.
    pub fn apply<F: Fact>(&self, event: Event<Watched<F>>) -> Vec<Key> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => {
                state.watch(F::KIND).listing = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(seen) | Event::Apply(seen) => {
                let Some(key) = seen.key else { return Vec::new() };
                let watch = state.watch(F::KIND);
                watch.shown = watch.shown.max(seen.fact.owned().version);
                if let Some(listing) = &mut watch.listing {
                    listing.insert((key.clone(), seen.fact.name().into()));
                }
                state.put(&key, seen.fact).then_some(key).into_iter().collect()
            }
            Event::Delete(seen) => {
                let Some(key) = seen.key else { return Vec::new() };
                let version = seen.fact.owned().version;
                let watch = state.watch(F::KIND);
                watch.shown = watch.shown.max(version);
                let gone =
                    state.remove::<F>(&key, |one| one.name() == seen.fact.name() && one.owned().version <= version);
                gone.then_some(key).into_iter().collect()
            }
            Event::InitDone => {
                let watch = state.watch(F::KIND);
                watch.listed = true;
                watch.fails = None;
                let listed = watch.listing.take().unwrap_or_default();
                let shown = watch.shown;
                let keys: Vec<Key> = state.sites.keys().cloned().collect();
                let gone = |state: &mut State, key: &Key| {
                    // What we wrote after the list was made is newer than all that is in it.
                    let lost =
                        |one: &F| one.owned().version <= shown && !listed.contains(&(key.clone(), one.name().into()));
                    state.remove::<F>(key, lost)
                };
                keys.into_iter().filter(|key| gone(&mut state, key)).collect()
            }
        }
    }

    /// Takes the answer to a write of our own, unless the watch has shown something newer.
    pub fn note<F: Fact>(&self, seen: &Watched<F>) {
        let Some(key) = &seen.key else { return };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let named = |site: &Arc<Children>| F::all(site).iter().any(|one| one.name() == seen.fact.name());
        let known = state.sites.get(key).is_some_and(named);
        if known || seen.fact.owned().version > state.watch(F::KIND).shown {
            state.put(key, seen.fact.clone());
        }
    }

    /// We have deleted it.
    pub fn forget<F: Fact>(&self, key: &Key, name: &str) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.remove::<F>(key, |one| one.name() == name);
    }

    /// A kind can't be watched: why (see [`why`]). Nothing is decided of a site that needs it until it can.
    pub fn fails(&self, kind: Kind, why: String) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).watch(kind).fails = Some(why);
    }

    /// A kind does not exist on this cluster: there is none of it.
    pub fn absent(&self, kind: Kind) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let watch = state.watch(kind);
        watch.listed = true;
        watch.fails = None;
    }

    /// Whether all objects of these kinds were seen once and are still watched.
    ///
    /// # Errors
    /// What was not, in words.
    pub fn complete(&self, kinds: &[Kind]) -> Result<(), String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        for kind in kinds {
            let watch = state.watches.get(kind);
            if let Some(why) = watch.and_then(|watch| watch.fails.as_ref()) {
                return Err(format!("{} can't be watched: {why}", kind.resource()));
            }
            if !watch.is_some_and(|watch| watch.listed) {
                return Err(format!("{} were not listed yet", kind.resource()));
            }
        }
        Ok(())
    }

    /// The objects of a site, as they are now.
    #[must_use]
    pub fn view(&self, key: &Key) -> Arc<Children> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.sites.get(key).cloned().unwrap_or_default()
    }

    /// How many sites have objects.
    #[must_use]
    pub fn sites(&self) -> usize {
        self.state.read().unwrap_or_else(PoisonError::into_inner).sites.len()
    }
}

/// Why a watch fails, in words: the API server's own where it answered.
#[must_use]
pub fn why(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => status.message.clone(),
        WatchError(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl State {
    fn watch(&mut self, kind: Kind) -> &mut Watch {
        self.watches.entry(kind).or_default()
    }

    /// Whether it is news.
    fn put<F: Fact>(&mut self, key: &Key, fact: F) -> bool {
        let site = Arc::make_mut(self.sites.entry(key.clone()).or_default());
        let all = F::place(site);
        match all.iter_mut().find(|one| one.name() == fact.name()) {
            Some(known) if known.owned().version >= fact.owned().version => return false,
            Some(known) => *known = fact,
            None => {
                all.reserve_exact(1);
                all.push(fact);
            }
        }
        true
    }

    fn remove<F: Fact>(&mut self, key: &Key, which: impl Fn(&F) -> bool) -> bool {
        let Some(site) = self.sites.get_mut(key) else { return false };
        let site = Arc::make_mut(site);
        let all = F::place(site);
        let before = all.len();
        all.retain(|one| !which(one));
        let gone = all.len() != before;
        if site.is_empty() {
            self.sites.remove(key);
        }
        gone
    }
}
