//! One turn of the logic: what it was given, what it changes, and how a decision is made of it.

use std::time::Duration;

use super::colour::Colour;
use super::decision::{Decision, News};
use super::goal::{CheckGoal, Goal, Step, Why};
use super::ledger::{Held, Ledger, Reason, Rejection};
use super::plan::Plan;
use super::revision::{Attempt, Revision};
use super::rules::{Rule, Rules};
use super::status::{Memory, Phase, Status};
use super::time::{Now, Time};
use super::world::{Health, Occupant, Stage, Verdict, World};

/// What an expired limit is put off by when the time before it was not observed.
const GRACE: Duration = Duration::from_secs(30);

/// How many cleared and rejected revisions are remembered.
const REMEMBERED: usize = 100;

pub(super) struct Turn<'a> {
    pub(super) rules: Rules,
    pub(super) plan: &'a Plan,
    pub(super) world: &'a World,
    pub(super) now: Time,
    /// What the ledger becomes.
    pub(super) ledger: Ledger,
    pub(super) news: Vec<News>,
    memory: &'a Memory,
    /// The phase of the last turn, its attempt, and from when its time counts.
    was: Option<(Phase, Option<Attempt>, Time)>,
    check: Option<CheckGoal>,
    prepare: Option<Revision>,
    stalled: Option<String>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(rules: Rules, plan: &'a Plan, memory: &'a Memory, world: &'a World, now: Now) -> Turn<'a> {
        let mut turn = Turn {
            rules,
            plan,
            world,
            now: now.time,
            ledger: memory.ledger.clone().unwrap_or_default(),
            news: Vec::new(),
            memory,
            was: None,
            check: None,
            prepare: None,
            stalled: None,
        };
        if let Some(status) = &memory.status {
            let mut since = status.since.min(now.time);
            if now.resumed {
                since = turn.since_after_absence(status.phase, since);
            }
            turn.was = Some((status.phase, status.about, since));
        }
        turn
    }

    /// Time that nobody observed is held against nobody: a bake starts over, and any other limit that has passed in the meantime
    /// leaves a little more.
    fn since_after_absence(&self, phase: Phase, since: Time) -> Time {
        if phase == Phase::Baking {
            return self.now;
        }
        match self.limit(phase) {
            Some(limit) if self.now >= since + limit => {
                let left = limit.min(GRACE);
                Time(self.now.0 - millis(limit.saturating_sub(left)))
            }
            _ => since,
        }
    }

    /// Reads the ledger, or its copy, or takes back what an earlier site left, or adopts what routes.
    ///
    /// # Errors
    /// Nothing can be told, and nothing may be touched; why, in words.
    pub(super) fn recall(&mut self) -> Result<(), &'static str> {
        if self.memory.ledger.is_some() {
            return Ok(());
        }
        let left = self.memory.left.as_ref();
        if let Some(status) = &self.memory.status {
            let newer = left.filter(|left| left.version > status.ledger.version);
            self.ledger = newer.unwrap_or(&status.ledger).clone();
            return Ok(());
        }
        // Nobody knows any more what these were about.
        self.ledger.taken = self.plan.commands.iter().map(|c| (c.verb.kind(), c.id.clone())).collect();
        if let Some(left) = left {
            return self.take_back(left);
        }
        let nothing = "the ledger and the status are both lost, and no route names a colour that serves: nothing is touched until one does";
        let Some(colour) = self.world.route.named() else {
            let empty = self.world.blue.is_none() && self.world.green.is_none();
            return if empty { Ok(()) } else { Err(nothing) };
        };
        let serves = |occupant: &&Occupant| !matches!(occupant.health, Health::Down(_));
        let occupant = self.world.slot(colour).filter(serves).ok_or(nothing)?;
        let held = Held { colour, revision: occupant.revision };
        self.ledger.stable = Some(held);
        self.ledger.cleared.insert(held.revision);
        self.news.push(News::Adopted(held));
        self.hold(held);
        Ok(())
    }

    /// The decisions of an earlier site of this name count. Whether its last cutover was a success stood in its status alone: if the route is where that
    /// led, it is watched again; if it is where it was before, it is called off; and if somebody moved it elsewhere, it was a success, since nothing else
    /// is known to be good.
    fn take_back(&mut self, left: &Ledger) -> Result<(), &'static str> {
        if self.plan.wanted.is_none() && !self.plan.deleting {
            return Err(
                "what an earlier site of this name left is not taken back before it can be told what is wanted",
            );
        }
        let taken = std::mem::replace(&mut self.ledger, left.clone()).taken;
        self.ledger.taken.extend(taken);
        let slot = |colour| Some(Held { colour, revision: self.world.slot(colour)?.revision });
        let routed = self.world.route.named().and_then(slot);
        if let Some(intent) = left.intent.filter(|intent| routed != Some(*intent)) {
            self.ledger.intent = None;
            if routed.is_none() || routed != left.stable {
                self.ledger.stable = Some(intent);
                self.ledger.cleared.insert(intent.revision);
            }
        }
        if let Some(held) = self.ledger.intent.or(self.ledger.stable) {
            self.news.push(News::TakenBack(held));
            self.hold(held);
        }
        Ok(())
    }

    /// A wanted revision that isn't what is live is held: nobody knows any more whether it was rejected.
    fn hold(&mut self, held: Held) {
        let differs = self.plan.wanted.filter(|&wanted| wanted != held.revision);
        if let Some(wanted) = differs.filter(|_| self.rules.hold(Rule::Hold)) {
            self.reject(wanted, Reason::HeldAfterLoss);
        }
    }

    // ── what is asked of the given ──

    pub(super) fn phase(&self) -> Option<Phase> {
        self.was.map(|(phase, ..)| phase)
    }

    /// Whether the phase of the last turn was this one, about this attempt, and its limit has passed.
    pub(super) fn expired(&self, phase: Phase, about: Option<Attempt>) -> bool {
        match (self.was, self.limit(phase)) {
            (Some((was, of, since)), Some(limit)) => was == phase && of == about && self.now >= since + limit,
            _ => false,
        }
    }

    /// As [`Turn::expired`], and so much longer.
    pub(super) fn expired_by(&self, phase: Phase, about: Option<Attempt>, more: Duration) -> bool {
        match (self.was, self.limit(phase)) {
            (Some((was, of, since)), Some(limit)) => was == phase && of == about && self.now >= since + limit + more,
            _ => false,
        }
    }

    fn limit(&self, phase: Phase) -> Option<Duration> {
        let limits = &self.plan.limits;
        match phase {
            Phase::Idle => Some(limits.standby),
            Phase::Preparing => Some(limits.prepare_within),
            Phase::Starting => Some(limits.ready_within),
            Phase::Verifying => Some(limits.verify_within),
            Phase::AwaitingApproval => limits.approve_within,
            Phase::CuttingOver => Some(limits.cutover_within),
            Phase::Draining => Some(limits.drain_within),
            Phase::Baking => Some(limits.bake),
            Phase::Retiring | Phase::RollingBack | Phase::Deleting | Phase::Gone | Phase::Stalled => None,
        }
    }

    /// Every required instance is ready now, and runs the named revision.
    pub(super) fn ready(&self, held: Held) -> bool {
        self.runs(held).is_some_and(|occupant| occupant.health == Health::Ready)
    }

    /// It does not serve, and has not for as long as a blip may last.
    pub(super) fn down(&self, held: Held) -> bool {
        match self.runs(held).map(|occupant| occupant.health) {
            Some(Health::Ready | Health::Degraded) => false,
            Some(Health::Down(since)) => self.now >= since + self.plan.limits.failover_after,
            None => true,
        }
    }

    fn runs(&self, held: Held) -> Option<&Occupant> {
        self.world.slot(held.colour).filter(|occupant| occupant.revision == held.revision)
    }

    /// Requests may be in flight on this colour, and the limit has not passed.
    pub(super) fn drains(&self, colour: Colour) -> bool {
        let since = self.world.slot(colour).and_then(|occupant| occupant.draining);
        since.is_some_and(|since| self.now < since + self.plan.limits.drain_within)
    }

    /// The revision to go for: what was rolled back to, or what the specification says, or what is stable.
    pub(super) fn target(&self) -> Option<Revision> {
        if let Some(rollback) = self.ledger.rollback.filter(|rollback| !self.ledger.rejects(rollback.to))
            && self.plan.wanted.is_none_or(|wanted| Some(wanted) == rollback.while_wanted)
        {
            return Some(rollback.to);
        }
        let wanted = self.plan.wanted.filter(|&revision| !self.ledger.rejects(revision));
        wanted.or(self.ledger.stable.map(|held| held.revision))
    }

    /// The verdict on this attempt at this stage.
    pub(super) fn verdict(&self, about: Attempt, stage: Stage) -> Option<&Verdict> {
        let about_it = |verdict: &&Verdict| verdict.about == about || !self.rules.hold(Rule::VerdictNames);
        self.world.verdict.as_ref().filter(|verdict| verdict.stage == stage).filter(about_it)
    }

    /// Somebody paused the site, and did not ask for a rollback besides.
    pub(super) fn held(&self) -> bool {
        self.ledger.paused.is_some() && self.ledger.rollback.is_none()
    }

    // ── what a turn changes ──

    pub(super) fn reject(&mut self, revision: Revision, reason: Reason) {
        if !self.ledger.rejects(revision) {
            self.ledger.rejected.insert(revision, Rejection { reason, at: self.now });
            self.news.push(News::Rejected(revision, reason));
        }
    }

    /// Gives the running phase this much more time.
    pub(super) fn put_off(&mut self, span: Duration) {
        if let Some((_, _, since)) = &mut self.was {
            *since = (*since + span).min(self.now);
        }
    }

    pub(super) fn checking(&mut self, colour: Colour, about: Attempt, stage: Stage) {
        self.check = Some(CheckGoal { colour, about, stage });
    }

    pub(super) fn preparing(&mut self, revision: Revision) {
        self.prepare = Some(revision);
    }

    pub(super) fn stalling(&mut self, why: &str) {
        self.stalled = Some(why.to_owned());
    }

    // ── how a turn ends ──

    /// The phase of the last turn goes on, with this step.
    pub(super) fn stay(&mut self, step: Option<Step>) -> Decision {
        let (phase, about) = self.was.map_or((Phase::Idle, None), |(phase, about, _)| (phase, about));
        self.to(phase, about, step)
    }

    /// The colour shall be empty: once nothing is in flight on it, or the drain limit has passed.
    pub(super) fn stop(&mut self, colour: Colour, phase: Phase, about: Option<Attempt>) -> Decision {
        if self.drains(colour) && self.rules.hold(Rule::SlotDrain) {
            return self.to(phase, about, None);
        }
        let late = self.world.slot(colour).and_then(|occupant| occupant.draining);
        self.to(phase, about, Some(Step::Stop { colour, late }))
    }

    /// Traffic shall go to this colour.
    pub(super) fn route(&mut self, held: Held, why: Why, phase: Phase, about: Option<Attempt>) -> Decision {
        let Held { colour, revision } = held;
        self.to(phase, about, Some(Step::Route { colour, revision, why }))
    }

    /// Nothing can be told: the memories stay as they are.
    pub(super) fn stall(&mut self, why: &str) -> Decision {
        self.stalling(why);
        Decision { record: false, ..self.to(Phase::Stalled, None, None) }
    }

    /// The site goes away: the route first, then what drains, then the colours.
    pub(super) fn delete(&mut self) -> Decision {
        // What can't be told is no reason to keep a site.
        let _ = self.recall();
        let routed = self.world.route.named();
        if let Some(colour) = routed.filter(|_| !self.rules.hold(Rule::DeleteOrder)) {
            return self.to(Phase::Deleting, None, Some(Step::Stop { colour, late: None }));
        }
        if routed.is_some() {
            return self.to(Phase::Deleting, None, Some(Step::Unroute));
        }
        for colour in Colour::BOTH {
            if self.world.slot(colour).is_some() {
                return self.stop(colour, Phase::Deleting, None);
            }
        }
        self.to(Phase::Gone, None, None)
    }

    /// This phase, about this attempt, with this step.
    pub(super) fn to(&mut self, phase: Phase, about: Option<Attempt>, step: Option<Step>) -> Decision {
        self.let_approval_die();
        self.forget_the_oldest();
        let goes_on = self.was.filter(|&(was, of, _)| was == phase && of == about);
        if goes_on.is_none() {
            self.news.push(News::Entered(phase, about));
        }
        let since = goes_on.map_or(self.now, |(.., since)| since);
        let standby = phase != Phase::Idle || (self.world.blue.is_some() && self.world.green.is_some());
        let deadline = self.limit(phase).filter(|_| standby).map(|limit| since + limit);
        let mut ledger = self.ledger.clone();
        if self.memory.ledger.as_ref() != Some(&ledger) {
            let copy = self.memory.status.as_ref().map(|status| &status.ledger);
            let known = [self.memory.ledger.as_ref(), self.memory.left.as_ref(), copy];
            let newest = known.into_iter().flatten().map(|l| l.version).max();
            ledger.version = newest.unwrap_or(0) + 1;
        }
        Decision {
            record: true,
            wake: self.wake(phase, deadline),
            status: Status { phase, about, since, deadline, ledger: ledger.clone() },
            goal: Goal { fence: ledger.version, step, prepare: self.prepare, check: self.check },
            ledger,
            news: std::mem::take(&mut self.news),
            stalled: self.stalled.take(),
        }
    }

    /// An approval is for one attempt at what is wanted now, and for nothing else.
    fn let_approval_die(&mut self) {
        let Some(approval) = self.ledger.approval else { return };
        let gone = self.ledger.rejects(approval.revision)
            || self.ledger.attempt(approval.revision) != approval
            || self.plan.wanted.is_some_and(|wanted| wanted != approval.revision);
        if gone && self.rules.hold(Rule::ApprovalDies) {
            self.ledger.approval = None;
        }
    }

    fn forget_the_oldest(&mut self) {
        let ledger = &mut self.ledger;
        let used: Vec<Revision> = [ledger.stable, ledger.intent]
            .into_iter()
            .flatten()
            .map(|held| held.revision)
            .chain(ledger.rollback.map(|rollback| rollback.to))
            .chain(self.plan.wanted)
            .collect();
        while ledger.cleared.len() > REMEMBERED {
            let Some(&unused) = ledger.cleared.iter().find(|revision| !used.contains(revision)) else {
                break;
            };
            ledger.cleared.remove(&unused);
        }
        while ledger.rejected.len() > REMEMBERED {
            let candidates = ledger.rejected.iter().filter(|(revision, _)| !used.contains(revision));
            let Some((&oldest, _)) = candidates.min_by_key(|(_, rejection)| rejection.at) else {
                break;
            };
            ledger.rejected.remove(&oldest);
        }
        while ledger.retries.len() > REMEMBERED {
            let Some((&unused, _)) = ledger.retries.iter().find(|(revision, _)| !used.contains(revision)) else {
                break;
            };
            ledger.retries.remove(&unused);
        }
    }

    /// When something will have changed by time alone.
    fn wake(&self, phase: Phase, deadline: Option<Time>) -> Option<Time> {
        let limits = &self.plan.limits;
        let unmeasured = deadline.filter(|_| phase == Phase::Baking).map(|end| end + limits.verify_within);
        let occupants = || [&self.world.blue, &self.world.green].into_iter().flatten();
        let drained = occupants().filter_map(|o| o.draining).map(|since| since + limits.drain_within);
        let given_up = occupants().filter_map(|o| match o.health {
            Health::Down(since) => Some(since + limits.failover_after),
            _ => None,
        });
        let moments = deadline.into_iter().chain(unmeasured).chain(drained).chain(given_up);
        moments.filter(|&moment| moment > self.now).min()
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
