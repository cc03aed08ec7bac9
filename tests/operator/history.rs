//! Everything that happened in a namespace, as the API server stored it: each version of each Service and pod, put in order by
//! `resourceVersion`, which grows with every write of anything. So what is judged is what was true, and not what two watches happened to tell
//! one after the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bluegreen_rig::cluster::ControlPlane;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config, Resource, ResourceExt};
use tokio::sync::oneshot;

type Labels = BTreeMap<String, String>;

/// What an object came to be.
#[derive(Clone, Debug)]
enum Change {
    /// A Service, and what it selects.
    Service { name: String, selects: Option<Labels> },
    /// A pod, and its labels if it serves; `None`: it is not ready, is ending, or is gone.
    /// `ends`: somebody ends it. One that is only not ready any more (its node was not heard of while the API server was away) is nobody's doing.
    Pod { name: String, serves: Option<Labels>, ends: bool },
}

/// A recording, which ends when it is judged or dropped.
pub struct History {
    changes: Arc<Mutex<BTreeMap<u64, Change>>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl History {
    /// Records what happens in this namespace from now on.
    pub fn record(plane: &ControlPlane, namespace: &str) -> History {
        let changes: Arc<Mutex<BTreeMap<u64, Change>>> = Arc::default();
        let (end, ended) = oneshot::channel();
        let (begun, began) = std::sync::mpsc::channel();
        let (kubeconfig, namespace, into) = (plane.kubeconfig(), namespace.to_owned(), changes.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let client = client(&kubeconfig).await;
                let services = watch::<Service>(&client, &namespace, &into, &begun, |service, gone| Change::Service {
                    name: service.name_any(),
                    selects: service.spec.and_then(|spec| spec.selector).filter(|_| !gone),
                });
                let pods = watch::<Pod>(&client, &namespace, &into, &begun, |pod, gone| Change::Pod {
                    name: pod.name_any(),
                    serves: (serves(&pod) && !gone).then(|| pod.labels().clone()),
                    ends: gone || pod.metadata.deletion_timestamp.is_some(),
                });
                tokio::select! {
                    _ = ended => {}
                    ((), ()) = async { tokio::join!(services, pods) } => {}
                }
            });
        });
        for _ in 0..2 {
            began.recv().expect("both watches begin");
        }
        History { changes, end: Some(end), thread: Some(thread) }
    }

    /// Panics if there ever was a moment, from the first one on in which a site's Service led to a ready pod, in which it led to none, or to no
    /// single colour. `sites`: the names of Services.
    pub fn judge(mut self, sites: &[&str]) {
        self.finish();
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut services, mut pods) = (BTreeMap::new(), BTreeMap::new());
        let mut served: BTreeMap<&str, u64> = BTreeMap::new();
        let mut wrong = Vec::new();
        let mut empty = std::collections::BTreeSet::new();
        for (version, change) in changes.iter() {
            match change.clone() {
                Change::Service { name, selects } => drop(services.insert(name, selects)),
                Change::Pod { name, serves, .. } => drop(pods.insert(name, serves)),
            }
            for site in sites {
                let selects = services.get(*site).cloned().flatten();
                let leads = |labels: &Labels| {
                    let all = selects.as_ref().filter(|selects| !selects.is_empty());
                    all.is_some_and(|all| all.iter().all(|(name, value)| labels.get(name) == Some(value)))
                };
                let ready: Vec<&Labels> = pods.values().flatten().filter(|labels| leads(labels)).collect();
                let colours: std::collections::BTreeSet<_> =
                    ready.iter().map(|labels| labels.get("bluegreen.dev/colour")).collect();
                if !ready.is_empty() {
                    empty.remove(site);
                }
                match (ready.len(), colours.len(), served.contains_key(site)) {
                    (1.., 1, false) => drop(served.insert(site, *version)),
                    (0, _, true) if !empty.insert(*site) || !made(change) => {}
                    (0, _, true) => {
                        wrong.push(format!("{site}: no ready pod at {version}, after {change:?} ({selects:?})"))
                    }
                    (_, 2.., _) => {
                        wrong.push(format!("{site}: two colours at {version}, after {change:?} ({selects:?})"))
                    }
                    _ => {}
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {} changes are wrong:\n{}", wrong.len(), changes.len(), wrong.join("\n"));
        for site in sites {
            assert!(served.contains_key(site), "{site} never served; {} changes were seen", changes.len());
        }
    }

    fn finish(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Whether somebody made this change, who might have known better.
fn made(change: &Change) -> bool {
    matches!(change, Change::Service { .. } | Change::Pod { ends: true, .. })
}

/// Whether a pod is ready and stays for now.
fn serves(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

async fn watch<K>(
    client: &Client,
    namespace: &str,
    into: &Mutex<BTreeMap<u64, Change>>,
    begun: &std::sync::mpsc::Sender<()>,
    read: impl Fn(K, bool) -> Change,
) where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        let (object, gone) = match event {
            Ok(Event::InitApply(object) | Event::Apply(object)) => (object, false),
            Ok(Event::Delete(object)) => (object, true),
            Ok(Event::InitDone) => {
                let _ = begun.send(());
                continue;
            }
            // An API server that is away stores nothing; the watch goes on where it was.
            Ok(Event::Init) | Err(_) => continue,
        };
        let version = object.resource_version().and_then(|text| text.parse().ok()).unwrap_or_default();
        into.lock().unwrap_or_else(PoisonError::into_inner).insert(version, read(object, gone));
    }
}

/// A client of its own for a test.
pub async fn client(kubeconfig: &Path) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.expect("it is valid");
    config.proxy_url = None;
    Client::try_from(config).expect("a client")
}
