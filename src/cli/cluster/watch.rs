//! Changes of sites as they happen: the site and its children are watched, and a site is told of again when it looks different.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::api::{Api, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::error::{Asked, explain};
use super::mirror::{Key, Mirror, Mirrors, Touched};
use super::{ANSWER_WITHIN, Child, Cluster, ClusterError, child, resource, selector};
use crate::control::api::{Change, ChangeKind, SiteView};

/// What happens within this long is told as one change: a pod that becomes ready changes four objects.
const GATHER: Duration = Duration::from_millis(30);
/// So many events may wait to be looked at.
const ROOM: usize = 1024;

/// Changes of sites as they happen.
pub struct Watch {
    cluster: Cluster,
    mirrors: Mirrors,
    seen: mpsc::Receiver<Seen>,
    /// Sites that may look different.
    touched: BTreeSet<Key>,
    shown: BTreeMap<Key, SiteView>,
    queue: VecDeque<Change>,
    /// They end with the watch.
    _tasks: JoinSet<()>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

type Looked<K> = Result<Event<K>, watcher::Error>;

#[allow(clippy::large_enum_variant, reason = "each lives until it is looked at, which is at once")]
enum Seen {
    Site(Looked<DynamicObject>),
    Deployment(Looked<Deployment>),
    Service(Looked<Service>),
    Slice(Looked<EndpointSlice>),
    Pod(Looked<Pod>),
}

impl Cluster {
    /// All sites, or one with its pods: first what is there, then what changes.
    ///
    /// # Errors
    /// There is none of this name, no answer, or sites may not be watched.
    pub async fn watch(&self, name: Option<&str>) -> Result<Watch, ClusterError> {
        let (sender, seen) = mpsc::channel(ROOM);
        let mut tasks = JoinSet::new();
        let children = watcher::Config::default().labels(&selector(name));
        let (sites, config) = match name {
            Some(name) => (self.own_sites(), watcher::Config::default().fields(&format!("metadata.name={name}"))),
            None => (self.sites(), watcher::Config::default()),
        };
        follow(&mut tasks, sites, config, &sender, Seen::Site);
        follow(&mut tasks, self.api(), children.clone(), &sender, Seen::Deployment);
        follow(&mut tasks, self.api(), children.clone(), &sender, Seen::Service);
        follow(&mut tasks, self.api(), children.clone(), &sender, Seen::Slice);
        // A table of many sites needs no pods.
        if name.is_some() {
            follow(&mut tasks, self.api(), children, &sender, Seen::Pod);
        }
        let mut watch = Watch {
            cluster: self.clone(),
            mirrors: Mirrors::new(name.is_some()),
            seen,
            touched: BTreeSet::new(),
            shown: BTreeMap::new(),
            queue: VecDeque::new(),
            _tasks: tasks,
        };
        match timeout(ANSWER_WITHIN, watch.complete()).await {
            Ok(done) => done?,
            Err(_) => {
                let why = format!("nothing came within {}s", ANSWER_WITHIN.as_secs());
                return Err(ClusterError::Away { server: self.server.clone(), why });
            }
        }
        if let Some(name) = name
            && watch.mirrors.keys().is_empty()
        {
            return Err(self.not_found(name));
        }
        Ok(watch)
    }
}

impl Watch {
    /// The next change. It may be given up at any point, and asked again.
    ///
    /// # Errors
    /// The API server is away, or sites may not be watched any more.
    pub async fn next(&mut self) -> Result<Change, ClusterError> {
        loop {
            if let Some(change) = self.queue.pop_front() {
                return Ok(change);
            }
            if self.touched.is_empty() {
                self.look().await?;
                sleep(GATHER).await;
            }
            while let Ok(seen) = self.seen.try_recv() {
                self.take(seen)?;
            }
            self.tell();
        }
    }

    /// Until each kind was seen once.
    async fn complete(&mut self) -> Result<(), ClusterError> {
        while !self.mirrors.is_complete() {
            self.look().await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), ClusterError> {
        match self.seen.recv().await {
            Some(seen) => self.take(seen),
            None => {
                Err(ClusterError::Away { server: self.cluster.server.clone(), why: "the watch has ended".to_owned() })
            }
        }
    }

    fn take(&mut self, seen: Seen) -> Result<(), ClusterError> {
        let (cluster, mirrors) = (&self.cluster, &mut self.mirrors);
        let touched = match seen {
            Seen::Site(Ok(event)) => mirrors.sites.take(event),
            Seen::Site(Err(error)) => return self.site_failed(error),
            Seen::Deployment(looked) => looked_at(cluster, &mut mirrors.deployments, looked),
            Seen::Service(looked) => looked_at(cluster, &mut mirrors.services, looked),
            Seen::Slice(looked) => looked_at(cluster, &mut mirrors.slices, looked),
            Seen::Pod(looked) => looked_at(cluster, &mut mirrors.pods, looked),
        };
        match touched {
            Touched::Nothing => {}
            Touched::One(key) => {
                self.touched.insert(key);
            }
            Touched::All => {
                self.touched.extend(self.mirrors.keys());
                self.touched.extend(self.shown.keys().cloned());
            }
        }
        Ok(())
    }

    /// A watch that breaks is begun again by itself; one that can't be begun is given up.
    fn site_failed(&self, error: watcher::Error) -> Result<(), ClusterError> {
        let error = match error {
            watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => error,
            _ => return Ok(()),
        };
        Err(explained(&self.cluster, &resource(), error))
    }

    /// Tells of each site that looks different.
    fn tell(&mut self) {
        for key in std::mem::take(&mut self.touched) {
            let before = self.shown.get(&key);
            let change = match (before, self.mirrors.view(&key)) {
                (None, None) => continue,
                (Some(before), Some(now)) if *before == now => continue,
                (None, Some(site)) => Change { kind: ChangeKind::Added, site },
                (Some(_), Some(site)) => Change { kind: ChangeKind::Modified, site },
                (Some(before), None) => Change { kind: ChangeKind::Deleted, site: before.clone() },
            };
            if change.kind == ChangeKind::Deleted {
                self.shown.remove(&key);
            } else {
                self.shown.insert(key, change.site.clone());
            }
            self.queue.push_back(change);
        }
    }
}

fn looked_at<K: Child>(cluster: &Cluster, mirror: &mut Mirror<K>, looked: Looked<K>) -> Touched {
    let error = match looked {
        Ok(event) => return mirror.take(event),
        Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) => error,
        Err(_) => return Touched::Nothing,
    };
    // That the API server is away, the site's own watch says.
    if let ClusterError::Forbidden(message) = explained(cluster, &child::<K>(), error) {
        mirror.forbid();
        cluster.warn(&message);
    }
    Touched::Nothing
}

fn explained(cluster: &Cluster, resource: &str, error: kube::Error) -> ClusterError {
    let asked = Asked {
        verb: "watch",
        resource,
        name: None,
        namespace: if cluster.all { None } else { Some(&cluster.namespace) },
        server: &cluster.server,
        called: &cluster.called,
    };
    explain(error, &asked)
}

/// Passes on what a watch sees, until nobody listens.
fn follow<K>(
    tasks: &mut JoinSet<()>,
    api: Api<K>,
    config: watcher::Config,
    sender: &mpsc::Sender<Seen>,
    as_seen: fn(Looked<K>) -> Seen,
) where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let sender = sender.clone();
    tasks.spawn(async move {
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        while let Some(looked) = events.next().await {
            if sender.send(as_seen(looked)).await.is_err() {
                return;
            }
        }
    });
}
