//! Reasons of a rejection, as words.

use crate::api::names::reasons;
use crate::rollout::Reason;

/// The name of a reason, as it stands in a condition.
#[must_use]
pub fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::PreparationFailed => "PreparationFailed",
        Reason::PreparationDeadlineExceeded => "PreparationDeadlineExceeded",
        Reason::ReadyDeadlineExceeded => "ReadyDeadlineExceeded",
        Reason::VerificationFailed => "VerificationFailed",
        Reason::VerificationDeadlineExceeded => "VerificationDeadlineExceeded",
        Reason::ApprovalDeadlineExceeded => "ApprovalDeadlineExceeded",
        Reason::CutoverDeadlineExceeded => "CutoverDeadlineExceeded",
        Reason::BakeFailed => "BakeFailed",
        Reason::LiveColourDown => "LiveColourDown",
        Reason::SupersededWhileDown => "SupersededWhileDown",
        Reason::Aborted => "Aborted",
        Reason::RolledBack => reasons::ROLLED_BACK,
        Reason::HeldAfterLoss => "HeldAfterLoss",
    }
}

/// A reason in words that follow a revision: "1f2e… was not ready in time".
#[must_use]
pub fn reason_words(reason: Reason) -> &'static str {
    match reason {
        Reason::PreparationFailed => "can't be used",
        Reason::PreparationDeadlineExceeded => "was not fetched and checked in time",
        Reason::ReadyDeadlineExceeded => "was not ready in time",
        Reason::VerificationFailed => "failed a check before it went live",
        Reason::VerificationDeadlineExceeded => "was not checked in time",
        Reason::ApprovalDeadlineExceeded => "was not approved in time",
        Reason::CutoverDeadlineExceeded => "was not ready any more when traffic was to move to it",
        Reason::BakeFailed => "went live and failed while it was watched",
        Reason::LiveColourDown => "went live and went down",
        Reason::SupersededWhileDown => "went live, went down, and the next release took its place",
        Reason::Aborted => "was aborted",
        Reason::RolledBack => "was rolled back",
        Reason::HeldAfterLoss => {
            "is held: what was decided before is lost, or an earlier site's of this name, and it was not what served"
        }
    }
}
