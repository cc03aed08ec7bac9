//! The care for the live colour while no cutover is under way: fail over, repair, put the route back.

use super::decision::{Decision, News};
use super::goal::{Step, Why};
use super::guard::serves_well;
use super::ledger::{Held, Reason};
use super::rules::Rule;
use super::status::Phase;
use super::turn::Turn;

impl Turn<'_> {
    /// `None`: the live colour needs nothing.
    pub(super) fn care_for_live(&mut self) -> Option<Decision> {
        let stable = self.ledger.stable?;
        let rejected = self.ledger.rejects(stable.revision);
        if let Some(standby) = self.standby(stable)
            && (self.down(stable) || (rejected && !self.comes_up(standby)))
        {
            self.reject(stable.revision, Reason::LiveColourDown);
            let about = Some(self.ledger.attempt(stable.revision));
            self.ledger.stable = Some(standby);
            self.ledger.unchecked = None;
            self.news.push(if rejected { News::WentBack(standby) } else { News::FailedOver(standby) });
            return Some(self.route(standby, Why::FailOver, Phase::RollingBack, about));
        }
        let Held { colour, revision } = stable;
        if self.world.slot(colour).is_none() {
            let own = if self.rules.hold(Rule::RepairOwnRevision) { revision } else { self.plan.wanted? };
            return Some(self.stay(Some(Step::Start { colour, revision: own })));
        }
        if self.world.route.named() == Some(colour) {
            return None;
        }
        if !self.ready(stable) && serves_well(&self.ledger, self.world) && self.rules.hold(Rule::PutBackCare) {
            // Somebody moved traffic to a good colour while ours limps: it stays there, and ours has to get ready again.
            self.ledger.stable = self.standby(stable).or(Some(stable));
            self.ledger.unchecked = None;
            return None;
        }
        self.news.push(News::PutBack(stable));
        let step = Step::Route { colour, revision, why: Why::PutBack };
        Some(self.stay(Some(step)))
    }

    /// The other colour, if it is ready, was live and cleared before, and isn't rejected.
    fn standby(&self, stable: Held) -> Option<Held> {
        let colour = stable.colour.other();
        let revision = self.world.slot(colour)?.revision;
        let standby = Held { colour, revision };
        (self.ready(standby) && self.ledger.trusts(revision)).then_some(standby)
    }
}
