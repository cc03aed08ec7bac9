//! What the operator holds of a site's two memories between writes. A status that passes by soon, and a ledger that will be written with the route
//! anyway, wait here: so a rollout costs no more than ten writes. To lose them is to decide again what was decided.

use std::time::{Duration, Instant};

use crate::api::status::SiteStatus;
use crate::rollout::{Attempt, Ledger, Phase, Status};

/// A phase that has lasted so long is worth a write. Those that mostly pass at once get a little longer.
fn worth_it(phase: Option<Phase>) -> Duration {
    match phase {
        Some(Phase::Preparing | Phase::Verifying | Phase::CuttingOver | Phase::Baking) => Duration::from_secs(2),
        _ => Duration::from_millis(500),
    }
}
/// Words alone, and the number of ready pods, are written so often at most.
const WORDS: Duration = Duration::from_secs(10);

/// The memories of one site.
#[derive(Debug, Default)]
pub struct Memory {
    /// A ledger that is decided and not written yet.
    pub ledger: Option<Ledger>,
    /// The status as it was decided last.
    pub status: Option<Status>,
    /// All of what people are to read.
    pub report: Option<SiteStatus>,
    /// What the site's object holds, as far as is known.
    pub written: Option<SiteStatus>,
    /// The version of the site's object.
    pub version: u64,
    /// The phase, and since when it lasts.
    since: Option<(Phase, Option<Attempt>, Instant)>,
    /// When the status was written last.
    wrote: Option<Instant>,
}

impl Memory {
    /// The site's object, as a watch or an answer shows it.
    pub fn saw(&mut self, version: u64, status: Option<&SiteStatus>) {
        if version <= self.version && self.version != 0 {
            return;
        }
        self.version = version;
        let theirs = status.and_then(|status| status.rollout.as_ref());
        let known = self.written.as_ref().and_then(|status| status.rollout.as_ref());
        // Somebody else leads, or a person put something there: what is on record counts. One that was wiped is written again.
        if theirs.is_some() && theirs != known {
            self.status = None;
        }
        self.written = status.cloned();
        self.forget_copies();
    }

    /// People are to read this.
    pub fn report(&mut self, report: SiteStatus) {
        self.report = Some(report);
        self.forget_copies();
    }

    /// What is on record needs no copy: most sites are at rest most of the time.
    fn forget_copies(&mut self) {
        let Some(written) = &self.written else { return };
        if self.report.as_ref() == Some(written) {
            self.report = None;
        }
        if self.status.is_some() && self.status == written.rollout {
            self.status = None;
        }
    }

    /// The status that the logic remembers.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status.clone().or_else(|| self.written.as_ref()?.rollout.clone())
    }

    /// Another status was decided.
    pub fn decided(&mut self, status: &Status) {
        let same = self.since.is_some_and(|(phase, about, _)| (phase, about) == (status.phase, status.about));
        if !same {
            self.since = Some((status.phase, status.about, Instant::now()));
        }
        self.status = Some(status.clone());
    }

    /// Whether the report is to be written now; otherwise after how long, if at all.
    #[must_use]
    pub fn due(&self) -> Due {
        let Some(report) = &self.report else { return Due::Never };
        let Some(written) = &self.written else { return self.when_it_lasts(report) };
        if written == report {
            return Due::Never;
        }
        if lasting(written) != lasting(report) {
            return self.when_it_lasts(report);
        }
        match self.wrote.map(|at| at.elapsed()) {
            Some(ago) if ago < WORDS => Due::After(WORDS.saturating_sub(ago)),
            _ => Due::Now,
        }
    }

    fn when_it_lasts(&self, report: &SiteStatus) -> Due {
        let phase = report.phase;
        let rests = matches!(phase, Some(Phase::Idle | Phase::AwaitingApproval | Phase::Stalled | Phase::Gone) | None);
        let known = self.written.as_ref();
        let rejected = report.rejected.is_some() && known.is_none_or(|known| known.rejected != report.rejected);
        let enough = worth_it(phase);
        let lasted = self.since.map_or(enough, |(.., since)| since.elapsed());
        if rests || rejected || lasted >= enough { Due::Now } else { Due::After(enough.saturating_sub(lasted)) }
    }

    /// The report was written, and the object has this version now.
    pub fn wrote(&mut self, version: u64, report: SiteStatus) {
        self.version = version;
        self.written = Some(report);
        self.wrote = Some(Instant::now());
        self.forget_copies();
    }
}

/// When a report is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At once.
    Now,
    /// After this, unless another one takes its place.
    After(Duration),
    /// There is nothing new.
    Never,
}

/// What of a report is worth a write at once: words that change with each look are not.
fn lasting(status: &SiteStatus) -> impl PartialEq + '_ {
    let conditions: Vec<(&str, &str, &str, Option<i64>)> = status
        .conditions
        .iter()
        .map(|one| (one.type_.as_str(), one.status.as_str(), one.reason.as_str(), one.observed_generation))
        .collect();
    (
        (status.phase, &status.live, &status.candidate, &status.standby),
        (&status.rejected, status.observed_generation, &status.selector, conditions),
        status.rollout.as_ref().map(|rollout| (&rollout.ledger, rollout.about, rollout.since)),
    )
}
