//! The supervisor for containers and machines without systemd: instances are processes of their own sessions, started by a launcher (see
//! `launch`) that outlives nothing but itself, and recorded on disk (see `record`). They survive the agent and are adopted by the next one.
//!
//! While the agent is away nobody starts a crashed instance again; the next agent does, at once. After a reboot, or in a new
//! container, the next agent starts the colour that the link names, and no other. `Launch::writable` has no meaning here: what an app may
//! write is what its user may.

mod keeper;
pub mod launch;
mod log;
mod record;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{WaitOptions, getpid, waitpid};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use self::keeper::{Keeper, Life};
use self::record::{Record, Spec};
use super::account::{Accounts, NoAccount};
use super::files::make_private_folder;
use super::process::{self, Stat};
use super::{InstanceId, InstanceState, Launch, Supervisor};
use crate::api::types::SiteName;
use crate::platform::host::layout::SiteDir;
use crate::platform::{Class, Fault};
use crate::rollout::Colour;

/// What is asked of `direct`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The agent's state folder, by default `/var/lib/bluegreen`.
    pub state: PathBuf,
    /// The program that knows the word [`launch::WORD`]: this one, by default.
    pub launcher: PathBuf,
    /// Where users are looked up.
    pub accounts: Accounts,
}

impl Settings {
    /// The usual ones, with this state folder.
    #[must_use]
    pub fn new(state: PathBuf) -> Settings {
        Settings {
            state,
            // The kernel's own link: it still names this program after an upgrade replaced the file.
            launcher: "/proc/self/exe".into(),
            accounts: Accounts::default(),
        }
    }
}

/// The supervisor. Dropping it stops nothing: the instances run on, and the next one adopts them.
pub struct Direct {
    settings: Settings,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    keepers: BTreeMap<InstanceId, (Arc<Keeper>, AbortHandle)>,
    changes: BTreeMap<(SiteName, Colour), watch::Sender<u64>>,
    tasks: JoinSet<()>,
}

impl Direct {
    /// Takes over what an earlier agent left: adopts what runs, starts what crashed meanwhile, goes on with what was being stopped, and,
    /// after a reboot, starts the colours that the links name. To be called within a tokio runtime.
    ///
    /// # Errors
    /// The state folder can't be read.
    pub async fn open(settings: Settings) -> Result<Direct, Fault> {
        let direct = Direct { settings, kept: Mutex::default() };
        let sites = direct.settings.state.join("sites");
        let left = tokio::task::spawn_blocking(move || left_behind(&sites))
            .await
            .map_err(io::Error::from)
            .and_then(|found| found)
            .map_err(|error| cannot("look for what an earlier agent left", &error))?;
        for (id, record, wanted) in left {
            direct.keep(id, record, wanted);
        }
        let all: Vec<Arc<Keeper>> = direct.kept().keepers.values().map(|(keeper, _)| keeper.clone()).collect();
        for keeper in all {
            keeper.seen().await;
        }
        if getpid().is_init() {
            direct.kept().tasks.spawn(reap_orphans());
        }
        Ok(direct)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // The lock is held for single changes only, which can't be left half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, id: InstanceId, record: Record, wanted: bool) -> Arc<Keeper> {
        let mut kept = self.kept();
        let changed = kept.changes.entry((id.site.clone(), id.colour)).or_default().clone();
        let log = log_file(&SiteDir::new(&self.settings.state, &id.site), &id);
        let keeper = Arc::new(Keeper::new(record, log, wanted, &self.settings.launcher, changed));
        let task = kept.tasks.spawn(keeper.clone().keep());
        kept.keepers.insert(id, (keeper.clone(), task));
        keeper
    }

    fn of_colour(&self, site: &SiteName, colour: Colour) -> Vec<(InstanceId, Arc<Keeper>)> {
        let kept = self.kept();
        let first = InstanceId { site: site.clone(), colour, index: 0 };
        let of_it = kept.keepers.range(first..).take_while(|(id, _)| id.site == *site && id.colour == colour);
        let left = of_it.filter(|(_, (keeper, _))| *keeper.life.borrow() != Life::Stopped);
        left.map(|(id, (keeper, _))| (id.clone(), keeper.clone())).collect()
    }

    /// Forgets the instances that are gone.
    fn sweep(&self) {
        let mut kept = self.kept();
        kept.keepers.retain(|_, (keeper, _)| *keeper.life.borrow() != Life::Stopped);
        while kept.tasks.try_join_next().is_some() {}
    }

    fn spec(&self, id: &InstanceId, launch: &Launch) -> Result<Spec, Fault> {
        let account = self.settings.accounts.find(&launch.user).map_err(|error| match error {
            NoAccount::Unknown { .. } => {
                Fault { class: Class::User, reason: "UserUnknown", message: error.to_string() }
            }
            NoAccount::Unreadable { ref source, .. } => cannot(&error.to_string(), source),
        })?;
        let dir = SiteDir::new(&self.settings.state, &id.site);
        Ok(Spec {
            wanted: true,
            boot: process::boot(),
            argv: launch.argv.clone(),
            env: launch.env.clone(),
            dir: launch.dir.clone(),
            uid: account.uid,
            gid: account.gid,
            groups: account.groups,
            log: log_file(&dir, id),
            stop_within: launch.stop_within,
            live: dir.live(),
        })
    }

    async fn start_one(&self, id: InstanceId, launch: &Launch, known: Option<Arc<Keeper>>) -> Result<(), Fault> {
        if let Some(keeper) = &known {
            if !keeper.is_wanted() {
                return Err(Fault {
                    class: Class::Transient,
                    reason: "StillStopping",
                    message: format!("{id} is still being stopped: it is started when it is gone"),
                });
            }
            if matches!(*keeper.life.borrow(), Life::Running(..)) {
                return Ok(());
            }
        }
        let spec = self.spec(&id, launch)?;
        let dir = SiteDir::new(&self.settings.state, &id.site);
        let record = Record::new(&dir.run(), id.colour, id.index);
        let to_write = record.clone();
        let changed = tokio::task::spawn_blocking(move || {
            make_private_folder(&dir.run())?;
            fs::create_dir_all(dir.logs())?;
            // What can't be read is replaced.
            if to_write.spec().ok().flatten().is_some_and(|old| old == spec) {
                return Ok(false);
            }
            to_write.set_spec(&spec).map(|()| true)
        })
        .await
        .map_err(io::Error::from)
        .and_then(|written| written)
        .map_err(|error| cannot(&format!("write how to run {id}"), &error))?;
        match known {
            Some(keeper) if changed => keeper.hurry(),
            Some(_) => {}
            None => self.keep(id, record, true).seen().await,
        }
        Ok(())
    }
}

impl Supervisor for Direct {
    async fn start(&self, site: &SiteName, colour: Colour, instances: &[Launch]) -> Result<(), Fault> {
        let known: BTreeMap<InstanceId, Arc<Keeper>> = self.of_colour(site, colour).into_iter().collect();
        for (index, launch) in (0u16..).zip(instances) {
            let id = InstanceId { site: site.clone(), colour, index };
            let keeper = known.get(&id).cloned();
            self.start_one(id, launch, keeper).await?;
        }
        Ok(())
    }

    async fn stop(&self, site: &SiteName, colour: Colour) -> Result<(), Fault> {
        let all = self.of_colour(site, colour);
        for (_, keeper) in &all {
            keeper.unwant();
        }
        for (id, keeper) in all {
            let mut life = keeper.life.subscribe();
            let end = life.wait_for(|life| matches!(life, Life::Stopped | Life::Stuck(_))).await;
            if let Ok(Life::Stuck(why)) = end.as_deref() {
                return Err(Fault {
                    class: Class::Transient,
                    reason: "StopFailed",
                    message: format!("{id} could not be stopped: {why}"),
                });
            }
        }
        self.sweep();
        Ok(())
    }

    async fn states(&self, site: &SiteName, colour: Colour) -> Result<Vec<InstanceState>, Fault> {
        let all = self.of_colour(site, colour);
        let length = all.last().map_or(0, |(id, _)| usize::from(id.index) + 1);
        let mut states = vec![InstanceState::Stopped; length];
        for (id, keeper) in all {
            if let Some(state) = states.get_mut(usize::from(id.index)) {
                *state = state_of(&keeper);
            }
        }
        Ok(states)
    }

    fn changes(&self, site: &SiteName, colour: Colour) -> watch::Receiver<u64> {
        self.kept().changes.entry((site.clone(), colour)).or_default().subscribe()
    }

    async fn forget(&self, site: &SiteName) -> Result<(), Fault> {
        // What was stopped has no record any more.
        self.kept().changes.retain(|(of, _), _| of != site);
        Ok(())
    }

    async fn logs(&self, instance: &InstanceId, lines: usize) -> Result<Vec<String>, Fault> {
        let file = log_file(&SiteDir::new(&self.settings.state, &instance.site), instance);
        tokio::task::spawn_blocking(move || log::tail(&file, lines))
            .await
            .map_err(io::Error::from)
            .and_then(|tail| tail)
            .map_err(|error| cannot(&format!("read the log of {instance}"), &error))
    }
}

fn state_of(keeper: &Keeper) -> InstanceState {
    let life = keeper.life.borrow().clone();
    match life {
        Life::Running(main, restarts) => InstanceState::Running { pids: process::tree(main), restarts },
        Life::Failed(how, restarts) => InstanceState::Failed { how, restarts },
        Life::Stuck(why) => InstanceState::Failed { how: why, restarts: 0 },
        Life::Unseen | Life::Stopped => InstanceState::Stopped,
    }
}

fn log_file(dir: &SiteDir, id: &InstanceId) -> PathBuf {
    dir.logs().join(format!("{}.{}.log", id.colour.name(), id.index))
}

fn cannot(what: &str, error: &io::Error) -> Fault {
    Fault { class: Class::Transient, reason: "SupervisorFailed", message: format!("cannot {what}: {error}") }
}

/// What an earlier agent recorded below the folder of all sites, and whether it shall run.
fn left_behind(sites: &Path) -> io::Result<Vec<(InstanceId, Record, bool)>> {
    let mut found = Vec::new();
    for site in entries(sites)? {
        let Some(name) = site.file_name().and_then(|name| name.to_str()?.parse::<SiteName>().ok()) else {
            continue;
        };
        for file in entries(&site.join("run"))? {
            let Some(record) = Record::of_spec(&file) else { continue };
            let Some((colour, index)) = record.place() else {
                continue;
            };
            let id = InstanceId { site: name.clone(), colour, index };
            match wish(&record, colour) {
                Some(wanted) => found.push((id, record, wanted)),
                None => record.remove()?,
            }
        }
    }
    Ok(found)
}

/// Whether a recorded instance shall run; `None`: it belongs to an earlier boot and is not live, so nothing is left of it.
fn wish(record: &Record, colour: Colour) -> Option<bool> {
    let spec = match record.spec() {
        Ok(Some(spec)) => spec,
        Ok(None) => return None,
        Err(error) => {
            let file = record.spec_file();
            tracing::error!(file = %file.display(), %error, "how to run an instance can't be read: it is started again only when its colour is");
            return Some(true);
        }
    };
    if spec.boot == process::boot() {
        return Some(spec.wanted);
    }
    let live = fs::read_link(&spec.live).ok()?;
    if !spec.wanted || live.file_name() != Some(colour.name().as_ref()) {
        return None;
    }
    // From now on it belongs to this boot, whatever the link names later.
    let file = record.spec_file();
    let now = Spec { boot: process::boot(), ..spec };
    if let Err(error) = record.set_spec(&now) {
        tracing::error!(file = %file.display(), %error, "an instance is started after a reboot, and that could not be written");
    }
    Some(true)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The first process of a container inherits every orphan, and has to look at each one's end. One that is still there at the next
/// round has nobody else who waits for it.
async fn reap_orphans() {
    const ROUND: Duration = Duration::from_secs(2);
    let mut before: Vec<u32> = Vec::new();
    loop {
        tokio::time::sleep(ROUND).await;
        let dead = process::numbers("/proc").into_iter();
        let dead: Vec<u32> =
            dead.filter(|&pid| Stat::read(pid).is_some_and(|s| s.is_zombie() && s.parent == 1)).collect();
        for &pid in dead.iter().filter(|pid| before.contains(pid)) {
            // How it ended interests nobody.
            let _ = waitpid(process::to_pid(pid), WaitOptions::NOHANG);
        }
        before = dead;
    }
}
