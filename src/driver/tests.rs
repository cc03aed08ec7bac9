//! The driver against a small world in memory: what is recorded before what, and that rest is rest.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Driver;
use crate::platform::clock::Clock;
use crate::platform::{Class, Fault, Platform, Store};
use crate::rollout::{
    Artifact, CheckGoal, Colour, Goal, Health, Ledger, Limits, Memory, Now, Observed, Occupant, Phase, Plan, Promotion,
    Revision, Route, Status, Step, Time, Verdict, World,
};

/// What was done, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// A world in which every step succeeds at once, unless told otherwise.
struct Sim {
    world: Mutex<World>,
    log: Log,
    fails: Mutex<Option<Class>>,
    deaf: Mutex<bool>,
}

impl Platform for Sim {
    async fn observe(&self, _: &Plan) -> Observed {
        Observed::World(self.world.lock().unwrap().clone())
    }

    async fn converge(&self, _: &Plan, goal: &Goal) -> Result<(), Fault> {
        self.log.lock().unwrap().push(match goal.step {
            Some(step) => format!("{step:?}").split_whitespace().next().unwrap_or_default().to_owned(),
            None => "converge".to_owned(),
        });
        if let Some(class) = *self.fails.lock().unwrap() {
            return Err(Fault { class, reason: "Sim", message: "told to fail".into() });
        }
        let mut world = self.world.lock().unwrap();
        if let Some(revision) = goal.prepare {
            world.artifacts.insert(revision, Artifact::Ready);
        }
        world.verdict = goal.check.map(|CheckGoal { about, stage, .. }| Verdict {
            about,
            stage,
            passed: true,
            detail: String::new(),
        });
        if *self.deaf.lock().unwrap() {
            return Ok(());
        }
        let occupant = |revision| Occupant { revision, health: Health::Ready, draining: None, detail: String::new() };
        let slot = |world: &mut World, colour, occupant| match colour {
            Colour::Blue => world.blue = occupant,
            Colour::Green => world.green = occupant,
        };
        match goal.step {
            Some(Step::Start { colour, revision }) => slot(&mut world, colour, Some(occupant(revision))),
            Some(Step::Stop { colour, .. }) => slot(&mut world, colour, None),
            Some(Step::Route { colour, .. }) => world.route = Route::To { colour, seen: true },
            Some(Step::Unroute) => world.route = Route::Nowhere,
            None => {}
        }
        Ok(())
    }
}

/// Memories in memory; can be told that somebody else wrote, or that the disk is full.
#[derive(Clone, Default)]
struct Disk {
    memory: Arc<Mutex<Memory>>,
    log: Log,
    full: Arc<Mutex<bool>>,
    rival: Arc<Mutex<bool>>,
}

impl Disk {
    fn may_write(&self, what: &str) -> Result<(), Fault> {
        let fault = |class, reason| Err(Fault { class, reason, message: reason.to_owned() });
        if *self.full.lock().unwrap() {
            return fault(Class::Transient, "DiskFull");
        }
        if *self.rival.lock().unwrap() {
            return fault(Class::Conflict, "StateChanged");
        }
        self.log.lock().unwrap().push(what.to_owned());
        Ok(())
    }
}

impl Store for Disk {
    async fn load(&self) -> Result<Memory, Fault> {
        Ok(self.memory.lock().unwrap().clone())
    }

    async fn record_ledger(&self, before: Option<&Ledger>, after: &Ledger) -> Result<(), Fault> {
        self.may_write("ledger")?;
        let mut memory = self.memory.lock().unwrap();
        assert_eq!(memory.ledger.as_ref(), before);
        memory.ledger = Some(after.clone());
        Ok(())
    }

    async fn record_status(&self, before: Option<&Status>, after: &Status) -> Result<(), Fault> {
        self.may_write("status")?;
        let mut memory = self.memory.lock().unwrap();
        assert_eq!(memory.status.as_ref(), before);
        memory.status = Some(after.clone());
        Ok(())
    }
}

/// A clock that stands still unless it is set, and says whether a decision was the first one.
struct Still {
    time: Arc<Mutex<Time>>,
    resumed: Arc<Mutex<Vec<bool>>>,
    first: bool,
}

impl Clock for Still {
    fn now(&mut self) -> Now {
        self.resumed.lock().unwrap().push(self.first);
        Now { time: *self.time.lock().unwrap(), resumed: self.first }
    }

    fn decided(&mut self) {
        self.first = false;
    }
}

struct Bench {
    driver: Driver<Sim, Disk, Still>,
    sim: Arc<Sim>,
    disk: Disk,
    log: Log,
    time: Arc<Mutex<Time>>,
    resumed: Arc<Mutex<Vec<bool>>>,
}

impl Bench {
    fn new() -> Bench {
        let log = Log::default();
        let sim = Arc::new(Sim {
            world: Mutex::new(World {
                blue: None,
                green: None,
                route: Route::Nowhere,
                artifacts: BTreeMap::new(),
                verdict: None,
            }),
            log: log.clone(),
            fails: Mutex::default(),
            deaf: Mutex::default(),
        });
        let disk = Disk { log: log.clone(), ..Disk::default() };
        let resumed = Arc::default();
        let time = Arc::new(Mutex::new(Time(1_000_000)));
        let clock = Still { time: time.clone(), resumed: Arc::clone(&resumed), first: true };
        Bench { driver: Driver::new(sim.clone(), disk.clone(), clock), sim, disk, log, time, resumed }
    }

    /// Turns until nothing more follows by itself; says what was done.
    async fn until_rest(&mut self, plan: &Plan) -> Vec<String> {
        for _ in 0..100 {
            let turn = self.driver.turn(plan, &mut ()).await.unwrap();
            if turn.wait != Some(Duration::ZERO) {
                return std::mem::take(&mut *self.log.lock().unwrap());
            }
        }
        panic!("it never rests: {:?}", self.log.lock().unwrap());
    }
}

fn plan(wanted: u128) -> Plan {
    let second = Duration::from_secs(1);
    Plan {
        wanted: Some(Revision::new(wanted)),
        promotion: Promotion::Automatic,
        limits: Limits {
            prepare_within: second * 60,
            ready_within: second * 60,
            verify_within: second * 60,
            approve_within: None,
            cutover_within: second * 60,
            drain_within: second * 60,
            bake: Duration::ZERO,
            standby: Duration::ZERO,
            failover_after: second,
        },
        deleting: false,
        commands: Vec::new(),
    }
}

#[tokio::test]
async fn a_rollout_goes_from_nothing_to_rest_and_rest_writes_nothing() {
    let mut bench = Bench::new();
    bench.until_rest(&plan(1)).await;
    let status = bench.disk.memory.lock().unwrap().status.clone().unwrap();
    assert_eq!(status.phase, Phase::Idle);
    assert_eq!(status.ledger.stable.map(|held| held.revision), Some(Revision::new(1)));
    for _ in 0..20 {
        let turn = bench.driver.turn(&plan(1), &mut ()).await.unwrap();
        assert!(!turn.recorded);
        assert_eq!(turn.wait, None, "only the heartbeat");
    }
    assert_eq!(*bench.log.lock().unwrap(), vec!["converge"; 20]);
}

#[tokio::test]
async fn the_ledger_is_written_before_the_status_and_both_before_the_world_is_touched() {
    let mut bench = Bench::new();
    let mut done = bench.until_rest(&plan(1)).await;
    done.extend(bench.until_rest(&plan(2)).await);
    let mut last = "";
    for what in &done {
        assert!(!(what == "ledger" && last == "status"), "{done:?}");
        last = what;
    }
    // The intent of each cutover stands on record when its route moves.
    for (index, _) in done.iter().enumerate().filter(|(_, what)| *what == "Route") {
        assert!(
            done[..index].iter().rev().take_while(|what| *what != "Start").any(|what| what == "ledger"),
            "{done:?}"
        );
    }
}

#[tokio::test]
async fn a_candidate_that_nobody_looked_at_in_time_is_not_given_up_unseen() {
    let later = |bench: &Bench, seconds: u64| {
        let mut time = bench.time.lock().unwrap();
        *time = *time + Duration::from_secs(seconds);
    };
    let starting = async |bench: &mut Bench| {
        bench.until_rest(&plan(1)).await;
        *bench.sim.deaf.lock().unwrap() = true;
        bench.until_rest(&plan(2)).await;
        let start = Occupant {
            revision: Revision::new(2),
            health: Health::Degraded,
            draining: None,
            detail: "not told".to_owned(),
        };
        bench.sim.world.lock().unwrap().green = Some(start);
        bench.until_rest(&plan(2)).await;
    };
    let phase = |bench: &Bench| bench.disk.memory.lock().unwrap().status.as_ref().map(|status| status.phase);
    let mut punctual = Bench::new();
    starting(&mut punctual).await;
    assert_eq!(phase(&punctual), Some(Phase::Starting));
    later(&punctual, 61);
    punctual.driver.turn(&plan(2), &mut ()).await.unwrap();
    assert_eq!(phase(&punctual), Some(Phase::RollingBack));

    let mut late = Bench::new();
    starting(&mut late).await;
    later(&late, 600);
    late.until_rest(&plan(2)).await;
    assert_eq!(phase(&late), Some(Phase::Starting), "it is looked at for a while");
    later(&late, 31);
    late.driver.turn(&plan(2), &mut ()).await.unwrap();
    assert_eq!(phase(&late), Some(Phase::RollingBack), "and not for ever");
}

#[tokio::test]
async fn what_could_not_be_recorded_is_not_done() {
    let mut bench = Bench::new();
    *bench.disk.full.lock().unwrap() = true;
    let mut waits = Vec::new();
    for _ in 0..4 {
        let none = bench.driver.turn(&plan(1), &mut ()).await.unwrap_err();
        assert_eq!(none.fault.reason, "DiskFull");
        waits.push(none.wait);
    }
    assert!(waits.is_sorted() && waits[0] < waits[3], "less and less often: {waits:?}");
    assert!(bench.log.lock().unwrap().is_empty(), "the world was not touched");
    assert_eq!(*bench.resumed.lock().unwrap(), [true; 4], "a decision that was not recorded was none");
    *bench.disk.full.lock().unwrap() = false;
    bench.until_rest(&plan(1)).await;
    let resumed = bench.resumed.lock().unwrap().clone();
    assert_eq!(resumed.iter().filter(|first| **first).count(), 5, "one decision after the start: {resumed:?}");
}

#[tokio::test]
async fn when_somebody_else_wrote_the_memory_is_read_again_at_once_but_not_for_ever() {
    let mut bench = Bench::new();
    *bench.disk.rival.lock().unwrap() = true;
    let mut waits = Vec::new();
    for _ in 0..5 {
        waits.push(bench.driver.turn(&plan(1), &mut ()).await.unwrap_err().wait);
    }
    assert_eq!(waits[0], Duration::ZERO);
    assert!(waits[4] > Duration::ZERO, "{waits:?}");
    assert!(bench.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_step_that_has_no_effect_is_asked_for_less_and_less_often() {
    let mut bench = Bench::new();
    *bench.sim.deaf.lock().unwrap() = true;
    let mut waits = Vec::new();
    for _ in 0..40 {
        let turn = bench.driver.turn(&plan(1), &mut ()).await.unwrap();
        if turn.decision.goal.step.is_some() {
            waits.push(turn.wait.unwrap());
        }
    }
    assert_eq!(waits[0], Duration::ZERO);
    assert!(waits[1..].iter().all(|wait| *wait > Duration::ZERO), "{waits:?}");
    assert_eq!(waits.last(), Some(&Duration::from_secs(5)), "{waits:?}");
}

#[tokio::test]
async fn what_somebody_has_to_mend_is_not_tried_in_a_hurry_and_at_once_when_they_say_so() {
    let mut bench = Bench::new();
    *bench.sim.fails.lock().unwrap() = Some(Class::User);
    let turn = bench.driver.turn(&plan(1), &mut ()).await.unwrap();
    assert!(turn.wait.unwrap() >= Duration::from_secs(10), "{:?}", turn.wait);
    *bench.sim.fails.lock().unwrap() = Some(Class::Transient);
    for _ in 0..6 {
        bench.driver.turn(&plan(1), &mut ()).await.unwrap();
    }
    let late = bench.driver.turn(&plan(1), &mut ()).await.unwrap().wait.unwrap();
    bench.driver.encourage();
    let soon = bench.driver.turn(&plan(1), &mut ()).await.unwrap().wait.unwrap();
    assert!(soon < late, "{soon:?} {late:?}");
}
