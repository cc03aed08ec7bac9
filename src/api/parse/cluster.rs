//! A site on Kubernetes. What Kubernetes itself judges better (the template) is left to it; what only we know is judged here.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value, json};

use super::judge::Judge;
use crate::api::names::cluster;
use crate::api::site::{ClusterTarget, HttpRoute, Route, ServicePort, SettingsGuards, TargetPort};
use crate::api::spec;
use crate::api::types::{Hostname, Label, PortName, SiteName, Token};

/// The path of everything in here.
const CLUSTER: &str = "spec.target.cluster";

/// So long after the EndpointSlices agree, a node may still send new connections to the old pods: kube-proxy was seen to take up to 0.9 s, and
/// deleting pods 3 s after a switch still cost requests.
pub const PROXIES_LAG: Duration = Duration::from_secs(5);

impl Judge {
    pub(super) fn cluster(
        &mut self,
        name: Option<&SiteName>,
        written: &spec::Cluster,
        incarnation: Option<Token>,
        settings: SettingsGuards,
    ) -> Option<ClusterTarget> {
        let replicas = self.number(&format!("{CLUSTER}.replicas"), written.replicas, 1, 10_000);
        let service = self.service_name(name, &written.service);
        let ports = self.service_ports(&written.service.ports);
        let route = self.route(&written.route);
        self.template(&written.template.value());
        Some(ClusterTarget {
            replicas: replicas?,
            service: service?,
            ports: ports?,
            route: route?,
            template: written.template.clone(),
            config_maps: written.configuration.config_maps,
            secrets: written.configuration.secrets,
            deletion: written.deletion_policy,
            inject_pre_stop: written.inject_pre_stop,
            incarnation,
            settings,
        })
    }

    fn service_name(&mut self, site: Option<&SiteName>, service: &spec::ServiceSpec) -> Option<Label> {
        let site = site?;
        let path = format!("{CLUSTER}.service.name");
        let Some(name) = &service.name else {
            if site.as_str().starts_with(|first: char| first.is_ascii_digit()) {
                self.wrong(path, "is needed, since the site's name begins with a digit and a Service's name can't");
                return None;
            }
            return self.narrow(&path, site.as_str());
        };
        for suffix in ["blue", "green", "preview"] {
            if *name == format!("{site}-{suffix}") {
                self.wrong(path, format!("{name:?} is the name of a Service of the site's own: take another one"));
                return None;
            }
        }
        self.narrow(&path, name)
    }

    fn service_ports(&mut self, ports: &[spec::PortSpec]) -> Option<Vec<ServicePort>> {
        let path = format!("{CLUSTER}.service.ports");
        if ports.is_empty() {
            self.wrong(path.clone(), "is empty: a site needs a port, as in [{port: 80, targetPort: 8080}]");
        }
        let judged = self.each(&path, ports, |judge, path, port| {
            let number = judge.number::<u16>(&format!("{path}.port"), port.port, 1, 65_535);
            let name = match &port.name {
                None if ports.len() > 1 => {
                    judge.wrong(format!("{path}.name"), "is missing: several ports each need a name");
                    None
                }
                None => Some(None),
                Some(name) => judge.narrow::<PortName>(&format!("{path}.name"), name).map(Some),
            };
            let target_path = format!("{path}.targetPort");
            let target = match &port.target_port {
                None => number.map(TargetPort::Number),
                Some(IntOrString::Int(target)) => {
                    judge.number(&target_path, *target, 1, 65_535).map(TargetPort::Number)
                }
                Some(IntOrString::String(target)) => judge.narrow(&target_path, target).map(TargetPort::Name),
            };
            Some(ServicePort { name: name?, port: number?, target: target?, app_protocol: port.app_protocol.clone() })
        });
        let numbers: Vec<i32> = ports.iter().map(|port| port.port).collect();
        self.once_at(&path, ".port", &numbers);
        let mut names = BTreeSet::new();
        for (index, port) in ports.iter().enumerate() {
            if let Some(name) = &port.name
                && !names.insert(name)
            {
                self.wrong(
                    format!("{path}[{index}].name"),
                    format!("{name} is named twice: give each port its own name"),
                );
            }
        }
        judged
    }

    fn route(&mut self, route: &spec::RouteSpec) -> Option<Route> {
        let http = match route {
            spec::RouteSpec::Service(_) => return Some(Route::Service),
            spec::RouteSpec::HttpRoute(http) => http,
        };
        let path = format!("{CLUSTER}.route.httpRoute");
        if http.parent_refs.is_empty() {
            self.wrong(format!("{path}.parentRefs"), "is empty: name the Gateway, as in [{name: web}]");
        }
        let parents = self.each(&format!("{path}.parentRefs"), &http.parent_refs, |judge, path, parent| {
            let named = parent["name"].as_str().is_some_and(|name| !name.is_empty());
            if !named {
                judge.wrong(format!("{path}.name"), "is missing: it names the Gateway");
            }
            named.then(|| parent.clone())
        });
        let hostnames = self.each(&format!("{path}.hostnames"), &http.hostnames, |judge, path, name| {
            judge.narrow::<Hostname>(path, name)
        });
        let rules = self.each(&format!("{path}.rules"), &http.rules, |judge, path, rule| {
            let own = rule.get("backendRefs").is_some();
            if own {
                judge.wrong(
                    format!("{path}.backendRefs"),
                    "is written by the operator, which names the Services of both colours there: leave it out",
                );
            }
            (!own).then(|| rule.clone())
        });
        let settle = self.number::<u32>(&format!("{path}.settleSeconds"), http.settle_seconds, 0, 3600);
        let rules = rules?;
        Some(Route::HttpRoute(HttpRoute {
            parent_refs: parents?,
            hostnames: hostnames?,
            rules: if rules.is_empty() { vec![json!({})] } else { rules },
            settle: Duration::from_secs(settle?.into()),
        }))
    }

    /// What the API server can't know: what we need of a template. Everything else is judged by a dry run, before anything moves.
    fn template(&mut self, template: &Value) {
        let path = format!("{CLUSTER}.template");
        if template["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
            self.wrong(format!("{path}.spec.containers"), "is missing: a pod needs at least one container");
        }
        let restart = &template["spec"]["restartPolicy"];
        if !restart.is_null() && *restart != json!("Always") {
            self.wrong(
                format!("{path}.spec.restartPolicy"),
                format!("{restart} is for jobs: a site's pods are always restarted, so leave it out"),
            );
        }
        let none = Map::new();
        for place in ["labels", "annotations"] {
            let texts = template["metadata"][place].as_object().unwrap_or(&none);
            for key in texts.keys().filter(|key| key.starts_with(cluster::PREFIX)) {
                self.wrong(format!("{path}.metadata.{place}[{key}]"), "is for the operator to write: leave it out");
            }
        }
    }
}
