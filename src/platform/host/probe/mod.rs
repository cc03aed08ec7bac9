//! Asks the instances of a colour for their health, one task a colour, and tells the site's driver when that changes.
//!
//! An instance is ready only if the socket that a connection to its port reaches belongs to one of its own processes, as the supervisor
//! tells them: an answer of the old version, or of a stranger, at that port is no health of this one.
//!
//! While a colour starts, the first look comes at once and the next ones quickly, until something listens; then one request each
//! `interval`. A colour that is live and ready is asked rarely, so that a hundred sites cost nothing, and its supervisor tells
//! when one of its processes ends.

mod ask;
mod fastcgi;
mod measure;
mod report;
mod warm;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep_until;

use self::measure::{Measure, Seen};
pub use self::report::{Health, Report};
pub use self::warm::Warming;
use super::sockets::{OwnConnections, Socket, listeners};
use super::supervise::{InstanceState, Supervisor};
use crate::api::site::{HealthCheck, Programs};
use crate::api::types::SiteName;
use crate::rollout::Colour;

/// How often an instance that has long been ready is asked at [`Pace::Steady`].
pub const STEADY: Duration = Duration::from_secs(10);
/// How often is looked whether something listens yet.
const KNOCK: Duration = Duration::from_millis(50);

/// What is probed: the instances of one colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Of this site.
    pub site: SiteName,
    /// Of this colour.
    pub colour: Colour,
    /// Their ports on 127.0.0.1, in order of the instances.
    pub ports: Vec<u16>,
    /// What the header `Host` says: the site's first name, or `localhost`.
    pub host: String,
    /// How readiness is asked.
    pub check: HealthCheck,
    /// The programs that are to be run over FastCGI, and the release that they are in; `None`: HTTP is spoken.
    pub programs: Option<(Programs, PathBuf)>,
}

/// How eagerly a colour is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A rollout waits for it: each `interval`.
    Eager,
    /// It serves, or waits, and nothing is under way: rarely while it is ready. Each answer that differs from the one before makes it eager
    /// until it is clear again.
    Steady,
}

/// Probes the colours of all sites.
pub struct Prober<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    supervisor: Arc<S>,
    own: Arc<OwnConnections>,
    /// The listening sockets, and when they were looked at: many sites share one look.
    listening: Mutex<Option<(Instant, Arc<Vec<Socket>>)>>,
}

impl<S: Supervisor + 'static> Prober<S> {
    /// A prober that asks `supervisor` whose processes are whose.
    #[must_use]
    pub fn new(supervisor: Arc<S>) -> Prober<S> {
        Prober { shared: Arc::new(Shared { supervisor, own: Arc::default(), listening: Mutex::default() }) }
    }

    /// The connections that probes have open: a drain leaves them out.
    #[must_use]
    pub fn own_connections(&self) -> &Arc<OwnConnections> {
        &self.shared.own
    }

    /// Probes a colour until the answer is dropped. `wake` is notified when its report changed, and, while eager, after each
    /// measurement. To be called within a tokio runtime.
    #[must_use]
    pub fn watch(&self, target: Target, pace: Pace, wake: Arc<Notify>) -> Probe {
        let now = Instant::now();
        let target = Arc::new(target);
        let report = watch::Sender::new(Report { instances: vec![Health::unknown(now); target.ports.len()] });
        let pace = watch::Sender::new(pace);
        let task = tokio::spawn(
            Rounds {
                shared: self.shared.clone(),
                streaks: vec![Streak::default(); target.ports.len()],
                target: target.clone(),
                report: report.clone(),
                pace: pace.subscribe(),
                wake: wake.clone(),
            }
            .run(),
        );
        let own = self.shared.own.clone();
        Probe { report: report.subscribe(), pace, task: task.abort_handle(), target, own, wake }
    }
}

impl<S> Shared<S> {
    fn listening(&self, not_older_than: Duration) -> std::io::Result<Arc<Vec<Socket>>> {
        let mut cached = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, sockets)) = &*cached
            && at.elapsed() <= not_older_than
        {
            return Ok(sockets.clone());
        }
        let now = Instant::now();
        let sockets = Arc::new(listeners()?);
        *cached = Some((now, sockets.clone()));
        Ok(sockets)
    }
}

/// A colour that is being probed; dropping it ends that.
pub struct Probe {
    report: watch::Receiver<Report>,
    pace: watch::Sender<Pace>,
    task: AbortHandle,
    target: Arc<Target>,
    own: Arc<OwnConnections>,
    wake: Arc<Notify>,
}

impl Probe {
    /// What is known now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    /// Begins to warm the colour up; `None`: it needs no warm-up.
    #[must_use]
    pub fn warm_up(&self) -> Option<Warming> {
        let warm_up = self.target.check.warm_up.clone()?;
        Some(Warming::begin(self.target.clone(), warm_up, self.own.clone(), self.wake.clone()))
    }

    /// Asks more or less eagerly from now on.
    pub fn set_pace(&self, pace: Pace) {
        self.pace.send_if_modified(|now| std::mem::replace(now, pace) != pace);
    }

    /// A receiver of all reports that changed.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Report> {
        self.report.clone()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What an instance's answers add up to.
#[derive(Clone, Debug, Default)]
struct Streak {
    passed: u32,
    failed: u32,
    /// Which process it is; another one starts from nothing.
    life: Option<(u32, u32)>,
    /// The socket that was last found to be its own.
    own: Option<u64>,
    next: Option<Instant>,
    asking: bool,
    /// How the instance ended last, as far as that was seen.
    ended: Option<String>,
}

struct Rounds<S> {
    shared: Arc<Shared<S>>,
    target: Arc<Target>,
    streaks: Vec<Streak>,
    report: watch::Sender<Report>,
    pace: watch::Receiver<Pace>,
    wake: Arc<Notify>,
}

impl<S: Supervisor + 'static> Rounds<S> {
    async fn run(mut self) {
        let mut changes = self.shared.supervisor.changes(&self.target.site, self.target.colour);
        let mut asking: JoinSet<(usize, Instant, Seen)> = JoinSet::new();
        loop {
            changes.borrow_and_update();
            self.look(&mut asking).await;
            let next = self.streaks.iter().filter(|streak| !streak.asking).filter_map(|streak| streak.next).min();
            tokio::select! {
                () = sleep_until(next.unwrap_or_else(|| Instant::now() + STEADY).into()) => {}
                Some(done) = asking.join_next() => {
                    if let Ok((index, asked, seen)) = done {
                        self.take(index, asked, seen);
                    }
                }
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.all_at_once();
                }
                changed = self.pace.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.all_at_once();
                }
            }
        }
    }

    fn all_at_once(&mut self) {
        for streak in &mut self.streaks {
            streak.next = None;
        }
    }

    /// Looks at every instance whose time has come, and asks those that listen.
    async fn look(&mut self, asking: &mut JoinSet<(usize, Instant, Seen)>) {
        let now = Instant::now();
        let due: Vec<usize> = (0..self.streaks.len())
            .filter(|&index| self.streaks.get(index).is_some_and(|s| !s.asking && s.next.is_none_or(|at| at <= now)))
            .collect();
        if due.is_empty() {
            return;
        }
        let states = match self.shared.supervisor.states(&self.target.site, self.target.colour).await {
            Ok(states) => states,
            Err(fault) => {
                for index in due {
                    self.take(index, now, Seen::Unknown(format!("the supervisor does not answer: {fault}")));
                }
                return;
            }
        };
        let steady = *self.pace.borrow() == Pace::Steady && self.report.borrow().all_ready();
        let listening = match self.shared.listening(if steady { Duration::from_millis(500) } else { Duration::ZERO }) {
            Ok(listening) => listening,
            Err(error) => {
                for index in due {
                    self.take(index, now, Seen::Unknown(format!("the kernel does not tell who listens: {error}")));
                }
                return;
            }
        };
        for index in due {
            let Some(&port) = self.target.ports.get(index) else {
                continue;
            };
            let seen = match states.get(index) {
                Some(InstanceState::Running { pids, restarts }) => {
                    self.recognise(index, now, pids.first().map(|&main| (main, *restarts)));
                    let known = self.streaks.get(index).and_then(|streak| streak.own);
                    match measure::whose(&listening, port, pids, known) {
                        Ok(own) => {
                            self.ask(index, port, own, asking);
                            continue;
                        }
                        Err(seen) => {
                            let ended = self.streaks.get(index).and_then(|streak| streak.ended.as_deref());
                            measure::after(seen, *restarts, ended)
                        }
                    }
                }
                Some(InstanceState::Failed { how, restarts }) => {
                    if let Some(streak) = self.streaks.get_mut(index) {
                        streak.ended = Some(how.clone());
                    }
                    measure::down(&listening, port, how, *restarts)
                }
                Some(InstanceState::Stopped) | None => Seen::Down("it is not running".to_owned()),
            };
            self.take(index, now, seen);
        }
    }

    /// Starts from nothing if the instance is another process than the one that was looked at before.
    fn recognise(&mut self, index: usize, now: Instant, life: Option<(u32, u32)>) {
        let before = self.streaks.get(index).and_then(|streak| streak.life);
        if before == life {
            return;
        }
        if before.is_some() {
            self.take(index, now, Seen::Down("it was started again".to_owned()));
        }
        if let Some(streak) = self.streaks.get_mut(index) {
            *streak = Streak { life, ended: streak.ended.take(), ..Streak::default() };
        }
    }

    fn ask(&mut self, index: usize, port: u16, own: u64, asking: &mut JoinSet<(usize, Instant, Seen)>) {
        let Some(streak) = self.streaks.get_mut(index) else {
            return;
        };
        streak.own = Some(own);
        streak.asking = true;
        let (target, shared) = (self.target.clone(), self.shared.clone());
        asking.spawn(async move {
            let asked = Instant::now();
            let Measure { passed, detail } = ask::ask(&target, port, &shared.own).await;
            let seen = if passed { Seen::Passed(detail) } else { Seen::Refused(detail) };
            (index, asked, seen)
        });
    }

    /// Adds what was seen to what is known.
    fn take(&mut self, index: usize, asked: Instant, seen: Seen) {
        let now = Instant::now();
        let pace = *self.pace.borrow();
        let check = &self.target.check;
        let Some(streak) = self.streaks.get_mut(index) else {
            return;
        };
        streak.asking = false;
        let (passed, certain) = match seen {
            Seen::Passed(_) => (Some(true), false),
            Seen::Refused(_) => (Some(false), false),
            Seen::Silent(_) | Seen::Down(_) | Seen::Stranger(_) => (Some(false), true),
            Seen::Unknown(_) => (None, false),
        };
        match passed {
            Some(true) => (streak.passed, streak.failed) = (streak.passed.saturating_add(1), 0),
            Some(false) => (streak.passed, streak.failed) = (0, streak.failed.saturating_add(1)),
            None => {}
        }
        let wait = match seen {
            // The longer nothing comes, the less a moment matters.
            Seen::Silent(_) => KNOCK * (1 + streak.failed / 100).min(20),
            // The longer it has been well, the less a moment matters.
            Seen::Passed(_) if pace == Pace::Steady && streak.passed >= check.successes => {
                let well = streak.passed - check.successes + 1;
                check.interval.saturating_mul(1 << well.min(16)).min(STEADY).max(check.interval)
            }
            // Told by the supervisor when it starts again.
            Seen::Down(_) => STEADY,
            _ => check.interval,
        };
        streak.next = Some(now + wait);
        let ready_now = streak.passed >= check.successes.max(1);
        let unready_now = certain || streak.failed >= check.failures.max(1);
        let measured = matches!(seen, Seen::Passed(_) | Seen::Refused(_));
        let detail = seen.words();
        let changed = self.report.send_if_modified(|report| {
            let Some(health) = report.instances.get_mut(index) else {
                return false;
            };
            let ready = if passed.is_some() && unready_now { false } else { health.ready || ready_now };
            if let Some(passed) = passed {
                health.remember(passed, asked);
            }
            let turned = ready != health.ready;
            if turned {
                health.ready = ready;
                health.since = now;
            }
            let said = health.detail != detail;
            health.detail = detail;
            turned || said || (measured && pace == Pace::Eager)
        });
        if changed {
            self.wake.notify_one();
        }
    }
}
