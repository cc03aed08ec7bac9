//! The world of a site, as it is at this moment. What can't be seen is said, never guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::drain::{Draining, forget_served, has_served, note_served};
use super::falls::Falls;
use super::warm::lives;
use super::{HostSite, Inner, Watched, held, lock};
use crate::api::site::{Front, HealthCheck, Protocol};
use crate::control::api::{InstanceView, Place, SlotHealth, SlotView};
use crate::platform::Store;
use crate::platform::clock::{of_file, wall};
use crate::platform::host::probe::{Pace, Report, Target};
use crate::platform::host::release::Record;
use crate::platform::host::route;
use crate::platform::host::supervise::{InstanceState, Supervisor};
use crate::platform::host::web::WebServer;
use crate::platform::{Class, Fault};
use crate::rollout::{Artifact, Colour, Health, Occupant, Revision, Route, Stage, Time, Verdict, World};

/// The reason of a warning: a guard at `Warn` let something pass.
const SETTINGS: &str = "GuardWarned";
/// A front door that was seen to answer from a colour is believed so long, while the link is not moved.
const BELIEVED: Duration = Duration::from_secs(30);
/// How soon a front door is asked again that was asked in vain: at first, and at most.
const ASK_AGAIN: Duration = Duration::from_millis(10);
const ASK_AT_MOST: Duration = Duration::from_secs(1);

impl<W: WebServer + 'static, S: Supervisor + 'static> HostSite<W, S> {
    /// The world; or what can't be seen, in words.
    pub(super) async fn look(&self, inner: &mut Inner) -> Result<World, String> {
        let now = wall();
        let named = route::live(&self.dir).map_err(|e| format!("cannot read which colour is live: {e}"))?;
        let stamp = route::moved(&self.dir).map_err(|e| format!("cannot read when traffic last moved: {e}"))?;
        let moved = stamp.map(of_file);
        inner.nowhere = match named {
            Some(_) => None,
            None => inner.nowhere.or(Some(now)),
        };
        let artifacts = self.artifacts(inner)?;
        let mut views = Vec::new();
        let mut slots: BTreeMap<Colour, Occupant> = BTreeMap::new();
        for colour in Colour::BOTH {
            let (occupant, view) = self.occupant(colour, named, moved, now, inner).await?;
            views.push(view);
            if let Some(occupant) = occupant {
                slots.insert(colour, occupant);
            }
        }
        let exposed = self.close_ports(inner);
        self.warn_of_exposure(&exposed);
        self.warn_of_settings(named, inner)?;
        let verdict = match self.verdict(inner, &slots) {
            Some(verdict)
                if verdict.passed && verdict.stage == Stage::Verify && !self.was_live(verdict.about.revision).await =>
            {
                self.unexposed(verdict, &exposed, inner).await
            }
            verdict => verdict,
        };
        let route = match named {
            None => Route::Nowhere,
            Some(colour) => Route::To { colour, seen: self.seen(colour, stamp, inner).await },
        };
        *lock(&self.slots) = views;
        let (blue, green) = (slots.remove(&Colour::Blue), slots.remove(&Colour::Green));
        let world = World { blue, green, route, artifacts, verdict };
        inner.idle = super::preview::idle(&world);
        Ok(world)
    }

    /// Whether a revision went live before: no guard bars the way back to it.
    async fn was_live(&self, revision: Revision) -> bool {
        let memory = self.memory.load().await;
        memory.is_ok_and(|memory| memory.ledger.is_some_and(|ledger| ledger.cleared.contains(&revision)))
    }

    /// Says what the guards let pass of what is live, and of what is on its way.
    fn warn_of_settings(&self, named: Option<Colour>, inner: &mut Inner) -> Result<(), String> {
        let wanted = self.wanted().release.map(|release| release.revision);
        let live = named.and_then(|colour| inner.watched(colour).as_ref()).map(|watched| watched.revision);
        let records = self.records(inner).map_err(|fault| fault.message)?;
        let mut all: Vec<String> = Vec::new();
        for record in [live, wanted].into_iter().flatten().filter_map(|revision| records.get(&revision)) {
            let new = record.warnings.iter().map(|warning| format!("release {}: {warning}", record.revision.short()));
            all.extend(new.filter(|warning| !all.contains(warning)).collect::<Vec<_>>());
        }
        let fault = || Fault { class: Class::User, reason: SETTINGS, message: all.join("\n") };
        self.warn(SETTINGS, (!all.is_empty()).then(fault));
        Ok(())
    }

    fn artifacts(&self, inner: &mut Inner) -> Result<BTreeMap<Revision, Artifact>, String> {
        let mut artifacts: BTreeMap<Revision, Artifact> = self.takes.artifacts().collect();
        let complete = self.records(inner).map_err(|fault| fault.message)?;
        artifacts.extend(complete.keys().map(|revision| (*revision, Artifact::Ready)));
        Ok(artifacts)
    }

    async fn occupant(
        &self,
        colour: Colour,
        named: Option<Colour>,
        moved: Option<Time>,
        now: Time,
        inner: &mut Inner,
    ) -> Result<(Option<Occupant>, SlotView), String> {
        let states = self
            .host
            .supervisor
            .states(&self.name, colour)
            .await
            .map_err(|fault| format!("cannot see what runs on {colour}: {fault}"))?;
        let runs = states.iter().any(|state| *state != InstanceState::Stopped);
        let Some(revision) = held(&self.dir, colour)? else {
            if runs {
                return Err(format!(
                    "instances of {colour} run, but {} does not say which release they are of; put the link back, or stop them",
                    self.dir.slot_release(colour).display()
                ));
            }
            *inner.watched(colour) = None;
            return Ok((None, empty(colour, named)));
        };
        let record = self.records(inner).map_err(|fault| fault.message)?.get(&revision).cloned();
        let Some(record) = record else {
            if !runs && named != Some(colour) {
                *inner.watched(colour) = None;
                return Ok((None, empty(colour, named)));
            }
            return Err(format!(
                "{colour} holds release {}, and how it is run can't be read any more ({}): put the file back from a backup",
                revision.short(),
                self.dir.release_json(revision).display()
            ));
        };
        if !runs && !record.run.ports.of(colour).is_empty() {
            *inner.watched(colour) = None;
            return Ok((None, empty(colour, named)));
        }
        self.watch(colour, &record, inner);
        let draining = self.draining(colour, &record, named, moved, now, inner)?;
        let watched = inner.watched(colour).as_mut().ok_or("nothing is watched")?;
        watched.pids = pids(&states);
        watched.lives = lives(&states);
        let report = watched.probe.as_ref().map(|probe| probe.report());
        if let Some(report) = &report {
            watched.falls.note(&states, report);
        }
        let health = health(watched, report.as_ref(), now)
            .ok_or_else(|| format!("the agent has just started, and {colour} was not asked for its health yet"))?;
        let detail = match &report {
            Some(report) => report.detail(),
            None => "served by the web server alone".to_owned(),
        };
        let view = SlotView {
            colour,
            live: named == Some(colour),
            revision: Some(revision),
            health: match health {
                Health::Ready => SlotHealth::Ready,
                Health::Degraded => SlotHealth::Degraded,
                Health::Down(_) => SlotHealth::Down,
            },
            draining: draining.is_some(),
            detail: detail.clone(),
            instances: instances(&record, colour, &states, report.as_ref()),
            wanted: None,
            serves: Vec::new(),
        };
        let occupant = Occupant { revision, health, draining, detail };
        Ok((Some(occupant), view))
    }

    /// Sees to it that the instances of a colour are asked for their health.
    pub(super) fn watch(&self, colour: Colour, record: &Arc<Record>, inner: &mut Inner) {
        let watched = inner.watched(colour);
        if watched.as_ref().is_some_and(|watched| watched.revision == record.revision) {
            return;
        }
        let ports = record.run.ports.of(colour).to_vec();
        let check = record.run.health.clone();
        let programs = match record.run.runtime.protocol() {
            Protocol::Http => None,
            Protocol::FastCgi(programs) => Some((programs, self.dir.slot_release(colour))),
        };
        let begun = Instant::now();
        let patience = patience(&check);
        let probe = (!ports.is_empty()).then(|| {
            let target = Target { site: self.name.clone(), colour, ports, host: self.host_name(), check, programs };
            self.host.prober.watch(target, Pace::Steady, self.wake.clone())
        });
        *watched = Some(Watched {
            revision: record.revision,
            pids: Vec::new(),
            lives: Vec::new(),
            warm_up: None,
            further: BTreeSet::new(),
            adopted: probe.is_some().then_some((begun, begun + patience)),
            probe,
            down: None,
            draining: None,
            falls: Falls::default(),
        });
    }

    fn host_name(&self) -> String {
        match &lock(&self.wanted).site.target.front {
            Front::Own { hostnames, .. } => hostnames
                .iter()
                .find(|name| !name.as_str().starts_with('*'))
                .map_or_else(|| "localhost".to_owned(), ToString::to_string),
            Front::Include => "localhost".to_owned(),
        }
    }

    fn draining(
        &self,
        colour: Colour,
        record: &Record,
        named: Option<Colour>,
        moved: Option<Time>,
        now: Time,
        inner: &mut Inner,
    ) -> Result<Option<Time>, String> {
        let cannot = |e: std::io::Error| format!("cannot see whether {colour} had traffic: {e}");
        let nowhere = inner.nowhere;
        let Some(watched) = inner.watched(colour).as_mut() else {
            return Ok(None);
        };
        if named == Some(colour) {
            watched.draining = None;
            // Whoever moved the link: what it names has traffic.
            note_served(&self.dir, colour).map_err(cannot)?;
            return Ok(None);
        }
        if !has_served(&self.dir, colour).map_err(cannot)? {
            watched.draining = None;
            return Ok(None);
        }
        let since = match named {
            Some(_) => moved.unwrap_or(now).min(now),
            None => nowhere.unwrap_or(now),
        };
        let draining = watched.draining.get_or_insert_with(|| {
            let ports: BTreeSet<u16> = record.run.ports.of(colour).iter().copied().collect();
            Draining::watch(self.host.clone(), self.name.clone(), ports, since, now.since(since), self.wake.clone())
        });
        if draining.is_over() {
            forget_served(&self.dir, colour).map_err(cannot)?;
            watched.draining = None;
            return Ok(None);
        }
        Ok(Some(draining.since))
    }

    /// Whether the front door answers from the colour that the link names.
    async fn seen(&self, colour: Colour, moved: Option<Time>, inner: &mut Inner) -> bool {
        if let Some((before, at, when)) = inner.seen
            && before == colour
            && at == moved
            && when.elapsed() < BELIEVED
        {
            return true;
        }
        match self.host.web.seen(&self.name).await {
            Ok(Some(answers)) if answers == colour => {
                inner.seen = Some((colour, moved, Instant::now()));
                inner.unseen = 0;
                inner.ask_again = None;
                true
            }
            other => {
                if let Err(fault) = other {
                    tracing::debug!(site = %self.name, error = %fault, "the front door was not seen");
                }
                inner.seen = None;
                let pause = ASK_AGAIN.saturating_mul(2_u32.saturating_pow(inner.unseen));
                inner.ask_again = Some(self.wake_after(pause.min(ASK_AT_MOST)));
                inner.unseen = inner.unseen.saturating_add(1).min(16);
                false
            }
        }
    }

    /// What the checks say: none of the instances ended by itself, every one is warmed up and answered since they began, and all of them are ready now.
    fn verdict(&self, inner: &mut Inner, slots: &BTreeMap<Colour, Occupant>) -> Option<Verdict> {
        let (goal, begun) = inner.check?;
        let occupant = slots.get(&goal.colour)?;
        let watched = inner.watched(goal.colour).as_mut()?;
        if watched.revision != goal.about.revision {
            return None;
        }
        let failed = |detail| Some(Verdict { about: goal.about, stage: goal.stage, passed: false, detail });
        if let Some(detail) = watched.falls.too_many(goal.stage, begun) {
            return failed(detail);
        }
        if occupant.health != Health::Ready {
            return None;
        }
        if goal.stage == Stage::Verify
            && let Err(detail) = watched.warmed_up(goal.about)?
        {
            return failed(detail);
        }
        let report = watched.probe.as_ref().map(|probe| probe.report());
        let measured = report
            .as_ref()
            .is_none_or(|report| report.instances.iter().all(|instance| instance.passed_since(begun) > 0));
        let which = match goal.stage {
            Stage::Verify => "before the cutover",
            Stage::Bake => "after the cutover",
        };
        measured.then(|| Verdict {
            about: goal.about,
            stage: goal.stage,
            passed: true,
            detail: format!("every instance answered {which}: {}", occupant.detail),
        })
    }
}

/// How long a colour that an earlier run of the agent started may take until its health is known.
fn patience(check: &HealthCheck) -> Duration {
    let round = check.interval.max(check.timeout);
    round.saturating_mul(check.successes.saturating_add(1)).min(Duration::from_secs(30)) + Duration::from_secs(1)
}

/// `None`: it is not known yet.
fn health(watched: &mut Watched, report: Option<&Report>, now: Time) -> Option<Health> {
    let Some(report) = report else {
        return Some(Health::Ready);
    };
    if let Some((begun, until)) = watched.adopted {
        let judged =
            |instance: &crate::platform::host::probe::Health| instance.ready || instance.failed_since(begun) > 0;
        if Instant::now() < until && !report.instances.iter().all(judged) {
            return None;
        }
        watched.adopted = None;
    }
    if report.any_ready() {
        watched.down = None;
        return Some(if report.all_ready() { Health::Ready } else { Health::Degraded });
    }
    Some(Health::Down(*watched.down.get_or_insert(now)))
}

fn pids(states: &[InstanceState]) -> Vec<u32> {
    let running = states.iter().filter_map(|state| match state {
        InstanceState::Running { pids, .. } => Some(pids),
        InstanceState::Stopped | InstanceState::Failed { .. } => None,
    });
    running.flatten().copied().collect()
}

fn empty(colour: Colour, named: Option<Colour>) -> SlotView {
    SlotView {
        colour,
        live: named == Some(colour),
        revision: None,
        health: SlotHealth::Empty,
        draining: false,
        detail: "empty".to_owned(),
        instances: Vec::new(),
        wanted: None,
        serves: Vec::new(),
    }
}

fn instances(record: &Record, colour: Colour, states: &[InstanceState], report: Option<&Report>) -> Vec<InstanceView> {
    let all = (0_u16..).zip(record.run.ports.of(colour));
    all.map(|(index, port)| {
        let state = states.get(usize::from(index));
        let health = report.and_then(|report| report.instances.get(usize::from(index)));
        let (pid, restarts) = match state {
            Some(InstanceState::Running { pids, restarts }) => (pids.first().copied(), *restarts),
            Some(InstanceState::Failed { restarts, .. }) => (None, *restarts),
            Some(InstanceState::Stopped) | None => (None, 0),
        };
        InstanceView {
            index,
            place: Place::Process { port: *port, pid },
            ready: health.is_some_and(|health| health.ready),
            restarts,
            detail: health.map(|health| health.detail.clone()).unwrap_or_default(),
        }
    })
    .collect()
}
