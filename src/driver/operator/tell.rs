//! Tells people what became of a site: log, events, metrics, status.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::ObjectReference;

use super::events::{self, Events};
use super::metrics::Metrics;
use crate::api::problem::Problem;
use crate::api::report::{self, Seen};
use crate::driver::news::{evidence, outcome, words};
use crate::driver::{Listener, log};
use crate::platform::clock::wall;
use crate::platform::cluster::ClusterPlatform;
use crate::platform::cluster::children::Key;
use crate::platform::{Class, Fault};
use crate::rollout::{Decision, News, Observed, Phase, Plan};

/// Tells people of one site.
pub struct Teller {
    key: Key,
    site: ObjectReference,
    events: Events,
    metrics: Arc<Metrics>,
    /// The generation of what was read last.
    pub generation: i64,
    /// Why what was read last is not taken: a reason, and words.
    pub problem: Option<(&'static str, String)>,
    /// The phase that the site is in, and since when.
    phase: Option<(Phase, Instant)>,
    /// What was logged of faults.
    logged: log::Told,
    /// What was last said of commands that can't be understood.
    wrong: String,
}

/// A turn that is being told of.
pub struct Telling<'a> {
    pub teller: &'a mut Teller,
    pub platform: &'a ClusterPlatform,
    pub plan: &'a Plan,
    /// Why the revision can't be told, or why the step of the turn before was not made.
    pub fault: Option<Fault>,
}

impl Listener for Telling<'_> {
    fn decided(&mut self, observed: &Observed, decision: &Decision, _: bool) {
        self.teller.news(self.platform, observed, decision);
        self.teller.note_phase(decision.status.phase);
        self.tell(observed, decision);
    }
}

impl Telling<'_> {
    /// Puts into words how the site is.
    pub fn tell(&mut self, observed: &Observed, decision: &Decision) {
        let now = wall();
        let before = self.platform.reported();
        let name = format!("{} -n {}", self.teller.key.site(), self.teller.key.namespace());
        let mut status = report::status(&Seen {
            name: &name,
            program: "kubectl bluegreen",
            generation: self.teller.generation,
            plan: self.plan,
            observed,
            decision,
            fault: self.fault.as_ref(),
            warnings: &self.platform.warnings(),
            before: before.as_ref(),
            now,
        });
        if let Some((reason, message)) = &self.teller.problem {
            let what_runs = status;
            status = report::unusable(reason, message, self.teller.generation, Some(&what_runs), now);
            carry_times(&mut status, before.as_ref());
        }
        self.platform.report(status);
    }
}

/// A condition that stays what it was keeps its time.
fn carry_times(status: &mut crate::api::status::SiteStatus, before: Option<&crate::api::status::SiteStatus>) {
    for condition in &mut status.conditions {
        let known = before.into_iter().flat_map(|before| &before.conditions);
        let mut same = known.filter(|known| known.type_ == condition.type_ && known.status == condition.status);
        if let Some(known) = same.next() {
            condition.last_transition_time = known.last_transition_time.clone();
        }
    }
}

impl Teller {
    /// Of a site of which nothing was told yet.
    pub fn new(key: Key, site: ObjectReference, events: Events, metrics: Arc<Metrics>) -> Teller {
        Teller {
            key,
            site,
            events,
            metrics,
            generation: 0,
            problem: None,
            phase: None,
            logged: log::Told::default(),
            wrong: String::new(),
        }
    }

    /// There was no turn, since a memory could not be read or written.
    pub fn none(&mut self, platform: &ClusterPlatform, fault: &Fault) {
        self.fault(Some(fault), true);
        // What another one wrote in the meantime is read next; it says nothing about the site.
        if fault.class != Class::Conflict {
            let before = platform.reported();
            platform.report(report::unusable(fault.reason, &fault.message, self.generation, before.as_ref(), wall()));
        }
    }

    /// Nothing valid was ever said of the site.
    pub fn say_unusable(&mut self, platform: &ClusterPlatform) {
        if let Some((reason, message)) = self.problem.clone() {
            let before = platform.reported();
            platform.report(report::unusable(reason, &message, self.generation, before.as_ref(), wall()));
            self.log_once(&Fault { class: Class::User, reason, message });
        }
    }

    /// A step was not made; or `None`: all is well, and unless there is `more` to log, what was logged is over.
    pub fn fault(&mut self, fault: Option<&Fault>, more: bool) {
        match fault {
            Some(fault) => {
                self.metrics.fault(fault);
                self.log_once(fault);
            }
            None if !more => self.logged.forget(),
            None => {}
        }
    }

    /// Logs a fault, unless that was done since all was well. One that somebody has to mend is an event too.
    pub fn log_once(&mut self, fault: &Fault) {
        if !self.logged.is_new(fault) {
            return;
        }
        match fault.class {
            Class::Conflict => tracing::debug!(site = %self.key, reason = fault.reason, "{fault}"),
            _ => tracing::warn!(site = %self.key, reason = fault.reason, "{fault}"),
        }
        if matches!(fault.class, Class::User | Class::Forbidden) {
            self.event(true, fault.reason, fault.message.clone());
        }
    }

    /// Commands that can't be understood do nothing; that is said once.
    pub fn wrong_commands(&mut self, problems: &[Problem]) {
        let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        if !text.is_empty() && text != self.wrong {
            tracing::warn!(site = %self.key, "{text}");
            self.event(true, "CommandNotUnderstood", text.clone());
        }
        self.wrong = text;
    }

    /// Fields that this program does not know do nothing; that is said.
    pub fn unknown_fields(&self, paths: &[String]) {
        if paths.is_empty() {
            return;
        }
        let paths = paths.join(", ");
        let text =
            format!("{paths}: not known to this operator, so it does nothing; the CRD is newer: upgrade the operator");
        tracing::warn!(site = %self.key, "{text}");
        self.event(true, "UnknownFields", text);
    }

    fn news(&mut self, platform: &ClusterPlatform, observed: &Observed, decision: &Decision) {
        for news in &decision.news {
            let detail = evidence(news, observed);
            let (word, _, message) = words(news, &detail);
            tracing::info!(site = %self.key, event = word, "{message}");
            if let Some(outcome) = outcome(news) {
                self.metrics.rollout_ended(outcome);
            }
            if let Some((warning, reason, note)) = events::of(news, &detail) {
                self.event(warning, reason, note);
            }
            if matches!(news, News::Entered(Phase::Starting, _)) {
                for warning in platform.warnings() {
                    tracing::warn!(site = %self.key, reason = warning.reason, "{warning}");
                    self.event(true, warning.reason, warning.message);
                }
            }
        }
    }

    fn event(&self, warning: bool, reason: &'static str, note: String) {
        self.events.tell(events::Telling { site: self.site.clone(), warning, reason, note });
    }

    fn note_phase(&mut self, phase: Phase) {
        let before = self.phase;
        if before.is_some_and(|(before, _)| before == phase) {
            return;
        }
        if let Some((before, since)) = before {
            self.metrics.phase_ended(before, since.elapsed());
        }
        self.metrics.moved(before.map(|(before, _)| before), Some(phase));
        self.phase = Some((phase, Instant::now()));
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Some((phase, _)) = self.phase {
            self.metrics.moved(Some(phase), None);
        }
    }
}
