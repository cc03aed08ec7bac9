//! What is released on a cluster: a pod template and its ports, as they are run, and the revision that stands for them.
//!
//! It is stored in a ControllerRevision, whose content the API server lets nobody change, so that a deleted Deployment or a rollback can be made
//! again without the specification that it came from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::api::site::{ClusterTarget, ServicePort, TargetPort};
use crate::api::types::PortName;
use crate::rollout::Revision;

/// A release as it is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// The pods, without the labels that name their colour: snapshots are named in it, and hooks were put in.
    pub template: Value,
    /// What its pods listen on.
    pub ports: Vec<Port>,
}

/// What the pods of a release listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port of the Service that leads there, by its name; `None`: its only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<PortName>,
    /// The pods' port.
    pub target: TargetPort,
}

/// The ports of a release, as an annotation holds them.
#[must_use]
pub fn ports(text: Option<&str>) -> Vec<Port> {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The Service's ports as the specification has them, leading to where the pods of a release listen.
#[must_use]
pub fn leading_to(wanted: &[ServicePort], release: &[Port]) -> Vec<ServicePort> {
    let target = |port: &ServicePort| release.iter().find(|one| one.name == port.name).map(|one| one.target.clone());
    wanted
        .iter()
        .map(|port| ServicePort { target: target(port).unwrap_or(port.target.clone()), ..port.clone() })
        .collect()
}

/// The digests of what a template names, by kind and name. What is optional and isn't there has none.
pub type Digests = BTreeMap<String, String>;

/// The revision of what a specification describes, and nothing else: neither sizes, nor the numbers that clients connect to.
#[must_use]
pub fn revision(target: &ClusterTarget, digests: &Digests) -> Revision {
    let ports: Vec<Value> = target.ports.iter().map(|port| json!([port.name, port.target, "TCP"])).collect();
    let incarnation = target.incarnation.as_ref().map(ToString::to_string);
    let rest = json!({
        "ports": ports,
        "injectPreStop": target.inject_pre_stop,
        "digests": digests,
        "incarnation": incarnation,
    });
    // The template's text is canonical already.
    let mut hash = Sha256::new();
    hash.update(target.template.text().as_bytes());
    hash.update(b"\n");
    hash.update(rest.to_string().as_bytes());
    let hash = hash.finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    Revision::new(u128::from_be_bytes(first))
}

/// The release that a specification describes, whose template was given the names of snapshots already.
#[must_use]
pub fn release(target: &ClusterTarget, mut template: Value) -> Release {
    if target.inject_pre_stop {
        inject_pre_stop(&mut template);
    }
    let ports = target.ports.iter().map(|port| Port { name: port.name.clone(), target: port.target.clone() }).collect();
    Release { template, ports }
}

/// So long an injected hook lets a pod serve on after it was told to end: nodes were seen to take up to 0.9 s to learn of it.
const SLEEP: u32 = 5;

/// Each container without a preStop hook gets one that waits.
fn inject_pre_stop(template: &mut Value) {
    let containers = template.pointer_mut("/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        let Some(container) = container.as_object_mut() else { continue };
        let lifecycle = container.entry("lifecycle").or_insert_with(|| json!({}));
        if lifecycle.is_null() {
            *lifecycle = json!({});
        }
        if let Some(lifecycle) = lifecycle.as_object_mut()
            && lifecycle.get("preStop").is_none_or(Value::is_null)
        {
            lifecycle.insert("preStop".to_owned(), json!({"sleep": {"seconds": SLEEP}}));
        }
    }
}

/// What a template will probably cost requests by, in words.
#[must_use]
pub fn warnings(target: &ClusterTarget, drain: std::time::Duration) -> Vec<String> {
    let template = target.template.value();
    let none = Vec::new();
    let containers = template.pointer("/spec/containers").and_then(Value::as_array).unwrap_or(&none);
    let mut said = Vec::new();
    let name = |container: &Value| container["name"].as_str().unwrap_or("?").to_owned();
    let bare: Vec<String> = containers
        .iter()
        .filter(|container| {
            !target.inject_pre_stop && container.pointer("/lifecycle/preStop").is_none_or(Value::is_null)
        })
        .map(name)
        .collect();
    if !bare.is_empty() {
        said.push(format!(
            "no preStop hook in {}: a pod that ends (a node is drained, a colour shrinks) may lose the requests of clients that have not heard of it \
             yet; write one that sleeps for {SLEEP} s, or injectPreStop: true",
            bare.join(", ")
        ));
    }
    let unprobed: Vec<String> = containers
        .iter()
        .filter(|container| container.get("readinessProbe").is_none_or(Value::is_null))
        .map(name)
        .collect();
    if unprobed.len() == containers.len() && !containers.is_empty() {
        said.push(
            "no container has a readinessProbe: a pod counts as ready as soon as its program was started, and gets traffic then".to_owned(),
        );
    }
    let grace = template.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64).unwrap_or(30);
    if grace < drain.as_secs() {
        said.push(format!(
            "terminationGracePeriodSeconds is {grace} and requests may take {} s to drain: longer ones are cut when a pod ends; raise it",
            drain.as_secs()
        ));
    }
    said
}
