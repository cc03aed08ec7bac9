//! What the agent counts, and where it is served: `/metrics` in the OpenMetrics form and `/healthz`, on loopback.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::front::Chosen;
use super::git::metrics::GitMetrics;
use crate::api::status::{PHASES, phase_name};
use crate::api::types::SiteName;
use crate::driver::news::{PHASE_SECONDS, class_name};
use crate::platform::Fault;
use crate::rollout::Phase;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSite {
    site: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFault {
    site: String,
    class: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InPhase {
    site: String,
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    site: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAnswer {
    what: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWrite {
    result: &'static str,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    turns: Family<OfSite, Counter>,
    records: Family<OfSite, Counter>,
    faults: Family<OfFault, Counter>,
    phase: Family<InPhase, Gauge>,
    phase_seconds: Family<OfPhase, Histogram>,
    rollouts: Family<OfOutcome, Counter>,
    control: Family<OfAnswer, Counter>,
    /// What is counted of the Git repository.
    pub git: GitMetrics,
    sites: Gauge,
    hub_reached: Gauge,
    hub_since: Gauge,
    hub_writes: Family<OfWrite, Counter>,
    reloads: Gauge,
    /// How often the web server was told to reload, as it counts itself.
    count_reloads: Mutex<Option<Chosen>>,
    /// What keeps the agent as a whole from its work, in words.
    trouble: Mutex<Option<String>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("bluegreen");
        let turns = Family::default();
        let records = Family::default();
        let faults = Family::default();
        let phase = Family::default();
        let phase_seconds: Family<OfPhase, Histogram> = Family::new_with_constructor(|| Histogram::new(PHASE_SECONDS));
        let rollouts = Family::default();
        let control = Family::default();
        let sites = Gauge::default();
        let (hub_reached, hub_since, hub_writes) = (Gauge::default(), Gauge::default(), Family::default());
        let reloads = Gauge::default();
        registry.register("turns", "Decisions that were made", turns.clone());
        registry.register("records", "Turns that wrote a site's memory", records.clone());
        registry.register("faults", "Steps that were not made, by whose fault it was", faults.clone());
        registry.register("phase", "1 for the phase that a site is in", phase.clone());
        registry.register("phase_seconds", "How long phases lasted", phase_seconds.clone());
        registry.register("rollouts", "Rollouts that ended, by how", rollouts.clone());
        registry.register("control_requests", "Requests at the control socket", control.clone());
        registry.register("sites", "Sites that the agent knows", sites.clone());
        registry.register("hub_reached", "1 while this host acts for the hub that it has joined", hub_reached.clone());
        registry.register(
            "hub_since_timestamp_seconds",
            "Since when that is as it is; 0: this host has joined no hub",
            hub_since.clone(),
        );
        registry.register("hub_writes", "Writes on the hub, by whether it took them", hub_writes.clone());
        registry.register(
            "web_server_reloads",
            "How often the web server was told to reload since the agent started",
            reloads.clone(),
        );
        let git = GitMetrics::default();
        git.register(&mut registry);
        Metrics {
            registry,
            turns,
            records,
            faults,
            phase,
            phase_seconds,
            rollouts,
            control,
            git,
            sites,
            hub_reached,
            hub_since,
            hub_writes,
            reloads,
            count_reloads: Mutex::default(),
            trouble: Mutex::default(),
        }
    }
}

impl Metrics {
    /// A decision was made; `recorded`: and written down.
    pub fn turned(&self, site: &SiteName, recorded: bool) {
        self.turns.get_or_create(&of(site)).inc();
        if recorded {
            self.records.get_or_create(&of(site)).inc();
        }
    }

    /// A step was not made.
    pub fn fault(&self, site: &SiteName, fault: &Fault) {
        let labels = OfFault { site: site.to_string(), class: class_name(fault.class), reason: fault.reason };
        self.faults.get_or_create(&labels).inc();
    }

    /// A site is in this phase now.
    pub fn phase(&self, site: &SiteName, now: Phase) {
        for phase in PHASES {
            let value = i64::from(phase == now);
            self.phase.get_or_create(&in_phase(site, phase)).set(value);
        }
    }

    /// A phase ended after so many seconds.
    pub fn phase_ended(&self, phase: Phase, seconds: f64) {
        let labels = OfPhase { phase: phase_name(phase) };
        self.phase_seconds.get_or_create(&labels).observe(seconds);
    }

    /// A rollout ended: `Settled`, `SettledDegraded`, `Rejected`, …
    pub fn rollout_ended(&self, site: &SiteName, outcome: &'static str) {
        let labels = OfOutcome { site: site.to_string(), outcome };
        self.rollouts.get_or_create(&labels).inc();
    }

    /// A request at the control socket was answered.
    pub fn answered(&self, what: &'static str, code: u16) {
        self.control.get_or_create(&OfAnswer { what, code }).inc();
    }

    /// So many sites are known.
    pub fn sites(&self, count: usize) {
        self.sites.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether this host acts for its hub, and since when that is so; `None`: it has joined none.
    pub fn hub(&self, stands: Option<(bool, jiff::Timestamp)>) {
        self.hub_reached.set(i64::from(stands.is_some_and(|(reached, _)| reached)));
        self.hub_since.set(stands.map_or(0, |(_, since)| since.as_second()));
    }

    /// Something was written on the hub, or refused there.
    pub fn hub_wrote(&self, taken: bool) {
        let result = if taken { "taken" } else { "refused" };
        self.hub_writes.get_or_create(&OfWrite { result }).inc();
    }

    /// Asks this web server how often it was told to reload.
    pub(super) fn count_reloads(&self, web: Chosen) {
        *self.count_reloads.lock().unwrap_or_else(PoisonError::into_inner) = Some(web);
    }

    /// A site is gone: nothing more is said of it.
    pub fn forget(&self, site: &SiteName) {
        self.turns.remove(&of(site));
        self.records.remove(&of(site));
        for phase in PHASES {
            self.phase.remove(&in_phase(site, phase));
        }
    }

    /// What keeps the agent as a whole from its work; `None`: nothing.
    pub fn trouble(&self, what: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn health(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn of(site: &SiteName) -> OfSite {
    OfSite { site: site.to_string() }
}

fn in_phase(site: &SiteName, phase: Phase) -> InPhase {
    InPhase { site: site.to_string(), phase: phase_name(phase) }
}

/// Opens the socket for metrics.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until the future is dropped.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let router = Router::new().route("/metrics", get(show)).route("/healthz", get(healthz)).with_state(metrics);
    axum::serve(listener, router).await
}

async fn show(State(metrics): State<Arc<Metrics>>) -> Response {
    if let Some(web) = &*metrics.count_reloads.lock().unwrap_or_else(PoisonError::into_inner) {
        metrics.reloads.set(i64::try_from(web.reloads()).unwrap_or(i64::MAX));
    }
    let mut text = String::new();
    match encode(&mut text, &metrics.registry) {
        Ok(()) => {
            ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

async fn healthz(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.health() {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
    }
}
