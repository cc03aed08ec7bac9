//! What all of the supervisor's calls share: the bus, the files, and what systemd told, as long as it is true.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Settings;
use super::bus::{Bus, Job, Unit};
use super::state::processes;
use super::unit::{self, Places};
use crate::api::types::SiteName;
use crate::platform::host::layout::SiteDir;
use crate::platform::host::supervise::files::{remove, write_whole};
use crate::platform::host::supervise::{InstanceId, oom};
use crate::platform::{Class, Fault};
use crate::rollout::Colour;

const RECONNECT: Duration = Duration::from_secs(1);
const MULTI_USER: &str = "multi-user.target.wants";

pub(super) struct Shared {
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

impl Shared {
    pub(super) fn new(settings: Settings) -> Shared {
        Shared { settings, bus: Bus::default(), known: Mutex::default() }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) async fn version(&self) -> zbus::Result<u32> {
        self.bus.version().await
    }

    pub(super) fn changes(&self, site: &SiteName, colour: Colour) -> watch::Receiver<u64> {
        self.known().changes.entry((site.clone(), colour)).or_default().subscribe()
    }

    pub(super) fn unwant(&self, site: &SiteName, colour: Colour) -> Result<(), Fault> {
        remove(&self.wanted(site, colour)).map_err(|error| cannot("write that a colour is wanted no more", &error))
    }

    /// Stops units, and looks whether anything is left of them.
    pub(super) async fn stop(&self, names: &[String]) -> Result<(), Fault> {
        self.jobs(names, Job::Stop).await?;
        for name in names {
            // An instance that failed is stopped all the same; nobody need see it in `systemctl --failed`.
            let manager = self.bus.manager().await.map_err(|error| self.broken(&error))?;
            let _ = manager.reset_failed_unit(name.clone()).await;
            let unit = self.bus.unit(name).await.map_err(|error| self.broken(&error))?;
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

    /// Removes the instances beyond the first `count`, the last one first: a reboot would start them.
    pub(super) async fn shrink(&self, site: &SiteName, colour: Colour, count: usize) -> Result<(), Fault> {
        let beyond: Vec<InstanceId> = self.of_colour(site, colour)?.into_iter().skip(count).rev().collect();
        if beyond.is_empty() {
            return Ok(());
        }
        self.stop(&beyond.iter().map(unit::name).collect::<Vec<_>>()).await?;
        self.remove(&beyond).await
    }

    /// Removes all files of instances that are off.
    pub(super) async fn remove(&self, ids: &[InstanceId]) -> Result<(), Fault> {
        for id in ids {
            let name = unit::name(id);
            let link = self.settings.units.join(MULTI_USER).join(&name);
            let all = [link, self.places(id).env, self.settings.units.join(&name)];
            all.iter()
                .try_for_each(|file| remove(file))
                .map_err(|error| cannot(&format!("remove the unit of {id}"), &error))?;
            self.known().units.remove(id);
        }
        if ids.is_empty() {
            return Ok(());
        }
        self.bus.reload().await.map_err(|error| self.broken(&error))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted(&self, site: &SiteName, colour: Colour) -> PathBuf {
        self.settings.run.join(format!("{site}.{colour}.wanted"))
    }

    pub(super) fn places(&self, id: &InstanceId) -> Places {
        let dir = SiteDir::new(&self.settings.state, &id.site);
        Places {
            wanted: self.wanted(&id.site, id.colour),
            env: dir.run().join(format!("{}.{}.env", id.colour, id.index)),
            dir,
        }
    }

    pub(super) fn want(&self, site: &SiteName, colour: Colour) -> Result<(), Fault> {
        let file = self.wanted(site, colour);
        let write = || {
            fs::create_dir_all(&self.settings.run)?;
            if file.exists() { Ok(()) } else { write_whole(&file, b"", 0o644, false) }
        };
        write().map_err(|error| cannot("write that a colour is wanted", &error))
    }

    pub(super) fn units_on_disk(&self) -> Result<Vec<InstanceId>, Fault> {
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
    pub(super) fn of_colour(&self, site: &SiteName, colour: Colour) -> Result<Vec<InstanceId>, Fault> {
        let mut ids = Vec::new();
        for index in 0.. {
            let id = InstanceId { site: site.clone(), colour, index };
            match self.settings.units.join(unit::name(&id)).try_exists() {
                Ok(true) => ids.push(id),
                Ok(false) => break,
                Err(error) => return Err(cannot(&format!("look for the unit of {id}"), &error)),
            }
        }
        Ok(ids)
    }

    /// What systemd says now.
    pub(super) async fn ask(&self, id: &InstanceId) -> Result<Unit, Fault> {
        let age = self.known().age;
        let unit = self.bus.unit(&unit::name(id)).await.map_err(|error| self.broken(&error))?;
        // At a shutdown one colour ends before the other, which must not look like a failure that traffic flees from: the link has to name
        // the same colour at the next boot, and a rollout is not to be rejected for it.
        if unit.active != "active" && self.bus.goes_down().await.map_err(|error| self.broken(&error))? {
            return Err(Fault {
                class: Class::Transient,
                reason: "MachineGoesDown",
                message: "the machine is being shut down: the sites stay as they are, and go on after the next boot"
                    .to_owned(),
            });
        }
        let mut known = self.known();
        if known.listening && known.age == age {
            known.units.insert(id.clone(), unit.clone());
        }
        Ok(unit)
    }

    /// What systemd said, if nothing has changed since.
    pub(super) async fn recall(&self, id: &InstanceId) -> Result<Unit, Fault> {
        let remembered = self.known().units.get(id).cloned();
        match remembered {
            Some(unit) => Ok(unit),
            None => self.ask(id).await,
        }
    }

    pub(super) async fn jobs(&self, names: &[String], job: Job) -> Result<Vec<(String, String)>, Fault> {
        let result = self.bus.run_jobs(names, job).await.map_err(|error| self.broken(&error));
        // Their end and the signal that tells of it are two messages.
        let mut known = self.known();
        known.age += 1;
        known.units.retain(|id, _| !names.contains(&unit::name(id)));
        result
    }

    /// Makes systemd know new unit files, and start them at a reboot if their condition holds.
    pub(super) async fn enable(&self, names: &[String]) -> Result<(), Fault> {
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
    pub(super) async fn prefer(&self, site: &SiteName, colour: Colour) {
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

/// Forgets what changed and tells who waits for it, for ever.
pub(super) async fn listen(shared: Arc<Shared>) {
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
        let error = shared.bus.listen(|| shared.known().set_listening(true), changed).await.err();
        shared.known().set_listening(false);
        shared.bus.forget_connection();
        tracing::warn!(error = error.map(tracing::field::display), "the connection to systemd broke and is made anew");
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

fn link_once(target: &Path, link: &Path) -> io::Result<()> {
    match std::os::unix::fs::symlink(target, link) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

pub(super) fn cannot(what: &str, error: &io::Error) -> Fault {
    Fault { class: Class::Transient, reason: "SupervisorFailed", message: format!("cannot {what}: {error}") }
}
