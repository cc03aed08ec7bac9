//! The moment of a decision. The logic owns no clock; this is the only place besides the cluster's driver that reads one.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::rollout::{Now, Time};

/// A wall clock that differs from what had to be expected by more than this was set, or the machine slept.
pub const STEP: Duration = Duration::from_secs(30);

/// Says when a decision is made.
pub trait Clock: Send {
    /// The moment. `resumed` stays true until [`Clock::decided`] is called: a decision that could not be recorded was none.
    fn now(&mut self) -> Now;

    /// The decision of the last `now` had its effect.
    fn decided(&mut self);
}

/// The clock of this machine: the wall clock as it was at the start, and from then on the time that really passed. Set anew only when the
/// wall clock steps, so that a small correction never makes time run backwards.
#[derive(Debug)]
pub struct SystemClock {
    wall: Time,
    at: Instant,
    resumed: bool,
}

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> SystemClock {
        SystemClock { wall: wall(), at: Instant::now(), resumed: true }
    }

    fn at(&mut self, wall: Time, now: Instant) -> Now {
        let expected = self.wall + now.saturating_duration_since(self.at);
        let off = wall.since(expected).max(expected.since(wall));
        if off <= STEP {
            return Now { time: expected, resumed: self.resumed };
        }
        *self = SystemClock { wall, at: now, resumed: true };
        Now { time: wall, resumed: true }
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> Now {
        self.at(wall(), Instant::now())
    }

    fn decided(&mut self) {
        self.resumed = false;
    }
}

/// What the wall clock shows.
#[must_use]
pub fn wall() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(at: Instant) -> SystemClock {
        SystemClock { wall: Time(1_000_000), at, resumed: true }
    }

    #[test]
    fn the_first_decision_is_a_resumed_one_until_it_was_recorded() {
        let start = Instant::now();
        let mut clock = clock(start);
        assert!(clock.at(Time(1_000_000), start).resumed);
        assert!(clock.at(Time(1_000_000), start).resumed, "the first was not recorded");
        clock.decided();
        assert!(!clock.at(Time(1_000_000), start).resumed);
    }

    #[test]
    fn a_small_correction_of_the_wall_clock_changes_nothing() {
        let start = Instant::now();
        let mut clock = clock(start);
        clock.decided();
        let later = start + Duration::from_secs(10);
        let now = clock.at(Time(1_000_000 - 15_000), later);
        assert_eq!(now, Now { time: Time(1_010_000), resumed: false });
    }

    #[test]
    fn a_step_of_the_wall_clock_is_a_resumption_in_both_directions() {
        let start = Instant::now();
        for stepped in [Time(1_000_000 + 3_600_000), Time(1_000_000 - 3_600_000)] {
            let mut clock = clock(start);
            clock.decided();
            let now = clock.at(stepped, start + Duration::from_secs(1));
            assert_eq!(now, Now { time: stepped, resumed: true });
            clock.decided();
            let next = clock.at(stepped + Duration::from_secs(1), start + Duration::from_secs(2));
            assert!(!next.resumed);
        }
    }
}
