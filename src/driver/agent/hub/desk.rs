//! Between the hub and this host: does, for one site after another, what [`known`](super::known) says is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::DynamicObject;

use super::connection::Trouble;
use super::events::Happened;
use super::known::{Done, Here, Known, Step, next};
use super::membership::Membership;
use super::write::Writer;
use crate::api::names::reasons;
use crate::api::report;
use crate::api::status::SiteStatus;
use crate::api::types::SiteName;
use crate::control::api::MANIFEST_LIMIT;
use crate::driver::agent::Agent;
use crate::driver::agent::entry::{Entry, Problem, State};
use crate::driver::agent::intake::Cause;
use crate::driver::agent::origin::Origin;
use crate::platform::clock::wall;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;

/// From one write of a site's status to the next.
const CALM: Duration = Duration::from_millis(300);
/// What was refused, and may be acceptable by now, is judged again so often.
const AGAIN: Duration = Duration::from_secs(5);
/// What the hub refuses to take is offered to it again so often.
const REFUSED: Duration = Duration::from_secs(30);
/// So many steps for one site in a row; more of them are a mistake of ours, which must not become a busy loop.
const STEPS: usize = 10;

/// Where the hub and this host meet.
pub(super) struct Desk<W, S> {
    pub(super) agent: Arc<Agent<W, S>>,
    pub(super) joined: Membership,
    pub(super) writer: Writer,
}

/// A site of the hub, and what was done about it.
pub(super) struct Site {
    pub(super) known: Known,
    done: Done,
    /// Why it can't be here, if this host's own entry does not say so.
    refusal: Option<Problem>,
    /// When what was refused is judged again.
    judge_at: Option<Instant>,
    /// Nothing is written before then.
    write_at: Instant,
    /// What was last said about it, so that it is said once.
    said: Option<String>,
}

/// What came of a site.
pub(super) enum Settled {
    /// Nothing is to be done, at least until then.
    Until(Option<Instant>),
    /// The hub does not have it any more.
    Gone,
}

impl Site {
    pub(super) fn new(known: Known) -> Site {
        Site { known, done: Done::default(), refusal: None, judge_at: None, write_at: Instant::now(), said: None }
    }

    /// Takes over what was seen of it, unless that is older than what is known.
    pub(super) fn know(&mut self, known: Known) {
        if known.is_older_than(&self.known) {
            return;
        }
        if known.uid != self.known.uid {
            *self = Site::new(known);
            return;
        }
        self.known = known;
    }

    fn took(&mut self, object: DynamicObject) {
        if let Some((_, known)) = Known::of(object) {
            self.know(known);
        }
    }
}

impl<W: WebServer + 'static, S: Supervisor + 'static> Desk<W, S> {
    /// Takes one step after another for a site, until both sides say the same.
    ///
    /// # Errors
    /// Nothing more can be asked of the hub.
    pub(super) async fn settle(&self, name: &SiteName, site: &mut Site) -> Result<Settled, Trouble> {
        for _ in 0..STEPS {
            if site.judge_at.is_some_and(|at| at <= Instant::now()) {
                site.judge_at = None;
                site.done.again = true;
            }
            let Some(step) = next(&site.known, &self.here(name, site), &site.done) else {
                return Ok(Settled::Until(site.judge_at));
            };
            match &step {
                Step::Offer => self.offer(name, site).await,
                Step::Retire => {
                    let gone = site.known.uid.clone();
                    if !self.is_meant(name, &gone).await? {
                        return Ok(Settled::Until(Some(Instant::now() + AGAIN)));
                    }
                    if !self.retire(name).await {
                        return Ok(Settled::Until(Some(Instant::now() + AGAIN)));
                    }
                }
                Step::Hold | Step::LetGo | Step::Tell(_) => {
                    if site.write_at > Instant::now() {
                        return Ok(Settled::Until(Some(site.write_at)));
                    }
                    if let Some(settled) = self.write(name, site, &step).await? {
                        return Ok(settled);
                    }
                }
            }
        }
        Ok(Settled::Until(Some(Instant::now() + AGAIN)))
    }

    /// What this host has under the name.
    fn here(&self, name: &SiteName, site: &Site) -> Here {
        let Some(entry) = self.agent.entry(name) else {
            return Here { status: self.refused(site), ..Here::default() };
        };
        let state = entry.state();
        let accepted = state.accepted.as_ref().and_then(|accepted| match &accepted.origin {
            Origin::Hub { uid, hub, .. } if *hub == self.joined.hub => Some((uid.clone(), accepted.manifest.clone())),
            _ => None,
        });
        let from_hub = self.is_of_hub(state.origin());
        let about = |origin: &Origin| matches!(origin, Origin::Hub { uid, .. } if *uid == site.known.uid);
        let ours = about(state.origin()) || (from_hub && state.problem.is_some() && about(&state.judged_from));
        let told = || serde_json::from_value(entry.view()?.object.get("status")?.clone()).ok();
        Here {
            accepted,
            from_hub,
            deleting: state.deleting(),
            status: self.refused(site).or_else(|| told().filter(|_| ours)),
        }
    }

    /// What is told of a site that this host's own entry says nothing of.
    fn refused(&self, site: &Site) -> Option<SiteStatus> {
        let problem = site.refusal.as_ref()?;
        let (generation, before) = (site.known.generation, site.known.status.as_ref());
        Some(report::unusable(problem.reason, &problem.message, generation, before, wall()))
    }

    async fn offer(&self, name: &SiteName, site: &mut Site) {
        let origin = site.known.origin(&self.joined.hub);
        let offered = if site.known.text.len() > MANIFEST_LIMIT {
            let message = format!("the site is larger than {MANIFEST_LIMIT} bytes; make it smaller");
            Err(Problem { reason: reasons::INVALID, message })
        } else {
            let _turn = self.agent.intake.lock().await;
            self.agent.offer(name, &site.known.text, Cause::Again, &origin)
        };
        site.done = Done { offered: Some(site.known.digest.clone()), again: false };
        let Err(problem) = offered else {
            (site.refusal, site.judge_at, site.said) = (None, None, None);
            return;
        };
        // What only another specification can change is judged again when there is one.
        let settled = matches!(problem.reason, reasons::INVALID | reasons::NOT_ALLOWED);
        site.judge_at = (!settled).then(|| Instant::now() + AGAIN);
        if site.said.as_ref() != Some(&problem.message) {
            site.said = Some(problem.message.clone());
            let (reason, note) = (problem.reason, problem.message.clone());
            // Nobody may be listening.
            let _ = self.agent.happened.send(Happened { site: name.clone(), origin, warning: true, reason, note });
        }
        let told = |state: &State| state.problem.is_some() && matches!(state.judged_from, Origin::Hub { .. });
        let by_entry = self.agent.entry(name).is_some_and(|entry| told(&entry.state()));
        site.refusal = (!by_entry).then_some(problem);
    }

    /// Begins to take a site away. False: that could not be written down.
    async fn retire(&self, name: &SiteName) -> bool {
        let _turn = self.agent.intake.lock().await;
        match self.agent.begin_deletion(name) {
            Ok(()) => true,
            Err(failure) => {
                tracing::warn!(site = %name, "{failure}");
                false
            }
        }
    }

    /// Writes, and takes over what the hub then has. `None`: go on with this site.
    async fn write(&self, name: &SiteName, site: &mut Site, step: &Step) -> Result<Option<Settled>, Trouble> {
        let written = match step {
            Step::Hold => self.writer.hold(name, &site.known, true).await,
            Step::LetGo => self.writer.hold(name, &site.known, false).await,
            Step::Tell(status) => self.writer.tell(name, &site.known, status).await,
            Step::Offer | Step::Retire => return Ok(None),
        };
        self.agent.metrics.hub_wrote(written.is_ok());
        let trouble = match written {
            Ok(object) => {
                if matches!(step, Step::Tell(_)) {
                    site.write_at = Instant::now() + CALM;
                }
                site.took(object);
                return Ok(None);
            }
            // What is there now decides; the watch may take a moment.
            Err(Trouble::Conflict) => match self.writer.read(name).await {
                Ok(object) => {
                    site.took(object);
                    return Ok(None);
                }
                Err(trouble) => trouble,
            },
            Err(trouble) => trouble,
        };
        if trouble.ends_all() {
            return Err(trouble);
        }
        if trouble == Trouble::NotFound {
            return Ok(Some(Settled::Gone));
        }
        let text = trouble.to_string();
        if site.said.as_ref() != Some(&text) {
            tracing::warn!(site = %name, "the hub was not told: {text}");
            site.said = Some(text);
        }
        site.write_at = Instant::now() + REFUSED;
        Ok(Some(Settled::Until(Some(site.write_at))))
    }

    /// An object was seen to go from the hub though this host held it: somebody took our finalizer off, and means it.
    ///
    /// # Errors
    /// This host has no rights there any more, or nothing can be asked of the hub: the site runs on.
    pub(super) async fn torn_out(&self, name: &SiteName, gone: &str) -> Result<(), Trouble> {
        let Some(entry) = self.agent.entry(name) else { return Ok(()) };
        let state = entry.state();
        let theirs = matches!(state.origin(), Origin::Hub { hub, uid, .. } if *hub == self.joined.hub && uid == gone);
        if theirs && !state.deleting() && self.is_meant(name, gone).await? {
            tracing::info!(site = %name, "the hub does not have it any more");
            self.retire(name).await;
        }
        Ok(())
    }

    /// Whether a site is to end here. A watch that was opened before this host was shut out tells of what happens after it as well, until the hub ends it; by
    /// then its sites are none of this host's business. So whoever ends one asks first, with the rights that are left.
    ///
    /// # Errors
    /// This host has no rights there any more, or nothing can be asked of the hub: the site runs on.
    async fn is_meant(&self, name: &SiteName, gone: &str) -> Result<bool, Trouble> {
        match self.writer.read(name).await {
            Ok(object) => {
                let same = object.metadata.uid.as_deref() == Some(gone);
                Ok(!same || object.metadata.deletion_timestamp.is_some())
            }
            Err(Trouble::NotFound) => Ok(true),
            Err(trouble) => {
                tracing::warn!(site = %name, "the hub shows it deleted, and was not asked whether that is meant: {trouble}; it runs on");
                Err(trouble)
            }
        }
    }

    /// Says which sites of this host a whole list of its hub doesn't have. They run on: the finalizer keeps an object until the site is gone here, so a hub that has
    /// lost one without having said that it was deleted was restored from a backup, or is another one.
    pub(super) fn miss(&self, all: &BTreeMap<SiteName, Known>) {
        let lost = |entry: &Arc<Entry>| {
            let state = entry.state();
            state.accepted.is_some()
                && self.is_of_hub(state.origin())
                && !state.deleting()
                && !all.contains_key(&entry.name)
        };
        let lost = self.agent.entries().into_iter().filter(lost).map(|entry| entry.name.clone());
        self.agent.standing.missing(&self.joined, lost.collect());
    }

    /// What is here of the hub and was never accepted, and is not there any more: nothing of it ever ran.
    pub(super) fn refused_and_gone(&self, all: &BTreeMap<SiteName, Known>) -> BTreeMap<SiteName, String> {
        let forgotten = |entry: Arc<Entry>| {
            let state = entry.state();
            let Origin::Hub { uid, .. } = state.origin() else { return None };
            let gone = state.accepted.is_none() && !all.contains_key(&entry.name);
            gone.then(|| (entry.name.clone(), uid.clone()))
        };
        self.agent.entries().into_iter().filter_map(forgotten).collect()
    }

    /// What the hub has is not missing any more, nor is what this host has not, or has from elsewhere by now.
    pub(super) fn found<'a>(&self, names: impl Iterator<Item = &'a SiteName>) {
        let Some(view) = self.agent.standing.view().filter(|view| !view.missing.is_empty()) else { return };
        let there: BTreeSet<&SiteName> = names.collect();
        let ours = |name: &SiteName| self.agent.entry(name).is_some_and(|entry| self.is_of_hub(entry.state().origin()));
        let still = view.missing.into_iter().filter(|name| !there.contains(name) && ours(name));
        self.agent.standing.missing(&self.joined, still.collect());
    }

    fn is_of_hub(&self, origin: &Origin) -> bool {
        matches!(origin, Origin::Hub { hub, .. } if *hub == self.joined.hub)
    }
}
