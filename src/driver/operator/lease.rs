//! Who leads, as far as a Lease can say it. Pure: what was seen and when comes in, what to do comes out. Called by `election`.
//!
//! Two machines' clocks may be an hour apart, so nothing that another one wrote about *when* is believed: a lease counts as abandoned once
//! **we** have seen it unchanged for as long as it lasts. The holder stops leading a third of that earlier, counted from before it asked
//! for its last renewal; so it has stopped before anybody else begins. Both read a clock that goes on while a process is frozen.
//!
//! A lease alone can't fence a leader that was frozen in the middle of a write; resource versions do that.

use std::time::Duration;

/// A moment on this machine's own clock, from its boot on: it never jumps, and nobody else's is ever compared with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// The time since `earlier`; zero if that is later.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span))
    }
}

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A lease that was not renewed for so long may be taken by somebody else.
    pub lasts: Duration,
    /// So long after its last renewal was asked for, a holder stops leading.
    pub leads: Duration,
    /// From one renewal, or one look, to the next.
    pub period: Duration,
}

impl Timing {
    /// The shares of a lease that lasts so long: with 15 s, a holder leads for 10 s and renews every 2 s.
    #[must_use]
    pub fn of(lasts: Duration) -> Timing {
        Timing { lasts, leads: lasts * 2 / 3, period: lasts * 2 / 15 }
    }
}

/// What a lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; `None`: it was given back.
    pub holder: Option<String>,
    /// How long it lasts, as its holder wrote.
    pub lasts: Duration,
    /// Its `resourceVersion`: another one at each write.
    pub version: String,
}

/// What was seen of the lease, and since when it is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// `None`: there is none.
    pub record: Option<Record>,
    /// When it was first seen so, read after the answer came.
    pub since: Moment,
}

impl Sight {
    /// The same lease, looked at again. A look that shows nothing new changes nothing.
    #[must_use]
    pub fn again(before: Option<Sight>, record: Option<Record>, now: Moment) -> Sight {
        match before {
            Some(before) if before.record.as_ref().map(|r| &r.version) == record.as_ref().map(|r| &r.version) => before,
            _ => Sight { record, since: now },
        }
    }
}

/// What to do about the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// There is none: make one.
    Create,
    /// It is ours: renew the one that has this version.
    Renew(String),
    /// It is nobody's any more: write ourselves into the one that has this version.
    Take(String),
    /// It is somebody else's; look again no later than at this moment.
    Wait(Moment),
}

/// What this candidate knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its name: no other process ever had it.
    pub me: &'a str,
    /// It leads until then, unless it renews; `None`: it does not lead.
    pub leads_until: Option<Moment>,
    /// Whether somebody may have led before: then a lease that isn't there was deleted, and its holder may not know.
    pub led_before: bool,
    /// How long things last.
    pub timing: Timing,
}

/// What to do, given what was seen.
#[must_use]
pub fn decide(sight: &Sight, candidate: &Candidate<'_>, now: Moment) -> Choice {
    let lasts = |said: Duration| said.max(candidate.timing.lasts);
    let Some(record) = &sight.record else {
        let leads = candidate.leads_until.is_some_and(|until| now < until);
        let free = sight.since + candidate.timing.lasts;
        return if leads || !candidate.led_before || now >= free { Choice::Create } else { Choice::Wait(free) };
    };
    match record.holder.as_deref().filter(|holder| !holder.is_empty()) {
        Some(holder) if holder == candidate.me => Choice::Renew(record.version.clone()),
        None => Choice::Take(record.version.clone()),
        Some(_) => {
            let free = sight.since + lasts(record.lasts);
            if now >= free { Choice::Take(record.version.clone()) } else { Choice::Wait(free) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(15);

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn record(holder: &str, version: u64) -> Record {
        Record { holder: Some(holder.to_owned()), lasts: LASTS, version: version.to_string() }
    }

    fn candidate(me: &str) -> Candidate<'_> {
        Candidate { me, leads_until: None, led_before: true, timing: Timing::of(LASTS) }
    }

    fn sight(record: Option<Record>, since: Moment) -> Sight {
        Sight { record, since }
    }

    #[test]
    fn a_lease_of_fifteen_seconds_has_the_usual_shares() {
        let second = Duration::from_secs(1);
        assert_eq!(Timing::of(LASTS), Timing { lasts: LASTS, leads: second * 10, period: second * 2 });
    }

    #[test]
    fn where_nobody_ever_led_there_is_nothing_to_wait_for() {
        let first = Candidate { led_before: false, ..candidate("a") };
        assert_eq!(decide(&sight(None, at(5)), &first, at(5)), Choice::Create);
    }

    #[test]
    fn a_lease_that_was_deleted_is_made_again_by_its_holder_at_once_and_by_others_only_when_it_must_have_stopped() {
        let gone = sight(None, at(100));
        let holder = Candidate { leads_until: Some(at(108)), ..candidate("a") };
        assert_eq!(decide(&gone, &holder, at(101)), Choice::Create);
        assert_eq!(decide(&gone, &candidate("b"), at(101)), Choice::Wait(at(115)));
        assert_eq!(decide(&gone, &candidate("b"), at(115)), Choice::Create);
        assert_eq!(decide(&gone, &holder, at(108)), Choice::Wait(at(115)), "it leads no more, so it waits like all");
    }

    #[test]
    fn a_lease_that_was_given_back_is_taken_at_once() {
        for holder in [None, Some(String::new())] {
            let free = Record { holder, lasts: Duration::from_secs(1), version: "7".to_owned() };
            assert_eq!(decide(&sight(Some(free), at(5)), &candidate("b"), at(5)), Choice::Take("7".to_owned()));
        }
    }

    #[test]
    fn a_renewed_lease_is_never_taken_and_an_abandoned_one_when_it_has_run_out() {
        let mut seen = None;
        for second in 0..60 {
            let now = at(1000 + second);
            // Renewed every 2 s, and looked at every second.
            let looked = Sight::again(seen, Some(record("a", second / 2)), now);
            assert!(matches!(decide(&looked, &candidate("b"), now), Choice::Wait(_)), "{second}");
            seen = Some(looked);
        }
        let last = seen.clone().expect("looked").since;
        for second in 60..90 {
            let now = at(1000 + second);
            let looked = Sight::again(seen, Some(record("a", 29)), now);
            let taken = decide(&looked, &candidate("b"), now) == Choice::Take("29".to_owned());
            assert_eq!(taken, now.since(last) >= LASTS, "{second}");
            seen = Some(looked);
        }
    }

    #[test]
    fn the_holder_has_stopped_before_anybody_else_begins_whatever_their_clocks_show() {
        let timing = Timing::of(LASTS);
        // Two machines, booted at other times; a renewal takes up to its period to arrive, and the other one looks now and then.
        for (boot_a, boot_b) in [(0, 3_600), (3_600, 0), (0, 0)] {
            for travel in 0..=2 {
                for look in 1..=5_u64 {
                    let asked = 100;
                    let stops = asked + timing.leads.as_secs();
                    let arrived = asked + travel;
                    let mut seen = Some(sight(Some(record("a", 1)), at(boot_b + arrived - 1)));
                    let begins = (arrived..arrived + 60)
                        .filter(|second| (second - arrived) % look == 0)
                        .find(|second| {
                            let now = at(boot_b + second);
                            let looked = Sight::again(seen.take(), Some(record("a", 2)), now);
                            let choice = decide(&looked, &candidate("b"), now);
                            seen = Some(looked);
                            matches!(choice, Choice::Take(_))
                        })
                        .expect("an abandoned lease is taken");
                    assert!(stops < begins, "{stops} {begins} (boots {boot_a} {boot_b}, travel {travel}, look {look})");
                }
            }
        }
    }

    #[test]
    fn what_a_lease_says_of_its_length_can_make_us_wait_longer_and_never_shorter() {
        let long = Record { lasts: Duration::from_secs(60), ..record("a", 1) };
        assert_eq!(decide(&sight(Some(long), at(0)), &candidate("b"), at(20)), Choice::Wait(at(60)));
        let short = Record { lasts: Duration::from_secs(1), ..record("a", 1) };
        assert_eq!(decide(&sight(Some(short), at(0)), &candidate("b"), at(10)), Choice::Wait(at(15)));
    }

    #[test]
    fn our_own_lease_is_renewed_also_when_the_answer_to_its_making_was_lost() {
        let ours = sight(Some(record("b", 3)), at(0));
        assert_eq!(decide(&ours, &candidate("b"), at(0)), Choice::Renew("3".to_owned()));
        assert_eq!(decide(&ours, &candidate("b"), at(99)), Choice::Renew("3".to_owned()));
    }

    #[test]
    fn two_lives_of_one_lease_are_not_mistaken_for_each_other() {
        let first = Sight::again(None, Some(record("a", 1)), at(0));
        let gone = Sight::again(Some(first), None, at(14));
        assert_eq!(gone.since, at(14));
        let again = Sight::again(Some(gone), Some(record("c", 9)), at(16));
        assert_eq!(again.since, at(16));
    }
}
