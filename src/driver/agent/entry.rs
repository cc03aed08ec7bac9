//! What the agent knows of one site: what was accepted, what is asked, what is told. The task that turns the site and everybody who asks share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as StampedTime;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast};

use super::orders::Orders;
use super::origin::Origin;
use crate::api::names::annotations;
use crate::api::site::{Site, SiteOnHost};
use crate::api::spec::BlueGreenSite;
use crate::api::types::{AbsPath, SiteName};
use crate::control::api::{HistoryEntry, SiteView};
use crate::platform::Fault;
use crate::platform::host::layout::SiteDir;
use crate::platform::host::release::Identity;
use crate::platform::host::state::make_folder;
use crate::platform::host::store::{self, StoreError};
use crate::platform::host::uploads::Looked;
use crate::rollout::Revision;

/// What was accepted last, as it stands in `accepted.json` of the site's folder: an agent that is restarted with a broken manifest goes on
/// with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The object, without its status. A deletion that has begun stands in its metadata.
    pub object: BlueGreenSite,
    /// The SHA-256 of the manifest's text.
    pub manifest: String,
    /// Which release the specification describes, as it was last told. Kept, so that a restarted agent doesn't take a half-uploaded file for a
    /// new release.
    pub told: Option<Told>,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Origin::is_folder")]
    pub origin: Origin,
}

/// Which release a specification describes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// The SHA-256 of the part of the specification that decides it.
    pub of: String,
    /// Its revision.
    pub revision: Revision,
    /// What makes it that one.
    pub identity: Identity,
    /// What it is of the releases that arrived, where it is one of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Upload>,
}

/// One of the releases that arrived in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The folder.
    pub folder: AbsPath,
    /// Its name there.
    pub name: String,
}

/// Why a manifest is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The condition's reason.
    pub reason: &'static str,
    /// What is wrong, where, and what to do.
    pub message: String,
}

/// One site.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: SiteName,
    /// Wakes its task.
    pub wake: Arc<Notify>,
    /// What became of commands: their ids, and whether they had their effect.
    pub outcomes: broadcast::Sender<(String, bool)>,
    dir: SiteDir,
    state: Mutex<State>,
    /// As JSON: a tree of values takes ten times the memory, and is asked for rarely.
    view: Mutex<Option<Box<[u8]>>>,
}

/// What changes of a site. Values are put in whole, so that nothing is ever half changed.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What was accepted last; `None`: nothing ever was.
    pub accepted: Option<Arc<Accepted>>,
    /// The same, parsed, with the incarnation that was asked for.
    pub site: Option<Arc<SiteOnHost>>,
    /// Why the manifest that lies there is not accepted.
    pub problem: Option<Problem>,
    /// Commands.
    pub orders: Orders,
    /// How often somebody gave a reason to look again at what was uploaded.
    pub resolve: u64,
    /// The SHA-256 of the manifest that was judged last.
    pub judged: Option<String>,
    /// Where the manifest that was judged last comes from.
    pub judged_from: Origin,
    /// The SHA-256 of the manifest of another origin that was refused last, so that it is logged once.
    pub rival: Option<String>,
    /// The SHA-256 of a manifest that we wrote ourselves: hearing of it is no reason for anything.
    pub written: Option<String>,
    /// What arrived in the folder that its specification names, if it names one and somebody has looked there.
    pub arrived: Option<Arc<Looked>>,
    /// What happened to it where it comes from, until that is in its history.
    pub news: Vec<HistoryEntry>,
    /// Whether a task turns it.
    pub turning: bool,
}

impl State {
    /// Whether its deletion has begun.
    #[must_use]
    pub fn deleting(&self) -> bool {
        self.accepted.as_ref().is_some_and(|accepted| accepted.object.metadata.deletion_timestamp.is_some())
    }

    /// The generation of what was accepted; 0: nothing was.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.accepted.as_ref().and_then(|accepted| accepted.object.metadata.generation).unwrap_or(0)
    }

    /// Where it comes from. Of a site that was never accepted: where that was said which was refused.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.accepted.as_ref().map_or(&self.judged_from, |accepted| &accepted.origin)
    }

    /// The generation that people are told of: of what was accepted, or of what was refused after it.
    #[must_use]
    pub fn told_generation(&self) -> i64 {
        match (&self.problem, &self.judged_from) {
            // Who counts it is the hub, and its readers wait for the newest one.
            (Some(_), Origin::Hub { generation, .. }) => *generation,
            _ => self.generation(),
        }
    }

    /// Parses what was accepted anew, with the incarnation that was asked for last.
    pub fn reparse(&mut self) -> Result<(), String> {
        self.site = match &self.accepted {
            Some(accepted) => Some(Arc::new(parse(&accepted.object, &self.orders)?)),
            None => None,
        };
        Ok(())
    }
}

/// The site that an object describes, with the incarnation that was asked for last.
pub fn parse(object: &BlueGreenSite, orders: &Orders) -> Result<SiteOnHost, String> {
    let mut object = object.clone();
    if let Some(token) = orders.restart() {
        object.metadata.annotations.get_or_insert_default().insert(annotations::RESTART.to_owned(), token.to_string());
    }
    let site = Site::parse(&object).map_err(|problems| problems.to_string())?;
    site.on_host().map_err(|problem| problem.to_string())
}

impl Entry {
    /// A site of which nothing is known yet.
    #[must_use]
    pub fn new(name: SiteName, dir: SiteDir) -> Entry {
        let (outcomes, _) = broadcast::channel(16);
        Entry { name, wake: Arc::default(), outcomes, dir, state: Mutex::default(), view: Mutex::default() }
    }

    /// A site that an earlier run of the agent accepted. `None`: it is none.
    pub fn load(name: SiteName, dir: SiteDir) -> Result<Option<Entry>, Fault> {
        let accepted: Option<Accepted> = store::read(&dir.root().join(ACCEPTED), store::LIMIT)?;
        let Some(accepted) = accepted else { return Ok(None) };
        let orders = match store::read(&dir.root().join(COMMANDS), store::LIMIT) {
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::warn!(site = %name, %error, "commands that were not taken yet are forgotten");
                Orders::default()
            }
            orders => orders?.unwrap_or_default(),
        };
        let entry = Entry::new(name, dir);
        entry.change(|state| {
            state.accepted = Some(Arc::new(accepted));
            state.orders = orders;
            state.judged_from = state.origin().clone();
            if let Err(message) = state.reparse() {
                state.problem = Some(Problem { reason: crate::api::names::reasons::INVALID, message });
            }
        });
        Ok(Some(entry))
    }

    /// What is known now.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    /// Changes what is known.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.lock())
    }

    /// Writes down what was accepted and what was commanded.
    pub fn save(&self) -> Result<(), Fault> {
        let state = self.state();
        let root = self.dir.root();
        make_folder(root).map_err(|source| StoreError::Write { path: root.to_owned(), source })?;
        store::write(&root.join(COMMANDS), &state.orders, 0o600)?;
        if let Some(accepted) = &state.accepted {
            store::write(&root.join(ACCEPTED), &**accepted, 0o600)?;
        }
        Ok(())
    }

    /// What people are told of it; `None`: nothing yet.
    #[must_use]
    pub fn view(&self) -> Option<SiteView> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        // We wrote it ourselves.
        view.as_ref().and_then(|view| serde_json::from_slice(view).ok())
    }

    /// Tells people something else. False: it is what they were told already.
    pub fn tell(&self, view: &SiteView) -> bool {
        let view = serde_json::to_vec(view).unwrap_or_default().into_boxed_slice();
        let mut told = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = told.as_ref() != Some(&view);
        *told = Some(view);
        changed
    }

    /// Where everything of it lies.
    #[must_use]
    pub fn dir(&self) -> &SiteDir {
        &self.dir
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ACCEPTED: &str = "accepted.json";
const COMMANDS: &str = "commands.json";

/// The moment, as it stands in metadata.
#[must_use]
pub fn stamp() -> StampedTime {
    let now = k8s_openapi::jiff::Timestamp::now();
    // Kubernetes keeps whole seconds, and so do those who compare.
    StampedTime(k8s_openapi::jiff::Timestamp::from_second(now.as_second()).unwrap_or(now))
}
