//! A cutover that was decided and has not been judged: CuttingOver, Draining, Baking, and the way back.

use super::decision::{Decision, News};
use super::goal::Why;
use super::guard::serves_well;
use super::ledger::{Held, Reason};
use super::revision::Attempt;
use super::rules::Rule;
use super::status::Phase;
use super::turn::Turn;
use super::world::{Route, Stage};

impl Turn<'_> {
    /// `None`: no cutover is under way (any more).
    pub(super) fn cutover(&mut self) -> Option<Decision> {
        let intent = self.ledger.intent?;
        let moved = matches!(self.phase(), Some(Phase::Draining | Phase::Baking));
        let unwanted = self.ledger.rejects(intent.revision) || self.wants_stable_back();
        let elsewhere = self.world.route.named() != Some(intent.colour);
        let lost = !self.ready(intent) && serves_well(&self.ledger, self.world);
        if elsewhere && (!moved || unwanted || lost) {
            return self.before_the_move(intent, unwanted);
        }
        Some(self.after_the_move(intent, unwanted))
    }

    /// The specification, or a rollback, asks for the stable revision again, and it is warm.
    fn wants_stable_back(&self) -> bool {
        let Some(stable) = self.ledger.stable.filter(|&stable| self.ready(stable)) else {
            return false;
        };
        let back = self.ledger.rollback.map(|rollback| rollback.to).or(self.plan.wanted) == Some(stable.revision);
        back && self.target() == Some(stable.revision) && self.rules.hold(Rule::RevertFast)
    }

    /// The route has not moved yet, or is back on a good colour: a candidate that is unwanted, replaced, or not ready any more is no longer intended.
    fn before_the_move(&mut self, intent: Held, unwanted: bool) -> Option<Decision> {
        let attempt = self.ledger.attempt(intent.revision);
        let unready = !self.ready(intent) && self.rules.hold(Rule::BackToStart);
        if unwanted || unready || self.target() != Some(intent.revision) {
            self.ledger.intent = None;
            return None;
        }
        let late = self.expired(Phase::CuttingOver, Some(attempt));
        if late {
            // A front door that answers nothing is no fault of the candidate's.
            if matches!(self.world.route, Route::To { seen: true, .. }) {
                self.reject(intent.revision, Reason::CutoverDeadlineExceeded);
                self.ledger.intent = None;
                return None;
            }
            self.stalling("the front door does not answer: traffic can't be moved until it does");
        }
        Some(self.route(intent, Why::Cutover, Phase::CuttingOver, Some(attempt)))
    }

    /// The route has moved: drain, watch, and judge; or go back.
    fn after_the_move(&mut self, intent: Held, mut unwanted: bool) -> Decision {
        let attempt = self.ledger.attempt(intent.revision);
        let about = Some(attempt);
        let draining = self.phase() == Some(Phase::Draining);
        let blind_to_crash = draining && !self.rules.hold(Rule::DrainCrash);
        let down = self.down(intent) && !blind_to_crash;
        let verdict = self.verdict(attempt, Stage::Bake).map(|verdict| verdict.passed);
        let passed = verdict == Some(true) && !self.down(intent);
        let unmeasured = self.expired_by(Phase::Baking, about, self.plan.limits.verify_within);
        if verdict == Some(false) && !blind_to_crash || self.bake_is_over(attempt) && down || unmeasured && !passed {
            if unmeasured && !self.rules.hold(Rule::BakeMeasured) {
                return self.settle(intent);
            }
            self.reject(intent.revision, Reason::BakeFailed);
            unwanted = true;
        }
        let stable = self.ledger.stable;
        if down && stable.is_some_and(|stable| self.ready(stable)) {
            self.reject(intent.revision, Reason::LiveColourDown);
        }
        if let Some(stable) = stable.filter(|&stable| (unwanted || down) && self.can_go_back(stable)) {
            return self.route(stable, Why::CutBack, Phase::RollingBack, about);
        }
        if self.ledger.rejects(intent.revision) && self.rules.hold(Rule::SettleDegraded) {
            return self.settle_degraded(intent);
        }
        let next = self.target().filter(|&next| next != intent.revision);
        if down && next.is_some() && next != stable.map(|stable| stable.revision) {
            self.reject(intent.revision, Reason::SupersededWhileDown);
            return self.settle_degraded(intent);
        }
        if self.world.route.named() != Some(intent.colour) {
            if down {
                return self.to(Phase::Baking, about, None);
            }
            self.news.push(News::PutBack(intent));
            let phase = self.phase().unwrap_or(Phase::Draining);
            return self.route(intent, Why::PutBack, phase, about);
        }
        self.watch(intent, attempt, passed)
    }

    /// The new colour serves: is it seen to, has the old one finished, is the bake over?
    fn watch(&mut self, intent: Held, attempt: Attempt, passed: bool) -> Decision {
        let about = Some(attempt);
        let seen = matches!(self.world.route, Route::To { seen: true, .. });
        if !seen {
            self.stalling("the front door is not seen to answer from the new colour: is it running?");
        }
        let baking = self.phase() == Some(Phase::Baking);
        if !seen && !baking && self.phase() != Some(Phase::Draining) {
            return self.to(Phase::CuttingOver, about, None);
        }
        if baking && seen && passed && self.bake_is_over(attempt) {
            return self.settle(intent);
        }
        self.checking(intent.colour, attempt, Stage::Bake);
        let drains = self.ledger.stable.is_some_and(|stable| self.drains(stable.colour));
        let phase = if baking || !drains { Phase::Baking } else { Phase::Draining };
        self.to(phase, about, None)
    }

    fn bake_is_over(&self, attempt: Attempt) -> bool {
        self.expired(Phase::Baking, Some(attempt))
    }

    fn can_go_back(&self, stable: Held) -> bool {
        if self.rules.hold(Rule::CutBackReady) {
            self.ready(stable) && self.ledger.trusts(stable.revision)
        } else {
            self.world.slot(stable.colour).is_some()
        }
    }

    /// Judged a success.
    fn settle(&mut self, intent: Held) -> Decision {
        self.ledger.cleared.insert(intent.revision);
        self.ledger.stable = Some(intent);
        self.ledger.intent = None;
        self.news.push(News::Settled(intent));
        self.candidate()
    }

    /// Judged a failure, with nowhere better to go: it stays, and rests.
    fn settle_degraded(&mut self, intent: Held) -> Decision {
        self.ledger.stable = Some(intent);
        self.ledger.intent = None;
        self.news.push(News::SettledDegraded(intent));
        self.to(Phase::Idle, None, None)
    }
}
