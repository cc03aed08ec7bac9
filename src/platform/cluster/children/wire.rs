//! How a fact is read off what the API server sends. Each kind is a kube [`Resource`] whose `Deserialize` skips everything else: `managedFields`,
//! templates and conditions never come to be.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::cache::{Children, Key};
use super::facts::{
    Budget, Deployment, Endpoint, Front, Headless, HttpRoute, Kind, Owned, Release, Selector, Service, Slice, digest,
};
use crate::api::names::cluster as names;
use crate::rollout::{Colour, Revision, Time};

/// A kind of object, as far as it is kept.
pub trait Fact: Clone + Debug + Send + Sync + Sized + 'static {
    /// Which.
    const KIND: Kind;
    /// Its group, version, kind and plural.
    const NAMES: (&'static str, &'static str, &'static str, &'static str);
    /// Whether its metadata says all.
    const METADATA_ONLY: bool = false;
    /// What is read of it.
    #[doc(hidden)]
    type Wire: DeserializeOwned;

    /// Reads it.
    #[doc(hidden)]
    fn read(wire: Self::Wire) -> (Meta, Self);
    /// Its name.
    fn name(&self) -> &str;
    /// Whose it is, and how new.
    fn owned(&self) -> Owned;
    /// Where it is kept.
    #[doc(hidden)]
    fn place(children: &mut Children) -> &mut Vec<Self>;
    /// All of its kind.
    #[doc(hidden)]
    fn all(children: &Children) -> &[Self];
}

/// An object as the API server sends it, which keeps no more of it than a fact.
#[derive(Clone, Debug)]
pub struct Watched<F> {
    meta: ObjectMeta,
    /// The site that it says it belongs to.
    pub key: Option<Key>,
    /// The fact.
    pub fact: F,
}

impl<'de, F: Fact> Deserialize<'de> for Watched<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (meta, fact) = F::read(F::Wire::deserialize(deserializer)?);
        let key = meta.labels.get(names::SITE).map(|site| Key::new(&meta.namespace, site));
        let meta = ObjectMeta {
            name: Some(meta.name),
            namespace: Some(meta.namespace),
            resource_version: Some(meta.resource_version),
            ..ObjectMeta::default()
        };
        Ok(Watched { meta, key, fact })
    }
}

impl<F: Fact> Resource for Watched<F> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(&(): &()) -> Cow<'_, str> {
        F::NAMES.2.into()
    }

    fn group(&(): &()) -> Cow<'_, str> {
        F::NAMES.0.into()
    }

    fn version(&(): &()) -> Cow<'_, str> {
        F::NAMES.1.into()
    }

    fn plural(&(): &()) -> Cow<'_, str> {
        F::NAMES.3.into()
    }

    fn metadata_api() -> bool {
        F::METADATA_ONLY
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// What is read of an object's metadata.
#[doc(hidden)]
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    name: String,
    namespace: String,
    resource_version: String,
    generation: i64,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    owner_references: Vec<OwnerWire>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OwnerWire {
    uid: String,
    controller: bool,
}

impl Meta {
    fn owned(&self) -> Owned {
        let controller = self.owner_references.iter().find(|owner| owner.controller).map(|owner| owner.uid.as_str());
        let owner = controller.or_else(|| self.annotations.get(names::OWNER).map(String::as_str));
        Owned {
            owner: owner.map_or(0, uid),
            // The API server's versions are numbers that can be compared; one that isn't is as old as can be, and never written with.
            version: self.resource_version.parse().unwrap_or(0),
            deleting: self.deletion_timestamp.is_some(),
        }
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> i64 {
        self.annotation(name).and_then(|text| text.parse().ok()).unwrap_or(-1)
    }

    fn moment(&self, name: &str) -> Option<Time> {
        self.annotation(name).and_then(moment)
    }

    fn front(&self) -> Front {
        Front { ledger: self.annotation(names::LEDGER).map(Box::from), switched: self.moment(names::SWITCHED_AT) }
    }

    fn name(&self) -> Box<str> {
        self.name.as_str().into()
    }
}

/// A uid as a number; zero stands for none.
pub fn uid(text: &str) -> u128 {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let hashed = || {
        let bytes = text.as_bytes();
        u128::from(digest(bytes)) << 64 | u128::from(digest(&[bytes, b"."].concat()))
    };
    match digits.len() {
        0 => 0,
        32 => u128::from_str_radix(&digits, 16).unwrap_or_else(|_| hashed()),
        _ => hashed(),
    }
}

/// A moment as an annotation holds it.
fn moment(text: &str) -> Option<Time> {
    text.parse::<Timestamp>().ok().map(|moment| Time(moment.as_millisecond()))
}

#[derive(Deserialize)]
pub struct DeploymentWire {
    metadata: Meta,
    #[serde(default)]
    spec: DeploymentSpecWire,
    #[serde(default)]
    status: DeploymentStatusWire,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DeploymentSpecWire {
    replicas: Option<i32>,
    paused: bool,
    template: TemplateWire,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TemplateWire {
    metadata: LabelsWire,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LabelsWire {
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeploymentStatusWire {
    observed_generation: i64,
    replicas: i32,
    updated_replicas: i32,
    conditions: Vec<ConditionWire>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConditionWire {
    r#type: String,
    status: String,
    message: String,
    observed_generation: i64,
}

impl Fact for Deployment {
    const KIND: Kind = Kind::Deployment;
    const NAMES: (&'static str, &'static str, &'static str, &'static str) = ("apps", "v1", "Deployment", "deployments");
    type Wire = DeploymentWire;

    fn read(wire: DeploymentWire) -> (Meta, Deployment) {
        let DeploymentWire { metadata, spec, status } = wire;
        let trouble = status.conditions.into_iter().find(|one| one.r#type == "ReplicaFailure" && one.status == "True");
        // Somebody may have taken the annotation away; what the pods are labelled with says the same.
        let labelled = || spec.template.metadata.labels.get(names::REVISION).and_then(|text| text.parse().ok());
        let deployment = Deployment {
            name: metadata.name(),
            owned: metadata.owned(),
            revision: metadata.annotation(names::REVISION).and_then(|text| text.parse().ok()).or_else(labelled),
            generation: metadata.generation,
            ours: metadata.number(names::GENERATION),
            observed: status.observed_generation,
            replicas: spec.replicas.unwrap_or(1),
            written_replicas: i32::try_from(metadata.number(names::REPLICAS)).unwrap_or(-1),
            has: status.replicas,
            updated: status.updated_replicas,
            paused: spec.paused,
            started: metadata.moment(names::STARTED_AT),
            ports: metadata.annotation(names::PORTS).map(Box::from),
            trouble: trouble.map(|condition| condition.message.into_boxed_str()),
        };
        (metadata, deployment)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn owned(&self) -> Owned {
        self.owned
    }

    fn place(children: &mut Children) -> &mut Vec<Deployment> {
        &mut children.deployments
    }

    fn all(children: &Children) -> &[Deployment] {
        &children.deployments
    }
}

#[derive(Deserialize)]
pub struct ServiceWire {
    metadata: Meta,
    #[serde(default)]
    spec: ServiceSpecWire,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpecWire {
    selector: BTreeMap<String, String>,
    ports: Vec<PortWire>,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    r#type: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PortWire {
    name: String,
    protocol: String,
    port: u16,
    target_port: Value,
    app_protocol: Option<String>,
}

impl Fact for Service {
    const KIND: Kind = Kind::Service;
    const NAMES: (&'static str, &'static str, &'static str, &'static str) = ("", "v1", "Service", "services");
    type Wire = ServiceWire;

    fn read(wire: ServiceWire) -> (Meta, Service) {
        let ServiceWire { metadata, spec } = wire;
        let headless = spec.cluster_ip == "None" || spec.r#type == "ExternalName";
        let service = Service {
            name: metadata.name(),
            owned: metadata.owned(),
            selector: selector(metadata.labels.get(names::SITE).map(String::as_str), &spec.selector),
            ports: ports_digest(spec.ports.iter().map(|port| PortFacts {
                name: &port.name,
                port: port.port,
                target: port.target_port.clone(),
                app_protocol: port.app_protocol.as_deref(),
                tcp: matches!(port.protocol.as_str(), "" | "TCP"),
            })),
            headless: if headless { Headless::Yes } else { Headless::No },
            front: metadata.front(),
        };
        (metadata, service)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn owned(&self) -> Owned {
        self.owned
    }

    fn place(children: &mut Children) -> &mut Vec<Service> {
        &mut children.services
    }

    fn all(children: &Children) -> &[Service] {
        &children.services
    }
}

/// What a Service's port is, for its digest.
pub(in crate::platform::cluster) struct PortFacts<'a> {
    pub name: &'a str,
    pub port: u16,
    pub target: Value,
    pub app_protocol: Option<&'a str>,
    pub tcp: bool,
}

/// The digest of a Service's ports, in whatever order they stand.
pub(in crate::platform::cluster) fn ports_digest<'a>(ports: impl Iterator<Item = PortFacts<'a>>) -> u64 {
    let mut texts: Vec<String> = ports
        .map(|port| {
            // What is left out means the same port.
            let target = if port.target.is_null() { Value::from(port.port) } else { port.target };
            serde_json::json!([port.port, port.name, target, port.app_protocol, port.tcp]).to_string()
        })
        .collect();
    texts.sort_unstable();
    digest(texts.join("\n").as_bytes())
}

fn selector(site: Option<&str>, all: &BTreeMap<String, String>) -> Selector {
    let get = |name: &str| all.get(name).map(String::as_str);
    let (Some(site), Some(of), Some(colour)) = (site, get(names::SITE), get(names::COLOUR).and_then(colour)) else {
        return Selector::Other;
    };
    if site != of {
        return Selector::Other;
    }
    match (all.len(), get(names::REVISION).map(str::parse)) {
        (2, None) => Selector::Colour(colour),
        (3, Some(Ok(revision))) => Selector::Release(colour, revision),
        _ => Selector::Other,
    }
}

fn colour(text: &str) -> Option<Colour> {
    Colour::BOTH.into_iter().find(|colour| colour.name() == text)
}

#[derive(Deserialize)]
pub struct SliceWire {
    metadata: Meta,
    #[serde(default)]
    endpoints: Option<Vec<EndpointWire>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EndpointWire {
    addresses: Vec<String>,
    conditions: EndpointConditionsWire,
    target_ref: Option<TargetWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EndpointConditionsWire {
    ready: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct TargetWire {
    uid: String,
    name: String,
}

impl Fact for Slice {
    const KIND: Kind = Kind::Slice;
    const NAMES: (&'static str, &'static str, &'static str, &'static str) =
        ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
    type Wire = SliceWire;

    fn read(wire: SliceWire) -> (Meta, Slice) {
        let SliceWire { metadata, endpoints } = wire;
        let endpoints = endpoints.unwrap_or_default().into_iter().map(|endpoint| {
            let who = match &endpoint.target_ref {
                Some(target) if !target.uid.is_empty() => target.uid.as_str(),
                Some(target) if !target.name.is_empty() => target.name.as_str(),
                _ => endpoint.addresses.first().map(String::as_str).unwrap_or_default(),
            };
            let conditions = endpoint.conditions;
            // Absent means ready, as the API has it.
            let ready = conditions.ready.unwrap_or(true) && !conditions.terminating.unwrap_or(false);
            Endpoint { pod: digest(who.as_bytes()), ready }
        });
        let slice = Slice {
            name: metadata.name(),
            owned: metadata.owned(),
            service: metadata.labels.get("kubernetes.io/service-name").map(String::as_str).unwrap_or_default().into(),
            endpoints: endpoints.collect(),
        };
        (metadata, slice)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn owned(&self) -> Owned {
        self.owned
    }

    fn place(children: &mut Children) -> &mut Vec<Slice> {
        &mut children.slices
    }

    fn all(children: &Children) -> &[Slice] {
        &children.slices
    }
}

#[derive(Deserialize)]
pub struct MetaWire {
    metadata: Meta,
}

impl Fact for Release {
    const KIND: Kind = Kind::Release;
    const NAMES: (&'static str, &'static str, &'static str, &'static str) =
        ("apps", "v1", "ControllerRevision", "controllerrevisions");
    const METADATA_ONLY: bool = true;
    type Wire = MetaWire;

    fn read(MetaWire { metadata }: MetaWire) -> (Meta, Release) {
        let release = Release {
            name: metadata.name(),
            owned: metadata.owned(),
            revision: metadata.labels.get(names::REVISION).and_then(|text| text.parse::<Revision>().ok()),
            made: metadata.creation_timestamp.as_deref().and_then(moment),
        };
        (metadata, release)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn owned(&self) -> Owned {
        self.owned
    }

    fn place(children: &mut Children) -> &mut Vec<Release> {
        &mut children.releases
    }

    fn all(children: &Children) -> &[Release] {
        &children.releases
    }
}

impl Fact for Budget {
    const KIND: Kind = Kind::Budget;
    const NAMES: (&'static str, &'static str, &'static str, &'static str) =
        ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets");
    const METADATA_ONLY: bool = true;
    type Wire = MetaWire;

    fn read(MetaWire { metadata }: MetaWire) -> (Meta, Budget) {
        let budget = Budget { name: metadata.name(), owned: metadata.owned() };
        (metadata, budget)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn owned(&self) -> Owned {
        self.owned
    }

    fn place(children: &mut Children) -> &mut Vec<Budget> {
        &mut children.budgets
    }

    fn all(children: &Children) -> &[Budget] {
        &children.budgets
    }
}

#[derive(Deserialize)]
pub struct RouteWire {
    metadata: Meta,
    #[serde(default)]
    spec: RouteSpecWire,
    #[serde(default)]
    status: RouteStatusWire,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RouteSpecWire {
    parent_refs: Vec<Value>,
    rules: Vec<RuleWire>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuleWire {
    backend_refs: Vec<BackendWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BackendWire {
    name: String,
    weight: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RouteStatusWire {
    parents: Vec<ParentWire>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ParentWire {
    parent_ref: Value,
    conditions: Vec<ConditionWire>,
}

impl Fact for HttpRoute {
    const KIND: Kind = Kind::HttpRoute;
    const NAMES: (&'static str, &'static str, &'static str, &'static str) =
        ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes");
    type Wire = RouteWire;

    fn read(RouteWire { metadata, spec, status }: RouteWire) -> (Meta, HttpRoute) {
        let judged = spec.parent_refs.iter().map(|parent| judge(parent, &status.parents, metadata.generation));
        let verdicts: Vec<Result<(), String>> = judged.collect();
        let route = HttpRoute {
            name: metadata.name(),
            owned: metadata.owned(),
            generation: metadata.generation,
            ours: metadata.number(names::GENERATION),
            written: metadata.annotation(names::DIGEST).and_then(|text| u64::from_str_radix(text, 16).ok()),
            colour: metadata.labels.get(names::SITE).and_then(|site| weight(site, &spec.rules)),
            accepted: !verdicts.is_empty() && verdicts.iter().all(Result::is_ok),
            trouble: verdicts.into_iter().find_map(Result::err).map(String::into_boxed_str),
            front: metadata.front(),
        };
        (metadata, route)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn owned(&self) -> Owned {
        self.owned
    }

    fn place(children: &mut Children) -> &mut Vec<HttpRoute> {
        &mut children.routes
    }

    fn all(children: &Children) -> &[HttpRoute] {
        &children.routes
    }
}

/// The colour to which every rule gives all its weight.
fn weight(site: &str, rules: &[RuleWire]) -> Option<Colour> {
    let whole = |colour: Colour| {
        let named = |backend: &BackendWire| Colour::BOTH.into_iter().find(|c| backend.name == format!("{site}-{c}"));
        !rules.is_empty()
            && rules.iter().all(|rule| {
                let weighs = |backend: &&BackendWire| backend.weight.unwrap_or(1) > 0;
                let mut heavy = rule.backend_refs.iter().filter(weighs).peekable();
                heavy.peek().is_some() && heavy.all(|backend| named(backend) == Some(colour))
            })
    };
    Colour::BOTH.into_iter().find(|colour| whole(*colour))
}

/// Whether this parent has accepted the route as it is now.
fn judge(parent: &Value, all: &[ParentWire], generation: i64) -> Result<(), String> {
    let field = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let same = |said: &&ParentWire| {
        ["name", "sectionName"].iter().all(|name| field(parent, name) == field(&said.parent_ref, name))
    };
    let name = field(parent, "name");
    // Several controllers may answer for one parent.
    let mut answers = all.iter().filter(same).peekable();
    if answers.peek().is_none() {
        return Err(format!("the Gateway {name} has not answered yet: does it exist, and is its controller running?"));
    }
    for said in answers {
        for wanted in ["Accepted", "ResolvedRefs"] {
            let condition = said.conditions.iter().find(|one| one.r#type == wanted);
            match condition {
                Some(one) if one.observed_generation < generation => {
                    return Err(format!("the Gateway {name} has not seen the newest weights yet"));
                }
                Some(one) if one.status == "True" => {}
                Some(one) => return Err(format!("the Gateway {name} says {wanted}={}: {}", one.status, one.message)),
                None => return Err(format!("the Gateway {name} has not said {wanted} yet")),
            }
        }
    }
    Ok(())
}
