//! A state of the search: a small world, both memories, what is on its way, and what really happened (the ghosts).

use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::rollout::{
    Artifact, Attempt, CheckGoal, Colour, Command, Health, Ledger, Limits, Memory, Observed, Occupant, Phase, Plan,
    Promotion, Revision, Route, Rules, Stage, Status, Step, Time, Verdict, World,
};

/// One tick of the search's clock: every limit is one tick long.
pub const TICK: i64 = 1000;

/// The revisions of the search: 1, 2 and 3.
pub const REVISIONS: [u8; 3] = [1, 2, 3];

/// The revision with this number.
#[must_use]
pub fn revision(number: u8) -> Revision {
    Revision::new(u128::from(number))
}

/// The number of a revision of the search.
#[must_use]
pub fn number(of: Revision) -> u8 {
    REVISIONS.into_iter().find(|&n| revision(n) == of).unwrap_or(0)
}

/// A set of revisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set(u8);

impl Set {
    /// The set of these.
    #[must_use]
    pub fn of(numbers: &[u8]) -> Set {
        Set(numbers.iter().fold(0, |bits, n| bits | 1 << n))
    }

    /// Whether it has the revision.
    #[must_use]
    pub fn has(self, n: u8) -> bool {
        self.0 & 1 << n != 0
    }

    /// With the revision.
    #[must_use]
    pub fn with(self, n: u8) -> Set {
        Set(self.0 | 1 << n)
    }

    /// Without the revision.
    #[must_use]
    pub fn without(self, n: u8) -> Set {
        Set(self.0 & !(1 << n))
    }
}

/// How the app in a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum App {
    /// Started, not ready yet.
    Starting,
    /// All of it is ready.
    Ready,
    /// Some instances are ready.
    Partly,
    /// Down.
    Dead,
}

/// Requests in flight on a colour that lost traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flight {
    /// None.
    Clear,
    /// Some, and the drain limit has not passed.
    Busy,
    /// Some, and the drain limit has passed.
    Late,
}

/// What occupies a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The revision.
    pub revision: u8,
    /// How it is.
    pub app: App,
    /// What is in flight on it.
    pub flight: Flight,
}

/// The route: what it names and whether the front door is seen to answer so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Routed {
    /// What it names.
    pub colour: Colour,
    /// Seen.
    pub seen: bool,
}

/// A step on its way, and the ledger that it was decided with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pending {
    /// The step.
    pub step: Step,
    /// The ledger it was decided with.
    pub ledger: Option<u32>,
}

/// What the checks said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Said {
    /// Of this attempt.
    pub about: Attempt,
    /// At this stage.
    pub stage: Stage,
    /// Passed.
    pub passed: bool,
}

/// How much may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Edits of the specification, and deletion.
    pub edits: u8,
    /// Commands.
    pub commands: u8,
    /// Faults.
    pub faults: u8,
}

/// What really happened: not seen by the logic, used to judge it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghosts {
    /// Approved by somebody, and nothing happened since that ends an approval.
    pub approved: Set,
    /// Rejected, and not retried since.
    pub rejected: Set,
    /// Live once and judged good.
    pub cleared: Set,
    /// Live and not judged yet; 0: none.
    pub baking: u8,
    /// Commands that had their effect.
    pub obeyed: u8,
    /// An accepted rollback: to, and while the specification says.
    pub rollback: Option<(u8, u8)>,
    /// Cleared, then started again, and neither checked nor live since.
    pub fresh: Set,
    /// Both memories were lost at once.
    pub lost: bool,
}

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The revision that the specification describes.
    pub spec: u8,
    /// The site is to go away.
    pub deleting: bool,
    /// Blue and green.
    pub slots: [Option<Slot>; 2],
    /// The route.
    pub route: Option<Routed>,
    /// Revisions whose artifact is ready.
    pub ready_artifacts: Set,
    /// Revisions whose artifact is unusable.
    pub unusable_artifacts: Set,
    /// What the last goal asked to be prepared; 0: nothing.
    pub preparing: u8,
    /// The checks that the last goal asked for.
    pub check: Option<CheckGoal>,
    /// What they said.
    pub verdict: Option<Said>,
    /// The recorded ledger.
    pub ledger: Option<u32>,
    /// The recorded status.
    pub status: Option<u32>,
    /// What an earlier site of this name left beside the route.
    pub left: Option<u32>,
    /// A step that was decided and not taken yet.
    pub pending: Option<Pending>,
    /// A step that an old leader will still take when it wakes.
    pub zombie: Option<Pending>,
    /// The commands given so far.
    pub commands: u32,
    /// The program was started, or the clock jumped, since the last decision.
    pub resumed: bool,
    /// How much may still happen.
    pub budget: Budget,
    /// What really happened.
    pub ghosts: Ghosts,
}

impl State {
    /// What occupies the slot of this colour.
    #[must_use]
    pub fn slot(&self, colour: Colour) -> Option<Slot> {
        self.slots[colour as usize]
    }

    /// The same with another slot.
    #[must_use]
    pub fn with_slot(mut self, colour: Colour, slot: Option<Slot>) -> State {
        self.slots[colour as usize] = slot;
        self
    }

    /// What occupies the slot that the route names.
    #[must_use]
    pub fn live(&self) -> Option<Slot> {
        self.slot(self.route?.colour)
    }

    /// Whether this revision is ready in the slot.
    #[must_use]
    pub fn is_ready(&self, colour: Colour, revision: u8) -> bool {
        self.slot(colour).is_some_and(|slot| slot.revision == revision && slot.app == App::Ready)
    }
}

/// What a search is about, and the texts behind the numbers of a state.
pub struct Setting {
    /// Who lets a candidate go live.
    pub promotion: Promotion,
    /// The rules that hold.
    pub rules: Rules,
    /// Whether artifacts have to be prepared, and can be unusable.
    pub preparation: bool,
    ledgers: Interned<Ledger>,
    statuses: Interned<Status>,
    commands: Interned<Vec<Command>>,
}

struct Interned<T> {
    numbers: FxHashMap<T, u32>,
    values: Vec<T>,
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    fn new() -> Self {
        Interned { numbers: FxHashMap::default(), values: Vec::new() }
    }

    fn number(&mut self, value: T) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        let number = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }
}

impl Setting {
    /// A setting with all rules but those left out.
    #[must_use]
    pub fn new(promotion: Promotion, rules: Rules, preparation: bool) -> Setting {
        let mut commands = Interned::new();
        commands.number(Vec::new());
        Setting { promotion, rules, preparation, ledgers: Interned::new(), statuses: Interned::new(), commands }
    }

    /// The ledger behind a number.
    #[must_use]
    pub fn ledger(&self, number: Option<u32>) -> Option<&Ledger> {
        number.map(|n| &self.ledgers.values[n as usize])
    }

    /// The status behind a number.
    #[must_use]
    pub fn status(&self, number: Option<u32>) -> Option<&Status> {
        number.map(|n| &self.statuses.values[n as usize])
    }

    /// The commands behind a number.
    #[must_use]
    pub fn commands(&self, number: u32) -> &[Command] {
        &self.commands.values[number as usize]
    }

    /// A number for a ledger. Versions and the moments of rejections are forgotten: only their order matters, and that is kept elsewhere.
    pub fn keep_ledger(&mut self, mut ledger: Ledger) -> u32 {
        plain(&mut ledger);
        self.ledgers.number(ledger)
    }

    /// A number for a status.
    pub fn keep_status(&mut self, mut status: Status) -> u32 {
        plain(&mut status.ledger);
        status.deadline = status.deadline.map(|_| Time(0));
        self.statuses.number(status)
    }

    /// A number for the commands.
    pub fn keep_commands(&mut self, commands: Vec<Command>) -> u32 {
        self.commands.number(commands)
    }

    /// The phase on record.
    #[must_use]
    pub fn phase(&self, state: &State) -> Option<Phase> {
        self.status(state.status).map(|status| status.phase)
    }

    /// The recorded ledger, or its copy.
    #[must_use]
    pub fn known_ledger(&self, state: &State) -> Option<&Ledger> {
        self.ledger(state.ledger).or_else(|| self.status(state.status).map(|status| &status.ledger))
    }

    /// Whether somebody paused the site, as far as is on record.
    #[must_use]
    pub fn paused(&self, state: &State) -> bool {
        self.known_ledger(state).is_some_and(|ledger| ledger.paused.is_some())
    }

    /// The plan as the logic gets it.
    #[must_use]
    pub fn plan(&self, state: &State) -> Plan {
        let tick = Duration::from_millis(TICK.unsigned_abs());
        let mut last: Vec<Command> = Vec::new();
        for command in self.commands(state.commands) {
            last.retain(|earlier| earlier.verb.kind() != command.verb.kind());
            last.push(command.clone());
        }
        Plan {
            wanted: Some(revision(state.spec)),
            promotion: self.promotion,
            limits: Limits {
                prepare_within: tick,
                ready_within: tick,
                verify_within: tick,
                approve_within: None,
                cutover_within: tick,
                drain_within: tick,
                bake: tick,
                standby: tick,
                failover_after: Duration::ZERO,
            },
            deleting: state.deleting,
            commands: last,
        }
    }

    /// Both memories as they are on record.
    #[must_use]
    pub fn memory(&self, state: &State) -> Memory {
        Memory {
            ledger: self.ledger(state.ledger).cloned(),
            status: self.status(state.status).cloned(),
            left: self.ledger(state.left).cloned(),
        }
    }

    /// The world as a platform would see it.
    #[must_use]
    pub fn world(&self, state: &State) -> World {
        let mut artifacts = std::collections::BTreeMap::new();
        for n in REVISIONS {
            if state.unusable_artifacts.has(n) {
                artifacts.insert(revision(n), Artifact::Unusable(String::new()));
            } else if !self.preparation || state.ready_artifacts.has(n) {
                artifacts.insert(revision(n), Artifact::Ready);
            }
        }
        World {
            blue: state.slot(Colour::Blue).map(occupant),
            green: state.slot(Colour::Green).map(occupant),
            route: state.route.map_or(Route::Nowhere, |r| Route::To { colour: r.colour, seen: r.seen }),
            artifacts,
            verdict: state.verdict.map(|said| Verdict {
                about: said.about,
                stage: said.stage,
                passed: said.passed,
                detail: String::new(),
            }),
        }
    }

    /// The same as an observation.
    #[must_use]
    pub fn observed(&self, state: &State) -> Observed {
        Observed::World(self.world(state))
    }
}

fn occupant(slot: Slot) -> Occupant {
    Occupant {
        revision: revision(slot.revision),
        health: match slot.app {
            App::Ready => Health::Ready,
            App::Partly => Health::Degraded,
            App::Starting | App::Dead => Health::Down(Time(0)),
        },
        draining: match slot.flight {
            Flight::Clear => None,
            Flight::Busy => Some(Time(0)),
            Flight::Late => Some(Time(-TICK)),
        },
        detail: String::new(),
    }
}

fn plain(ledger: &mut Ledger) {
    ledger.version = 1;
    for rejection in ledger.rejected.values_mut() {
        rejection.at = Time(0);
    }
}
