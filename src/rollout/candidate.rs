//! The candidate on its way to the cutover: Preparing, Starting, Verifying, AwaitingApproval; and rest.

use super::colour::Colour;
use super::decision::Decision;
use super::goal::Step;
use super::ledger::{Held, Reason};
use super::plan::Promotion;
use super::revision::{Attempt, Revision};
use super::rules::Rule;
use super::status::Phase;
use super::turn::Turn;
use super::world::{Artifact, Health, Stage};

impl Turn<'_> {
    /// What is to be done about the revision that is wanted and not live.
    pub(super) fn candidate(&mut self) -> Decision {
        let stable = self.ledger.stable;
        let idle = stable.map_or(Colour::Blue, |stable| stable.colour.other());
        let wanted = self.target().filter(|&target| stable.is_none_or(|stable| stable.revision != target));
        let Some(revision) = wanted else { return self.rest(idle) };
        let next = Held { colour: idle, revision };
        let attempt = self.ledger.attempt(revision);
        let about = Some(attempt);
        let there = self.world.slot(idle).map(|occupant| occupant.revision);
        if self.held() && there != Some(revision) {
            return self.to(Phase::Idle, None, None);
        }
        let known = self.ledger.trusts(revision) && !self.comes_up(next);
        if stable.is_some() && self.ready(next) && known && !self.held() {
            return self.promote(next, about);
        }
        if there != Some(revision) {
            match self.world.artifacts.get(&revision) {
                Some(Artifact::Ready) => {}
                Some(Artifact::Unusable(_)) => return self.give_up(revision, Reason::PreparationFailed),
                Some(Artifact::Preparing) | None => {
                    if self.expired(Phase::Preparing, about) {
                        return self.give_up(revision, Reason::PreparationDeadlineExceeded);
                    }
                    self.preparing(revision);
                    return self.to(Phase::Preparing, about, None);
                }
            }
            if there.is_some() {
                return self.stop(idle, Phase::Preparing, about);
            }
            if self.expired(Phase::Starting, about) {
                return self.give_up(revision, Reason::ReadyDeadlineExceeded);
            }
            let again = self.ledger.trusts(revision) && self.rules.hold(Rule::CheckedAnew);
            self.ledger.unchecked = again.then_some(next);
            return self.to(Phase::Starting, about, Some(Step::Start { colour: idle, revision }));
        }
        self.started(next, attempt)
    }

    /// It was not kept warm. What was cleared is trusted to be good, not to be warm already: it is looked at like any other that has just come up.
    pub(super) fn comes_up(&self, held: Held) -> bool {
        self.ledger.unchecked == Some(held)
    }

    /// The candidate runs in the idle slot.
    fn started(&mut self, next: Held, attempt: Attempt) -> Decision {
        let about = Some(attempt);
        let frozen = self.held() && self.rules.hold(Rule::PauseFreezes);
        let late_start = self.expired(Phase::Starting, about) && !frozen;
        if late_start && !self.rules.hold(Rule::SuccessFirst) {
            return self.give_up(next.revision, Reason::ReadyDeadlineExceeded);
        }
        let further = matches!(self.phase(), Some(Phase::Verifying | Phase::AwaitingApproval));
        if !self.ready(next) && (self.rules.hold(Rule::BackToStart) || !further) {
            if late_start {
                return self.give_up(next.revision, Reason::ReadyDeadlineExceeded);
            }
            return self.to(Phase::Starting, about, None);
        }
        if self.phase() == Some(Phase::AwaitingApproval) {
            return self.await_approval(next, attempt, frozen);
        }
        if self.phase() == Some(Phase::Verifying) {
            match self.verdict(attempt, Stage::Verify).map(|verdict| verdict.passed) {
                Some(true) if !self.held() => return self.await_approval(next, attempt, frozen),
                Some(false) => return self.give_up(next.revision, Reason::VerificationFailed),
                None if self.expired(Phase::Verifying, about) && !frozen => {
                    return self.give_up(next.revision, Reason::VerificationDeadlineExceeded);
                }
                _ => {}
            }
        }
        self.checking(next.colour, attempt, Stage::Verify);
        self.to(Phase::Verifying, about, None)
    }

    fn await_approval(&mut self, next: Held, attempt: Attempt, frozen: bool) -> Decision {
        let about = Some(attempt);
        let approved = self.plan.promotion == Promotion::Automatic
            || self.ledger.approval == Some(attempt)
            || self.ledger.trusts(next.revision);
        if approved && !self.held() {
            return self.promote(next, about);
        }
        if self.expired(Phase::AwaitingApproval, about) && !frozen {
            return self.give_up(next.revision, Reason::ApprovalDeadlineExceeded);
        }
        self.to(Phase::AwaitingApproval, about, None)
    }

    /// Intends the cutover. It is on record before the route moves.
    fn promote(&mut self, next: Held, about: Option<Attempt>) -> Decision {
        self.ledger.intent = Some(next);
        self.ledger.unchecked = None;
        self.to(Phase::CuttingOver, about, None)
    }

    fn give_up(&mut self, revision: Revision, reason: Reason) -> Decision {
        let about = Some(self.ledger.attempt(revision));
        self.reject(revision, reason);
        self.to(Phase::RollingBack, about, None)
    }

    /// Nothing to roll out: the idle colour is kept warm as long as asked, and stopped.
    fn rest(&mut self, idle: Colour) -> Decision {
        let Some(occupant) = self.world.slot(idle) else {
            return self.to(Phase::Idle, None, None);
        };
        let about = Some(self.ledger.attempt(occupant.revision));
        let trusted = self.ledger.trusts(occupant.revision);
        if !trusted || occupant.health != Health::Ready {
            // What was cleared is not taken back: it may be on its way down, and a lost status doesn't say so any more.
            let phase = if trusted { Phase::Retiring } else { Phase::RollingBack };
            return self.stop(idle, phase, about);
        }
        let over = self.expired(Phase::Idle, None) || self.phase() == Some(Phase::Retiring);
        if over || self.plan.limits.standby.is_zero() {
            return self.stop(idle, Phase::Retiring, about);
        }
        self.to(Phase::Idle, None, None)
    }
}
