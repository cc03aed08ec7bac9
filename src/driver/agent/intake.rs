//! Where sites come from: the folder of manifests, and `apply` over the control socket, which writes there. Judges each manifest, keeps the
//! last good one, and begins deletions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::Agent;
use super::entry::{Accepted, Entry, Problem, State, stamp};
use super::folder::{Event, Folder, FolderError, Watch};
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
use crate::driver::clock::wall;
use crate::platform::Fault;
use crate::platform::host::state::make_folder;
use crate::platform::host::store;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;

/// An editor may take a file away for a moment to put another one in its place; gone for longer, the site is to go away.
const GONE_FOR: Duration = Duration::from_secs(2);
/// A folder, or a disk, that can't be used is tried again so often.
const FOLDER_AGAIN: Duration = Duration::from_secs(5);
/// For a change that inotify doesn't tell of (a network file system).
const LOOK_ANYWAY: Duration = Duration::from_secs(60);

/// What a manifest did.
pub(super) struct Offer {
    pub(super) outcome: ApplyOutcome,
    pub(super) generation: i64,
    pub(super) warnings: Vec<String>,
}

/// Why a manifest is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The agent has just started: it may be what was accepted long ago.
    Start,
    /// Somebody changed or touched it.
    Event,
    /// Somebody handed it in over the control socket.
    Apply,
    /// Nobody touched it, but it may be acceptable now.
    Again,
}

impl<W: WebServer + 'static, S: Supervisor + 'static> Agent<W, S> {
    /// Takes sites from the folder until the agent ends. `again`: sites whose files are to be looked at again.
    pub(super) async fn watch_folder(self: Arc<Self>, mut again: mpsc::UnboundedReceiver<SiteName>) {
        let mut cause = Cause::Start;
        loop {
            let opened = self.open_folder().and_then(|folder| {
                let watch = Watch::start(&folder)?;
                Ok((Arc::new(folder), watch))
            });
            match opened {
                Ok((folder, watch)) => {
                    self.folder_is(Some(folder.clone()), None);
                    self.attend(&folder, watch, &mut again, cause).await;
                    cause = Cause::Event;
                }
                Err(error) => {
                    self.folder_is(None, Some(error));
                    // What was accepted goes on as it is.
                    tokio::time::sleep(FOLDER_AGAIN).await;
                }
            }
        }
    }

    /// Opens the folder, if it is the one of before, or holds something of what was there.
    fn open_folder(&self) -> Result<Folder, FolderError> {
        let path = &self.config.sites_dir;
        let sites = self.names_in_folder();
        if sites.is_empty() && !path.exists() {
            make_folder(path).map_err(|source| FolderError::Io { path: path.clone(), source })?;
        }
        let folder = Folder::open(path)?;
        let file = self.config.state_dir.join("folder.json");
        let identity = folder.identity()?;
        let before: Option<(u64, u64)> = store::read(&file, store::LIMIT).ok().flatten();
        if before == Some(identity) {
            return Ok(folder);
        }
        if before.is_some() && !sites.is_empty() && folder.names()?.is_disjoint(&sites) {
            return Err(FolderError::Replaced { path: path.clone(), sites: sites.len() });
        }
        if let Err(error) = store::write(&file, &identity, 0o600) {
            tracing::warn!(%error, "which folder of manifests this is was not written down");
        }
        Ok(folder)
    }

    /// Attends to one folder, until it is another one or can't be trusted any more.
    async fn attend(
        self: &Arc<Self>,
        folder: &Arc<Folder>,
        mut watch: Watch,
        again: &mut mpsc::UnboundedReceiver<SiteName>,
        cause: Cause,
    ) {
        let mut missing: BTreeMap<SiteName, Instant> = BTreeMap::new();
        self.look_at_all(folder, cause, &mut missing).await;
        loop {
            let due = missing.values().min().copied();
            let next = due.unwrap_or_else(|| Instant::now() + LOOK_ANYWAY).min(Instant::now() + LOOK_ANYWAY);
            tokio::select! {
                event = watch.next() => match event {
                    Ok(Event::Files(names)) => {
                        for name in names {
                            self.look_at(folder, &name, Cause::Event, &mut missing).await;
                        }
                    }
                    Ok(Event::Everything) | Err(_) => return,
                },
                name = again.recv() => match name {
                    Some(name) => self.look_at(folder, &name, Cause::Again, &mut missing).await,
                    None => return,
                },
                () = tokio::time::sleep_until(next.into()) => {
                    if !folder.is_current() {
                        return;
                    }
                    let late: Vec<SiteName> = missing
                        .iter()
                        .filter(|(_, at)| **at <= Instant::now())
                        .map(|(name, _)| name.clone())
                        .collect();
                    if late.is_empty() {
                        self.look_at_all(folder, Cause::Again, &mut missing).await;
                    }
                    for name in late {
                        missing.remove(&name);
                        self.gone_if_missing(folder, &name).await;
                    }
                }
            }
        }
    }

    async fn look_at_all(
        self: &Arc<Self>,
        folder: &Arc<Folder>,
        cause: Cause,
        missing: &mut BTreeMap<SiteName, Instant>,
    ) {
        let mut names = match folder.names() {
            Ok(names) => names,
            Err(error) => {
                tracing::error!(%error, "the folder of manifests can't be listed");
                return;
            }
        };
        names.extend(self.names_in_folder());
        for name in names {
            self.look_at(folder, &name, cause, missing).await;
        }
    }

    async fn look_at(
        self: &Arc<Self>,
        folder: &Arc<Folder>,
        name: &SiteName,
        cause: Cause,
        missing: &mut BTreeMap<SiteName, Instant>,
    ) {
        match folder.read_settled(name).await {
            Ok(Some(text)) => {
                missing.remove(name);
                let _turn = self.intake.lock().await;
                // What is wrong with it was told where people look for it.
                let _ = self.offer(name, &text, cause, &Origin::Folder);
            }
            Ok(None) => {
                // There, and being written: closing it will be heard of.
                if folder.file(name).symlink_metadata().is_ok() {
                    missing.remove(name);
                    return;
                }
                let ours = |state: &State| state.origin().is_folder() && !state.deleting();
                if self.entry(name).is_some_and(|entry| ours(&entry.state())) {
                    missing.entry(name.clone()).or_insert_with(|| Instant::now() + GONE_FOR);
                }
            }
            Err(error) => {
                missing.remove(name);
                if self.entry(name).is_none_or(|entry| entry.state().origin().is_folder()) {
                    self.refuse(name, Problem { reason: reasons::REFUSED, message: error.to_string() });
                }
            }
        }
    }

    async fn gone_if_missing(self: &Arc<Self>, folder: &Folder, name: &SiteName) {
        let _turn = self.intake.lock().await;
        if self.entry(name).is_some_and(|entry| entry.state().origin().is_folder())
            && let Ok(None) = folder.read(name)
            && let Err(failure) = self.begin_deletion(name)
        {
            tracing::warn!(site = %name, "{failure}");
        }
    }

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
            entry.change(|state| {
                state.problem = None;
                state.resolve += u64::from(touched);
            });
            if touched || state.problem.is_some() {
                entry.wake.notify_one();
            }
            self.start_task(&entry);
            return Ok(Offer {
                outcome: ApplyOutcome::Unchanged,
                generation: state.generation(),
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
        let (slots, attempts) = known.as_ref().map(|view| (view.slots.clone(), view.attempts)).unwrap_or_default();
        let mut view = view::site(&entry.name, &entry.state(), None, slots, attempts);
        if let Some(status) = known.and_then(|view| view.object.get("status").cloned()) {
            view.object["status"] = status;
        }
        if entry.tell(&view) {
            self.changed();
        }
        self.start_task(entry);
        entry.wake.notify_one();
        self.look_again_at_conflicts();
        Ok(Offer { outcome, generation, warnings })
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
        let view = view::site(name, &state, Some(&status), Vec::new(), Attempts::default());
        if entry.tell(&view) {
            self.changed();
        }
        if state.site.is_some() {
            self.start_task(&entry);
        }
    }

    fn folder_is(&self, folder: Option<Arc<Folder>>, error: Option<FolderError>) {
        let text = error.map(|error| error.to_string());
        if let Some(text) = &text {
            tracing::error!("{text}; the sites that were accepted before go on as they are");
        }
        self.metrics.trouble(text.clone());
        self.set_folder(folder.ok_or_else(|| text.unwrap_or_default()));
    }
}

fn new_uid() -> Option<String> {
    let uid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").ok()?;
    Some(uid.trim().to_owned())
}
