//! What each object of a site looks like: pure, from what is wanted to JSON. Everything that is written is made here.

use serde_json::{Map, Value, json};

use super::children::{Deployment, PortFacts, Selector, digest, ports_digest, uid_text};
use super::release::{Port, Release};
use crate::api::names::{API_VERSION, KIND, cluster as names};
use crate::api::site::{HttpRoute, Route, ServicePort, SiteOnCluster};
use crate::api::spec::DeletionPolicy;
use crate::rollout::{Colour, Revision};

/// What the objects of one site have in common.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a> {
    /// The site.
    pub site: &'a SiteOnCluster,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// The name of a colour's Deployment, Service and PodDisruptionBudget.
#[must_use]
pub fn of_colour(site: &str, colour: Colour) -> String {
    format!("{site}-{colour}")
}

/// The name of the Service that shows what is not live.
#[must_use]
pub fn preview(site: &str) -> String {
    format!("{site}-preview")
}

/// The name of a release's ControllerRevision.
#[must_use]
pub fn of_release(site: &str, revision: Revision) -> String {
    format!("{site}-{}", revision.short())
}

/// A Deployment as it is written when a colour starts.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Where.
    pub colour: Colour,
    /// What.
    pub revision: Revision,
    /// Its content.
    pub release: &'a Release,
    /// How many pods.
    pub replicas: i32,
    /// How many the specification asks for.
    pub wish: i32,
    /// The generation that this write makes.
    pub generation: i64,
    /// Now, as an annotation holds it.
    pub at: &'a str,
    /// Whether it is sealed at once: a repair of what is live.
    pub paused: bool,
}

impl Objects<'_> {
    fn name(&self) -> &str {
        self.site.name.as_str()
    }

    /// The labels of every child.
    #[must_use]
    pub fn labels(&self, colour: Option<Colour>) -> Value {
        let mut labels = json!({names::MANAGED_BY: names::MANAGER, names::SITE: self.name()});
        if let Some(colour) = colour {
            labels[names::COLOUR] = json!(colour.name());
        }
        labels
    }

    fn orphaned(&self) -> bool {
        self.site.target.deletion == DeletionPolicy::Orphan
    }

    /// What makes a child this site's.
    #[must_use]
    pub fn owners(&self) -> Value {
        if self.orphaned() {
            return json!([]);
        }
        json!([{
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.name(),
            "uid": self.uid,
            "controller": true,
            "blockOwnerDeletion": false,
        }])
    }

    /// Annotations, and the one that makes a child this site's where no reference may.
    #[must_use]
    pub fn annotations(&self, of: Value) -> Value {
        let mut all = match of {
            Value::Object(all) => all,
            _ => Map::new(),
        };
        if self.orphaned() {
            all.insert(names::OWNER.to_owned(), json!(self.uid));
        }
        Value::Object(all)
    }

    /// The metadata of a child that is made.
    #[must_use]
    pub fn metadata(&self, name: &str, colour: Option<Colour>, annotations: Value) -> Value {
        json!({
            "name": name,
            "namespace": self.namespace,
            "labels": self.labels(colour),
            "annotations": self.annotations(annotations),
            "ownerReferences": self.owners(),
        })
    }

    /// The metadata of a child that is changed, as it was seen with this version.
    #[must_use]
    pub fn change(&self, version: u64, colour: Option<Colour>, annotations: Value) -> Value {
        json!({
            "resourceVersion": version.to_string(),
            "labels": self.labels(colour),
            "annotations": self.annotations(annotations),
        })
    }

    /// What selects the pods of a colour, or those of a revision in it.
    #[must_use]
    pub fn selector(&self, colour: Colour, revision: Option<Revision>) -> Value {
        let mut selector = json!({names::SITE: self.name(), names::COLOUR: colour.name()});
        if let Some(revision) = revision {
            selector[names::REVISION] = json!(revision.to_string());
        }
        selector
    }

    /// What selects no pod. An empty selector would leave the endpoints as they are.
    #[must_use]
    pub fn nothing(&self) -> Value {
        json!({names::SITE: self.name(), names::COLOUR: "none"})
    }

    fn pods(&self, start: &Start<'_>) -> Value {
        let mut template = start.release.template.clone();
        let mut labels = self.selector(start.colour, Some(start.revision));
        let theirs = template.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
        for (key, value) in theirs {
            if labels.get(&key).is_none() {
                labels[key] = value;
            }
        }
        if !template["metadata"].is_object() {
            template["metadata"] = json!({});
        }
        template["metadata"]["labels"] = labels;
        template
    }

    fn facts(start: &Start<'_>) -> Value {
        json!({
            names::REVISION: start.revision.to_string(),
            names::GENERATION: start.generation.to_string(),
            names::REPLICAS: start.wish.to_string(),
            names::STARTED_AT: start.at,
            names::PORTS: json!(start.release.ports).to_string(),
        })
    }

    /// A colour's Deployment, made.
    #[must_use]
    pub fn deployment(&self, start: &Start<'_>) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self.metadata(&of_colour(self.name(), start.colour), Some(start.colour), Self::facts(start)),
            "spec": {
                "replicas": start.replicas,
                "paused": start.paused,
                "revisionHistoryLimit": 2,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": self.selector(start.colour, None)},
                "template": self.pods(start),
            },
        })
    }

    /// A colour's Deployment, given another release (a JSON patch, tested).
    #[must_use]
    pub fn start(&self, known: &Deployment, start: &Start<'_>) -> Vec<Value> {
        let spec = json!({
            "replicas": start.replicas,
            "paused": start.paused,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "Recreate"},
            "template": self.pods(start),
        });
        self.deployment_change(known, &spec, &Self::facts(start))
    }

    /// Fields of a colour's Deployment, and annotations (a JSON patch). It is refused if somebody changed the Deployment's specification since it was
    /// seen, or if another one has its name.
    #[must_use]
    pub fn deployment_change(&self, known: &Deployment, spec: &Value, annotations: &Value) -> Vec<Value> {
        let mut all = vec![
            json!({"op": "test", "path": "/metadata/uid", "value": uid_text(known.uid)}),
            json!({"op": "test", "path": "/metadata/generation", "value": known.generation}),
        ];
        let mut add = |path: String, value: &Value| all.push(json!({"op": "add", "path": path, "value": value}));
        for (key, value) in annotations.as_object().into_iter().flatten() {
            add(format!("/metadata/annotations/{}", key.replace('~', "~0").replace('/', "~1")), value);
        }
        for (field, value) in spec.as_object().into_iter().flatten() {
            add(format!("/spec/{field}"), value);
        }
        all
    }

    /// Ports as a Service has them.
    #[must_use]
    pub fn ports(ports: &[ServicePort]) -> Value {
        let port = |port: &ServicePort| {
            let mut one = json!({"port": port.port, "protocol": "TCP", "targetPort": port.target});
            if let Some(name) = &port.name {
                one["name"] = json!(name);
            }
            if let Some(protocol) = &port.app_protocol {
                one["appProtocol"] = json!(protocol);
            }
            one
        };
        ports.iter().map(port).collect()
    }

    /// A Service, made. A colour's own, which nobody connects to, has no address where the route is a Service: an API server takes longer over each
    /// address the more there are, and so does every node.
    #[must_use]
    pub fn service(&self, name: &str, colour: Option<Colour>, wanted: &ServiceWanted<'_>) -> Value {
        let mut spec = json!({"selector": wanted.selector, "ports": Self::ports(wanted.ports)});
        if colour.is_some() && matches!(self.site.target.route, Route::Service) {
            spec["clusterIP"] = json!("None");
        }
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata(name, colour, wanted.annotations.clone()),
            "spec": spec,
        })
    }

    /// A Service, changed (a strategic merge patch). What else stands in it is left: its type, its addresses, somebody's annotations.
    #[must_use]
    pub fn service_change(&self, version: u64, colour: Option<Colour>, wanted: &ServiceWanted<'_>) -> Value {
        let mut selector = wanted.selector.clone();
        selector["$patch"] = json!("replace");
        let mut ports = vec![json!({"$patch": "replace"})];
        ports.extend(Self::ports(wanted.ports).as_array().cloned().unwrap_or_default());
        json!({
            "metadata": self.change(version, colour, wanted.annotations.clone()),
            "spec": {"selector": selector, "ports": ports},
        })
    }

    /// A colour's PodDisruptionBudget. Pods that aren't ready may always go: they serve nobody.
    #[must_use]
    pub fn budget(&self, colour: Colour) -> Value {
        json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": self.metadata(&of_colour(self.name(), colour), Some(colour), json!({})),
            "spec": {
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": {"matchLabels": self.selector(colour, None)},
            },
        })
    }

    /// A release's ControllerRevision. `number`: grows from one to the next.
    #[must_use]
    pub fn release(&self, revision: Revision, release: &Release, number: i64) -> Value {
        let mut metadata = self.metadata(&of_release(self.name(), revision), None, json!({}));
        metadata["labels"][names::REVISION] = json!(revision.to_string());
        json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": metadata,
            "revision": number,
            "data": release,
        })
    }

    /// The specification of the site's HTTPRoute with all weight on one colour, or on none.
    #[must_use]
    pub fn route_spec(&self, http: &HttpRoute, live: Option<Colour>) -> Value {
        let port = self.site.target.ports.first().map_or(80, |port| port.port);
        let backends: Vec<Value> = Colour::BOTH
            .into_iter()
            .map(|colour| {
                let weight = if live == Some(colour) { 100 } else { 0 };
                json!({"name": of_colour(self.name(), colour), "port": port, "weight": weight})
            })
            .collect();
        let rules: Vec<Value> = http
            .rules
            .iter()
            .map(|rule| {
                let mut rule = rule.clone();
                rule["backendRefs"] = json!(backends);
                rule
            })
            .collect();
        let mut spec = json!({"parentRefs": http.parent_refs, "rules": rules});
        spec["hostnames"] = if http.hostnames.is_empty() { Value::Null } else { json!(http.hostnames) };
        spec
    }

    /// Stands for what is wanted of the HTTPRoute, whatever the weights.
    #[must_use]
    pub fn route_digest(&self, http: &HttpRoute) -> u64 {
        digest(self.route_spec(http, None).to_string().as_bytes())
    }
}

/// What a Service shall be.
#[derive(Clone, Debug)]
pub struct ServiceWanted<'a> {
    /// What it selects.
    pub selector: Value,
    /// Its ports.
    pub ports: &'a [ServicePort],
    /// Annotations to be set.
    pub annotations: Value,
}

/// The digest of ports as they are wanted, to be compared with that of a Service.
#[must_use]
pub fn wanted_ports(ports: &[ServicePort]) -> u64 {
    ports_digest(ports.iter().map(|port| PortFacts {
        name: port.name.as_ref().map(|name| name.as_str()).unwrap_or_default(),
        port: port.port,
        target: json!(port.target),
        app_protocol: port.app_protocol.as_deref(),
        tcp: true,
    }))
}

/// What the Services of a colour select.
#[must_use]
pub fn colour_selector(colour: Colour) -> Selector {
    Selector::Colour(colour)
}

/// The ports of a release that nothing is known of: those of the specification.
#[must_use]
pub fn own_ports(ports: &[ServicePort]) -> Vec<Port> {
    ports.iter().map(|port| Port { name: port.name.clone(), target: port.target.clone() }).collect()
}

#[cfg(test)]
mod tests;
