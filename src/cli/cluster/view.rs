//! From a site and its children to what is shown of it. Pure. Nothing here judges a rollout: what it is about stands in the status, and what
//! serves is read off the Services.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

use super::pod;
use crate::api::names::cluster;
use crate::api::status::SiteStatus;
use crate::control::api::{Attempts, InstanceView, Place, SiteView, SlotHealth, SlotView};
use crate::driver::agent::view::under_way;
use crate::rollout::{Colour, Phase, Revision};

/// The label by which a slice says whose it is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What belongs to a site.
#[derive(Debug, Default)]
pub struct Children<'a> {
    /// Its Deployments.
    pub deployments: Vec<&'a Deployment>,
    /// Its Services.
    pub services: Vec<&'a Service>,
    /// The EndpointSlices of those; `None`: they may not be read.
    pub slices: Option<Vec<&'a EndpointSlice>>,
    /// Its pods; `None`: they were not asked for, or may not be read.
    pub pods: Option<Vec<&'a Pod>>,
}

/// A site as it is shown.
#[must_use]
pub fn view(object: &DynamicObject, children: &Children<'_>) -> SiteView {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    // Of no use to people, and longer than all the rest.
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    let status: SiteStatus = serde_json::from_value(value["status"].clone()).unwrap_or_default();
    let name = object.name_any();
    let front = Front::of(&name, &value);
    let live = front.live(children, &status);
    let slots: Vec<SlotView> = Colour::BOTH.iter().map(|colour| front.slot(*colour, live, children, &status)).collect();
    let attempts = attempts(&status, object.metadata.generation, live, &slots);
    SiteView { object: value, slots, attempts, upload: None, looked: 0 }
}

/// What leads to the colours of a site.
struct Front<'a> {
    site: &'a str,
    /// The live Service.
    service: String,
    /// Whether an HTTPRoute leads to the colours' own Services instead.
    route: bool,
}

impl Front<'_> {
    fn of<'a>(site: &'a str, object: &Value) -> Front<'a> {
        let target = &object["spec"]["target"]["cluster"];
        let service = target["service"]["name"].as_str().unwrap_or(site).to_owned();
        Front { site, service, route: target["route"]["httpRoute"].is_object() }
    }

    /// The colour that the live Service names; with an HTTPRoute, or without a Service that we may read: what the status says.
    fn live(&self, children: &Children<'_>, status: &SiteStatus) -> Option<Colour> {
        let service = children.services.iter().find(|service| service.name_any() == self.service);
        match service.filter(|_| !self.route) {
            Some(service) => selected(service),
            None => status.live.as_ref().map(|live| live.colour),
        }
    }

    fn slot(&self, colour: Colour, live: Option<Colour>, children: &Children<'_>, status: &SiteStatus) -> SlotView {
        let deployment = children.deployments.iter().find(|one| is_of(&***one, colour)).copied();
        let wanted = deployment.map_or(0, replicas);
        let endpoints = self.endpoints(colour, children);
        let instances = instances(colour, children, &endpoints);
        let live = live == Some(colour);
        let occupied = wanted > 0 || !instances.is_empty();
        let ready = ready(&instances, children, deployment);
        SlotView {
            colour,
            live,
            revision: deployment.filter(|_| occupied).and_then(revision),
            health: match ready {
                _ if !occupied => SlotHealth::Empty,
                0 => SlotHealth::Down,
                ready if ready >= wanted => SlotHealth::Ready,
                _ => SlotHealth::Degraded,
            },
            draining: occupied && !live && status.phase == Some(Phase::Draining),
            detail: missing(wanted, &instances, colour, children, deployment),
            instances,
            wanted: Some(wanted),
            serves: self.serves(colour, live, children),
        }
    }

    /// Which pods of a colour its own Service has as endpoints, and whether each is ready there.
    fn endpoints(&self, colour: Colour, children: &Children<'_>) -> BTreeMap<String, Endpoint> {
        let service = format!("{}-{colour}", self.site);
        let slices =
            children.slices.iter().flatten().filter(|slice| slice.labels().get(SERVICE_NAME) == Some(&service));
        let mut all: BTreeMap<String, Endpoint> = BTreeMap::new();
        for endpoint in slices.flat_map(|slice| &slice.endpoints) {
            let pod = endpoint.target_ref.as_ref().and_then(|target| target.name.clone());
            let name = pod.or_else(|| endpoint.addresses.first().cloned()).unwrap_or_default();
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let ending = conditions.terminating == Some(true);
            let ready = conditions.ready != Some(false) && !ending;
            // A pod with two addresses stands in two slices.
            let entry = all.entry(name).or_insert(Endpoint { ready, ending, node: endpoint.node_name.clone() });
            entry.ready &= ready;
        }
        all
    }

    /// What leads to a colour, its own Service left out.
    fn serves(&self, colour: Colour, live: bool, children: &Children<'_>) -> Vec<String> {
        let own = Colour::BOTH.map(|colour| format!("{}-{colour}", self.site));
        let mut all: Vec<(bool, String)> = children
            .services
            .iter()
            .filter(|service| selected(service) == Some(colour) && !own.contains(&service.name_any()))
            .map(|service| (service.name_any() != self.service, with_ports(service)))
            .collect();
        if self.route && live {
            all.push((false, format!("HTTPRoute {}", self.site)));
        }
        all.sort();
        all.into_iter().map(|(_, name)| name).collect()
    }
}

struct Endpoint {
    ready: bool,
    ending: bool,
    node: Option<String>,
}

/// The pods of a colour; where they are not known, what the slices tell of them.
fn instances(colour: Colour, children: &Children<'_>, endpoints: &BTreeMap<String, Endpoint>) -> Vec<InstanceView> {
    let mut all: Vec<InstanceView> = match &children.pods {
        Some(pods) => {
            let mut pods: Vec<&Pod> = pods.iter().copied().filter(|pod| is_of(*pod, colour)).collect();
            pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.name_any()));
            pods.into_iter().map(|pod| instance(pod, children.slices.is_some(), endpoints)).collect()
        }
        None => endpoints
            .iter()
            .filter(|(_, endpoint)| !endpoint.ending)
            .map(|(name, endpoint)| InstanceView {
                index: 0,
                place: Place::Pod { pod: name.clone(), node: endpoint.node.clone() },
                ready: endpoint.ready,
                restarts: 0,
                detail: if endpoint.ready { String::new() } else { "is not ready".to_owned() },
            })
            .collect(),
    };
    for (index, instance) in (0_u16..).zip(&mut all) {
        instance.index = index;
    }
    all
}

fn instance(pod: &Pod, sliced: bool, endpoints: &BTreeMap<String, Endpoint>) -> InstanceView {
    let name = pod.name_any();
    let itself = pod::is_ready(pod);
    // What serves is an endpoint; that the pod is ready only promises one.
    let ready = if sliced { endpoints.get(&name).is_some_and(|endpoint| endpoint.ready) } else { itself };
    let detail = match (ready, itself) {
        (false, true) => "is ready; its endpoint is awaited".to_owned(),
        _ => pod::awaited(pod),
    };
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    InstanceView { index: 0, place: Place::Pod { pod: name, node }, ready, restarts: pod::restarts(pod), detail }
}

fn ready(instances: &[InstanceView], children: &Children<'_>, deployment: Option<&Deployment>) -> u32 {
    if children.slices.is_none() && children.pods.is_none() {
        // All that is left, though it comes late.
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        return status.and_then(|status| status.ready_replicas).map_or(0, |ready| u32::try_from(ready).unwrap_or(0));
    }
    u32::try_from(instances.iter().filter(|instance| instance.ready).count()).unwrap_or(u32::MAX)
}

/// The pods that aren't even there, and why.
fn missing(
    wanted: u32,
    instances: &[InstanceView],
    colour: Colour,
    children: &Children<'_>,
    deployment: Option<&Deployment>,
) -> String {
    let Some(pods) = &children.pods else { return String::new() };
    let over = pods.iter().filter(|pod| is_of(**pod, colour) && pod::is_over(pod)).count();
    let there = u32::try_from(instances.len() - over.min(instances.len())).unwrap_or(u32::MAX);
    let text = match wanted.saturating_sub(there) {
        0 => return String::new(),
        1 => "1 pod is not made yet".to_owned(),
        several => format!("{several} pods are not made yet"),
    };
    let conditions = deployment.and_then(|deployment| deployment.status.as_ref()?.conditions.as_ref());
    let failure = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
        .and_then(|condition| condition.message.as_deref());
    match failure {
        Some(why) => format!("{text}: {}", why.lines().next().unwrap_or_default()),
        None => text,
    }
}

/// What a command would have to be about now, as far as a site's status tells it.
fn attempts(status: &SiteStatus, generation: Option<i64>, live: Option<Colour>, slots: &[SlotView]) -> Attempts {
    let Some(rollout) = &status.rollout else { return Attempts::default() };
    let ledger = &rollout.ledger;
    let running = slots.iter().find(|slot| Some(slot.colour) == live).and_then(|slot| slot.revision);
    let live = running
        .or_else(|| status.live.as_ref().and_then(|live| live.revision))
        .or_else(|| ledger.stable.map(|held| held.revision))
        .map(|revision| ledger.attempt(revision));
    let candidate = under_way(rollout);
    // Which revision a specification is, only the operator can tell; it has not told yet of one that it has not seen.
    let seen = status.observed_generation.is_some() && status.observed_generation >= generation;
    let wanted = ledger
        .rollback
        .and_then(|rollback| rollback.while_wanted)
        .or_else(|| status.rejected.as_ref().map(|rejected| rejected.revision))
        .map(|revision| ledger.attempt(revision))
        .or(candidate)
        .or(live)
        .filter(|_| seen);
    Attempts { candidate, wanted, live }
}

/// The colour that a Service selects.
fn selected(service: &Service) -> Option<Colour> {
    let selector = service.spec.as_ref()?.selector.as_ref()?;
    colour(selector.get(cluster::COLOUR)?)
}

fn with_ports(service: &Service) -> String {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let ports: Vec<String> = ports.map(|port| port.port.to_string()).collect();
    if ports.is_empty() { service.name_any() } else { format!("{}:{}", service.name_any(), ports.join(",")) }
}

fn colour(name: &str) -> Option<Colour> {
    Colour::BOTH.into_iter().find(|colour| colour.name() == name)
}

fn is_of(object: &impl ResourceExt, colour: Colour) -> bool {
    object.labels().get(cluster::COLOUR).is_some_and(|name| name == colour.name())
}

fn revision(deployment: &Deployment) -> Option<Revision> {
    deployment.annotations().get(cluster::REVISION)?.parse().ok()
}

fn replicas(deployment: &Deployment) -> u32 {
    let wished = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    wished.map_or(1, |wished| u32::try_from(wished).unwrap_or(0))
}
