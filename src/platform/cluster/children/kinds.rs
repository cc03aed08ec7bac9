//! Each kind of object but the HTTPRoute, as it is read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::cache::Children;
use super::facts::{Budget, Deployment, Endpoint, Headless, Kind, Owned, Release, Selector, Service, Slice, digest};
use super::wire::{ConditionWire, Fact, Meta, moment, uid};
use crate::api::names::cluster as names;
use crate::rollout::{Colour, Revision};

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
            uid: uid(&metadata.uid),
            revision: metadata.annotation(names::REVISION).and_then(|text| text.parse().ok()).or_else(labelled),
            generation: metadata.generation,
            ours: metadata.number(names::GENERATION),
            observed: status.observed_generation,
            replicas: spec.replicas.unwrap_or(1),
            wished: i32::try_from(metadata.number(names::REPLICAS)).unwrap_or(-1),
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
