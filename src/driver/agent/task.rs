//! Turns one site, in a task of its own, until it is gone. A fault or a panic in it touches no other site.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Agent;
use super::entry::{Entry, State, Told};
use super::history::{event, outcome};
use super::resolve::{release, tell};
use super::view;
use crate::api::report::{self, Seen};
use crate::api::status::SiteStatus;
use crate::driver::clock::{SystemClock, wall};
use crate::driver::{Driver, NoTurn, Turn};
use crate::platform::host::site::{HostSite, Wanted};
use crate::platform::host::state::FileStore;
use crate::platform::host::store;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;
use crate::platform::{Class, Fault};
use crate::rollout::{Artifact, Colour, News, Observed, Phase, Plan, Reason, Revision, Time};

/// At rest, a site is looked at so often: for drift that nobody told us of.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// What was uploaded is looked at again so often while it can't be used.
const LOOK_FOR_RELEASE: Duration = Duration::from_secs(5);

/// One site's task.
pub(super) struct Task<W, S> {
    agent: Arc<Agent<W, S>>,
    entry: Arc<Entry>,
    site: Arc<HostSite<W, S>>,
    driver: Driver<HostSite<W, S>, FileStore, SystemClock>,
    memory: FileStore,
    before: Option<SiteStatus>,
    /// The phase that the site is in, and since when.
    phase: Option<(Phase, Instant)>,
    resolving: Option<Resolving>,
    /// The request to look at what was uploaded that was met last.
    resolved: u64,
    /// Why the release can't be told, and when that is tried again.
    untold: Option<(Fault, Instant)>,
    /// What was last logged of a fault, so that it is logged once.
    logged: Option<String>,
}

struct Resolving {
    request: u64,
    task: JoinHandle<Result<Told, Fault>>,
}

impl<W: WebServer + 'static, S: Supervisor + 'static> Task<W, S> {
    /// A task for a site that was accepted.
    pub(super) fn new(agent: Arc<Agent<W, S>>, entry: Arc<Entry>, site: Arc<HostSite<W, S>>) -> Task<W, S> {
        let memory = FileStore::new(entry.dir().clone());
        Task {
            driver: Driver::new(site.clone(), memory.clone(), SystemClock::start()),
            before: read_report(&entry),
            memory,
            agent,
            entry,
            site,
            phase: None,
            resolving: None,
            resolved: 0,
            untold: None,
            logged: None,
        }
    }

    /// Turns the site until it is gone.
    pub(super) async fn run(mut self) {
        loop {
            let state = self.entry.state();
            self.resolve(&state).await;
            let state = self.entry.state();
            let Some(plan) = self.plan(&state) else { return };
            let wait = match self.driver.turn(&plan).await {
                Ok(turn) => {
                    if turn.decision.status.phase == Phase::Gone {
                        if self.clear_away().await {
                            return;
                        }
                        Some(Duration::from_secs(1))
                    } else {
                        self.after(&state, &plan, &turn);
                        turn.wait
                    }
                }
                Err(none) => {
                    self.without_turn(&state, &none);
                    Some(none.wait)
                }
            };
            self.rest(wait.unwrap_or(HEARTBEAT).min(HEARTBEAT)).await;
        }
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
        if self.resolving.is_some() || state.deleting() {
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
        let (site, limits) = (site.clone(), self.agent.host.limits);
        let mut task = tokio::task::spawn_blocking(move || tell(&site, &limits));
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
                self.entry.change(|state| match &mut state.accepted {
                    Some(accepted) if accepted.told.as_ref() != Some(&told) => {
                        accepted.told = Some(told);
                        true
                    }
                    _ => false,
                })
            }
            Err(fault) => {
                self.log_once(&fault);
                self.untold = Some((fault, Instant::now() + LOOK_FOR_RELEASE));
                self.entry.change(|state| {
                    let Some(accepted) = &mut state.accepted else { return false };
                    accepted.told.take().is_some()
                })
            }
        };
        if changed && let Err(fault) = self.entry.save() {
            self.log_once(&fault);
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
        self.site.want(Wanted { site, release });
        Some(plan)
    }

    /// Tells what a turn came to.
    fn after(&mut self, state: &State, plan: &Plan, turn: &Turn) {
        let name = self.entry.name.clone();
        let metrics = self.agent.metrics.clone();
        metrics.turned(&name, turn.recorded);
        let now = wall();
        self.tell_news(turn, now);
        self.note_phase(turn.decision.status.phase);
        let untold = self.untold.as_ref().map(|(fault, _)| fault.clone());
        match &turn.fault {
            Some(fault) => {
                metrics.fault(&name, fault);
                self.log_once(fault);
            }
            None if untold.is_none() => self.logged = None,
            None => {}
        }
        let fault = turn.fault.as_ref().or(untold.as_ref());
        if self.site.take_upload_changed() {
            self.entry.change(|state| state.resolve += 1);
            self.entry.wake.notify_one();
        }
        let mut status = report::status(&Seen {
            name: self.entry.name.as_str(),
            generation: state.generation(),
            plan,
            observed: &turn.observed,
            decision: &turn.decision,
            fault,
            before: self.before.as_ref(),
            now,
        });
        if let Some(problem) = &state.problem {
            let before = status.clone();
            status = report::unusable(problem.reason, &problem.message, state.generation(), Some(&before), now);
        }
        let attempts = view::attempts(plan, &turn.observed, &turn.decision);
        if turn.recorded && self.before.as_ref() != Some(&status) {
            // For people only: lost, it is told anew.
            if let Err(error) = store::write(&report_file(&self.entry), &status, 0o600) {
                self.log_once(&error.into());
            }
        }
        self.before = Some(status.clone());
        let view = view::site(&self.entry.name, state, Some(&status), self.site.slots(), attempts);
        if self.entry.tell(view) {
            self.agent.changed();
        }
    }

    fn tell_news(&mut self, turn: &Turn, now: Time) {
        let mut events = Vec::new();
        for news in &turn.decision.news {
            let event = event(news, now, &evidence(news, &turn.observed));
            match news {
                News::Obeyed(command) => {
                    let _ = self.entry.outcomes.send((command.id.clone(), true));
                }
                News::Ignored(command) => {
                    let _ = self.entry.outcomes.send((command.id.clone(), false));
                }
                _ => {}
            }
            if let Some(outcome) = outcome(news) {
                self.agent.metrics.rollout_ended(&self.entry.name, outcome);
            }
            tracing::info!(site = %self.entry.name, event = event.reason, "{}", event.message);
            events.push(event);
        }
        if !turn.decision.record {
            return;
        }
        if let Err(fault) = self.memory.add_history(events) {
            self.log_once(&fault);
        }
    }

    fn note_phase(&mut self, phase: Phase) {
        if let Some((before, since)) = self.phase {
            if before == phase {
                return;
            }
            self.agent.metrics.phase_ended(before, since.elapsed().as_secs_f64());
        }
        self.phase = Some((phase, Instant::now()));
        self.agent.metrics.phase(&self.entry.name, phase);
    }

    fn without_turn(&mut self, state: &State, none: &NoTurn) {
        self.agent.metrics.fault(&self.entry.name, &none.fault);
        self.log_once(&none.fault);
        let generation = state.generation();
        let status = report::unusable(none.fault.reason, &none.fault.message, generation, self.before.as_ref(), wall());
        let attempts = self.entry.view().map(|view| view.attempts).unwrap_or_default();
        let view = view::site(&self.entry.name, state, Some(&status), self.site.slots(), attempts);
        if self.entry.tell(view) {
            self.agent.changed();
        }
    }

    async fn clear_away(&mut self) -> bool {
        match self.site.clear_away().await {
            Ok(()) => {
                tracing::info!(site = %self.entry.name, "the site is gone");
                self.agent.gone(&self.entry);
                true
            }
            Err(fault) => {
                self.log_once(&fault);
                false
            }
        }
    }

    fn log_once(&mut self, fault: &Fault) {
        let text = format!("{}: {fault}", fault.reason);
        if self.logged.as_ref() != Some(&text) {
            match fault.class {
                Class::Conflict => {
                    tracing::debug!(site = %self.entry.name, reason = fault.reason, "{fault}");
                }
                _ => tracing::warn!(site = %self.entry.name, reason = fault.reason, "{fault}"),
            }
            self.logged = Some(text);
        }
    }
}

/// What was seen of a revision, if that explains what happened to it.
fn evidence(news: &News, observed: &Observed) -> String {
    let (News::Rejected(revision, reason), Observed::World(world)) = (news, observed) else {
        return String::new();
    };
    if matches!(reason, Reason::Aborted | Reason::RolledBack | Reason::ApprovalDeadlineExceeded | Reason::HeldAfterLoss)
    {
        return String::new();
    }
    if let Some(Artifact::Unusable(why)) = world.artifacts.get(revision) {
        return why.clone();
    }
    let of = |revision: &Revision| {
        Colour::BOTH.iter().find_map(|colour| world.slot(*colour).filter(|o| o.revision == *revision))
    };
    of(revision).map(|occupant| occupant.detail.clone()).unwrap_or_default()
}

fn report_file(entry: &Entry) -> std::path::PathBuf {
    entry.dir().root().join("report.json")
}

fn read_report(entry: &Entry) -> Option<SiteStatus> {
    // For people only: lost, it is told anew.
    store::read(&report_file(entry), store::LIMIT).ok().flatten()
}

fn failed(error: &tokio::task::JoinError) -> Fault {
    Fault {
        class: Class::Transient,
        reason: "AgentFailed",
        message: format!("a task of the agent failed: {error}; please report this"),
    }
}
