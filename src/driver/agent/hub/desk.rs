//! Between the hub and this host: does, for one site after another, what [`known`](super::known) says is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::DynamicObject;

use super::connection::Trouble;
use super::events::Happened;
use super::known::{Done, Here, Kept, Known, Step, missing, next};
use super::membership::Membership;
use super::write::Writer;
use crate::api::names::reasons;
use crate::api::report;
use crate::api::status::SiteStatus;
use crate::api::types::SiteName;
use crate::control::api::MANIFEST_LIMIT;
use crate::driver::agent::Agent;
use crate::driver::agent::entry::{Problem, State};
use crate::driver::agent::intake::Cause;
use crate::driver::agent::origin::Origin;
use crate::driver::clock::wall;
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
            Origin::Hub { uid, .. } => Some((uid.clone(), accepted.manifest.clone())),
            Origin::Folder | Origin::Git { .. } => None,
        });
        let from_hub = matches!(state.origin(), Origin::Hub { .. });
        let about = |origin: &Origin| matches!(origin, Origin::Hub { uid, .. } if *uid == site.known.uid);
        let ours = about(state.origin()) || (from_hub && state.problem.is_some() && about(&state.judged_from));
        let told = || serde_json::from_value(entry.view()?.object.get("status")?.clone()).ok();
        Here {
            accepted,
            foreign: state.accepted.is_some() && !from_hub,
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

    /// An object is gone from the hub though this host held it: somebody took our finalizer off, and means it.
    pub(super) async fn torn_out(&self, name: &SiteName, gone: &str) {
        let Some(entry) = self.agent.entry(name) else { return };
        let state = entry.state();
        let theirs = matches!(state.origin(), Origin::Hub { hub, uid, .. } if *hub == self.joined.hub && uid == gone);
        if theirs && !state.deleting() {
            tracing::info!(site = %name, "the hub does not have it any more");
            self.retire(name).await;
        }
    }

    /// The sites of this host that a whole list of its hub doesn't have, and that are to go: which object each was.
    pub(super) fn miss(&self, all: &BTreeMap<SiteName, Known>, version: &str) -> BTreeMap<SiteName, String> {
        let listed: BTreeMap<SiteName, String> =
            all.iter().map(|(name, known)| (name.clone(), known.uid.clone())).collect();
        let mut gone = BTreeMap::new();
        let mut kept = BTreeMap::new();
        for entry in self.agent.entries() {
            let state = entry.state();
            let Origin::Hub { hub, uid, version, .. } = state.origin() else { continue };
            if *hub != self.joined.hub || state.deleting() {
                continue;
            }
            if state.accepted.is_some() {
                kept.insert(entry.name.clone(), Kept { uid: uid.clone(), version: version.clone() });
            } else if !listed.contains_key(&entry.name) {
                // Nothing of it was ever here.
                gone.insert(entry.name.clone(), uid.clone());
            }
        }
        let missing = missing(&listed, version, &kept);
        let went = missing.retire.iter().filter_map(|name| Some((name.clone(), kept.get(name)?.uid.clone())));
        gone.extend(went);
        self.agent.standing.missing(&self.joined, missing.keep);
        gone
    }

    /// What the hub has is not missing any more, nor is what this host has not.
    pub(super) fn found<'a>(&self, names: impl Iterator<Item = &'a SiteName>) {
        let Some(view) = self.agent.standing.view().filter(|view| !view.missing.is_empty()) else { return };
        let there: BTreeSet<&SiteName> = names.collect();
        let still = |name: &SiteName| !there.contains(name) && self.agent.entry(name).is_some();
        self.agent.standing.missing(&self.joined, view.missing.into_iter().filter(still).collect());
    }
}
