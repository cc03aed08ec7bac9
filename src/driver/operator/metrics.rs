//! What the operator counts. Nothing is labelled by site: with ten thousand of them the numbers would weigh more than the sites.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Method, Uri};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::status::{PHASES, phase_name};
use crate::driver::news::{PHASE_SECONDS, class_name};
use crate::platform::Fault;
use crate::rollout::Phase;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResult {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFault {
    class: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResource {
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCall {
    verb: &'static str,
    resource: String,
    dry_run: &'static str,
    /// 0: no answer.
    code: u16,
}

/// A request to the API server, as it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    verb: &'static str,
    /// With its subresource, as RBAC names it: `deployments/scale`.
    resource: String,
    dry_run: bool,
}

impl Call {
    /// What a request asks for.
    #[must_use]
    pub fn of(method: &Method, uri: &Uri) -> Call {
        let (resource, named) = resource(uri.path());
        let query = uri.query().unwrap_or_default();
        let asks = |what: &str| query.split('&').any(|part| part == what);
        let verb = match method.as_str() {
            "GET" if asks("watch=true") => "watch",
            "GET" if named => "get",
            "GET" => "list",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if named => "delete",
            "DELETE" => "deletecollection",
            _ => "other",
        };
        Call { verb, resource, dry_run: asks("dryRun=All") }
    }

    /// Whether it is about who leads.
    #[must_use]
    pub fn is_lease(&self) -> bool {
        self.resource == "leases"
    }
}

/// The resource that a path names, and whether it names one object of it.
fn resource(path: &str) -> (String, bool) {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let rest = match parts.first() {
        Some(&"api") => parts.get(2..),
        Some(&"apis") => parts.get(3..),
        _ => None,
    };
    let rest = rest.unwrap_or_default();
    let within = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    match within {
        [] => ("discovery".to_owned(), false),
        [resource] => ((*resource).to_owned(), false),
        [resource, _] => ((*resource).to_owned(), true),
        [resource, _, sub, ..] => (format!("{resource}/{sub}"), true),
    }
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<OfResult, Counter>,
    faults: Family<OfFault, Counter>,
    sites: Family<OfPhase, Gauge>,
    phase_seconds: Family<OfPhase, Histogram>,
    cutover_seconds: Histogram,
    rollouts: Family<OfOutcome, Counter>,
    waiting: Gauge,
    waited: Histogram,
    took: Histogram,
    leader: Gauge,
    calls: Family<OfCall, Counter>,
    watches: Family<OfResource, Counter>,
    /// Held while several numbers change that are read together.
    encoding: Mutex<()>,
}

/// From a tenth of a second to ten minutes: a cutover waits until the front door is seen to follow, and the Gateway of a cloud takes two minutes.
const CUTOVER: [f64; 13] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0];

/// From a millisecond to a minute.
const SHORT: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0, 60.0];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("bluegreen");
        let metrics = Metrics {
            reconciles: Family::default(),
            faults: Family::default(),
            sites: Family::default(),
            phase_seconds: Family::new_with_constructor(|| Histogram::new(PHASE_SECONDS)),
            cutover_seconds: Histogram::new(CUTOVER),
            rollouts: Family::default(),
            waiting: Gauge::default(),
            waited: Histogram::new(SHORT),
            took: Histogram::new(SHORT),
            leader: Gauge::default(),
            calls: Family::default(),
            watches: Family::default(),
            encoding: Mutex::default(),
            registry: Registry::default(),
        };
        let r = &mut registry;
        r.register("reconciles", "Turns of a site, by what they came to", metrics.reconciles.clone());
        r.register("reconcile_seconds", "How long turns took", metrics.took.clone());
        r.register("faults", "Turns or steps that were not made, by whose fault it was", metrics.faults.clone());
        r.register("sites", "Sites in each phase, as the leader sees them", metrics.sites.clone());
        r.register("phase_seconds", "How long phases lasted", metrics.phase_seconds.clone());
        r.register(
            "cutover_seconds",
            "From the decision to cut over until the new colour was seen to serve",
            metrics.cutover_seconds.clone(),
        );
        r.register("rollouts", "Rollouts that ended, by how", metrics.rollouts.clone());
        r.register("workqueue_depth", "Sites that wait for a turn", metrics.waiting.clone());
        r.register("workqueue_seconds", "How long sites waited for a turn", metrics.waited.clone());
        r.register("leader", "1 while this replica leads", metrics.leader.clone());
        r.register("api_requests", "Requests to the API server; code 0: no answer", metrics.calls.clone());
        r.register("watch_errors", "Watches that broke, by resource", metrics.watches.clone());
        for phase in PHASES {
            metrics.sites.get_or_create(&OfPhase { phase: phase_name(phase) }).set(0);
        }
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    /// A turn was taken; `result`: `idle` (nothing to do), `recorded`, `fault`, `invalid`, `panic`.
    pub fn turned(&self, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&OfResult { result }).inc();
        self.took.observe(took.as_secs_f64());
    }

    /// Something was not done.
    pub fn fault(&self, fault: &Fault) {
        self.faults.get_or_create(&OfFault { class: class_name(fault.class), reason: fault.reason }).inc();
    }

    /// A site moved from one phase to another; `None`: it came, or it went.
    pub fn moved(&self, from: Option<Phase>, to: Option<Phase>) {
        let _together = self.encoding.lock().unwrap_or_else(PoisonError::into_inner);
        let gauge = |phase| self.sites.get_or_create_owned(&OfPhase { phase: phase_name(phase) });
        if let Some(from) = from {
            gauge(from).dec();
        }
        if let Some(to) = to {
            gauge(to).inc();
        }
    }

    /// A phase ended after so long.
    pub fn phase_ended(&self, phase: Phase, lasted: Duration) {
        self.phase_seconds.get_or_create(&OfPhase { phase: phase_name(phase) }).observe(lasted.as_secs_f64());
        if phase == Phase::CuttingOver {
            self.cutover_seconds.observe(lasted.as_secs_f64());
        }
    }

    /// A rollout ended: `settled`, `degraded`, `rejected`, …
    pub fn rollout_ended(&self, outcome: &'static str) {
        self.rollouts.get_or_create(&OfOutcome { outcome }).inc();
    }

    /// So many sites wait for a turn.
    pub fn waiting(&self, sites: usize) {
        self.waiting.set(i64::try_from(sites).unwrap_or(i64::MAX));
    }

    /// A site got its turn after so long.
    pub fn waited(&self, span: Duration) {
        self.waited.observe(span.as_secs_f64());
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// A request was answered with this code, or not at all.
    pub fn called(&self, call: &Call, code: Option<u16>) {
        let labels = OfCall {
            verb: call.verb,
            resource: call.resource.clone(),
            dry_run: if call.dry_run { "true" } else { "false" },
            code: code.unwrap_or(0),
        };
        self.calls.get_or_create(&labels).inc();
    }

    /// A watch of this resource broke.
    pub fn watch_broke(&self, resource: &'static str) {
        self.watches.get_or_create(&OfResource { resource }).inc();
    }

    /// All of it, in the OpenMetrics form.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let _together = self.encoding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, uri: &str) -> Call {
        Call::of(&method, &uri.parse().expect("a URI"))
    }

    #[test]
    fn a_request_is_counted_under_the_words_that_rbac_uses() {
        let site = "/apis/bluegreen.dev/v1alpha1/namespaces/a/bluegreensites";
        for (method, uri, verb, resource, dry_run) in [
            (Method::PUT, format!("{site}/shop/status"), "update", "bluegreensites/status", false),
            (Method::GET, format!("{site}?watch=true&resourceVersion=1"), "watch", "bluegreensites", false),
            (Method::GET, format!("{site}?limit=500"), "list", "bluegreensites", false),
            (Method::GET, "/apis/bluegreen.dev/v1alpha1/bluegreensites?".into(), "list", "bluegreensites", false),
            (Method::GET, "/api/v1/namespaces/a/services/shop".into(), "get", "services", false),
            (Method::POST, "/apis/apps/v1/namespaces/a/deployments?dryRun=All".into(), "create", "deployments", true),
            (
                Method::DELETE,
                "/apis/apps/v1/namespaces/a/controllerrevisions?x".into(),
                "deletecollection",
                "controllerrevisions",
                false,
            ),
            (Method::GET, "/api/v1/namespaces/a".into(), "get", "namespaces", false),
            (Method::GET, "/apis/gateway.networking.k8s.io/v1".into(), "list", "discovery", false),
        ] {
            assert_eq!(call(method, &uri), Call { verb, resource: resource.to_owned(), dry_run }, "{uri}");
        }
        assert!(call(Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/b").is_lease());
    }

    #[test]
    fn what_is_counted_can_be_read() {
        let metrics = Metrics::default();
        metrics.moved(None, Some(Phase::Starting));
        metrics.moved(Some(Phase::Starting), Some(Phase::Idle));
        let text = metrics.text().expect("text");
        assert!(text.contains("bluegreen_sites{phase=\"Idle\"} 1"), "{text}");
        assert!(text.contains("bluegreen_sites{phase=\"Starting\"} 0"), "{text}");
    }
}
