//! `BlueGreenSite` as it is written: the resource whose schema is the CRD. Everything in here is still text that a person wrote; `parse`
//! makes a [`Site`](super::site::Site) of it, and nothing else reads it.
//!
//! The doc comments of the fields are what `kubectl explain` shows. The schema holds every check that Kubernetes can make; `parse` makes
//! them all again, since a host has no API server.

mod cluster;
mod guards;
mod host;
mod java;
mod python;
mod requests;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span;
use super::status::SiteStatus;
use super::types::UrlPath;

pub use cluster::*;
pub use guards::*;
pub use host::*;
pub use java::*;
pub use python::*;
pub use requests::*;

/// What a site shall be: where it lives, how its health is asked, and how a new revision of it goes live.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bluegreen.dev",
    version = "v1alpha1",
    kind = "BlueGreenSite",
    plural = "bluegreensites",
    shortname = "bgs",
    category = "bluegreen",
    namespaced,
    status = "SiteStatus",
    scale(
        spec_replicas_path = ".spec.target.cluster.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    derive = "PartialEq",
    doc = "A web site that is deployed twice, blue and green, so that a new revision goes live with nothing lost.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where the rollout stands."),
    printcolumn(name = "Live", type_ = "string", json_path = ".status.live.colour", description = "The colour that serves."),
    printcolumn(
        name = "Revision",
        type_ = "string",
        json_path = ".status.live.revision",
        description = "The revision that serves."
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 49").message("a site's name has at most 49 characters"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message(
        "a site's name holds lower-case letters, digits and '-', a letter or digit at both ends"
    )
)]
#[x_kube(validation = Rule::new("!has(self.target.cluster) || !has(self.health)").message(
    "health is for target.host: on a cluster the readiness probes of the template say whether an instance can serve"
))]
#[x_kube(validation = Rule::new("!has(self.target.cluster) || !has(self.guards) || !has(self.guards.exposure)").message(
    "guards.exposure is for target.host: on a cluster a NetworkPolicy says who reaches a pod"
))]
#[serde(rename_all = "camelCase")]
pub struct BlueGreenSiteSpec {
    /// Where the site lives: exactly one of the fields below.
    #[x_kube(validation = Rule::new("has(self.host) == has(oldSelf.host)").message(
        "a site stays in its world: make another one to move between a host and a cluster"
    ))]
    pub target: Target,
    /// How an instance is asked whether it can serve. For a host; on a cluster the readiness probes of the template say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// How a new revision goes live, and how long each phase of that may last.
    #[serde(default)]
    pub strategy: Strategy,
    /// What stops a new revision before it goes live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guards: Option<Guards>,
}

/// Where a site lives: exactly one of the fields.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::large_enum_variant, reason = "one is read at a time, and lives briefly")]
pub enum Target {
    /// On a plain machine, behind its nginx or Apache.
    Host(Host),
    /// On the Kubernetes cluster that holds this resource.
    Cluster(Cluster),
}

/// How an instance is asked whether it can serve.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// A GET of this path at each instance must answer 200 to 399. Default: what the runtime usually has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = UrlPath::PATTERN), length(max = 1024))]
    pub path: Option<String>,
    /// So many times in a row, before an instance counts as ready.
    #[serde(default = "default::successes")]
    #[schemars(range(min = 1, max = 1000))]
    pub successes: i32,
    /// So many failures in a row make a ready instance unready.
    #[serde(default = "default::failures")]
    #[schemars(range(min = 1, max = 1000))]
    pub failures: i32,
    /// From one question to the next.
    #[serde(default = "default::interval")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms')").message("ask at most every 10ms"))]
    pub interval: String,
    /// An answer must come within this.
    #[serde(default = "default::timeout")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms')").message("give an instance at least 10ms to answer"))]
    pub timeout: String,
    /// What each instance of a new revision is asked, when it is ready and before traffic goes to it. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUpSpec>,
}

/// Requests that warm an instance up: they load what is loaded late, compile what is called often, fill caches and pools of connections.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmUpSpec {
    /// A GET of each of these paths, one after the other. An answer of 500 and above, or none, rejects the revision.
    #[schemars(length(min = 1, max = 16), inner(regex(pattern = UrlPath::PATTERN)), inner(length(max = 1024)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub paths: Vec<String>,
    /// So many times each.
    #[serde(default = "default::warm_up_requests")]
    #[schemars(range(min = 1, max = 1000))]
    pub requests: i32,
    /// All of it must be answered within this, which is shorter than strategy.verifyWithin.
    #[serde(default = "default::warm_up_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms')").message("give a warm-up at least 10ms"))]
    pub within: String,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            path: None,
            successes: default::successes(),
            failures: default::failures(),
            interval: default::interval(),
            timeout: default::timeout(),
            warm_up: None,
        }
    }
}

/// How a new revision goes live. Spans of time are written as in 1h30m, 10s or 500ms.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "[self.prepareWithin, self.readyWithin, self.verifyWithin, self.cutoverWithin].all(span, duration(span) > duration('0s'))"
    ).message("prepareWithin, readyWithin, verifyWithin and cutoverWithin are longer than 0s: nothing could ever go live"),
    validation = Rule::new("!has(self.approveWithin) || self.promotion == 'Manual'").message(
        "approveWithin is for promotion Manual: nothing waits for an approval otherwise"
    )
)]
pub struct Strategy {
    /// Who lets a verified revision go live: Automatic (it does by itself) or Manual (it waits for an approve that names it).
    #[serde(default)]
    pub promotion: PromotionSpec,
    /// How long the release may take to be fetched, checked and unpacked.
    #[serde(default = "default::prepare_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub prepare_within: String,
    /// How long the new revision may take until every instance is ready.
    #[serde(default = "default::ready_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub ready_within: String,
    /// How long the checks against the idle colour may take.
    #[serde(default = "default::verify_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub verify_within: String,
    /// How long a verified revision waits for its approval before it is rejected. Default: for ever. Only with promotion Manual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub approve_within: Option<String>,
    /// How long it may take until the front door is seen to answer from the new colour.
    #[serde(default = "default::cutover_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub cutover_within: String,
    /// How long a request in flight may hold up the end of the old colour.
    #[serde(default = "default::drain_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub drain_within: String,
    /// How long the new colour is watched before the rollout counts as a success.
    #[serde(default = "default::bake")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub bake: String,
    /// How long the old colour is kept warm after that, for an instant way back. 0s stops it at once.
    #[serde(default = "default::standby")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub standby: String,
    /// How long the live colour must have been down before traffic goes to the standby.
    #[serde(default = "default::failover_after")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub failover_after: String,
}

impl Default for Strategy {
    fn default() -> Self {
        Strategy {
            promotion: PromotionSpec::default(),
            prepare_within: default::prepare_within(),
            ready_within: default::ready_within(),
            verify_within: default::verify_within(),
            approve_within: None,
            cutover_within: default::cutover_within(),
            drain_within: default::drain_within(),
            bake: default::bake(),
            standby: default::standby(),
            failover_after: default::failover_after(),
        }
    }
}

/// Who lets a verified revision go live.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PromotionSpec {
    /// It goes live as soon as it is verified.
    #[default]
    Automatic,
    /// It waits for an approve that names it.
    Manual,
}

/// What holds when nothing is said.
mod default {
    pub fn successes() -> i32 {
        3
    }

    pub fn failures() -> i32 {
        3
    }

    pub fn interval() -> String {
        "500ms".to_owned()
    }

    pub fn timeout() -> String {
        "1s".to_owned()
    }

    pub fn warm_up_requests() -> i32 {
        1
    }

    pub fn warm_up_within() -> String {
        "30s".to_owned()
    }

    pub fn prepare_within() -> String {
        "10m".to_owned()
    }

    pub fn ready_within() -> String {
        "5m".to_owned()
    }

    pub fn verify_within() -> String {
        "1m".to_owned()
    }

    pub fn cutover_within() -> String {
        "1m".to_owned()
    }

    pub fn drain_within() -> String {
        "30s".to_owned()
    }

    pub fn bake() -> String {
        "60s".to_owned()
    }

    pub fn standby() -> String {
        "10m".to_owned()
    }

    pub fn failover_after() -> String {
        "5s".to_owned()
    }

    pub fn stop_within() -> String {
        "30s".to_owned()
    }

    pub fn keep() -> i32 {
        3
    }

    pub fn replicas() -> i32 {
        1
    }

    pub fn settle_seconds() -> i32 {
        5
    }
}
