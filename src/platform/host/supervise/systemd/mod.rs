//! The supervisor for machines with systemd: an instance is a unit. systemd starts it again when it crashes, whether the agent runs
//! or not, and at a reboot starts the colour that the link names, and no other: all units are enabled once, and each has the link as
//! its condition (see `instance.service`). Enabling one colour and moving the link would be two steps, and a power cut between
//! them would boot the wrong colour.
//!
//! Unit files are written only while their instance is off, so that what runs always is what its file says.

mod bus;
mod unit;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::bus::{Bus, Job, Unit};
use self::unit::{Places, Unwritable};
use super::files::{make_private_folder, remove, write_whole};
use super::{InstanceId, InstanceState, Launch, Supervisor, oom, process};
use crate::api::types::SiteName;
use crate::platform::host::layout::SiteDir;
use crate::platform::{Class, Fault};
use crate::rollout::Colour;

/// The first version that waits longer from crash to crash.
const WITH_RESTART_STEPS: u32 = 254;
const RECONNECT: Duration = Duration::from_secs(1);
const MULTI_USER: &str = "multi-user.target.wants";

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The agent's state folder, by default `/var/lib/bluegreen`.
    pub state: PathBuf,
    /// A folder that is empty after a reboot.
    pub run: PathBuf,
    /// The administrator's units.
    pub units: PathBuf,
}

impl Settings {
    /// The usual ones, with this state folder.
    #[must_use]
    pub fn new(state: PathBuf) -> Settings {
        Settings {
            state,
            run: "/run/bluegreen".into(),
            units: "/etc/systemd/system".into(),
        }
    }
}

/// The supervisor.
pub struct Systemd {
    shared: Arc<Shared>,
    listener: AbortHandle,
    steps: bool,
}

struct Shared {
    settings: Settings,
    bus: Bus,
    known: Mutex<Known>,
}

/// What systemd told, as long as it is true.
#[derive(Default)]
struct Known {
    /// Changes can be missed while this is false.
    listening: bool,
    /// Grows with each change: an answer to a question from before it is not kept.
    age: u64,
    units: BTreeMap<InstanceId, Unit>,
    changes: BTreeMap<(SiteName, Colour), watch::Sender<u64>>,
}

impl Systemd {
    /// Connects to systemd. To be called within a tokio runtime.
    ///
    /// # Errors
    /// It does not answer: this is no machine with systemd, or D-Bus is not installed.
    pub async fn open(settings: Settings) -> Result<Systemd, Fault> {
        let shared = Arc::new(Shared {
            settings,
            bus: Bus::default(),
            known: Mutex::default(),
        });
        let version = shared.bus.version().await.map_err(|error| Fault {
            class: Class::User,
            reason: "SystemdUnavailable",
            message: format!(
                "systemd does not answer over D-Bus ({error}): install `dbus`, or choose the supervisor `direct`"
            ),
        })?;
        // What the link started at a reboot is to be started again when it crashes, wherever the link goes.
        for id in shared.units_on_disk()? {
            if !shared.ask(&id).await?.is_off() {
                shared.want(&id.site, id.colour)?;
            }
        }
        let listener = tokio::spawn(listen(shared.clone())).abort_handle();
        Ok(Systemd {
            shared,
            listener,
            steps: version >= WITH_RESTART_STEPS,
        })
    }

    /// Writes the files of an instance that is off; whether anything changed.
    fn write(&self, id: &InstanceId, launch: &Launch) -> Result<bool, Fault> {
        let settings = &self.shared.settings;
        let places = self.shared.places(id);
        let refuse = |why: Unwritable| Fault {
            class: Class::User,
            reason: "LaunchUnwritable",
            message: format!("{id} can't be run by systemd: {why}"),
        };
        let text = unit::text(id, launch, &places, self.steps).map_err(refuse)?;
        let variables = unit::variables(launch).map_err(refuse)?;
        let file = settings.units.join(unit::name(id));
        let write = || -> io::Result<bool> {
            let mut changed = false;
            for (path, content, mode) in [
                (&places.env, variables.as_bytes(), 0o600),
                (&file, text.as_bytes(), 0o644),
            ] {
                if fs::read(path).is_ok_and(|old| old == content) {
                    continue;
                }
                if let Some(folder) = path.parent() {
                    make_private_folder(folder)?;
                }
                write_whole(path, content, mode, true)?;
                changed = true;
            }
            Ok(changed)
        };
        write().map_err(|error| cannot(&format!("write the unit of {id}"), &error))
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Supervisor for Systemd {
    async fn start(&self, site: &SiteName, colour: Colour, instances: &[Launch]) -> Result<(), Fault> {
        let shared = &self.shared;
        shared.want(site, colour)?;
        let mut to_start = Vec::new();
        for (index, launch) in (0u16..).zip(instances) {
            let id = InstanceId {
                site: site.clone(),
                colour,
                index,
            };
            let unit = shared.ask(&id).await?;
            if unit.active == "deactivating" {
                return Err(Fault {
                    class: Class::Transient,
                    reason: "StillStopping",
                    message: format!("{id} is still being stopped: it is started when it is gone"),
                });
            }
            if !unit.is_off() && !unit.waits() {
                continue;
            }
            // What waits for its next start is not started sooner, unless it would be something else.
            let name = unit::name(&id);
            let changed = self.write(&id, launch)?;
            if unit.waits() {
                if !changed {
                    continue;
                }
                shared.jobs(&[name.clone()], Job::Stop).await?;
            }
            to_start.push(name);
        }
        if to_start.is_empty() {
            return Ok(());
        }
        shared.enable(&to_start).await?;
        let failed = shared.jobs(&to_start, Job::Start).await?;
        shared.prefer(site, colour).await;
        // An app that can't be executed has a job that failed, and a state that says why.
        match failed.into_iter().find(|(_, result)| result != "failed") {
            None => Ok(()),
            Some((name, result)) => Err(Fault {
                class: Class::Transient,
                reason: "StartFailed",
                message: format!(
                    "systemd did not start {name}: its job ended as `{result}`; see `systemctl status {name}`"
                ),
            }),
        }
    }

    async fn stop(&self, site: &SiteName, colour: Colour) -> Result<(), Fault> {
        let shared = &self.shared;
        remove(&shared.wanted(site, colour))
            .map_err(|error| cannot("write that a colour is wanted no more", &error))?;
        let mut names = Vec::new();
        for id in shared.of_colour(site, colour)? {
            let unit = shared.ask(&id).await?;
            if unit.active != "inactive" {
                names.push(unit::name(&id));
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        shared.jobs(&names, Job::Stop).await?;
        for name in names {
            // An instance that failed is stopped all the same; nobody need see it in `systemctl --failed`.
            let manager = shared.bus.manager().await.map_err(|error| shared.broken(&error))?;
            let _ = manager.reset_failed_unit(name.clone()).await;
            let unit = shared.bus.unit(&name).await.map_err(|error| shared.broken(&error))?;
            let left = processes(&unit);
            if !unit.is_off() || !left.is_empty() {
                return Err(Fault {
                    class: Class::Transient,
                    reason: "StopFailed",
                    message: format!(
                        "{name} is {} after it was stopped, with the processes {left:?}; see `systemctl status {name}`",
                        unit.active
                    ),
                });
            }
        }
        Ok(())
    }

    async fn states(&self, site: &SiteName, colour: Colour) -> Result<Vec<InstanceState>, Fault> {
        let mut states = Vec::new();
        for id in self.shared.of_colour(site, colour)? {
            let unit = self.shared.recall(&id).await?;
            states.resize(usize::from(id.index), InstanceState::Stopped);
            states.push(state_of(&unit));
        }
        Ok(states)
    }

    fn changes(&self, site: &SiteName, colour: Colour) -> watch::Receiver<u64> {
        self.shared
            .known()
            .changes
            .entry((site.clone(), colour))
            .or_default()
            .subscribe()
    }

    async fn logs(&self, instance: &InstanceId, lines: usize) -> Result<Vec<String>, Fault> {
        let name = unit::name(instance);
        let output = Command::new("journalctl")
            .args([
                "--quiet",
                "--no-pager",
                "--output=cat",
                "--lines",
                &lines.to_string(),
                "--unit",
                &name,
            ])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| cannot("run journalctl", &error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(cannot(
                &format!("read the journal of {name}"),
                &io::Error::other(said.trim().to_owned()),
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect())
    }

    async fn forget(&self, site: &SiteName) -> Result<(), Fault> {
        let shared = &self.shared;
        let ids: Vec<InstanceId> = shared
            .units_on_disk()?
            .into_iter()
            .filter(|id| id.site == *site)
            .collect();
        for id in &ids {
            let places = shared.places(id);
            let name = unit::name(id);
            let link = shared.settings.units.join(MULTI_USER).join(&name);
            let all = [link, shared.settings.units.join(&name), places.env, places.wanted];
            all.iter()
                .try_for_each(|file| remove(file))
                .map_err(|error| cannot(&format!("remove the unit of {id}"), &error))?;
            shared.known().units.remove(id);
        }
        if ids.is_empty() {
            Ok(())
        } else {
            shared.bus.reload().await.map_err(|error| shared.broken(&error))
        }
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted(&self, site: &SiteName, colour: Colour) -> PathBuf {
        self.settings.run.join(format!("{site}.{colour}.wanted"))
    }

    fn places(&self, id: &InstanceId) -> Places {
        let dir = SiteDir::new(&self.settings.state, &id.site);
        Places {
            wanted: self.wanted(&id.site, id.colour),
            env: dir.run().join(format!("{}.{}.env", id.colour, id.index)),
            dir,
        }
    }

    fn want(&self, site: &SiteName, colour: Colour) -> Result<(), Fault> {
        let file = self.wanted(site, colour);
        let write = || {
            fs::create_dir_all(&self.settings.run)?;
            if file.exists() {
                Ok(())
            } else {
                write_whole(&file, b"", 0o644, false)
            }
        };
        write().map_err(|error| cannot("write that a colour is wanted", &error))
    }

    fn units_on_disk(&self) -> Result<Vec<InstanceId>, Fault> {
        let read = || -> io::Result<Vec<InstanceId>> {
            let mut ids: Vec<InstanceId> = Vec::new();
            for entry in fs::read_dir(&self.settings.units)? {
                ids.extend(entry?.file_name().to_str().and_then(unit::parse_name));
            }
            ids.sort();
            Ok(ids)
        };
        read().map_err(|error| cannot(&format!("look for units in {}", self.settings.units.display()), &error))
    }

    /// By index, without gaps: an instance is written after the one before it.
    fn of_colour(&self, site: &SiteName, colour: Colour) -> Result<Vec<InstanceId>, Fault> {
        let mut ids = Vec::new();
        for index in 0.. {
            let id = InstanceId {
                site: site.clone(),
                colour,
                index,
            };
            match self.settings.units.join(unit::name(&id)).try_exists() {
                Ok(true) => ids.push(id),
                Ok(false) => break,
                Err(error) => return Err(cannot(&format!("look for the unit of {id}"), &error)),
            }
        }
        Ok(ids)
    }

    /// What systemd says now.
    async fn ask(&self, id: &InstanceId) -> Result<Unit, Fault> {
        let age = self.known().age;
        let unit = self
            .bus
            .unit(&unit::name(id))
            .await
            .map_err(|error| self.broken(&error))?;
        let mut known = self.known();
        if known.listening && known.age == age {
            known.units.insert(id.clone(), unit.clone());
        }
        Ok(unit)
    }

    /// What systemd said, if nothing has changed since.
    async fn recall(&self, id: &InstanceId) -> Result<Unit, Fault> {
        let remembered = self.known().units.get(id).cloned();
        match remembered {
            Some(unit) => Ok(unit),
            None => self.ask(id).await,
        }
    }

    async fn jobs(&self, names: &[String], job: Job) -> Result<Vec<(String, String)>, Fault> {
        let result = self.bus.run_jobs(names, job).await.map_err(|error| self.broken(&error));
        // Their end and the signal that tells of it are two messages.
        let mut known = self.known();
        known.age += 1;
        known.units.retain(|id, _| !names.contains(&unit::name(id)));
        result
    }

    /// Makes systemd know new unit files, and start them at a reboot if their condition holds.
    async fn enable(&self, names: &[String]) -> Result<(), Fault> {
        let wants = self.settings.units.join(MULTI_USER);
        let write = || -> io::Result<()> {
            fs::create_dir_all(&wants)?;
            for name in names {
                link_once(&self.settings.units.join(name), &wants.join(name))?;
            }
            fs::File::open(&wants)?.sync_all()
        };
        write().map_err(|error| cannot("enable units", &error))?;
        self.bus.reload().await.map_err(|error| self.broken(&error))
    }

    /// The instances of an idle colour go first when memory runs out.
    async fn prefer(&self, site: &SiteName, colour: Colour) {
        let live = fs::read_link(SiteDir::new(&self.settings.state, site).live()).ok();
        let idle = live.as_deref().and_then(Path::file_name) != Some(colour.name().as_ref());
        for id in self.of_colour(site, colour).unwrap_or_default() {
            // It is a preference: without it the app runs all the same.
            if let Ok(unit) = self.recall(&id).await {
                oom::prefer_all(&processes(&unit), idle);
            }
        }
    }

    fn broken(&self, error: &zbus::Error) -> Fault {
        // A unit's own error comes over a sound connection.
        if !matches!(error, zbus::Error::MethodError(..) | zbus::Error::FDO(_)) {
            self.bus.forget_connection();
        }
        Fault {
            class: Class::Transient,
            reason: "SystemdFailed",
            message: format!("systemd does not do what it was asked over D-Bus: {error}"),
        }
    }
}

async fn listen(shared: Arc<Shared>) {
    loop {
        let changed = |id: InstanceId| {
            let mut known = shared.known();
            known.age += 1;
            known.units.remove(&id);
            if let Some(count) = known.changes.get(&(id.site.clone(), id.colour)) {
                count.send_modify(|count| *count += 1);
            }
            drop(known);
            // An instance that was started again has forgotten the preference.
            let shared = shared.clone();
            tokio::spawn(async move { shared.prefer(&id.site, id.colour).await });
        };
        let error = shared
            .bus
            .listen(|| shared.known().set_listening(true), changed)
            .await
            .err();
        shared.known().set_listening(false);
        shared.bus.forget_connection();
        tracing::warn!(
            error = error.map(tracing::field::display),
            "the connection to systemd broke and is made anew"
        );
        tokio::time::sleep(RECONNECT).await;
    }
}

impl Known {
    fn set_listening(&mut self, listening: bool) {
        self.listening = listening;
        self.age += 1;
        self.units.clear();
        for count in self.changes.values() {
            count.send_modify(|count| *count += 1);
        }
    }
}

fn state_of(unit: &Unit) -> InstanceState {
    let restarts = unit.restarts;
    if unit.waits() || unit.active == "failed" {
        return InstanceState::Failed {
            how: how(unit),
            restarts,
        };
    }
    if unit.is_off() {
        return InstanceState::Stopped;
    }
    InstanceState::Running {
        pids: processes(unit),
        restarts,
    }
}

fn how(unit: &Unit) -> String {
    match (unit.ended, unit.status) {
        (1, 200) => "its folder can't be entered by its user".to_owned(),
        (1, 203) => "its program can't be executed: is it there, and may its user execute it?".to_owned(),
        (1, 217) => "its user does not exist".to_owned(),
        (1, 226) => "its sandbox can't be made: is a shared folder missing?".to_owned(),
        (1, code) => format!("exit code {code}"),
        (2 | 3, signal) => format!("signal {signal}"),
        _ => unit.result.clone(),
    }
}

/// All processes of a unit, its first one in front.
fn processes(unit: &Unit) -> Vec<u32> {
    let mut pids = Vec::new();
    if !unit.group.is_empty() {
        let roots = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let folders = roots.map(|root| PathBuf::from(format!("{root}{}", unit.group)));
        if let Some(folder) = folders.iter().find(|folder| folder.join("cgroup.procs").exists()) {
            gather(folder, &mut pids);
        }
    }
    pids.retain(|&pid| pid != unit.main);
    if unit.main != 0 && process::Process::find(unit.main).is_some() {
        pids.insert(0, unit.main);
    }
    pids
}

fn gather(folder: &Path, pids: &mut Vec<u32>) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            gather(&entry.path(), pids);
        }
    }
}

fn link_once(target: &Path, link: &Path) -> io::Result<()> {
    match std::os::unix::fs::symlink(target, link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn cannot(what: &str, error: &io::Error) -> Fault {
    Fault {
        class: Class::Transient,
        reason: "SupervisorFailed",
        message: format!("cannot {what}: {error}"),
    }
}
