//! The world in memory: the product's own loop and logic, over slots that are two variables. Time passes when nothing else does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen::driver::Driver;
use bluegreen::platform::clock::Clock;
use bluegreen::platform::{Fault, Platform, Store};
use bluegreen::rollout::{
    Artifact, Colour, Command, Goal, Health, Ledger, Limits, Memory, Now, Observed, Occupant, Phase, Plan, Promotion,
    Revision, Route, Status, Step, Time, Verb, Verdict, World,
};

use super::stage::{Accident, At, Order, Stage, Told, Wish};

/// Versions from here on are broken.
const BROKEN: u128 = 1000;
/// A restarted release is another revision of the same version.
const RESTARTED: u128 = 10_000;

#[derive(Clone)]
struct Shared(Arc<Mutex<Inner>>);

struct Inner {
    now: Time,
    world: World,
    memory: Memory,
}

/// The world, and who turns it.
pub struct Sim {
    shared: Shared,
    driver: Driver<Shared, Shared, Shared>,
    plan: Plan,
    gone: bool,
    given: u32,
}

impl Sim {
    pub fn new() -> Sim {
        let world = World { blue: None, green: None, route: Route::Nowhere, artifacts: [].into(), verdict: None };
        let shared = Shared(Arc::new(Mutex::new(Inner { now: Time(0), world, memory: Memory::default() })));
        let driver = Driver::new(Arc::new(shared.clone()), shared.clone(), shared.clone());
        let second = Duration::from_secs(1);
        let limits = Limits {
            prepare_within: second,
            ready_within: second,
            verify_within: second,
            approve_within: None,
            cutover_within: second,
            drain_within: second,
            bake: second,
            standby: Duration::from_secs(3600),
            failover_after: second,
        };
        let plan =
            Plan { wanted: None, promotion: Promotion::Automatic, limits, deleting: false, commands: Vec::new() };
        Sim { shared, driver, plan, gone: false, given: 0 }
    }

    fn inner<T>(&self, ask: impl FnOnce(&mut Inner) -> T) -> T {
        ask(&mut self.shared.0.lock().unwrap())
    }

    /// Turns until it rests: nothing is recorded, no step is made, and time alone changes nothing within a minute.
    fn settle(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..500 {
            let turn =
                runtime.block_on(self.driver.turn(&self.plan, &mut ())).unwrap_or_else(|e| panic!("{:?}", e.fault));
            self.gone = turn.decision.status.phase == Phase::Gone;
            match turn.wait {
                None => return,
                Some(wait) if wait > Duration::from_secs(60) => return,
                Some(wait) => self.inner(|inner| inner.now = inner.now + wait.max(Duration::from_millis(1))),
            }
        }
        panic!("it never comes to rest");
    }
}

impl Stage for Sim {
    fn apply(&mut self, wish: Wish) {
        let broken = if wish.broken { BROKEN } else { 0 };
        self.plan.wanted = Some(Revision::new(u128::from(wish.version) + broken));
        self.plan.promotion = if wish.manual { Promotion::Manual } else { Promotion::Automatic };
        self.plan.limits.bake = Duration::from_secs(wish.bake);
        self.settle();
    }

    fn order(&mut self, order: Order) {
        let (ledger, about, live) = self.inner(|inner| {
            let live = inner.world.route.named().and_then(|colour| inner.world.slot(colour)).map(|slot| slot.revision);
            let status = inner.memory.status.clone().unwrap();
            (status.ledger, status.about, live)
        });
        let wanted = self.plan.wanted.map(|revision| ledger.attempt(revision));
        let live = live.map(|revision| ledger.attempt(revision));
        let (verb, about) = match order {
            Order::Approve => (Verb::Approve, about),
            Order::Abort => (Verb::Abort, about),
            Order::Retry => (Verb::Retry, wanted),
            Order::Pause => (Verb::Pause, about),
            Order::Resume => (Verb::Resume, about),
            Order::Rollback => {
                let back = ledger.cleared.iter().find(|one| Some(**one) != live.map(|live| live.revision)).unwrap();
                (Verb::Rollback(*back), live)
            }
            Order::Restart => {
                self.plan.wanted = live.map(|live| Revision::new(RESTARTED + number(live.revision)));
                return self.settle();
            }
        };
        self.given += 1;
        let command = Command { verb, about: about.unwrap(), id: self.given.to_string() };
        self.plan.commands.retain(|old| old.verb.kind() != verb.kind());
        self.plan.commands.push(command);
        self.settle();
    }

    fn happen(&mut self, accident: Accident) {
        self.inner(|inner| {
            let live = inner.world.route.named().unwrap();
            match accident {
                Accident::LiveDown => {
                    let slot = if live == Colour::Blue { &mut inner.world.blue } else { &mut inner.world.green };
                    slot.as_mut().unwrap().health = Health::Down(inner.now);
                }
                Accident::RouteMoved => inner.world.route = Route::To { colour: live.other(), seen: true },
                Accident::StatusLost => inner.memory.status = None,
            }
        });
        self.settle();
    }

    fn delete(&mut self) {
        self.plan.deleting = true;
        self.settle();
    }

    fn told(&mut self) -> Option<Told> {
        let wanted = self.plan.wanted;
        if self.gone {
            return Some(Told { at: At::Gone, live: None, rejected: None });
        }
        self.inner(|inner| {
            let status = inner.memory.status.as_ref()?;
            let at = match status.phase {
                Phase::AwaitingApproval if status.ledger.paused.is_some() => At::Paused,
                Phase::AwaitingApproval => At::AwaitingApproval,
                Phase::Idle => At::Idle,
                _ => return None,
            };
            let live = inner.world.route.named().and_then(|colour| {
                let version = number(inner.world.slot(colour)?.revision) % RESTARTED % BROKEN;
                Some((u32::try_from(version).ok()?, colour))
            });
            let rejected = wanted.and_then(|wanted| status.ledger.rejected.get(&wanted));
            Some(Told { at, live, rejected: rejected.map(|rejection| format!("{:?}", rejection.reason)) })
        })
    }
}

fn number(revision: Revision) -> u128 {
    u128::from_str_radix(&revision.to_string(), 16).unwrap()
}

impl Platform for Shared {
    async fn observe(&self, _: &Plan) -> Observed {
        Observed::World(self.0.lock().unwrap().world.clone())
    }

    async fn converge(&self, _: &Plan, goal: &Goal) -> Result<(), Fault> {
        let mut inner = self.0.lock().unwrap();
        let now = inner.now;
        let world = &mut inner.world;
        if let Some(revision) = goal.prepare {
            world.artifacts.insert(revision, Artifact::Ready);
        }
        world.verdict = goal.check.map(|check| Verdict {
            about: check.about,
            stage: check.stage,
            passed: true,
            detail: String::new(),
        });
        match goal.step {
            Some(Step::Start { colour, revision }) => {
                let broken = (BROKEN..RESTARTED).contains(&number(revision));
                let health = if broken { Health::Down(now) } else { Health::Ready };
                let occupant = Occupant { revision, health, draining: None, detail: String::new() };
                match colour {
                    Colour::Blue => world.blue = Some(occupant),
                    Colour::Green => world.green = Some(occupant),
                }
            }
            Some(Step::Stop { colour: Colour::Blue, .. }) => world.blue = None,
            Some(Step::Stop { colour: Colour::Green, .. }) => world.green = None,
            Some(Step::Route { colour, .. }) => world.route = Route::To { colour, seen: true },
            Some(Step::Unroute) => world.route = Route::Nowhere,
            None => {}
        }
        Ok(())
    }
}

impl Store for Shared {
    async fn load(&self) -> Result<Memory, Fault> {
        Ok(self.0.lock().unwrap().memory.clone())
    }

    async fn record_ledger(&self, _: Option<&Ledger>, after: &Ledger) -> Result<(), Fault> {
        self.0.lock().unwrap().memory.ledger = Some(after.clone());
        Ok(())
    }

    async fn record_status(&self, _: Option<&Status>, after: &Status) -> Result<(), Fault> {
        self.0.lock().unwrap().memory.status = Some(after.clone());
        Ok(())
    }
}

impl Clock for Shared {
    fn now(&mut self) -> Now {
        Now { time: self.0.lock().unwrap().now, resumed: false }
    }

    fn decided(&mut self) {}
}
