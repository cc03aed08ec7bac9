//! Judges each manifest, wherever it comes from, keeps the last good one, and begins deletions.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Agent;
use super::entry::{Accepted, Entry, Problem, stamp};
use super::intake::{Cause, FOLDER_AGAIN, Offer};
use super::origin::Origin;
use super::view;
use crate::api::conflicts::conflicts;
use crate::api::names::reasons;
use crate::api::parse;
use crate::api::report;
use crate::api::site::SiteOnHost;
use crate::api::spec::BlueGreenSite;
use crate::api::types::SiteName;
use crate::control::api::{ApplyOutcome, Attempts, Failure};
use crate::platform::Fault;
use crate::platform::clock::wall;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;

impl<W: WebServer + 'static, S: Supervisor + 'static> Agent<W, S> {
    /// Begins the deletion of a site: where it comes from, there is no manifest of it any more. The caller holds the intake's lock.
    pub(super) fn begin_deletion(self: &Arc<Self>, name: &SiteName) -> Result<(), Failure> {
        let Some(entry) = self.entry(name) else {
            return Err(Failure::not_found(format!("there is no site {name}")));
        };
        if entry.state().accepted.is_none() {
            self.gone(&entry);
            return Ok(());
        }
        entry.change(|state| {
            state.problem = None;
            if let Some(accepted) = state.accepted.as_mut().map(Arc::make_mut) {
                accepted.object.metadata.deletion_timestamp.get_or_insert_with(stamp);
            }
        });
        tracing::info!(site = %name, "its manifest is gone: the site goes away");
        entry.save().map_err(|fault| Failure::internal(fault.message))?;
        entry.wake.notify_one();
        Ok(())
    }

    /// Judges a manifest, and accepts it if it is good. The caller holds the intake's lock.
    pub(super) fn offer(
        self: &Arc<Self>,
        name: &SiteName,
        text: &str,
        cause: Cause,
        origin: &Origin,
    ) -> Result<Offer, Problem> {
        let entry = self.entry_or_new(name);
        let digest = hex::encode(Sha256::digest(text.as_bytes()));
        let state = entry.state();
        // What its own place has forgotten may be taken over, by somebody who means it.
        let may = |accepted: &Accepted| {
            accepted.origin.is_where(origin)
                || (matches!(cause, Cause::Apply | Cause::Event) && self.lets_go(&accepted.origin, name))
        };
        if let Some(accepted) = state.accepted.as_ref().filter(|accepted| !may(accepted)) {
            return Err(self.refuse_rival(&entry, &accepted.origin, origin, digest));
        }
        let known = state.accepted.as_ref().is_some_and(|accepted| accepted.manifest == digest);
        if state.deleting() {
            // It goes away first; then this is a new site.
            return Ok(Offer {
                outcome: ApplyOutcome::Unchanged,
                generation: state.generation(),
                look: state.resolve,
                warnings: Vec::new(),
            });
        }
        if known && let Some(site) = &state.site {
            // What runs goes on, and what root took off the list in the meantime is said.
            if let Err(problem) = self.permit(origin, site) {
                entry.change(|state| state.judged_from = origin.clone());
                self.refuse(name, problem.clone());
                return Err(problem);
            }
            let touched = match cause {
                Cause::Apply => true,
                Cause::Event => entry.change(|state| state.written.take()) != Some(digest),
                Cause::Start | Cause::Again => false,
            };
            let look = entry.change(|state| {
                state.problem = None;
                state.resolve += u64::from(touched);
                state.resolve
            });
            if touched || state.problem.is_some() {
                entry.wake.notify_one();
            }
            self.start_task(&entry);
            return Ok(Offer {
                outcome: ApplyOutcome::Unchanged,
                generation: state.generation(),
                look,
                warnings: Vec::new(),
            });
        }
        if cause == Cause::Again
            && state.judged.as_ref() == Some(&digest)
            && let Some(problem) = state.problem.filter(|problem| problem.reason == reasons::INVALID)
        {
            return Err(problem);
        }
        entry.change(|state| {
            state.judged = Some(digest.clone());
            state.judged_from = origin.clone();
        });
        match self.judge(name, text, origin) {
            Ok((object, site)) => self.accept(&entry, object, site, digest, origin).map_err(|fault| {
                let problem = Problem { reason: fault.reason, message: fault.message };
                self.refuse(name, problem.clone());
                self.look_again_later(name);
                problem
            }),
            Err(problem) => {
                self.refuse(name, problem.clone());
                Err(problem)
            }
        }
    }

    /// Judges a manifest alone and among the sites that there are.
    pub(super) fn judge(
        &self,
        name: &SiteName,
        text: &str,
        origin: &Origin,
    ) -> Result<(BlueGreenSite, SiteOnHost), Problem> {
        let wrong = |message: String| Problem { reason: reasons::INVALID, message };
        let (object, site) = parse::manifest(text).map_err(|problems| wrong(problems.to_string()))?;
        let site = site.on_host().map_err(|problem| wrong(problem.to_string()))?;
        if site.name != *name {
            return Err(Problem {
                reason: reasons::INVALID,
                message: format!(
                    "metadata.name: the file {name}.yaml describes the site {}; call the file {}.yaml",
                    site.name, site.name
                ),
            });
        }
        self.permit(origin, &site)?;
        let mut all: Vec<SiteOnHost> = self
            .sites_in_order()
            .into_iter()
            .filter(|other| other.name != *name)
            .map(|other| (*other).clone())
            .collect();
        all.push(site.clone());
        let clashes: Vec<String> =
            conflicts(&all).into_iter().filter(|(of, _)| of == name).map(|(_, problem)| problem.to_string()).collect();
        if !clashes.is_empty() {
            return Err(Problem { reason: reasons::CONFLICT, message: clashes.join("\n") });
        }
        Ok((object, site))
    }

    fn accept(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        mut object: BlueGreenSite,
        site: SiteOnHost,
        digest: String,
        origin: &Origin,
    ) -> Result<Offer, Fault> {
        let before = entry.state();
        let old = before.accepted.as_ref();
        let same_spec = old.is_some_and(|old| old.object.spec == object.spec);
        let generation = match origin {
            Origin::Hub { generation, .. } => *generation,
            Origin::Folder | Origin::Git { .. } => before.generation() + i64::from(!same_spec),
        };
        let kept = old.map(|old| old.object.metadata.clone()).unwrap_or_default();
        object.status = None;
        object.metadata.generation = Some(generation);
        object.metadata.creation_timestamp = Some(kept.creation_timestamp.unwrap_or_else(stamp));
        object.metadata.uid = match origin {
            Origin::Hub { uid, .. } => Some(uid.clone()),
            Origin::Folder | Origin::Git { .. } => kept.uid.or_else(new_uid),
        };
        object.metadata.deletion_timestamp = None;
        let mut orders = before.orders.clone();
        let annotations = object.metadata.annotations.clone().unwrap_or_default();
        let warnings = orders.annotate(&annotations);
        let told = old.and_then(|old| old.told.clone());
        entry.change(|state| {
            state.accepted = Some(Arc::new(Accepted { object, manifest: digest, told, origin: origin.clone() }));
            state.orders = orders;
            state.site = Some(Arc::new(site));
            state.problem = None;
            state.resolve += 1;
        });
        // With the incarnation that was asked for.
        if let Err(message) = entry.change(super::entry::State::reparse) {
            tracing::warn!(site = %entry.name, "{message}");
        }
        entry.save().inspect_err(|_| entry.change(|state| *state = before.clone()))?;
        for warning in &warnings {
            tracing::warn!(site = %entry.name, "{warning}");
        }
        let outcome = match old {
            None => ApplyOutcome::Created,
            Some(_) => ApplyOutcome::Configured,
        };
        tracing::info!(site = %entry.name, generation, "the manifest is accepted");
        // Whoever asks right now sees it already; what its task finds out comes after.
        let known = entry.view();
        let (slots, attempts, looked) =
            known.as_ref().map(|view| (view.slots.clone(), view.attempts, view.looked)).unwrap_or_default();
        let state = entry.state();
        let mut view = view::site(&entry.name, &state, None, slots, attempts, looked);
        if let Some(status) = known.and_then(|view| view.object.get("status").cloned()) {
            view.object["status"] = status;
        }
        if entry.tell(&view) {
            self.changed();
        }
        self.start_task(entry);
        entry.wake.notify_one();
        self.look_again_at_conflicts();
        Ok(Offer { outcome, generation, look: state.resolve, warnings })
    }

    /// Whether the place that a site comes from has nothing more to say of it, so that it may be taken over or ended here.
    pub(super) fn lets_go(&self, origin: &Origin, name: &SiteName) -> bool {
        let is_left = matches!(origin, Origin::Git { .. }) && self.config.git.is_none();
        is_left || self.standing.lets_go(origin, name)
    }

    /// A name belongs to where its site came from first. What goes on there is not touched by what somebody else says under its name.
    fn refuse_rival(&self, entry: &Entry, ours: &Origin, theirs: &Origin, digest: String) -> Problem {
        let name = &entry.name;
        let message = format!(
            "{}. What comes from {} under that name is refused: give it another name, or take the first one away there",
            ours.elsewhere(name),
            theirs.words()
        );
        if entry.change(|state| state.rival.replace(digest.clone())) != Some(digest) {
            tracing::warn!(site = %name, reason = reasons::CONFLICT, "{message}");
        }
        Problem { reason: reasons::CONFLICT, message }
    }

    /// What could not be written down now may be later.
    fn look_again_later(&self, name: &SiteName) {
        let (again, name) = (self.again.clone(), name.clone());
        tokio::spawn(async move {
            tokio::time::sleep(FOLDER_AGAIN).await;
            // The agent may have ended meanwhile.
            let _ = again.send(name);
        });
    }

    /// The manifest that lies there is not accepted; what was accepted before goes on.
    pub(super) fn refuse(self: &Arc<Self>, name: &SiteName, problem: Problem) {
        let entry = self.entry_or_new(name);
        let news = entry.change(|state| {
            let news = state.problem.as_ref() != Some(&problem);
            state.problem = Some(problem.clone());
            news
        });
        if news {
            tracing::warn!(site = %name, reason = problem.reason, "the manifest is not accepted: {}", problem.message);
        }
        let state = entry.state();
        if state.turning {
            entry.wake.notify_one();
            return;
        }
        let status = report::unusable(problem.reason, &problem.message, state.told_generation(), None, wall());
        let view = view::site(name, &state, Some(&status), Vec::new(), Attempts::default(), 0);
        if entry.tell(&view) {
            self.changed();
        }
        if state.site.is_some() {
            self.start_task(&entry);
        }
    }
}

fn new_uid() -> Option<String> {
    let uid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").ok()?;
    Some(uid.trim().to_owned())
}
