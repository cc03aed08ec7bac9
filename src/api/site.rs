//! A site, parsed: what `parse` makes of a specification. Nothing in here can be wrong any more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use super::health::{HealthCheck, WarmUp};
use super::java::{SpringBoot, Tomcat};
use super::problem::Problem;
pub use super::python::{Asgi, Cgi, Installed, Programs, Protocol, Wsgi};
use super::remote::{Access, ArchiveUrl, ImageRef};
pub use super::requests::Requests;
use super::spec::{ConfigMapsSpec, DeletionPolicy, GuardSpec, SecretsSpec, Template};
use super::types::{
    AbsPath, CacheControl, EnvName, Hostname, Label, PortName, RelPath, Sha256, SiteName, Token, UrlPath, UserName,
};
use crate::rollout::{Colour, Limits, Promotion};

/// A site as somebody wants it. `T`: where it lives, if that is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site<T = Target> {
    /// Its name.
    pub name: SiteName,
    /// Grows with each change of the specification; on a host the agent counts it.
    pub generation: i64,
    /// Who lets a verified candidate go live.
    pub promotion: Promotion,
    /// How long each phase may last.
    pub limits: Limits,
    /// Where it lives.
    pub target: T,
}

/// A site on a plain machine.
pub type SiteOnHost = Site<HostTarget>;

/// A site on Kubernetes.
pub type SiteOnCluster = Site<ClusterTarget>;

/// Where a site lives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one lives at a time, and briefly")]
pub enum Target {
    /// On a plain machine.
    Host(HostTarget),
    /// On Kubernetes.
    Cluster(ClusterTarget),
}

impl Site {
    /// The site, if it is one of a plain machine.
    ///
    /// # Errors
    /// It is not; the message says where it belongs.
    pub fn on_host(self) -> Result<SiteOnHost, Problem> {
        let Site { name, generation, promotion, limits, target } = self;
        match target {
            Target::Host(target) => Ok(Site { name, generation, promotion, limits, target }),
            Target::Cluster(_) => Err(Problem::new(
                "spec.target.cluster",
                "is for Kubernetes, and this is a plain machine: apply it there (kubectl apply), or write target.host",
            )),
        }
    }

    /// The site, if it is one of Kubernetes.
    ///
    /// # Errors
    /// It is not; the message says where it belongs.
    pub fn on_cluster(self) -> Result<SiteOnCluster, Problem> {
        let Site { name, generation, promotion, limits, target } = self;
        match target {
            Target::Cluster(target) => Ok(Site { name, generation, promotion, limits, target }),
            Target::Host(_) => Err(Problem::new(
                "spec.target.host",
                "is for a plain machine, and this is Kubernetes: apply it there (bluegreen apply), or write target.cluster",
            )),
        }
    }
}

/// A site on Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTarget {
    /// How many pods serve; outside of the revision.
    pub replicas: u32,
    /// The name of the live Service.
    pub service: Label,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// What moves traffic.
    pub route: Route,
    /// The pods.
    pub template: Template,
    /// Whether ConfigMaps that the template names belong to the revision.
    pub config_maps: ConfigMapsSpec,
    /// Whether Secrets do.
    pub secrets: SecretsSpec,
    /// What becomes of the site's objects when it is deleted.
    pub deletion: DeletionPolicy,
    /// Whether containers without a preStop hook get one.
    pub inject_pre_stop: bool,
    /// What a `restart` asked for: another one makes another revision of what is otherwise the same release.
    pub incarnation: Option<Token>,
    /// What becomes of settings that must not reach production; outside of the revision.
    pub settings: SettingsGuards,
}

/// A port of the live Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PortName>,
    /// What clients connect to.
    pub port: u16,
    /// What the pods listen on.
    pub target: TargetPort,
    /// What is spoken there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

/// What the pods listen on. Written as Kubernetes does: a number or a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetPort {
    /// This port.
    Number(u16),
    /// The container's port of this name.
    Name(PortName),
}

/// What moves traffic from one colour to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The selector of the live Service.
    Service,
    /// The weights of an HTTPRoute.
    HttpRoute(HttpRoute),
}

/// An HTTPRoute, without its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// As in an HTTPRoute.
    pub parent_refs: Vec<Value>,
    /// The names that it answers to.
    pub hostnames: Vec<Hostname>,
    /// As in an HTTPRoute, without `backendRefs`; at least one.
    pub rules: Vec<Value>,
    /// So long after the Gateway has accepted new weights, every proxy has them.
    pub settle: Duration,
}

/// A site on a plain machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTarget {
    /// How it gets into the web server.
    pub front: Front,
    /// How requests are passed on; outside of the revision.
    pub requests: Requests,
    /// What somebody uploaded, or where that arrives.
    pub release: Release,
    /// Everything that belongs to the slot's own release and changes only on an idle slot.
    pub run: Run,
    /// What becomes of settings that must not reach production; outside of the revision.
    pub settings: SettingsGuards,
    /// What becomes of a candidate that others than this machine can reach; outside of the revision.
    pub exposure: GuardSpec,
}

/// What becomes of settings that must not reach production.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettingsGuards {
    /// Those that change the schema of a database.
    pub schema_changes: GuardSpec,
    /// Those that are for development only.
    pub insecure_settings: GuardSpec,
}

/// How a site gets into the web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Front {
    /// We write the server block.
    Own {
        /// The names that it answers to.
        hostnames: Vec<Hostname>,
        /// The names under which the idle colour answers.
        previews: Vec<Hostname>,
        /// Where it listens.
        listen: Vec<SocketAddr>,
        /// How it is served over HTTPS, if it is.
        tls: Option<Tls>,
    },
    /// The user's server block includes our snippet.
    Include,
}

impl Front {
    /// Every address on which the site listens.
    pub fn doors(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let (plain, tls) = match self {
            Front::Own { listen, tls, .. } => (listen.as_slice(), tls.as_ref()),
            Front::Include => (&[][..], None),
        };
        plain.iter().chain(tls.into_iter().flat_map(|tls| &tls.listen)).copied()
    }
}

/// How a site is served over HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Its certificate and those between it and its root.
    pub certificate: AbsPath,
    /// The private key.
    pub key: AbsPath,
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
}

/// What a specification says of its release. The JSON of one that is given is that of its source alone: it decides whether what was told of it
/// is still about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Release {
    /// This one.
    Given(ReleaseSource),
    /// The one that became whole last in a folder.
    Uploads {
        /// The folder.
        uploads: AbsPath,
    },
}

/// What somebody uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReleaseSource {
    /// A folder.
    Path(AbsPath),
    /// A file: `.tar.gz`/`.tgz`, `.zip`, or a single `.jar` or `.war`, told apart by its name.
    Archive {
        /// Where it lies.
        file: AbsPath,
        /// What it must be.
        sha256: Option<Sha256>,
    },
    /// An archive that is fetched.
    Url {
        /// From where.
        url: ArchiveUrl,
        /// What it must be.
        sha256: Sha256,
        /// How its server is talked to.
        #[serde(default, skip_serializing_if = "Access::is_default")]
        access: Access,
    },
    /// An image or an artifact of a registry, which is fetched.
    Oci {
        /// Which.
        image: ImageRef,
        /// The folder of the image that is the release; `None`: all of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<RelPath>,
        /// How the registry is talked to.
        #[serde(default, skip_serializing_if = "Access::is_default")]
        access: Access,
    },
}

impl ReleaseSource {
    /// Whether it is fetched from another machine.
    #[must_use]
    pub fn is_afar(&self) -> bool {
        matches!(self, ReleaseSource::Url { .. } | ReleaseSource::Oci { .. })
    }
}

/// How a release is run. It is stored with the release (`releases/REVISION.json`) and is part of its revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// What starts it.
    pub runtime: Runtime,
    /// The ports of blue's instances and of green's: as many of one as of the other, none for a site of files alone.
    pub ports: Ports,
    /// Who runs it.
    pub user: UserName,
    /// What the web server answers itself.
    pub statics: Vec<Static>,
    /// Files outside the release that are copied beside it when a rollout starts.
    pub config_files: Vec<AbsPath>,
    /// A file of further variables, outside the release, taken over with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_file: Option<AbsPath>,
    /// Folders outside the release that appear inside it, and outlive it.
    pub shared_dirs: Vec<SharedDir>,
    /// Variables for the app.
    pub env: BTreeMap<EnvName, String>,
    /// How readiness is asked.
    pub health: HealthCheck,
    /// From SIGTERM to SIGKILL.
    pub stop_within: Duration,
    /// What a `restart` asked for: another one makes another revision of what is otherwise the same release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Token>,
}

/// What starts a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Runtime {
    /// Any program. `$(PORT)` in an argument becomes the instance's port; the variable `PORT` holds it too.
    Command {
        /// The program, a path inside the release or an absolute one, and its arguments.
        argv: Vec<String>,
        /// It speaks FastCGI instead of HTTP, and is asked to run this file of the release.
        #[serde(default, rename = "fastCgi", skip_serializing_if = "Option::is_none")]
        fast_cgi: Option<RelPath>,
    },
    /// A WSGI app, served by gunicorn.
    Wsgi(Wsgi),
    /// An ASGI app, served by uvicorn.
    Asgi(Asgi),
    /// Programs that are started for each request.
    Cgi(Cgi),
    /// Nothing: the web server answers everything.
    Static,
    /// A Spring Boot jar.
    SpringBoot(SpringBoot),
    /// A war on Tomcat.
    Tomcat(Tomcat),
}

impl Runtime {
    /// What the web server speaks with an instance.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self {
            Runtime::Cgi(cgi) => Protocol::FastCgi(cgi.programs.clone()),
            Runtime::Command { fast_cgi: Some(script), .. } => Protocol::FastCgi(Programs::Script(script.clone())),
            _ => Protocol::Http,
        }
    }
}

/// The ports of each colour's instances, on 127.0.0.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Blue's.
    pub blue: Vec<u16>,
    /// Green's.
    pub green: Vec<u16>,
}

impl Ports {
    /// The ports of this colour's instances.
    #[must_use]
    pub fn of(&self, colour: Colour) -> &[u16] {
        match colour {
            Colour::Blue => &self.blue,
            Colour::Green => &self.green,
        }
    }

    /// The ports of both.
    pub fn all(&self) -> impl Iterator<Item = u16> + '_ {
        self.blue.iter().chain(&self.green).copied()
    }
}

/// A path that the web server answers itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Static {
    /// The paths below this one; ends with `/`.
    pub path: UrlPath,
    /// The folder of the release that holds them.
    pub root: RelPath,
    /// How many earlier revisions' files are still answered.
    pub keep: u8,
    /// The file below the root that is answered to whatever meets no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<RelPath>,
    /// What answers with a file say of caching them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<CacheControl>,
    /// Whether `FILE.gz` is answered for `FILE` to who accepts it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub precompressed: bool,
}

/// A folder that outlives releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedDir {
    /// Where it appears in the release.
    pub path: RelPath,
    /// Where it is.
    pub source: AbsPath,
}
