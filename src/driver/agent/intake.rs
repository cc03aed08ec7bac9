//! Where sites come from: the folder of manifests, and `apply` over the control socket, which writes there. What becomes of a
//! manifest, from there or from elsewhere, is `accept`'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Agent;
use super::entry::{Problem, State};
use super::folder::{Event, Folder, FolderError, Watch};
use super::origin::Origin;
use crate::api::names::reasons;
use crate::api::types::SiteName;
use crate::control::api::ApplyOutcome;
use crate::platform::host::state::make_folder;
use crate::platform::host::store;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;

/// An editor may take a file away for a moment to put another one in its place; gone for longer, the site is to go away.
const GONE_FOR: Duration = Duration::from_secs(2);
/// A folder, or a disk, that can't be used is tried again so often.
pub(super) const FOLDER_AGAIN: Duration = Duration::from_secs(5);
/// For a change that inotify doesn't tell of (a network file system).
const LOOK_ANYWAY: Duration = Duration::from_secs(60);

/// What a manifest did.
pub(super) struct Offer {
    pub(super) outcome: ApplyOutcome,
    pub(super) generation: i64,
    /// The request to look at what was uploaded that this is.
    pub(super) look: u64,
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

/// Watches the folder, if that can be had: a machine has few watches (`fs.inotify.max_user_instances`), and others may hold them all.
fn watched(folder: &Folder) -> Option<Watch> {
    let warn = |error: &FolderError| tracing::warn!(%error, again_s = FOLDER_AGAIN.as_secs(), "the folder of manifests can't be watched: it is read again and again instead");
    Watch::start(folder).inspect_err(warn).ok()
}

/// What happens in the folder; never anything, if it is not watched.
async fn heard(watch: Option<&mut Watch>) -> std::io::Result<Event> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

impl<W: WebServer + 'static, S: Supervisor + 'static> Agent<W, S> {
    /// Takes sites from the folder until the agent ends. `again`: sites whose files are to be looked at again.
    pub(super) async fn watch_folder(self: Arc<Self>, mut again: mpsc::UnboundedReceiver<SiteName>) {
        let mut cause = Cause::Start;
        loop {
            match self.open_folder().map(Arc::new) {
                Ok(folder) => {
                    self.folder_is(Some(folder.clone()), None);
                    let watch = watched(&folder);
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
        mut watch: Option<Watch>,
        again: &mut mpsc::UnboundedReceiver<SiteName>,
        cause: Cause,
    ) {
        let mut missing: BTreeMap<SiteName, Instant> = BTreeMap::new();
        self.look_at_all(folder, cause, &mut missing).await;
        let look_anyway =
            |watch: &Option<Watch>| Instant::now() + if watch.is_some() { LOOK_ANYWAY } else { FOLDER_AGAIN };
        let mut anyway = look_anyway(&watch);
        loop {
            let next = missing.values().min().map_or(anyway, |due| anyway.min(*due));
            tokio::select! {
                event = heard(watch.as_mut()) => match event {
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
                        watch = watch.or_else(|| Watch::start(folder).ok());
                        anyway = look_anyway(&watch);
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

    fn folder_is(&self, folder: Option<Arc<Folder>>, error: Option<FolderError>) {
        let text = error.map(|error| error.to_string());
        if let Some(text) = &text {
            tracing::error!("{text}; the sites that were accepted before go on as they are");
        }
        self.metrics.trouble(text.clone());
        self.set_folder(folder.ok_or_else(|| text.unwrap_or_default()));
    }
}
