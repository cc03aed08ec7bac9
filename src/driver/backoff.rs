//! How long to wait after a fault. Its class says: what passes by itself is tried again soon and then less often, what somebody has to
//! change now and then, what changed under the decision at once.

use std::time::Duration;

use crate::platform::Class;

/// The faults of one site in a row.
#[derive(Debug, Default)]
pub struct Backoff {
    transient: u32,
    conflicts: u32,
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);
/// What somebody has to change: their change wakes us; this is for the change that nobody told us of.
const SOMEBODY: Duration = Duration::from_secs(15);
/// So many conflicts in a row are met at once; more are somebody who works against us.
const CONFLICTS: u32 = 3;

impl Backoff {
    /// How long to wait after one more fault of this class.
    pub fn after(&mut self, class: Class) -> Duration {
        match class {
            Class::Transient => {
                self.transient = self.transient.saturating_add(1);
                doubled(FIRST, self.transient)
            }
            Class::Conflict => {
                self.conflicts = self.conflicts.saturating_add(1);
                match self.conflicts.checked_sub(CONFLICTS) {
                    None | Some(0) => Duration::ZERO,
                    Some(more) => doubled(FIRST, more),
                }
            }
            Class::User | Class::Forbidden => SOMEBODY,
        }
    }

    /// Something went well, or somebody changed something.
    pub fn reset(&mut self) {
        *self = Backoff::default();
    }
}

/// `first`, doubled for each time after the first one, at most [`LONGEST`].
fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.clamp(1, 16) - 1)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_tried_soon_and_then_less_often() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..10).map(|_| backoff.after(Class::Transient).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        backoff.reset();
        assert_eq!(backoff.after(Class::Transient), FIRST);
    }

    #[test]
    fn a_conflict_is_met_at_once_but_not_for_ever() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..5).map(|_| backoff.after(Class::Conflict)).collect();
        assert_eq!(&waits[..3], [Duration::ZERO; 3]);
        assert_eq!(&waits[3..], [FIRST, FIRST * 2]);
    }
}
