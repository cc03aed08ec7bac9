//! The host daemon: takes sites from a folder of manifests and from the control socket, and turns each of them in a task of its own.
//!
//! | part | what it does |
//! |---|---|
//! | `config` | what the agent is told about its machine |
//! | `daemon` | starts all of it, says when it is ready, and ends without touching an app |
//! | `lock` | one agent a host |
//! | `folder`, `intake` | where sites come from: manifests that are whole, root's, and judged |
//! | `accept` | what becomes of a manifest, wherever it comes from |
//! | `hub` | where others come from: an API server that this host has joined |
//! | `git` | where others come from: a Git repository that this host follows |
//! | `allow`, `permit` | what sites from there may ask of this machine |
//! | `origin` | where a site comes from, and where it is changed |
//! | `entry`, `orders` | what is known and asked of one site |
//! | `front`, `supervisor` | the web server and the supervisor that the configuration names |
//! | `resolve` | which release a specification describes |
//! | `uploads` | watches the folder in which a site's releases arrive |
//! | `task` | turns one site until it is gone |
//! | `tell`, `view`, `metrics` | what is told of it |
//! | `backend` | what the control socket answers with |

mod accept;
pub mod allow;
mod backend;
pub mod config;
pub mod daemon;
mod entry;
pub mod folder;
mod front;
pub mod git;
pub mod hub;
mod intake;
pub mod lock;
pub mod metrics;
mod orders;
pub mod origin;
mod permit;
mod resolve;
mod supervisor;
mod task;
mod tell;
mod uploads;
pub(crate) mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};

use self::config::AgentConfig;
use self::entry::{Entry, Problem};
use self::folder::Folder;
use self::hub::events::Happened;
use self::hub::secrets::Vault;
use self::hub::standing::Standing;
use self::metrics::Metrics;
use self::task::Task;
use crate::api::names::reasons;
use crate::api::site::SiteOnHost;
use crate::api::types::SiteName;
use crate::platform::Fault;
use crate::platform::host::audit;
use crate::platform::host::layout::SiteDir;
use crate::platform::host::site::{Host, HostSite, Wanted};
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;

/// A task that panicked is begun anew after so long.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// The agent.
pub(super) struct Agent<W, S> {
    config: AgentConfig,
    host: Arc<Host<W, S>>,
    metrics: Arc<Metrics>,
    entries: Mutex<BTreeMap<SiteName, Arc<Entry>>>,
    platforms: Mutex<BTreeMap<SiteName, Arc<HostSite<W, S>>>>,
    /// The folder of manifests; or why there is none.
    folder: Mutex<Result<Arc<Folder>, String>>,
    /// What is wrong with the Git repository that is followed.
    git: git::Told,
    /// Held while a manifest is judged among the others.
    intake: tokio::sync::Mutex<()>,
    changes: watch::Sender<()>,
    /// What happens to sites that come from a hub.
    happened: broadcast::Sender<Happened>,
    /// How this host stands with its hub.
    standing: Standing,
    /// Where Secrets of the hub are read.
    vault: Arc<Vault>,
    again: mpsc::UnboundedSender<SiteName>,
}

/// Where `doctor` is to look on the machine of this configuration.
#[must_use]
pub fn places(config: &AgentConfig, expected: BTreeSet<u16>) -> audit::Places {
    let (nginx, apache) = front::both(config);
    audit::Places {
        state: config.state_dir.clone(),
        manifests: config.sites_dir.clone(),
        firewall: config.firewall != config::FirewallKind::Off,
        nginx,
        apache,
        expected,
    }
}

impl<W: WebServer + 'static, S: Supervisor + 'static> Agent<W, S> {
    /// An agent that knows no site yet. The receiver is [`Agent::watch_folder`]'s.
    fn new(
        config: AgentConfig,
        host: Arc<Host<W, S>>,
        metrics: Arc<Metrics>,
    ) -> (Arc<Agent<W, S>>, mpsc::UnboundedReceiver<SiteName>) {
        let (again, heard) = mpsc::unbounded_channel();
        let (happened, _) = broadcast::channel(hub::events::KEPT);
        let agent = Agent {
            happened,
            vault: Arc::default(),
            standing: Standing::new(&config.state_dir, metrics.clone()),
            config,
            host,
            metrics,
            entries: Mutex::default(),
            platforms: Mutex::default(),
            folder: Mutex::new(Err("the folder of manifests was not opened yet; try again".to_owned())),
            git: git::Told::default(),
            intake: tokio::sync::Mutex::default(),
            changes: watch::Sender::new(()),
            again,
        };
        (Arc::new(agent), heard)
    }

    /// Takes over the sites that an earlier run of the agent accepted.
    fn take_over(self: &Arc<Self>) -> Result<(), Fault> {
        let sites = self.config.state_dir.join("sites");
        let folders = std::fs::read_dir(&sites).into_iter().flatten().flatten();
        for folder in folders {
            let Some(name) = folder.file_name().to_str().and_then(|name| name.parse::<SiteName>().ok()) else {
                continue;
            };
            let dir = SiteDir::new(&self.config.state_dir, &name);
            match Entry::load(name.clone(), dir) {
                Ok(Some(entry)) => {
                    let entry = Arc::new(entry);
                    lock(&self.entries).insert(name, entry.clone());
                    self.start_task(&entry);
                }
                Ok(None) => {}
                // Its manifest is accepted anew, as if the site were new; what runs is found as it is.
                Err(fault) => tracing::error!(site = %name, reason = fault.reason, "{fault}"),
            }
        }
        self.metrics.sites(lock(&self.entries).len());
        Ok(())
    }

    /// Begins to turn a site, unless it is turned already, or nothing of it was ever accepted.
    fn start_task(self: &Arc<Self>, entry: &Arc<Entry>) {
        let site = entry.change(|state| {
            let site = state.site.clone().filter(|_| !state.turning)?;
            state.turning = true;
            Some(site)
        });
        let Some(site) = site else { return };
        let afar = self.afar(entry.state().origin());
        let wanted = Wanted { site, release: None, afar };
        let platform = Arc::new(HostSite::new(self.host.clone(), wanted, entry.wake.clone()));
        lock(&self.platforms).insert(entry.name.clone(), platform.clone());
        let (agent, entry) = (self.clone(), entry.clone());
        tokio::spawn(async move {
            loop {
                let task = Task::new(agent.clone(), entry.clone(), platform.clone());
                match tokio::spawn(task.run()).await {
                    Ok(()) => return,
                    Err(error) if error.is_cancelled() => return,
                    Err(error) => {
                        tracing::error!(
                            site = %entry.name, %error,
                            "the site's task failed and is begun anew; please report this. No other site is touched"
                        );
                        tokio::time::sleep(AFTER_PANIC).await;
                    }
                }
            }
        });
    }

    /// A site is gone, and nothing of it is left.
    fn gone(self: &Arc<Self>, entry: &Arc<Entry>) {
        lock(&self.entries).remove(&entry.name);
        lock(&self.platforms).remove(&entry.name);
        self.metrics.forget(&entry.name);
        self.metrics.sites(lock(&self.entries).len());
        self.changed();
        // Its file may be there again, as that of a new site.
        let _ = self.again.send(entry.name.clone());
        self.look_again_at_conflicts();
    }

    /// What another site had may be free now.
    fn look_again_at_conflicts(&self) {
        for entry in self.entries() {
            if entry.state().problem.is_some_and(|problem: Problem| problem.reason == reasons::CONFLICT) {
                let _ = self.again.send(entry.name.clone());
            }
        }
    }

    fn entry(&self, name: &SiteName) -> Option<Arc<Entry>> {
        lock(&self.entries).get(name).cloned()
    }

    fn entry_or_new(&self, name: &SiteName) -> Arc<Entry> {
        let mut entries = lock(&self.entries);
        let entry = entries.entry(name.clone()).or_insert_with(|| {
            let dir = SiteDir::new(&self.config.state_dir, name);
            Arc::new(Entry::new(name.clone(), dir))
        });
        let entry = entry.clone();
        self.metrics.sites(entries.len());
        entry
    }

    fn entries(&self) -> Vec<Arc<Entry>> {
        lock(&self.entries).values().cloned().collect()
    }

    fn names(&self) -> BTreeSet<SiteName> {
        lock(&self.entries).keys().cloned().collect()
    }

    /// Those that come from the folder of manifests.
    fn names_in_folder(&self) -> BTreeSet<SiteName> {
        let ours = |entry: &Arc<Entry>| entry.state().origin().is_folder();
        self.entries().into_iter().filter(ours).map(|entry| entry.name.clone()).collect()
    }

    /// The sites that were accepted, the oldest first: a newcomer never takes anything from a site that runs.
    fn sites_in_order(&self) -> Vec<Arc<SiteOnHost>> {
        let mut all: Vec<_> = self
            .entries()
            .iter()
            .filter_map(|entry| {
                let state = entry.state();
                let created = state.accepted?.object.metadata.creation_timestamp.as_ref().map(|time| time.0);
                Some((created, entry.name.clone(), state.site?))
            })
            .collect();
        all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        all.into_iter().map(|(_, _, site)| site).collect()
    }

    fn platform(&self, name: &SiteName) -> Option<Arc<HostSite<W, S>>> {
        lock(&self.platforms).get(name).cloned()
    }

    fn folder(&self) -> Result<Arc<Folder>, String> {
        lock(&self.folder).clone()
    }

    fn set_folder(&self, folder: Result<Arc<Folder>, String>) {
        *lock(&self.folder) = folder;
    }

    /// Somebody who watches has to look again.
    fn changed(&self) {
        self.changes.send_replace(());
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole values are put in and taken out, so none is left half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
