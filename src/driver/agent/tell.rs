//! Tells people what became of a site: log, history, metrics, status.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::broadcast;

use super::entry::{Accepted, Entry, State};
use super::hub::events::Happened;
use super::metrics::Metrics;
use super::origin::Origin;
use super::view;
use crate::api::report::{self, Seen};
use crate::api::status::SiteStatus;
use crate::control::api::{Attempts, SlotView};
use crate::driver::news::{event, evidence, outcome};
use crate::driver::operator::events;
use crate::driver::{Listener, NoTurn, log};
use crate::platform::clock::wall;
use crate::platform::host::state::{FileStore, write_for_people};
use crate::platform::host::store;
use crate::platform::{Class, Fault};
use crate::rollout::{Decision, News, Observed, Phase, Plan, Time};

/// Tells people of one site.
pub(super) struct Teller {
    entry: Arc<Entry>,
    metrics: Arc<Metrics>,
    memory: FileStore,
    /// Who tells the hub of it, if the site comes from there.
    happened: broadcast::Sender<Happened>,
    /// Notified when the site's view changed.
    changed: Box<dyn Fn() + Send + Sync>,
    /// What was told last.
    before: Option<SiteStatus>,
    /// What else was told last: at rest it is the same again and again, and is not put into words each time.
    told: Option<Told>,
    /// The phase that the site is in, and since when.
    phase: Option<(Phase, Instant)>,
    /// What was logged of faults.
    logged: log::Told,
}

/// What is told of a site besides its status.
struct Told {
    slots: Vec<SlotView>,
    attempts: Attempts,
    accepted: Option<Arc<Accepted>>,
    looked: u64,
}

impl PartialEq for Told {
    fn eq(&self, other: &Told) -> bool {
        let same = match (&self.accepted, &other.accepted) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        same && self.slots == other.slots && self.attempts == other.attempts && self.looked == other.looked
    }
}

/// A turn that is being told of.
pub(super) struct Telling<'a> {
    pub(super) teller: &'a mut Teller,
    pub(super) state: &'a State,
    pub(super) plan: &'a Plan,
    /// The request to look at what was uploaded that the plan comes from.
    pub(super) looked: u64,
    pub(super) slots: &'a (dyn Fn() -> Vec<SlotView> + Sync),
    /// What somebody should know, although it holds up nothing.
    pub(super) warnings: &'a (dyn Fn() -> Vec<Fault> + Sync),
    /// Why the release can't be told, or why the step of the turn before was not made.
    pub(super) fault: Option<Fault>,
}

impl Listener for Telling<'_> {
    fn decided(&mut self, observed: &Observed, decision: &Decision, recorded: bool) {
        let teller = &mut *self.teller;
        teller.metrics.turned(&teller.entry.name, recorded);
        teller.news(observed, decision);
        teller.note_phase(decision.status.phase);
        if recorded {
            self.tell(observed, decision);
        }
    }
}

impl Telling<'_> {
    /// Tells how the site is.
    pub(super) fn tell(&mut self, observed: &Observed, decision: &Decision) {
        let now = wall();
        let (teller, state) = (&mut *self.teller, self.state);
        let mut status = report::status(&Seen {
            name: teller.entry.name.as_str(),
            program: "bluegreen",
            generation: state.generation(),
            plan: self.plan,
            observed,
            decision,
            fault: self.fault.as_ref(),
            warnings: &(self.warnings)(),
            before: teller.before.as_ref(),
            now,
        });
        if let Some(problem) = &state.problem {
            let before = status.clone();
            status = report::unusable(problem.reason, &problem.message, state.told_generation(), Some(&before), now);
        }
        let told = Told {
            slots: (self.slots)(),
            attempts: view::attempts(self.plan, observed, decision),
            accepted: state.accepted.clone(),
            looked: self.looked,
        };
        if teller.before.as_ref() == Some(&status) && teller.told.as_ref() == Some(&told) {
            return;
        }
        let news = teller.before.as_ref().is_none_or(|before| lasting(before) != lasting(&status));
        if news && decision.record {
            // For people only: lost, it is told anew.
            if let Err(fault) = write_for_people(&report_file(&teller.entry), &status) {
                teller.log_once(&fault);
            }
        }
        let slots = told.slots.clone();
        let view = view::site(&teller.entry.name, state, Some(&status), slots, told.attempts, told.looked);
        teller.before = Some(status);
        teller.told = Some(told);
        if teller.entry.tell(&view) {
            (teller.changed)();
        }
    }
}

/// What of a status is worth a write: texts that change with each look are not.
fn lasting(status: &SiteStatus) -> impl PartialEq + '_ {
    (status.phase, &status.live, &status.rejected, status.observed_generation)
}

impl Teller {
    pub(super) fn new(
        entry: Arc<Entry>,
        metrics: Arc<Metrics>,
        happened: broadcast::Sender<Happened>,
        changed: Box<dyn Fn() + Send + Sync>,
    ) -> Teller {
        Teller {
            memory: FileStore::new(entry.dir().clone()),
            // For people only: lost, it is told anew.
            before: store::read(&report_file(&entry), store::LIMIT).ok().flatten(),
            entry,
            metrics,
            happened,
            changed,
            told: None,
            phase: None,
            logged: log::Told::default(),
        }
    }

    /// There was no turn.
    pub(super) fn none(&mut self, state: &State, none: &NoTurn, slots: Vec<SlotView>) {
        self.metrics.fault(&self.entry.name, &none.fault);
        self.log_once(&none.fault);
        self.told = None;
        let (reason, message) = (none.fault.reason, &none.fault.message);
        let status = report::unusable(reason, message, state.generation(), self.before.as_ref(), wall());
        let (attempts, looked) = self.entry.view().map(|view| (view.attempts, view.looked)).unwrap_or_default();
        let view = view::site(&self.entry.name, state, Some(&status), slots, attempts, looked);
        if self.entry.tell(&view) {
            (self.changed)();
        }
    }

    /// A step was not made; or `None`: all is well.
    pub(super) fn fault(&mut self, fault: Option<&Fault>) {
        match fault {
            Some(fault) => {
                self.metrics.fault(&self.entry.name, fault);
                self.log_once(fault);
            }
            None => self.logged.forget(),
        }
    }

    /// Logs a fault, unless that was done since all was well.
    pub(super) fn log_once(&mut self, fault: &Fault) {
        if self.logged.is_new(fault) {
            match fault.class {
                Class::Conflict => tracing::debug!(site = %self.entry.name, reason = fault.reason, "{fault}"),
                _ => tracing::warn!(site = %self.entry.name, reason = fault.reason, "{fault}"),
            }
        }
    }

    fn news(&mut self, observed: &Observed, decision: &Decision) {
        let now: Time = wall();
        let mut events =
            if decision.record { self.entry.change(|state| std::mem::take(&mut state.news)) } else { Vec::new() };
        let origin = self.entry.state().origin().clone();
        for news in &decision.news {
            let evidence = evidence(news, observed);
            if let (Origin::Hub { .. }, Some((warning, reason, note))) = (&origin, events::of(news, &evidence)) {
                let (site, origin) = (self.entry.name.clone(), origin.clone());
                // Nobody may be listening.
                let _ = self.happened.send(Happened { site, origin, warning, reason, note });
            }
            let event = event(news, now, &evidence);
            match news {
                // Nobody may be waiting for it.
                News::Obeyed(command) => drop(self.entry.outcomes.send((command.id.clone(), true))),
                News::Ignored(command) => drop(self.entry.outcomes.send((command.id.clone(), false))),
                _ => {}
            }
            if let Some(outcome) = outcome(news) {
                self.metrics.rollout_ended(&self.entry.name, outcome);
            }
            tracing::info!(site = %self.entry.name, event = event.reason, "{}", event.message);
            events.push(event);
        }
        if decision.record
            && let Err(fault) = self.memory.add_history(events)
        {
            self.log_once(&fault);
        }
    }

    fn note_phase(&mut self, phase: Phase) {
        if let Some((before, since)) = self.phase {
            if before == phase {
                return;
            }
            self.metrics.phase_ended(before, since.elapsed().as_secs_f64());
        }
        self.phase = Some((phase, Instant::now()));
        self.metrics.phase(&self.entry.name, phase);
    }
}

fn report_file(entry: &Entry) -> PathBuf {
    entry.dir().root().join("report.json")
}
