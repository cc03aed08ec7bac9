//! Whether this process leads right now, for everybody who is about to act: the election says until when, the clock says the rest.
//!
//! A process that was frozen wakes in the middle of whatever it did. So leading is no flag that somebody has to lower: it ends by itself, on a
//! clock that went on, and whoever is about to write asks again ([`super::client`] does so before each request that changes something).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use super::lease::Moment;

/// One stretch of leading. What was remembered in another one is stale: somebody else may have acted in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(u64);

/// Whether this process leads.
#[derive(Debug)]
pub struct Reign {
    /// Milliseconds of [`now`]; 0: it does not lead.
    until: AtomicU64,
    terms: watch::Sender<Option<Term>>,
    last: AtomicU64,
}

impl Default for Reign {
    fn default() -> Self {
        Reign { until: AtomicU64::new(0), terms: watch::Sender::new(None), last: AtomicU64::new(0) }
    }
}

impl Reign {
    /// The term, if this process leads at this very moment.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        let until = self.until.load(Ordering::Acquire);
        (millis(now()) < until).then(|| Term(self.last.load(Ordering::Acquire)))
    }

    /// Until when it leads, unless it renews.
    #[must_use]
    pub fn until(&self) -> Option<Moment> {
        let until = self.until.load(Ordering::Acquire);
        (until > 0).then(|| Moment(Duration::from_millis(until)))
    }

    /// The terms, as they begin and end. An end is told when the election notices it; [`Reign::term`] knows it at once.
    #[must_use]
    pub fn terms(&self) -> watch::Receiver<Option<Term>> {
        self.terms.subscribe()
    }

    /// The lease was renewed: lead until then. A new term begins, unless one lasts.
    pub fn hold(&self, until: Moment) {
        if millis(until) <= millis(now()) {
            // Asked for before a freeze, granted after it.
            return self.end();
        }
        if self.term().is_some() {
            self.until.store(millis(until), Ordering::Release);
            return;
        }
        let term = Term(self.last.fetch_add(1, Ordering::AcqRel) + 1);
        self.until.store(millis(until), Ordering::Release);
        self.terms.send_replace(Some(term));
    }

    /// It leads no more.
    pub fn end(&self) {
        self.until.store(0, Ordering::Release);
        self.terms.send_if_modified(|term| term.take().is_some());
    }

    /// Ends a term whose time is over.
    pub fn lapse(&self) {
        if self.until().is_some() && self.term().is_none() {
            self.end();
        }
    }
}

/// The moment, on a clock that also counts while the process is stopped or the machine sleeps.
#[must_use]
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    Moment(seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default()))
}

fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_renewal_goes_on_with_the_same_term() {
        let reign = Reign::default();
        assert_eq!(reign.term(), None);
        reign.hold(now() + LONG);
        let first = reign.term().expect("it leads");
        reign.hold(now() + LONG * 2);
        assert_eq!(reign.term(), Some(first));
    }

    #[test]
    fn a_term_ends_by_itself_when_its_time_is_over_though_nobody_says_so() {
        let reign = Reign::default();
        reign.hold(now() + LONG);
        let first = reign.term().expect("it leads");
        // As after a freeze: nothing ran that could have lowered a flag.
        reign.until.store(1, Ordering::Release);
        assert_eq!(reign.term(), None);
        assert!(reign.terms().borrow().is_some(), "nobody has noticed yet");
        reign.lapse();
        assert_eq!(*reign.terms().borrow(), None);
        reign.hold(now() + LONG);
        assert!(reign.term().expect("it leads again") > first, "what was remembered is stale");
    }

    #[test]
    fn a_renewal_that_was_asked_for_before_a_freeze_makes_no_leader() {
        let reign = Reign::default();
        reign.hold(now());
        assert_eq!(reign.term(), None);
    }
}
