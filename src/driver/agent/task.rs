//! Turns one site, in a task of its own, until it is gone. A fault or a panic in it touches no other site.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Agent;
use super::entry::{Entry, State, Told};
use super::origin::Origin;
use super::resolve::{release, tell};
use super::tell::{Teller, Telling};
use super::uploads::{self, Watching};
use crate::driver::{Driver, Turn};
use crate::platform::clock::SystemClock;
use crate::platform::host::site::{HostSite, Wanted};
use crate::platform::host::state::FileStore;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;
use crate::platform::{Class, Fault};
use crate::rollout::{Phase, Plan};

/// At rest, a site is looked at so often: for drift that nobody told us of. A moved link, a process that ended and an instance that is
/// not ready any more are told at once.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// What was uploaded is looked at again so often while it can't be used.
const LOOK_FOR_RELEASE: Duration = Duration::from_secs(5);
/// What is left of a site that goes away is cleared away again so often, until it can be.
const CLEAR_AWAY_AGAIN: Duration = Duration::from_secs(5);

/// One site's task.
pub(super) struct Task<W, S> {
    agent: Arc<Agent<W, S>>,
    entry: Arc<Entry>,
    site: Arc<HostSite<W, S>>,
    driver: Driver<HostSite<W, S>, FileStore, SystemClock>,
    teller: Teller,
    /// What was last asked for could not be done.
    fault: Option<Fault>,
    resolving: Option<Resolving>,
    /// The request to look at what was uploaded that was met last.
    resolved: u64,
    /// Why the release can't be told, and when that is tried again.
    untold: Option<(Fault, Instant)>,
    /// The folder in which releases arrive.
    watching: Option<Watching>,
}

struct Resolving {
    request: u64,
    task: JoinHandle<Result<Told, Fault>>,
}

impl<W: WebServer + 'static, S: Supervisor + 'static> Task<W, S> {
    /// A task for a site that was accepted.
    pub(super) fn new(agent: Arc<Agent<W, S>>, entry: Arc<Entry>, site: Arc<HostSite<W, S>>) -> Task<W, S> {
        let memory = FileStore::new(entry.dir().clone());
        let hub = agent.clone();
        Task {
            driver: Driver::new(site.clone(), memory, SystemClock::start()),
            teller: Teller::new(
                entry.clone(),
                agent.metrics.clone(),
                agent.happened.clone(),
                Box::new(move || hub.changed()),
            ),
            agent,
            entry,
            site,
            fault: None,
            resolving: None,
            resolved: 0,
            untold: None,
            watching: None,
        }
    }

    /// Turns the site until it is gone.
    pub(super) async fn run(mut self) {
        loop {
            if let Some(site) = &self.entry.state().site {
                uploads::attend(&mut self.watching, &self.entry, site, self.agent.host.limits);
            }
            self.resolve(&self.entry.state()).await;
            let state = self.entry.state();
            let Some(plan) = self.plan(&state) else { return };
            let Some(wait) = self.turn(&state, &plan).await else { return };
            self.rest(wait).await;
        }
    }

    /// One turn, and how long to wait for the next; `None`: the site is gone.
    async fn turn(&mut self, state: &State, plan: &Plan) -> Option<Duration> {
        let site = self.site.clone();
        let refused = state.arrived.as_ref().and_then(|arrived| arrived.fault.clone());
        let untold = self.untold.as_ref().map(|(fault, _)| fault.clone()).or(refused);
        if let Some(fault) = &untold {
            self.teller.log_once(fault);
        }
        let from_git =
            if matches!(state.origin(), Origin::Git { .. }) { self.agent.git.warnings() } else { Vec::new() };
        let mut telling = Telling {
            teller: &mut self.teller,
            state,
            plan,
            looked: self.resolved,
            slots: &|| site.slots(),
            warnings: &|| site.warnings().into_iter().chain(from_git.iter().cloned()).collect(),
            fault: self.fault.clone().or(untold.clone()),
        };
        let turn: Turn = match self.driver.turn(plan, &mut telling).await {
            Ok(turn) => turn,
            Err(none) => {
                self.teller.none(state, &none, self.site.slots());
                return Some(none.wait);
            }
        };
        if turn.decision.status.phase == Phase::Gone {
            let Err(fault) = site.clear_away().await else {
                tracing::info!(site = %self.entry.name, "the site is gone");
                self.agent.gone(&self.entry);
                return None;
            };
            telling.fault = Some(fault.clone());
            telling.tell(&turn.observed, &turn.decision);
            self.teller.fault(Some(&fault));
            return Some(CLEAR_AWAY_AGAIN);
        }
        telling.fault = turn.fault.clone().or(untold.clone());
        telling.tell(&turn.observed, &turn.decision);
        match (&turn.fault, untold) {
            (None, Some(_)) => {}
            (fault, _) => self.teller.fault(fault.as_ref()),
        }
        if self.site.take_upload_changed() {
            self.entry.change(|state| state.resolve += 1);
            self.entry.wake.notify_one();
        }
        self.fault = turn.fault;
        Some(turn.wait.unwrap_or(HEARTBEAT).min(HEARTBEAT))
    }

    async fn rest(&mut self, wait: Duration) {
        let again = self.untold.as_ref().map(|(_, at)| *at);
        let until = (Instant::now() + wait).min(again.unwrap_or_else(|| Instant::now() + wait));
        let entry = self.entry.clone();
        match &mut self.resolving {
            Some(resolving) => tokio::select! {
                () = entry.wake.notified() => {}
                () = tokio::time::sleep_until(until.into()) => {}
                done = &mut resolving.task => {
                    let request = resolving.request;
                    self.resolving = None;
                    self.told(request, done.unwrap_or_else(|error| Err(failed(&error))));
                }
            },
            None => tokio::select! {
                () = entry.wake.notified() => {}
                () = tokio::time::sleep_until(until.into()) => {}
            },
        }
    }

    /// Begins to look at what was uploaded, if there is a reason to.
    async fn resolve(&mut self, state: &State) {
        let Some(site) = &state.site else { return };
        if state.deleting() {
            // Nobody looks for it any more, so nobody may wait for the next look.
            self.untold = None;
            return;
        }
        if self.resolving.is_some() {
            return;
        }
        let told = state.accepted.as_ref().and_then(|accepted| accepted.told.as_ref());
        let known = release(site, told).is_some();
        let asked = state.resolve != self.resolved;
        let again = self.untold.as_ref().is_some_and(|(_, at)| Instant::now() >= *at);
        if !asked && (known || self.untold.is_some()) && !again {
            return;
        }
        if asked {
            self.driver.encourage();
        }
        let (site, limits, arrived) = (site.clone(), self.agent.host.limits, state.arrived.clone());
        let mut task = tokio::task::spawn_blocking(move || tell(&site, arrived.as_deref(), &limits));
        // Most are told within a moment: then nothing is decided on what was told before.
        match tokio::time::timeout(Duration::from_millis(200), &mut task).await {
            Ok(done) => self.told(state.resolve, done.unwrap_or_else(|error| Err(failed(&error)))),
            Err(_) => {
                self.resolving = Some(Resolving { request: state.resolve, task });
            }
        }
    }

    fn told(&mut self, request: u64, told: Result<Told, Fault>) {
        if request != self.resolved {
            self.resolved = request;
            self.site.forget_failures();
        }
        let changed = match told {
            Ok(told) => {
                self.untold = None;
                self.entry.change(|state| match state.accepted.as_mut().map(Arc::make_mut) {
                    Some(accepted) if accepted.told.as_ref() != Some(&told) => {
                        accepted.told = Some(told);
                        true
                    }
                    _ => false,
                })
            }
            Err(fault) => {
                self.teller.log_once(&fault);
                self.untold = Some((fault, Instant::now() + LOOK_FOR_RELEASE));
                self.entry.change(|state| {
                    let Some(accepted) = state.accepted.as_mut().map(Arc::make_mut) else { return false };
                    accepted.told.take().is_some()
                })
            }
        };
        if changed && let Err(fault) = self.entry.save() {
            self.teller.log_once(&fault);
        }
    }

    /// What the logic is asked for. `None`: nothing was ever accepted.
    fn plan(&mut self, state: &State) -> Option<Plan> {
        let site = state.site.clone()?;
        let told = state.accepted.as_ref().and_then(|accepted| accepted.told.as_ref());
        let release = release(&site, told);
        // While the release is being told anew, what was told before stands, and a retry waits for it.
        let plan = Plan {
            wanted: release.as_ref().map(|release| release.revision),
            promotion: site.promotion,
            limits: site.limits,
            deleting: state.deleting(),
            commands: if self.resolving.is_some() { Vec::new() } else { state.orders.commands() },
        };
        let afar = self.agent.afar(state.origin());
        self.site.want(Wanted { site, release, afar });
        Some(plan)
    }
}

fn failed(error: &tokio::task::JoinError) -> Fault {
    Fault {
        class: Class::Transient,
        reason: "AgentFailed",
        message: format!("a task of the agent failed: {error}; please report this"),
    }
}
