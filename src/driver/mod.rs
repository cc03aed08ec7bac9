//! The one loop: observe, decide, record, converge. Used by the host agent, and by the operator of a cluster.
//!
//! | part | what it does |
//! |---|---|
//! | `backoff` | how long to wait after a fault, by its class |
//! | `expiry` | until when certificates are good that somebody has to replace |
//! | `news`, `log` | what happened, in words; and how it is logged |
//! | `process` | what both daemons need of their process |
//! | `agent` | the host daemon: where sites come from, and what wakes them |
//! | `operator` | the same for a cluster |
//!
//! The order is the point: the ledger is recorded before the status, and both before the world is touched. What could not be recorded is
//! not done. Everything is level-triggered: a turn that was cut off at any instruction is simply taken again.

pub mod agent;
pub mod backoff;
pub mod expiry;
pub mod log;
pub mod news;
pub mod operator;
mod process;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::platform::clock::Clock;
use crate::platform::{Class, Fault, Platform, Store};
use crate::rollout::{Decision, Memory, Now, Observed, Phase, Plan, Step, Time, decide};

use backoff::Backoff;

/// What one turn came to.
#[derive(Debug)]
pub struct Turn {
    /// What was seen at its start.
    pub observed: Observed,
    /// What was decided.
    pub decision: Decision,
    /// Why the world was not made so; `None`: it was.
    pub fault: Option<Fault>,
    /// Whether a memory was written.
    pub recorded: bool,
    /// Take the next turn after so long, even if nothing happens; `None`: only the heartbeat.
    pub wait: Option<Duration>,
}

/// Is told of each decision after it was recorded and before the world is touched, since a step may take a while.
pub trait Listener {
    /// What was seen, what was decided of it, and whether a memory was written.
    fn decided(&mut self, observed: &Observed, decision: &Decision, recorded: bool);
}

/// Nobody listens.
impl Listener for () {
    fn decided(&mut self, _: &Observed, _: &Decision, _: bool) {}
}

/// Why there was no turn at all: a memory could not be read or written, and nothing was done.
#[derive(Debug)]
pub struct NoTurn {
    /// What went wrong.
    pub fault: Fault,
    /// Try again after so long.
    pub wait: Duration,
}

/// Turns one site.
#[derive(Debug)]
pub struct Driver<P, S, C> {
    platform: Arc<P>,
    store: S,
    clock: C,
    backoff: Backoff,
    /// The step that was made last, and how often in a row: one that is asked for again and again has no effect.
    made: Option<(Step, u32)>,
    /// So many turns in a row were followed by another one at once.
    hurried: u32,
    /// When the limit of the phase ends, and with it the wait for the next turn.
    due: Option<Time>,
}

/// After a step, look again at once; when the very same step is asked for again, a little later each time.
const SAME_STEP_AGAIN: Duration = Duration::from_millis(20);
const SAME_STEP_AT_MOST: Duration = Duration::from_secs(5);
/// No rollout changes its mind so often at once: something is wrong, and must not become a busy loop.
const HURRIED: u32 = 30;
const CALM: Duration = Duration::from_secs(1);
/// A turn that comes so long after it was due comes after an absence: there were too many others.
const LATE: Duration = Duration::from_secs(10);

impl<P: Platform, S: Store, C: Clock> Driver<P, S, C> {
    /// A driver of the site that `platform` shows and `store` remembers.
    pub fn new(platform: Arc<P>, store: S, clock: C) -> Self {
        Driver { platform, store, clock, backoff: Backoff::default(), made: None, hurried: 0, due: None }
    }

    /// The world of the site.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// Somebody changed something: whatever was given up for a while is worth another try at once.
    pub fn encourage(&mut self) {
        self.backoff.reset();
    }

    /// One turn: looks, decides, records, and takes at most one step.
    pub async fn turn(&mut self, plan: &Plan, listener: &mut impl Listener) -> Result<Turn, NoTurn> {
        let memory = match self.store.load().await {
            Ok(memory) => memory,
            Err(fault) => return Err(self.no_turn(fault)),
        };
        let observed = self.platform.observe(plan).await;
        let now = self.clock.now();
        let now = Now { resumed: now.resumed || self.came_late(&memory, now.time), ..now };
        let decision = decide(plan, &memory, &observed, now);
        let recorded = match self.record(&memory, &decision).await {
            Ok(recorded) => recorded,
            Err(fault) => return Err(self.no_turn(fault)),
        };
        listener.decided(&observed, &decision, recorded);
        if decision.record {
            // Only now has the first decision after a start had its effect.
            self.clock.decided();
            self.due = decision.wake;
        }
        if decision.status.phase == Phase::Gone {
            return Ok(Turn { observed, decision, fault: None, recorded, wait: None });
        }
        let converged = self.platform.converge(plan, &decision.goal).await;
        let wake = decision.wake.map(|at| at.since(self.clock.now().time));
        let (fault, soon) = match converged {
            Err(fault) => {
                let wait = self.backoff.after(fault.class);
                (Some(fault), Some(wait))
            }
            Ok(()) => {
                self.backoff.reset();
                (None, self.after(decision.goal.step, recorded))
            }
        };
        Ok(Turn { observed, decision, fault, recorded, wait: [wake, soon].into_iter().flatten().min() })
    }

    /// Whether nobody has looked at a candidate for a while when its time was over: it may have been ready in time, and is not to be given up
    /// unseen. What ends by itself ends late.
    fn came_late(&self, memory: &Memory, now: Time) -> bool {
        let judged = [Phase::Preparing, Phase::Starting, Phase::Verifying, Phase::CuttingOver];
        let phase = memory.status.as_ref().map(|status| status.phase);
        phase.is_some_and(|phase| judged.contains(&phase)) && self.due.is_some_and(|due| now > due + LATE)
    }

    async fn record(&self, memory: &Memory, decision: &Decision) -> Result<bool, Fault> {
        let mut recorded = false;
        if !decision.record {
            return Ok(false);
        }
        if memory.ledger.as_ref() != Some(&decision.ledger) {
            self.store.record_ledger(memory.ledger.as_ref(), &decision.ledger).await?;
            recorded = true;
        }
        if memory.status.as_ref() != Some(&decision.status) {
            self.store.record_status(memory.status.as_ref(), &decision.status).await?;
            recorded = true;
        }
        Ok(recorded)
    }

    fn no_turn(&mut self, fault: Fault) -> NoTurn {
        let wait = self.backoff.after(fault.class);
        NoTurn { fault, wait }
    }

    /// When to look again after a turn that went well. What was decided leads to the next decision: so at once, if anything was.
    fn after(&mut self, step: Option<Step>, recorded: bool) -> Option<Duration> {
        let times = match (self.made, step) {
            (Some((made, times)), Some(step)) if made == step => times.saturating_add(1),
            _ => 0,
        };
        self.made = step.map(|step| (step, times));
        let wait = match (times, step, recorded) {
            (0, Some(_), _) | (_, None, true) => Duration::ZERO,
            (0, None, false) => {
                self.hurried = 0;
                return None;
            }
            (n, ..) => SAME_STEP_AGAIN.saturating_mul(2_u32.saturating_pow(n.min(16) - 1)).min(SAME_STEP_AT_MOST),
        };
        self.hurried = self.hurried.saturating_add(1);
        Some(if self.hurried > HURRIED { wait.max(CALM) } else { wait })
    }
}

/// Whether a fault of this class is worth a look by somebody, rather than only by us.
#[must_use]
pub fn needs_somebody(class: Class) -> bool {
    matches!(class, Class::User | Class::Forbidden)
}
