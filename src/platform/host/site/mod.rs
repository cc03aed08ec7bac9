//! One site of a plain machine: what the link, the slots, the supervisor, the prober and the front door say becomes a world; a goal becomes
//! calls to them. The driver calls it, and nothing else touches the site.
//!
//! | part | what it does |
//! |---|---|
//! | `look` | the world, as it is at this moment |
//! | `steps` | takes one step, with a last look right before it |
//! | `tend` | what needs no decision: the shape in force, an instance that somebody stopped |
//! | `take` | takes a release in the background |
//! | `exposure` | which ports are to be closed, and what others than this machine can reach all the same |
//! | `drain` | evidence that nothing is in flight any more |
//! | `drift` | hears of it when somebody moves the link |
//! | `falls` | instances that were ready and ended by themselves |
//! | `preview` | which colour the site's preview shows |
//! | `warm` | warms a candidate up before its cutover |
//! | `tls` | the certificate that the site names, copied |
//! | `shape` | what the web server has to know |
//!
//! Each colour runs by its own release's record (ports, environment, health), never by the newest specification.

mod drain;
mod drift;
mod exposure;
mod falls;
mod look;
mod preview;
mod shape;
mod steps;
mod take;
mod tend;
mod tls;
mod warm;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use self::drain::Draining;
use self::drift::Drift;
use self::falls::Falls;
use self::take::Takes;
use super::afar::Afar;
use super::firewall::Firewall;
use super::layout::SiteDir;
use super::probe::{Probe, Prober};
use super::release::{Identity, Limits, Record};
use super::state::FileStore;
use super::supervise::{InstanceId, Supervisor};
use super::web::WebServer;
use super::{release, route};
use crate::api::site::{ReleaseSource, Run, SiteOnHost};
use crate::api::types::SiteName;
use crate::control::api::SlotView;
use crate::platform::{Class, Fault, Platform};
use crate::rollout::{CheckGoal, Colour, Goal, Observed, Plan, Revision, Time};

/// What all sites of a machine share.
pub struct Host<W, S> {
    /// The agent's state folder.
    pub state: PathBuf,
    /// The front door.
    pub web: W,
    /// What closes the instances' ports to others than this machine.
    pub firewall: Arc<Firewall>,
    /// Who keeps the instances running.
    pub supervisor: Arc<S>,
    /// Who asks them for their health.
    pub prober: Prober<S>,
    /// The program that unpacks archives.
    pub unpacker: PathBuf,
    /// How large a release may be.
    pub limits: Limits,
}

/// What somebody wants of the site, as far as the platform has to know it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The specification.
    pub site: Arc<SiteOnHost>,
    /// The release that it describes; `None` while that can't be told.
    pub release: Option<WantedRelease>,
    /// What it is given here, if it comes from elsewhere than this host's own folder.
    pub afar: Option<Afar>,
}

/// The release that a specification describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRelease {
    /// Its revision.
    pub revision: Revision,
    /// What makes it that one.
    pub identity: Identity,
    /// How it is to be run.
    pub run: Run,
    /// Where it lies.
    pub source: ReleaseSource,
}

/// One site of this machine.
pub struct HostSite<W, S> {
    host: Arc<Host<W, S>>,
    name: SiteName,
    dir: SiteDir,
    memory: FileStore,
    wanted: Mutex<Wanted>,
    wake: Arc<Notify>,
    takes: Arc<Takes>,
    /// What was uploaded is not what it was when its revision was told.
    upload_changed: Arc<AtomicBool>,
    slots: Mutex<Vec<SlotView>>,
    /// What somebody should know, and what holds up nothing; by what it is about.
    warnings: Mutex<BTreeMap<&'static str, Fault>>,
    inner: tokio::sync::Mutex<Inner>,
    _drift: Drift,
}

/// What is remembered between two looks. All of it can be lost.
#[derive(Default)]
struct Inner {
    blue: Option<Watched>,
    green: Option<Watched>,
    records: Records,
    check: Option<(CheckGoal, Instant)>,
    /// The front door was seen to answer from this colour, when the link was last moved at this moment.
    seen: Option<(Colour, Option<Time>, Instant)>,
    /// How often the front door was asked in vain.
    unseen: u32,
    /// The colour that the preview may show, as of the last look.
    idle: Option<Colour>,
    /// Since when nothing is routed.
    nowhere: Option<Time>,
    /// Asks it again.
    ask_again: Option<Timer>,
}

/// The complete releases, as they were when the folder last changed.
#[derive(Default)]
struct Records {
    at: Option<SystemTime>,
    all: BTreeMap<Revision, Arc<Record>>,
}

/// A colour that is looked after.
struct Watched {
    revision: Revision,
    /// The processes of its instances at the last look.
    pids: Vec<u32>,
    /// The first process of each instance that ran then.
    lives: Vec<u32>,
    warm_up: Option<warm::WarmUp>,
    /// The ports that they were seen to open besides their own, to more than loopback.
    further: BTreeSet<u16>,
    /// `None`: it has no instances.
    probe: Option<Probe>,
    /// Since when none of its instances is ready.
    down: Option<Time>,
    /// It was started by an earlier run of the agent, and is not known well enough to be judged until this moment.
    adopted: Option<(Instant, Instant)>,
    draining: Option<Draining>,
    falls: Falls,
}

/// Wakes the site's driver after a while; dropping it calls that off.
struct Timer(AbortHandle);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    fn watched(&mut self, colour: Colour) -> &mut Option<Watched> {
        match colour {
            Colour::Blue => &mut self.blue,
            Colour::Green => &mut self.green,
        }
    }
}

impl<W: WebServer + 'static, S: Supervisor + 'static> HostSite<W, S> {
    /// The site in the folder `state/sites/NAME`. `wake` is notified whenever it is worth looking at it again. To be called within a tokio
    /// runtime.
    #[must_use]
    pub fn new(host: Arc<Host<W, S>>, wanted: Wanted, wake: Arc<Notify>) -> HostSite<W, S> {
        let name = wanted.site.name.clone();
        let dir = SiteDir::new(&host.state, &name);
        let drift = Drift::watch(dir.root().to_owned(), wake.clone());
        HostSite {
            host,
            name,
            memory: FileStore::new(dir.clone()),
            dir,
            wanted: Mutex::new(wanted),
            wake,
            takes: Arc::default(),
            upload_changed: Arc::default(),
            slots: Mutex::default(),
            warnings: Mutex::default(),
            inner: tokio::sync::Mutex::default(),
            _drift: drift,
        }
    }

    /// Where everything of the site lies.
    #[must_use]
    pub fn dir(&self) -> &SiteDir {
        &self.dir
    }

    /// Something else is wanted from now on.
    pub fn want(&self, wanted: Wanted) {
        if let Some(release) = &wanted.release {
            self.takes.keep_only(release.revision);
        }
        *lock(&self.wanted) = wanted;
    }

    /// Somebody asked for another try: a release that was unusable may be usable now.
    pub fn forget_failures(&self) {
        self.takes.forget();
    }

    /// Whether what was uploaded turned out not to be what it was when its revision was told; asked once for each time.
    pub fn take_upload_changed(&self) -> bool {
        self.upload_changed.swap(false, Ordering::Relaxed)
    }

    /// Both colours as they were last seen.
    #[must_use]
    pub fn slots(&self) -> Vec<SlotView> {
        lock(&self.slots).clone()
    }

    /// What somebody should know, although it holds up nothing.
    #[must_use]
    pub fn warnings(&self) -> Vec<Fault> {
        lock(&self.warnings).values().cloned().chain(self.takes.far()).collect()
    }

    /// From now on, this is to be said of what the site has of that kind; `None`: nothing any more.
    fn warn(&self, about: &'static str, fault: Option<Fault>) {
        let mut warnings = lock(&self.warnings);
        match fault {
            Some(fault) => {
                let message = fault.message.clone();
                let reason = fault.reason;
                if warnings.insert(about, fault).is_none_or(|before| before.message != message) {
                    tracing::warn!(site = %self.name, reason, "{message}");
                }
            }
            None => {
                if warnings.remove(about).is_some() {
                    tracing::info!(site = %self.name, about, "what was warned of is mended");
                }
            }
        }
    }

    /// What an instance printed last.
    ///
    /// # Errors
    /// The supervisor's.
    pub async fn logs(&self, colour: Colour, index: u16, lines: usize) -> Result<Vec<String>, Fault> {
        let id = InstanceId { site: self.name.clone(), colour, index };
        self.host.supervisor.logs(&id, lines).await
    }

    /// The site is gone: the web server and the supervisor forget it, and its folder goes. Does nothing where that was done already.
    ///
    /// # Errors
    /// The parts'; to be tried again.
    pub async fn clear_away(&self) -> Result<(), Fault> {
        self.host.web.remove(&self.name).await?;
        let mut inner = self.inner.lock().await;
        for colour in Colour::BOTH {
            *inner.watched(colour) = None;
            self.host.supervisor.stop(&self.name, colour).await?;
        }
        // A unit without its site would be started, in vain, at each reboot. The folder goes last: while it is there, all of this is tried again.
        self.host.supervisor.forget(&self.name).await?;
        self.host.firewall.forget(&self.name);
        let root = self.dir.root().to_owned();
        blocking(move || match std::fs::remove_dir_all(&root) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Fault {
                class: Class::Transient,
                reason: "StateNotRemoved",
                message: format!("cannot remove {}: {e}", root.display()),
            }),
            _ => Ok(()),
        })
        .await
    }

    fn wanted(&self) -> Wanted {
        lock(&self.wanted).clone()
    }

    /// Looks again after a while, unless the answer is dropped before.
    fn wake_after(&self, span: Duration) -> Timer {
        let wake = self.wake.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(span).await;
            wake.notify_one();
        });
        Timer(task.abort_handle())
    }

    /// The complete releases.
    fn records<'a>(&self, inner: &'a mut Inner) -> Result<&'a BTreeMap<Revision, Arc<Record>>, Fault> {
        let at = std::fs::metadata(self.dir.releases()).and_then(|m| m.modified()).ok();
        // The kernel's clock for files ticks slowly: two changes within a tick look like one.
        let settled = at.is_some_and(|at| at.elapsed().is_ok_and(|age| age > Duration::from_secs(1)));
        if inner.records.at != at || !settled {
            let all = release::list(&self.dir)?;
            inner.records.all = all
                .into_iter()
                .filter_map(|(revision, record)| match record {
                    Ok(record) => Some((revision, Arc::new(record))),
                    // It is mended by taking it again.
                    Err(error) => {
                        tracing::warn!(site = %self.name, %revision, %error, "a release has no good record");
                        None
                    }
                })
                .collect();
            inner.records.at = at;
        }
        Ok(&inner.records.all)
    }
}

impl<W: WebServer + 'static, S: Supervisor + 'static> Platform for HostSite<W, S> {
    async fn observe(&self, _: &Plan) -> Observed {
        let mut inner = self.inner.lock().await;
        match self.look(&mut inner).await {
            Ok(world) => Observed::World(world),
            Err(what) => Observed::Unknown(what),
        }
    }

    async fn converge(&self, plan: &Plan, goal: &Goal) -> Result<(), Fault> {
        let mut inner = self.inner.lock().await;
        if inner.check.map(|(check, _)| check) != goal.check {
            inner.check = goal.check.map(|check| (check, Instant::now()));
        }
        let taken = goal.prepare.map_or(Ok(()), |revision| self.prepare(revision, &mut inner));
        self.step(plan, goal, &mut inner).await?;
        if !plan.deleting {
            self.show_preview(&mut inner).await?;
            self.tend(goal, &mut inner).await?;
        }
        taken
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole values are put in and taken out, so none is left half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what may wait for the disk where that holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(task_failed(&error)))
}

fn task_failed(error: &dyn std::fmt::Display) -> Fault {
    let message = format!("a task of the agent failed: {error}; please report this");
    Fault { class: Class::Transient, reason: "AgentFailed", message }
}

fn cannot(what: &str, error: &std::io::Error) -> Fault {
    Fault { class: Class::Transient, reason: "StateNotWritten", message: format!("cannot {what}: {error}") }
}

fn held(site: &SiteDir, colour: Colour) -> Result<Option<Revision>, String> {
    route::held(site, colour).map_err(|e| format!("cannot read what {colour} holds: {e}"))
}
