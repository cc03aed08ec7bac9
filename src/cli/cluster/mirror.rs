//! Objects as they were listed or watched, by the site that they belong to.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;

use super::view::{Children, view};
use crate::api::names::cluster;
use crate::control::api::SiteView;

/// Which site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    namespace: String,
    name: String,
}

impl Key {
    pub(super) fn new(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn of_site(object: &DynamicObject) -> Option<Key> {
        Some(Key { namespace: object.namespace()?, name: object.name_any() })
    }

    fn of_child<K: ResourceExt>(object: &K) -> Option<Key> {
        Some(Key { namespace: object.namespace()?, name: object.labels().get(cluster::SITE)?.clone() })
    }
}

type Kept<K> = BTreeMap<Key, BTreeMap<String, K>>;

/// Which sites look different after an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched {
    Nothing,
    One(Key),
    All,
}

/// The objects of one kind.
pub(super) struct Mirror<K> {
    key: fn(&K) -> Option<Key>,
    kept: Kept<K>,
    /// What a list has brought so far.
    coming: Kept<K>,
    /// Whether all of it was seen once.
    complete: bool,
    /// They may not be read.
    forbidden: bool,
}

impl<K: ResourceExt> Mirror<K> {
    fn new(key: fn(&K) -> Option<Key>) -> Mirror<K> {
        Mirror { key, kept: Kept::new(), coming: Kept::new(), complete: false, forbidden: false }
    }

    /// Takes a whole list.
    pub(super) fn fill(&mut self, all: Vec<K>) {
        for object in all {
            put(&mut self.kept, self.key, object);
        }
        self.complete = true;
    }

    /// They may not be read: nothing more is to be waited for.
    pub(super) fn forbid(&mut self) {
        self.forbidden = true;
    }

    /// Whether there is nothing more to wait for before the first look.
    pub(super) fn is_complete(&self) -> bool {
        self.complete || self.forbidden
    }

    /// Takes an event of a watch.
    pub(super) fn take(&mut self, event: Event<K>) -> Touched {
        let key = self.key;
        match event {
            Event::Init => {
                self.coming.clear();
                Touched::Nothing
            }
            Event::InitApply(object) => {
                put(&mut self.coming, key, object);
                Touched::Nothing
            }
            Event::InitDone => {
                self.kept = std::mem::take(&mut self.coming);
                self.complete = true;
                Touched::All
            }
            Event::Apply(object) => put(&mut self.kept, key, object).map_or(Touched::Nothing, Touched::One),
            Event::Delete(object) => {
                let Some(key) = key(&object) else { return Touched::Nothing };
                if let Some(all) = self.kept.get_mut(&key) {
                    all.remove(&object.name_any());
                    if all.is_empty() {
                        self.kept.remove(&key);
                    }
                }
                Touched::One(key)
            }
        }
    }

    /// Those of a site; `None`: they may not be read.
    fn of(&self, key: &Key) -> Option<Vec<&K>> {
        (!self.forbidden).then(|| self.kept.get(key).into_iter().flat_map(BTreeMap::values).collect())
    }
}

fn put<K: ResourceExt>(kept: &mut Kept<K>, key: fn(&K) -> Option<Key>, object: K) -> Option<Key> {
    let key = key(&object)?;
    kept.entry(key.clone()).or_default().insert(object.name_any(), object);
    Some(key)
}

/// All that is looked at.
pub(super) struct Mirrors {
    pub(super) sites: Mirror<DynamicObject>,
    pub(super) deployments: Mirror<Deployment>,
    pub(super) services: Mirror<Service>,
    pub(super) slices: Mirror<EndpointSlice>,
    pub(super) pods: Mirror<Pod>,
    /// Whether pods are asked for at all.
    pub(super) with_pods: bool,
}

impl Mirrors {
    pub(super) fn new(with_pods: bool) -> Mirrors {
        Mirrors {
            sites: Mirror::new(Key::of_site),
            deployments: Mirror::new(Key::of_child),
            services: Mirror::new(Key::of_child),
            slices: Mirror::new(Key::of_child),
            pods: Mirror::new(Key::of_child),
            with_pods,
        }
    }

    /// The sites, by namespace and name.
    pub(super) fn keys(&self) -> BTreeSet<Key> {
        self.sites.kept.keys().cloned().collect()
    }

    /// Whether each kind was seen once.
    pub(super) fn is_complete(&self) -> bool {
        self.sites.is_complete()
            && self.deployments.is_complete()
            && self.services.is_complete()
            && self.slices.is_complete()
            && (!self.with_pods || self.pods.is_complete())
    }

    /// A site as it is shown.
    pub(super) fn view(&self, key: &Key) -> Option<SiteView> {
        let object = self.sites.kept.get(key)?.values().next()?;
        let children = Children {
            deployments: self.deployments.of(key).unwrap_or_default(),
            services: self.services.of(key).unwrap_or_default(),
            slices: self.slices.of(key),
            pods: if self.with_pods { self.pods.of(key) } else { None },
        };
        Some(view(object, &children))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str, site: &str) -> Service {
        let object = json!({"metadata": {"name": name, "namespace": "prod", "labels": {cluster::SITE: site}}});
        serde_json::from_value(object).expect("a service")
    }

    fn names(mirror: &Mirror<Service>, site: &str) -> Vec<String> {
        mirror.of(&Key::new("prod", site)).expect("readable").iter().map(|service| service.name_any()).collect()
    }

    #[test]
    fn a_list_that_comes_anew_replaces_what_was_there_only_when_it_is_whole() {
        let mut mirror = Mirror::new(Key::of_child);
        mirror.take(Event::Init);
        mirror.take(Event::InitApply(service("a", "shop")));
        assert!(!mirror.is_complete());
        assert_eq!(mirror.take(Event::InitDone), Touched::All);
        assert_eq!(mirror.take(Event::Apply(service("b", "shop"))), Touched::One(Key::new("prod", "shop")));
        assert_eq!(names(&mirror, "shop"), ["a", "b"]);
        mirror.take(Event::Init);
        mirror.take(Event::InitApply(service("b", "shop")));
        assert_eq!(names(&mirror, "shop"), ["a", "b"], "half a list says nothing yet");
        mirror.take(Event::InitDone);
        assert_eq!(names(&mirror, "shop"), ["b"]);
        assert_eq!(mirror.take(Event::Delete(service("b", "shop"))), Touched::One(Key::new("prod", "shop")));
        assert!(names(&mirror, "shop").is_empty() && names(&mirror, "blog").is_empty());
    }
}
