//! One site of a Kubernetes cluster: what its objects say becomes a world; a goal becomes writes to the API server. The operator calls it, and
//! nothing else writes the site's objects.
//!
//! | part | what it is |
//! |---|---|
//! | `children` | slim facts of the objects that are watched, and the cache of all of them |
//! | `look` | from facts to a world: pure |
//! | `objects` | what each object looks like: pure |
//! | `release`, `references` | what a revision is, and which configuration belongs to it: pure |
//! | `ask` | requests, their time-outs, and what a refusal means |
//! | `prepare`, `configuration` | a candidate is tried, its configuration copied, its release stored |
//! | `guards` | the settings of a template that must not reach production |
//! | `steps` | takes one step, with a last look right before it |
//! | `ownership` | whose an object is, and what an earlier site left |
//! | `front` | the object that carries the route and the ledger |
//! | `tend` | what needs no decision: Services, seals, sizes, drift of what is live |
//! | `store`, `memory` | ledger and status, written no more often than needed |

mod ask;
pub mod children;
mod configuration;
mod front;
mod guards;
pub mod look;
mod memory;
pub mod objects;
mod ownership;
mod prepare;
pub mod references;
pub mod release;
mod steps;
mod store;
mod tend;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::{Client, ResourceExt};
use tokio::task::AbortHandle;

use self::ask::Ask;
use self::children::{Cache, Children, Key, Kind, uid};
use self::configuration::Resolved;
use self::look::{Eyes, Scene};
use self::memory::{Due, Memory};
use self::objects::Objects;
use self::ownership::unmarked;
use self::release::Release;
use crate::api::names::reasons;
use crate::api::site::{Route, SiteOnCluster};
use crate::api::spec::BlueGreenSite;
use crate::api::status::SiteStatus;
use crate::platform::clock::wall;
use crate::platform::{Class, Fault, Platform};
use crate::rollout::{Colour, Command, Goal, Observed, Plan, Revision, Step, Verb};

pub use self::store::ClusterStore;

/// Wakes the site's driver: it is worth looking at the site again.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// One site of a cluster.
pub struct ClusterPlatform {
    ask: Ask,
    wake: Wake,
    wanted: Mutex<Option<Wanted>>,
    memory: Mutex<Memory>,
    /// When the front object was found not to be there.
    no_front: Mutex<Option<std::time::Instant>>,
    /// The uids of sites that are gone.
    gone: Mutex<BTreeSet<u128>>,
    later: Mutex<Option<Timer>>,
    settles: Mutex<Option<Timer>>,
    /// What the settings of which revision were warned of.
    settings: Mutex<(Option<Revision>, Vec<String>)>,
    /// The Deployments whose size somebody else keeps setting, with what is said of each.
    contested: Mutex<BTreeMap<Colour, String>>,
    inner: tokio::sync::Mutex<Inner>,
}

/// What somebody wants of the site.
#[derive(Clone)]
struct Wanted {
    site: Arc<SiteOnCluster>,
    /// The site's uid, as text and as a number.
    uid: Arc<str>,
    owner: u128,
}

/// What is remembered between two looks. All of it can be lost.
#[derive(Default)]
struct Inner {
    eyes: Eyes,
    resolved: Option<Resolved>,
    /// The content of the release that was needed last.
    release: Option<(Revision, Arc<Release>)>,
    /// The retry that was seen last.
    retry: Option<String>,
    pruned: Option<std::time::Instant>,
}

/// Wakes the site's driver after a while; dropping it calls that off.
struct Timer(AbortHandle);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ClusterPlatform {
    /// The site `key`. To be called within a tokio runtime; nothing is known of the site until [`ClusterPlatform::want`].
    #[must_use]
    pub fn new(client: Client, cache: Arc<Cache>, key: Key, wake: Wake) -> ClusterPlatform {
        ClusterPlatform {
            ask: Ask::new(client, cache, key),
            wake,
            wanted: Mutex::default(),
            memory: Mutex::default(),
            no_front: Mutex::default(),
            gone: Mutex::default(),
            later: Mutex::default(),
            settles: Mutex::default(),
            settings: Mutex::default(),
            contested: Mutex::default(),
            inner: tokio::sync::Mutex::default(),
        }
    }

    /// Which site it is.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.ask.key
    }

    /// The site's object as it was last seen, and what it was parsed to. To be called before each turn; an older object changes nothing.
    pub fn want(&self, object: &BlueGreenSite, site: Arc<SiteOnCluster>) {
        self.saw(object.metadata.resource_version.as_deref(), object.status.as_ref());
        let text = object.uid().unwrap_or_default();
        let owner = uid(&text);
        *lock(&self.wanted) = Some(Wanted { site, uid: text.into(), owner });
    }

    /// The site's object as it was last seen, where it can't be parsed: only its status and version count.
    pub fn saw(&self, version: Option<&str>, status: Option<&SiteStatus>) {
        let version = version.and_then(|text| text.parse().ok()).unwrap_or(0);
        lock(&self.memory).saw(version, status);
    }

    /// What the logic is asked for, and why the revision can't be told if it can't. Configuration that the template names is read for it.
    pub async fn plan(&self, commands: Vec<Command>, deleting: bool) -> (Option<Plan>, Option<Fault>) {
        let Some(wanted) = self.wanted() else { return (None, None) };
        let mut inner = self.inner.lock().await;
        let retry = commands.iter().find(|command| command.verb == Verb::Retry).map(|command| command.id.clone());
        if retry != inner.retry {
            // Somebody asked for another try: what was refused may pass now.
            inner.eyes.unusable.clear();
            inner.retry = retry;
        }
        let (revision, fault) = if deleting { (None, None) } else { self.resolve(&wanted, &mut inner).await };
        if let Some(revision) = revision {
            self.look_through_settings(&wanted, revision).await;
        }
        let plan =
            Plan { wanted: revision, promotion: wanted.site.promotion, limits: wanted.site.limits, deleting, commands };
        (Some(plan), fault)
    }

    /// What somebody should know, although it holds up nothing: what the template will probably cost requests by, what its settings may do, and who
    /// works against us.
    #[must_use]
    pub fn warnings(&self) -> Vec<Fault> {
        let Some(wanted) = self.wanted() else { return Vec::new() };
        let lost = release::warnings(&wanted.site.target, wanted.site.limits.drain_within);
        let settings = lock(&self.settings).1.clone();
        let contested: Vec<String> = lock(&self.contested).values().cloned().collect();
        let all = [(reasons::MAY_LOSE, lost), (reasons::SETTINGS, settings), (reasons::SIZE_CONTESTED, contested)];
        let said = all.into_iter().filter(|(_, words)| !words.is_empty());
        said.map(|(reason, words)| Fault { class: Class::User, reason, message: words.join("; ") }).collect()
    }

    /// What people shall read. It is written at the beginning of the next step or by [`ClusterPlatform::flush`], once it is worth a write.
    pub fn report(&self, mut status: SiteStatus) {
        if let (Some(wanted), Some(live)) = (self.wanted(), &status.live) {
            let site = wanted.site.name.as_str();
            let children = self.ask.cache.view(&self.ask.key);
            let scene = scene(&wanted, &children);
            let ready = scene.pods(live.colour).map(|pods| pods.values().filter(|ready| **ready).count());
            status.replicas = ready.and_then(|ready| i32::try_from(ready).ok());
            status.selector = Some(format!(
                "{}={site},{}={}",
                crate::api::names::cluster::SITE,
                crate::api::names::cluster::COLOUR,
                live.colour
            ));
        }
        let mut memory = lock(&self.memory);
        // Where nothing could be told, what stands in a decision is for people alone: it must not take the place of what is remembered.
        status.rollout = memory.status();
        memory.report(status);
    }

    /// What people were told last, written or not.
    #[must_use]
    pub fn reported(&self) -> Option<SiteStatus> {
        let memory = lock(&self.memory);
        memory.report.clone().or_else(|| memory.written.clone())
    }

    /// Writes what people shall read, if it is worth a write by now; otherwise the driver is woken when it will be.
    ///
    /// # Errors
    /// It could not be written. It is tried again with the next step.
    pub async fn flush(&self) -> Result<(), Fault> {
        let due = lock(&self.memory).due();
        match due {
            Due::Now => self.write_status().await,
            Due::After(span) => {
                *lock(&self.later) = Some(self.wake_after(span));
                Ok(())
            }
            Due::Never => Ok(()),
        }
    }

    /// Nothing is under way: what can be read again is not kept. With ten thousand sites at rest that is most of the memory.
    pub async fn rest(&self) {
        self.inner.lock().await.release = None;
    }

    fn wanted(&self) -> Option<Wanted> {
        lock(&self.wanted).clone()
    }

    fn children(&self) -> Arc<Children> {
        self.ask.cache.view(&self.ask.key)
    }

    /// Looks again after a while, unless the answer is dropped before.
    fn wake_after(&self, span: Duration) -> Timer {
        let wake = self.wake.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(span).await;
            wake();
        });
        Timer(task.abort_handle())
    }
}

impl Wanted {
    /// What has to be seen before anything is decided.
    fn kinds(&self) -> &'static [Kind] {
        match self.site.target.route {
            Route::Service => &[Kind::Deployment, Kind::Service, Kind::Slice, Kind::Release],
            Route::HttpRoute(_) => &[Kind::Deployment, Kind::Service, Kind::Slice, Kind::Release, Kind::HttpRoute],
        }
    }

    /// How many pods the specification asks for.
    fn size(&self) -> i32 {
        i32::try_from(self.site.target.replicas).unwrap_or(i32::MAX)
    }

    fn objects<'a>(&'a self, key: &'a Key) -> Objects<'a> {
        Objects { site: &self.site, namespace: key.namespace(), uid: &self.uid }
    }
}

fn scene<'a>(wanted: &'a Wanted, children: &'a Children) -> Scene<'a> {
    Scene { site: &wanted.site, owner: wanted.owner, children, now: wall() }
}

impl Platform for ClusterPlatform {
    async fn observe(&self, _: &Plan) -> Observed {
        let Some(wanted) = self.wanted() else {
            return Observed::Unknown("the site was not seen yet".to_owned());
        };
        if let Err(what) = self.ask.cache.complete(wanted.kinds()) {
            return Observed::Unknown(what);
        }
        let mut inner = self.inner.lock().await;
        let children = self.children();
        if !unmarked(&wanted, &children).is_empty() {
            // It came since it was looked for; without it, this would look like a site that never had anything.
            (self.wake)();
            return Observed::Unknown("what an earlier site of this name left is taken back first".to_owned());
        }
        let scene = scene(&wanted, &children);
        match scene.world(&mut inner.eyes) {
            Ok(world) => {
                if let Route::HttpRoute(http) = &wanted.site.target.route
                    && let Some(at) = inner.eyes.settles(http.settle, scene.now)
                {
                    *lock(&self.settles) = Some(self.wake_after(at.since(wall())));
                }
                Observed::World(world)
            }
            Err(what) => Observed::Unknown(what),
        }
    }

    async fn converge(&self, plan: &Plan, goal: &Goal) -> Result<(), Fault> {
        let Some(wanted) = self.wanted() else { return Ok(()) };
        if self.ask.cache.complete(wanted.kinds()).is_err() || !unmarked(&wanted, &self.children()).is_empty() {
            // Nothing was decided, and what is missing may be missing because it was not seen, or is somebody's who is gone.
            return self.flush().await;
        }
        let mut inner = self.inner.lock().await;
        if inner.eyes.check.map(|(check, _)| check) != goal.check {
            inner.eyes.check = goal.check.map(|check| (check, wall()));
            for colour in Colour::BOTH {
                inner.eyes.of(colour).suspects = false;
            }
            if goal.check.is_some() {
                // What it says is known at once.
                (self.wake)();
            }
        }
        // Before a colour is started or stopped, what that rests on is on record. A route carries its own memory in the same write, and people are told
        // of it afterwards (`Entry::end`): nobody who waits for the new version waits for words.
        match goal.step {
            // As long as no front object carries the ledger, the status is all the memory there is: of a slot that runs and that nobody remembers to have
            // started, nobody could say what it may be used for.
            Some(Step::Start { .. }) if self.front_owned(&wanted).is_none() => self.write_status().await?,
            Some(Step::Start { .. } | Step::Stop { .. } | Step::Unroute) => self.flush().await?,
            Some(Step::Route { .. }) | None => {}
        }
        if let Some(revision) = goal.prepare {
            self.prepare(&wanted, revision, &mut inner).await?;
        }
        self.step(&wanted, goal, &mut inner).await?;
        if !plan.deleting {
            self.tend(&wanted, plan, goal, &mut inner).await?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole values are put in and taken out, so none is left half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
