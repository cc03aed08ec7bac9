//! The sites of a cluster, looked at and commanded through its API server: what `kubectl bluegreen` and `bluegreen --context` ask.
//!
//! | part | what it does |
//! |---|---|
//! | `connect` | from a kubeconfig to a client |
//! | `error` | what an API server refuses, in words that say what to do next |
//! | `mirror` | objects as they were listed or watched, by the site that they belong to |
//! | `view` | from a site and its children to what is shown of it: pure |
//! | `pod` | what a pod waits for: pure |
//! | `watch` | changes as they happen |
//! | `apply` | server-side apply, and deletion |
//! | `command` | commands as annotations, and what became of them |
//! | `events` | what happened to a site |
//! | `logs` | what its pods print |
//! | `fleet` | every site of a cluster as it stands, and the hosts that are there |
//!
//! Nothing here decides anything about a rollout, and nothing but the site itself is ever written: that is the operator's. Pods are read only
//! for what is drawn of one site; a table of many is made of Deployments and EndpointSlices.

mod apply;
mod command;
mod connect;
mod error;
mod events;
pub mod fleet;
pub mod logs;
mod mirror;
pub mod pod;
pub mod view;
mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

pub use connect::{Wish, connect, contexts, way};
pub use error::ClusterError;
pub(in crate::cli) use error::{Asked, chain, explain};
pub use watch::Watch;

use crate::api::names;
use crate::api::names::cluster;
use crate::api::spec::BlueGreenSite;
use crate::cli::output::complain;
use crate::control::api::SiteView;
use mirror::{Key, Mirror, Mirrors};

/// An answer must come within this; a watch and a log that is followed may take as long as they like.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The label by which the operator's pods are found.
const OPERATOR: &str = "app.kubernetes.io/name=bluegreen";
/// So many objects are asked for at a time.
const PAGE: u32 = 500;

/// The sites of a cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    server: String,
    namespace: String,
    /// Whether the command line named it.
    explicit: bool,
    all: bool,
    called: String,
    /// Warnings that were given.
    said: Arc<Mutex<BTreeSet<String>>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("server", &self.server).field("namespace", &self.namespace).finish()
    }
}

impl Cluster {
    /// How this program is called for the same place.
    #[must_use]
    pub fn called(&self) -> &str {
        &self.called
    }

    /// The namespace in which names are looked up.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether the sites of every namespace are listed.
    #[must_use]
    pub fn everywhere(&self) -> bool {
        self.all
    }

    /// The same cluster, and in it the namespace that a manifest names.
    ///
    /// # Errors
    /// The command line names another one.
    pub fn within(&self, namespace: &str) -> Result<Cluster, ClusterError> {
        if self.explicit && self.namespace != namespace {
            return Err(ClusterError::Refused(format!(
                "the manifest is for namespace {namespace}, and the command line says {}: leave out -n, or change the manifest",
                self.namespace
            )));
        }
        Ok(Cluster { namespace: namespace.to_owned(), all: false, ..self.clone() })
    }

    /// Where sites are listed, as in "there are no sites in …".
    #[must_use]
    pub fn place(&self) -> String {
        if self.all { "in any namespace".to_owned() } else { format!("in namespace {}", self.namespace) }
    }

    /// Every site of the namespace, or of all, by name. What is shown of their instances comes from EndpointSlices; of pods nothing is
    /// asked.
    ///
    /// # Errors
    /// There is no answer, or sites may not be listed. What belongs to them and may not be read is left out.
    pub async fn list(&self) -> Result<Vec<SiteView>, ClusterError> {
        let mut mirrors = Mirrors::new(false);
        mirrors.sites.fill(self.all_of(&self.sites(), &resource(), &ListParams::default()).await?);
        self.children(&mut mirrors, None).await?;
        Ok(mirrors.keys().iter().filter_map(|key| mirrors.view(key)).collect())
    }

    /// One site, with its pods.
    ///
    /// # Errors
    /// There is none of this name, no answer, or it may not be read. What belongs to it and may not be read is left out.
    pub async fn site(&self, name: &str) -> Result<SiteView, ClusterError> {
        let mut mirrors = Mirrors::new(true);
        mirrors.sites.fill(vec![self.object(name).await?]);
        self.children(&mut mirrors, Some(name)).await?;
        mirrors.view(&Key::new(&self.namespace, name)).ok_or_else(|| self.not_found(name))
    }

    /// Whether there is a site of this name, and it is this very one.
    ///
    /// # Errors
    /// There is none of this name, or no answer.
    pub async fn exists(&self, name: &str, uid: Option<&str>) -> Result<bool, ClusterError> {
        let object = self.object(name).await?;
        Ok(uid.is_none() || object.uid().as_deref() == uid)
    }

    /// A site as it stands at the API server.
    async fn object(&self, name: &str) -> Result<DynamicObject, ClusterError> {
        self.answer("get", &resource(), Some(name), self.own_sites().get(name)).await
    }

    /// What belongs to one site, or to all of them.
    async fn children(&self, mirrors: &mut Mirrors, site: Option<&str>) -> Result<(), ClusterError> {
        let params = ListParams::default().labels(&selector(site));
        self.readable(&mut mirrors.deployments, &params).await?;
        self.readable(&mut mirrors.services, &params).await?;
        self.readable(&mut mirrors.slices, &params).await?;
        if mirrors.with_pods {
            self.readable(&mut mirrors.pods, &params).await?;
        }
        Ok(())
    }

    /// All objects of a kind. Where they may not be read that is said, and the sites themselves are shown all the same.
    async fn readable<K: Child>(&self, mirror: &mut Mirror<K>, params: &ListParams) -> Result<(), ClusterError> {
        match self.all_of(&self.api::<K>(), &child::<K>(), params).await {
            Ok(found) => mirror.fill(found),
            Err(ClusterError::Forbidden(message)) => {
                mirror.forbid();
                self.warn(&message);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Says something once.
    fn warn(&self, message: &str) {
        if let Ok(mut said) = self.said.lock()
            && said.insert(message.to_owned())
        {
            complain(&format!("Warning: {message}"));
        }
    }

    /// All objects, a page at a time.
    async fn all_of<K>(&self, api: &Api<K>, resource: &str, params: &ListParams) -> Result<Vec<K>, ClusterError>
    where
        K: Clone + DeserializeOwned + fmt::Debug,
    {
        let mut params = params.clone().limit(PAGE);
        let mut all = Vec::new();
        loop {
            let list = self.answer("list", resource, None, api.list(&params)).await?;
            all.extend(list.items);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(all),
            }
        }
    }

    fn api<K: Child>(&self) -> Api<K> {
        if self.all { Api::all(self.client.clone()) } else { Api::namespaced(self.client.clone(), &self.namespace) }
    }

    /// The sites that are listed, as they are: a newer operator's fields included.
    fn sites(&self) -> Api<DynamicObject> {
        let resource = kind();
        if self.all {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        }
    }

    /// The sites of the one namespace in which a name is looked up.
    fn own_sites(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind())
    }

    /// Waits for an answer, but not for ever, and explains a refusal.
    async fn answer<T>(
        &self,
        verb: &'static str,
        resource: &str,
        name: Option<&str>,
        work: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ClusterError> {
        let asked = Asked {
            verb,
            resource,
            name,
            namespace: if self.all && name.is_none() { None } else { Some(&self.namespace) },
            server: &self.server,
            called: &self.called,
        };
        match tokio::time::timeout(ANSWER_WITHIN, work).await {
            Ok(done) => done.map_err(|error| explain(error, &asked)),
            Err(_) => Err(ClusterError::Away {
                server: self.server.clone(),
                why: format!("nothing came within {}s", ANSWER_WITHIN.as_secs()),
            }),
        }
    }

    fn not_found(&self, name: &str) -> ClusterError {
        ClusterError::NotFound { name: name.to_owned(), namespace: self.namespace.clone() }
    }
}

/// The label selector of what belongs to one site, or to any.
fn selector(site: Option<&str>) -> String {
    match site {
        Some(site) => format!("{}={site}", cluster::SITE),
        None => cluster::SITE.to_owned(),
    }
}

/// The kind of a site.
fn kind() -> ApiResource {
    ApiResource::erase::<BlueGreenSite>(&())
}

/// The resource of sites, as roles name it.
fn resource() -> String {
    format!("{}.{}", kind().plural, names::GROUP)
}

/// What belongs to a site.
trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + fmt::Debug + Send + 'static
{
}

impl Child for Deployment {}
impl Child for Service {}
impl Child for EndpointSlice {}
impl Child for Pod {}

/// The resource of a kind, as roles name it.
fn child<K: Child>() -> String {
    match K::group(&()).as_ref() {
        "" => K::plural(&()).into_owned(),
        group => format!("{}.{group}", K::plural(&())),
    }
}
