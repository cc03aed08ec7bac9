//! The rules that the search showed to be needed, by name, so that the search can leave one out and see what breaks.

/// A rule of the logic. Each was found by a counter-example; `model` leaves out one after the other and must find it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A platform looks again right before each step. Without: a stop decided before a drift kills the live colour.
    Guard,
    /// A goal older than the ledger is refused. Without: a leader that wakes late undoes its successor.
    Fence,
    /// With both memories lost, a wanted revision that isn't what routes is held. Without: a restore promotes what was rejected.
    Hold,
    /// Traffic goes back only to a colour that is ready. Without: a cut-back to a dead colour.
    CutBackReady,
    /// A candidate that is not ready any more goes back to Starting. Without: traffic to a dead colour, or no way on.
    BackToStart,
    /// A crash while the old colour drains counts as one in the bake. Without: a dead live colour beside a ready standby.
    DrainCrash,
    /// Whatever lost traffic is drained before it is stopped, in every path. Without: requests cut.
    SlotDrain,
    /// An approval dies with a rejection, a retry, or another specification. Without: it promotes a later attempt.
    ApprovalDies,
    /// A verdict names what it is about. Without: one revision is promoted on another's check.
    VerdictNames,
    /// A cleared revision that had to be started is checked like a new one. Without: a rollback sends traffic to what has only just come up.
    CheckedAnew,
    /// A specification that returns to the warm old revision cuts back at once. Without: the way back waits for the bake.
    RevertFast,
    /// With nowhere better to go, a failed candidate stays, as degraded. Without: endless cut-backs between two bad colours.
    SettleDegraded,
    /// A rollback rejects what it leaves and holds while the specification stays. Without: the next look promotes it again.
    RollbackHolds,
    /// At a deadline, success that is seen now wins. Without: a ready candidate is rejected because nobody looked in time.
    SuccessFirst,
    /// A bake passes only on a measurement. Without: a revision is cleared that nobody looked at.
    BakeMeasured,
    /// A pause freezes deadlines. Without: a paused rollout is rejected overnight.
    PauseFreezes,
    /// Deletion: the route goes first, then what drains, then the colours. Without: requests cut.
    DeleteOrder,
    /// Drift is not put back if that took traffic from a good colour to one that isn't ready. Without: an outage by our hand.
    PutBackCare,
    /// A repair of the live colour starts its own revision. Without: deleting a live unit promotes the specification unverified.
    RepairOwnRevision,
    /// The ledger is recorded before the status and the status before the world. Without: an approval counts twice, a rollback is forgotten.
    LedgerFirst,
    /// A command is taken once. Without: an old approve or retry works again.
    TakenOnce,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 21] = [
        Rule::Guard,
        Rule::Fence,
        Rule::Hold,
        Rule::CutBackReady,
        Rule::BackToStart,
        Rule::DrainCrash,
        Rule::SlotDrain,
        Rule::ApprovalDies,
        Rule::VerdictNames,
        Rule::CheckedAnew,
        Rule::RevertFast,
        Rule::SettleDegraded,
        Rule::RollbackHolds,
        Rule::SuccessFirst,
        Rule::BakeMeasured,
        Rule::PauseFreezes,
        Rule::DeleteOrder,
        Rule::PutBackCare,
        Rule::RepairOwnRevision,
        Rule::LedgerFirst,
        Rule::TakenOnce,
    ];
}

/// The rules that hold: all, or all but one. Only the search leaves one out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    left_out: Option<Rule>,
}

impl Rules {
    /// Every rule holds.
    pub const ALL: Rules = Rules { left_out: None };

    /// Every rule but this one.
    #[must_use]
    pub fn without(rule: Rule) -> Rules {
        Rules { left_out: Some(rule) }
    }

    /// Whether the rule holds.
    #[must_use]
    pub fn hold(self, rule: Rule) -> bool {
        self.left_out != Some(rule)
    }
}
