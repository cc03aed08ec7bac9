//! Takes a release in the background, and remembers how that went. A failure that passes by itself is tried again until the phase's
//! deadline; one that somebody has to mend makes the release unusable, until another try is asked for.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::{HostSite, Inner, Wanted, lock, task_failed};
use crate::platform::host::layout::SiteDir;
use crate::platform::host::release::{self, Downloads, FETCH_FAILED, Fetching, Order};
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;
use crate::platform::{Class, Fault};
use crate::rollout::{Artifact, Revision};

/// The takes of a site.
#[derive(Default)]
pub(super) struct Takes {
    all: Mutex<BTreeMap<Revision, Take>>,
    /// How far the one that is under way is, in words.
    far: Mutex<Option<String>>,
    /// Whoever holds it takes: a site has one shelf.
    turn: tokio::sync::Mutex<()>,
}

/// So many sites of a machine take a release at once that lies there with all that it requires. The others wait, on no thread.
static HERE: Semaphore = Semaphore::const_new(8);
/// So many take one for which another machine is asked, a server of releases or an index of packages: slow ones hold up only each other.
static AFAR: Semaphore = Semaphore::const_new(16);

#[derive(Clone)]
enum Take {
    Running,
    /// It failed and is tried again from this moment on; it failed so often in a row.
    Again(Instant, Fault, u32),
    /// It failed for good.
    Failed(String),
}

/// A failure that passes by itself is met by another try after so long.
const AGAIN: Duration = Duration::from_secs(2);
/// A server that can't be used is asked less and less often, but never less often than this.
const ASK_AT_LEAST: Duration = Duration::from_secs(30);

fn pause(fault: &Fault, failures: u32) -> Duration {
    match fault.reason {
        FETCH_FAILED => (AGAIN * 2_u32.saturating_pow(failures.min(8))).min(ASK_AT_LEAST),
        _ => AGAIN,
    }
}

impl Takes {
    /// What the logic has to know.
    pub(super) fn artifacts(&self) -> impl Iterator<Item = (Revision, Artifact)> {
        let all: Vec<_> = lock(&self.all)
            .iter()
            .map(|(revision, take)| {
                let artifact = match take {
                    Take::Failed(why) => Artifact::Unusable(why.clone()),
                    Take::Running | Take::Again(..) => Artifact::Preparing,
                };
                (*revision, artifact)
            })
            .collect();
        all.into_iter()
    }

    /// What failed is forgotten, but for this revision.
    pub(super) fn keep_only(&self, revision: Revision) {
        lock(&self.all).retain(|of, take| *of == revision || matches!(take, Take::Running));
    }

    /// How far what is fetched is, in words.
    pub(super) fn far(&self) -> Option<Fault> {
        let message = lock(&self.far).clone()?;
        Some(Fault { class: Class::Transient, reason: "Fetching", message })
    }

    /// Nothing was ever tried, but for what is under way.
    pub(super) fn forget(&self) {
        lock(&self.all).retain(|_, take| matches!(take, Take::Running));
    }
}

impl<W: WebServer + 'static, S: Supervisor + 'static> HostSite<W, S> {
    /// Sees to it that the release is being taken. Answers with why it must be tried again, if it must.
    pub(super) fn prepare(&self, revision: Revision, inner: &mut Inner) -> Result<(), Fault> {
        if self.records(inner)?.contains_key(&revision) {
            lock(&self.takes.all).remove(&revision);
            return Ok(());
        }
        let known = lock(&self.takes.all).get(&revision).cloned();
        match known {
            Some(Take::Running | Take::Failed(_)) => Ok(()),
            Some(Take::Again(at, fault, _)) if Instant::now() < at => Err(fault),
            Some(Take::Again(_, _, failures)) => {
                self.begin(revision, failures);
                Ok(())
            }
            None => {
                self.begin(revision, 0);
                Ok(())
            }
        }
    }

    fn begin(&self, revision: Revision, failures: u32) {
        let wanted = self.wanted();
        if wanted.release.as_ref().is_none_or(|release| release.revision != revision) {
            let why = format!(
                "release {} is not on this machine any more, and the manifest describes another one: apply the manifest that described it",
                revision.short()
            );
            lock(&self.takes.all).insert(revision, Take::Failed(why));
            self.wake.notify_one();
            return;
        }
        lock(&self.takes.all).insert(revision, Take::Running);
        let (host, dir, name) = (self.host.clone(), self.dir.clone(), self.name.clone());
        let (takes, wake, changed) = (self.takes.clone(), self.wake.clone(), self.upload_changed.clone());
        tokio::spawn(async move {
            tracing::info!(site = %name, %revision, "taking the release");
            let (state, so_far, look) = (host.state.clone(), takes.clone(), wake.clone());
            let _turn = takes.turn.lock().await;
            let asks =
                |release: &super::WantedRelease| release.source.is_afar() || release.run.runtime.installed().is_some();
            let afar = wanted.release.as_ref().is_some_and(asks);
            let _one = if afar { &AFAR } else { &HERE }.acquire().await;
            let done = apart(move || {
                let told = |message: String| {
                    *lock(&so_far.far) = Some(message);
                    look.notify_one();
                };
                take(&dir, &wanted, host.limits, &host.unpacker, &Downloads::of(&state), &told)
            })
            .await;
            lock(&takes.far).take();
            let mut again_in = AGAIN;
            let take = match done {
                Ok(()) => None,
                Err(fault) => {
                    tracing::warn!(site = %name, %revision, reason = fault.reason, error = %fault, "the release was not taken");
                    match fault.class {
                        Class::User | Class::Forbidden => Some(Take::Failed(fault.message)),
                        Class::Conflict | Class::Transient => {
                            changed.store(fault.class == Class::Conflict, Ordering::Relaxed);
                            again_in = pause(&fault, failures);
                            Some(Take::Again(Instant::now() + again_in, fault, failures.saturating_add(1)))
                        }
                    }
                }
            };
            let again = matches!(take, Some(Take::Again(..)));
            match take {
                Some(take) => lock(&takes.all).insert(revision, take),
                None => lock(&takes.all).remove(&revision),
            };
            wake.notify_one();
            if again {
                tokio::time::sleep(again_in).await;
                wake.notify_one();
            }
        });
    }
}

/// Runs a take on a thread of its own. It may last as long as a server or somebody's build pleases, and those of the pool move traffic.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    let (done, heard) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let begun = std::thread::Builder::new().name("take".to_owned()).spawn(move || {
        let _inside = runtime.enter();
        // Nobody listens any more: the agent ends.
        let _ = done.send(work());
    });
    match begun {
        Err(error) => Err(task_failed(&error)),
        Ok(_) => heard.await.unwrap_or_else(|error| Err(task_failed(&error))),
    }
}

fn take(
    dir: &SiteDir,
    wanted: &Wanted,
    limits: release::Limits,
    unpacker: &std::path::Path,
    downloads: &Downloads,
    told: &dyn Fn(String),
) -> Result<(), Fault> {
    let Some(of) = &wanted.release else { return Ok(()) };
    let account = release::check_user(&of.run.user)?;
    release::take(
        dir,
        &Order {
            source: &of.source,
            identity: &of.identity,
            run: &of.run,
            account: &account,
            limits: &limits,
            unpacker,
            fetching: Fetching {
                downloads,
                within: wanted.site.limits.prepare_within.mul_f32(0.9),
                told,
                secrets: wanted.afar.as_ref().and_then(|afar| afar.secrets.as_deref()),
            },
            // A little less than the phase has, so that people are told what took so long.
            install_within: wanted.site.limits.prepare_within.mul_f32(0.9),
            settings: wanted.site.target.settings,
            progress: &|_| {},
        },
    )?;
    Ok(())
}
