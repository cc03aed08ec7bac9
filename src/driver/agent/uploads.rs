//! Watches the folder in which a site's releases arrive, for as long as its specification names one. inotify tells at once, and a look now and
//! then finds what nobody told of. When another release became whole last, the site's task is told to look at it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinError};

use super::entry::Entry;
use crate::api::site::{Release, SiteOnHost};
use crate::api::types::AbsPath;
use crate::platform::host::release::{Limits, check_user};
use crate::platform::host::uploads::{Bad, Chosen, Looked, Watch, look, open};
use crate::platform::{Class, Fault};

/// For a change that inotify doesn't tell of (a network file system), and for a folder that can't be used.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);
/// What may be being written is looked at again so soon.
const LOOK_SOON: Duration = Duration::from_secs(2);

/// A folder that is watched; not any more when this is dropped.
pub(super) struct Watching {
    folder: AbsPath,
    task: AbortHandle,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Watches the folder that the specification names, and no other one.
pub(super) fn attend(watching: &mut Option<Watching>, entry: &Arc<Entry>, site: &SiteOnHost, limits: Limits) {
    let wanted = match &site.target.release {
        Release::Uploads { uploads } => Some(uploads),
        Release::Given(_) => None,
    };
    if watching.as_ref().map(|watching| &watching.folder) == wanted {
        return;
    }
    *watching = wanted.map(|folder| {
        let task = tokio::spawn(watch(entry.clone(), folder.clone(), limits)).abort_handle();
        Watching { folder: folder.clone(), task }
    });
    entry.change(|state| state.arrived = None);
}

async fn watch(entry: Arc<Entry>, folder: AbsPath, limits: Limits) {
    let mut bad = Bad::default();
    loop {
        // Watched before it is looked at, so that nothing is missed.
        let mut watch = open(&folder).ok().and_then(|open| Watch::start(&open).ok());
        let mut renamed = BTreeSet::new();
        loop {
            let (entry_, folder_, names) = (entry.clone(), folder.clone(), std::mem::take(&mut renamed));
            let mut known = std::mem::take(&mut bad);
            let done = tokio::task::spawn_blocking(move || {
                let looked = look_at(&entry_, &folder_, &limits, &names, &mut known);
                (looked, known)
            })
            .await;
            let looked = match done {
                Ok((looked, known)) => {
                    bad = known;
                    looked
                }
                Err(error) => Err(failed(&error)),
            };
            let fresh = tell(&entry, &folder, looked);
            let pause = if fresh { LOOK_SOON } else { LOOK_ANYWAY };
            let Some(heard) = hear(&mut watch, pause).await else { break };
            renamed = heard;
        }
    }
}

/// What was renamed by the time that there is a reason to look. `None`: the folder has to be opened anew.
async fn hear(watch: &mut Option<Watch>, pause: Duration) -> Option<BTreeSet<String>> {
    let Some(watch) = watch else {
        tokio::time::sleep(LOOK_SOON).await;
        return None;
    };
    tokio::select! {
        heard = watch.next() => heard.ok().filter(|heard| !heard.gone).map(|heard| heard.renamed),
        () = tokio::time::sleep(pause) => Some(BTreeSet::new()),
    }
}

fn look_at(
    entry: &Entry,
    folder: &AbsPath,
    limits: &Limits,
    renamed: &BTreeSet<String>,
    bad: &mut Bad,
) -> Result<Looked, Fault> {
    let state = entry.state();
    let user = state.site.as_ref().map(|site| site.target.run.user.clone());
    let Some(user) = user else { return Err(unseen(folder)) };
    let account = check_user(&user)?;
    let told = state.accepted.as_ref().and_then(|accepted| accepted.told.as_ref());
    let told = told.and_then(|told| {
        let name = told.upload.clone().filter(|upload| upload.folder == *folder)?.name;
        Some(Chosen { name, fingerprint: told.identity.fingerprint.clone(), moment: i128::MIN })
    });
    look(entry.dir(), folder, (&account, limits), renamed, told, bad)
}

/// Tells what was found; whether it is to be looked at again soon.
fn tell(entry: &Entry, folder: &AbsPath, looked: Result<Looked, Fault>) -> bool {
    let fresh = match &looked {
        Ok(looked) => looked.fresh,
        Err(fault) => {
            tracing::warn!(site = %entry.name, reason = fault.reason, "{fault}");
            true
        }
    };
    let (other, news) = entry.change(|state| {
        let before = state.arrived.take();
        let chosen =
            |looked: &Looked| looked.chosen.as_ref().map(|chosen| (chosen.name.clone(), chosen.fingerprint.clone()));
        let now = match looked {
            Ok(looked) => looked,
            // What was chosen stays so.
            Err(fault) => Looked {
                folder: folder.clone(),
                chosen: before.as_ref().and_then(|before| before.chosen.clone()),
                fault: Some(fault),
                fresh: true,
            },
        };
        let told = state.accepted.as_ref().and_then(|accepted| accepted.told.as_ref());
        let is_told = told.and_then(|told| {
            told.upload.as_ref().map(|upload| (upload.name.clone(), told.identity.fingerprint.clone()))
        });
        let other = chosen(&now) != before.as_deref().and_then(chosen) && chosen(&now) != is_told;
        state.resolve += u64::from(other);
        let said = |looked: &Looked| looked.fault.as_ref().map(|fault| (fault.reason, fault.message.clone()));
        let news = before.as_deref().map(said) != Some(said(&now));
        let arrived = now.chosen.as_ref().map(|chosen| chosen.name.clone()).filter(|_| other);
        state.arrived = Some(Arc::new(now));
        (arrived, news)
    });
    if let Some(name) = &other {
        tracing::info!(site = %entry.name, folder = %folder, "{name} has arrived and is whole");
    }
    if other.is_some() || news {
        entry.wake.notify_one();
    }
    fresh
}

/// Nobody has looked there yet.
pub(super) fn unseen(folder: &AbsPath) -> Fault {
    Fault {
        class: Class::Transient,
        reason: "UploadsUnseen",
        message: format!("the releases that arrive in {folder} are being looked at"),
    }
}

fn failed(error: &JoinError) -> Fault {
    Fault {
        class: Class::Transient,
        reason: "AgentFailed",
        message: format!("a task of the agent failed: {error}; please report this"),
    }
}
