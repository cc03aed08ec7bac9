//! The moment of a decision. The logic owns no clock; this is the only place besides the cluster's driver that reads one.

use std::sync::{Mutex, PoisonError};
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

/// The clock of this machine, for one site. All of them, and [`wall`], show the same time.
#[derive(Debug)]
pub struct SystemClock {
    steps: u64,
    resumed: bool,
}

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> SystemClock {
        SystemClock { steps: read().1, resumed: true }
    }

    fn at(&mut self, (time, steps): (Time, u64)) -> Now {
        self.resumed |= steps != self.steps;
        self.steps = steps;
        Now { time, resumed: self.resumed }
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> Now {
        self.at(read())
    }

    fn decided(&mut self) {
        self.resumed = false;
    }
}

/// The moment, on the clock that decisions are made by.
#[must_use]
pub fn wall() -> Time {
    read().0
}

/// The moment on that clock at which a file was changed, which the system stamped by its own.
#[must_use]
pub fn of_file(stamp: Time) -> Time {
    let ago = i64::try_from(shown().since(stamp).as_millis()).unwrap_or(i64::MAX);
    Time(wall().0.saturating_sub(ago))
}

/// The wall clock as it was at the start, and from then on the time that really passed. Set anew only when the wall clock steps, so that a
/// small correction never makes time run backwards.
#[derive(Debug)]
struct Timeline {
    wall: Time,
    at: Instant,
    /// How often it was set anew.
    steps: u64,
}

impl Timeline {
    fn read(&mut self, wall: Time, now: Instant) -> (Time, u64) {
        let expected = self.wall + now.saturating_duration_since(self.at);
        let off = wall.since(expected).max(expected.since(wall));
        if off <= STEP {
            return (expected, self.steps);
        }
        *self = Timeline { wall, at: now, steps: self.steps + 1 };
        (wall, self.steps)
    }
}

fn read() -> (Time, u64) {
    static TIMELINE: Mutex<Option<Timeline>> = Mutex::new(None);
    let mut timeline = TIMELINE.lock().unwrap_or_else(PoisonError::into_inner);
    let (wall, now) = (shown(), Instant::now());
    timeline.get_or_insert(Timeline { wall, at: now, steps: 0 }).read(wall, now)
}

/// What the wall clock shows.
fn shown() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(at: Instant) -> Timeline {
        Timeline { wall: Time(1_000_000), at, steps: 0 }
    }

    #[test]
    fn the_first_decision_is_a_resumed_one_until_it_was_recorded() {
        let mut clock = SystemClock { steps: 0, resumed: true };
        assert!(clock.at((Time(1), 0)).resumed);
        assert!(clock.at((Time(2), 0)).resumed, "the first was not recorded");
        clock.decided();
        assert!(!clock.at((Time(3), 0)).resumed);
    }

    #[test]
    fn a_small_correction_of_the_wall_clock_changes_nothing() {
        let start = Instant::now();
        let later = start + Duration::from_secs(10);
        assert_eq!(timeline(start).read(Time(1_000_000 - 15_000), later), (Time(1_010_000), 0));
    }

    #[test]
    fn a_step_of_the_wall_clock_is_a_resumption_for_every_site_in_both_directions() {
        let start = Instant::now();
        for stepped in [Time(1_000_000 + 3_600_000), Time(1_000_000 - 3_600_000)] {
            let mut timeline = timeline(start);
            let mut sites = [0, 1].map(|_| SystemClock { steps: 0, resumed: false });
            for site in &mut sites {
                let now = site.at(timeline.read(stepped, start + Duration::from_secs(1)));
                assert_eq!(now, Now { time: stepped, resumed: true });
                site.decided();
                let next = site.at(timeline.read(stepped + Duration::from_secs(1), start + Duration::from_secs(2)));
                assert!(!next.resumed);
            }
        }
    }

    #[test]
    fn a_file_that_was_changed_just_now_was_changed_just_now() {
        let off = of_file(shown()).since(wall()).max(wall().since(of_file(shown())));
        assert!(off < STEP, "{off:?}");
    }
}
