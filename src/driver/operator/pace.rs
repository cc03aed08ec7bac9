//! How many sites are turned at once: as many as the API server keeps up with. One that is asked for more than it can answer in time does work that nobody
//! waits for any more, and so ever less: with 10,000 sites that came at once, creating a Service took it 65 ms of a core (it counts all addresses each time),
//! 128 at once took longer than a request may, and no site got on. So a late answer halves how many there are, and each second without one adds one,
//! as TCP does (RFC 5681, additive increase and multiplicative decrease).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// An answer that took so long is late. Half of what a request may take.
const LATE: Duration = Duration::from_secs(5);
/// What was asked before the last change is answered by then, and is no reason for another.
const SETTLES: Duration = Duration::from_secs(10);
/// There are always so many: the API server's own controllers have five workers each.
const LEAST: usize = 4;
/// One is added so often.
const ADDS: Duration = Duration::from_secs(1);

/// How many sites are turned at once, at most.
#[derive(Debug)]
pub struct Pace {
    most: usize,
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug)]
struct State {
    running: usize,
    /// How many there might be from the last late answer on, and when that was; `None`: there was none.
    slowed: Option<(usize, Instant)>,
}

impl Pace {
    /// So many at once, for as long as the API server keeps up.
    #[must_use]
    pub fn new(most: u16) -> Pace {
        Pace { most: usize::from(most), state: Mutex::new(State { running: 0, slowed: None }), ended: Notify::new() }
    }

    /// Waits until one more may be turned. It is, until what this returns is dropped.
    pub async fn begin(self: &Arc<Pace>) -> Begun {
        while !self.begins(Instant::now()) {
            tokio::select! {
                () = self.ended.notified() => {}
                () = tokio::time::sleep(ADDS) => {}
            }
        }
        Begun(self.clone())
    }

    /// An answer came late, or not at all.
    fn late(&self) {
        if let Some(limit) = self.slow(Instant::now()) {
            tracing::warn!(
                "the API server took {} s and more for an answer: {limit} sites are turned at once from now on, and one more with each second that it keeps up",
                LATE.as_secs()
            );
        }
    }

    fn begins(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let room = state.running < self.limit(&state, now);
        state.running += usize::from(room);
        room
    }

    fn slow(&self, now: Instant) -> Option<usize> {
        let mut state = self.lock();
        if state.slowed.is_some_and(|(_, since)| now.duration_since(since) < SETTLES) {
            return None;
        }
        let limit = (self.limit(&state, now) / 2).max(LEAST.min(self.most));
        state.slowed = Some((limit, now));
        Some(limit)
    }

    fn limit(&self, state: &State, now: Instant) -> usize {
        let Some((limit, since)) = state.slowed else { return self.most };
        let added = now.duration_since(since).as_secs() / ADDS.as_secs();
        limit.saturating_add(usize::try_from(added).unwrap_or(usize::MAX)).min(self.most)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A site that is being turned.
#[derive(Debug)]
pub struct Begun(Arc<Pace>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.ended.notify_one();
    }
}

/// A request on its way. Dropped late, whether it was answered or given up, it slows the pace.
#[derive(Debug)]
pub struct OnItsWay {
    pace: Arc<Pace>,
    since: Instant,
}

impl OnItsWay {
    /// From now on.
    #[must_use]
    pub fn new(pace: Arc<Pace>) -> OnItsWay {
        OnItsWay { pace, since: Instant::now() }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        if self.since.elapsed() >= LATE {
            self.pace.late();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures::poll;

    use super::*;

    #[test]
    fn a_late_answer_halves_the_pace_once_and_it_grows_again_by_the_second() {
        let pace = Pace::new(128);
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let limit = |seconds: u64| pace.limit(&pace.lock(), at(seconds));
        assert_eq!(limit(0), 128);
        assert_eq!(pace.slow(at(0)), Some(64));
        // All that were on their way are late too.
        assert_eq!(pace.slow(at(9)), None);
        assert_eq!(limit(9), 73);
        assert_eq!(pace.slow(at(10)), Some(37));
        assert_eq!(limit(10 + 91), 128);
        assert_eq!(limit(100_000), 128);
    }

    #[test]
    fn it_never_stands_still() {
        let pace = Pace::new(128);
        let start = Instant::now();
        let last = (0..20).filter_map(|round| pace.slow(start + SETTLES * round)).last();
        assert!(last.is_some_and(|limit| (LEAST..=LEAST + 10).contains(&limit)), "{last:?}");
        assert_eq!(Pace::new(1).slow(start), Some(1), "nor does it go beyond what it was told");
    }

    #[tokio::test]
    async fn who_is_one_too_many_begins_when_another_one_has_ended() {
        let pace = Arc::new(Pace::new(2));
        let first = pace.begin().await;
        let _second = pace.begin().await;
        let third = pace.begin();
        let mut third = std::pin::pin!(third);
        assert!(poll!(&mut third).is_pending());
        drop(first);
        assert!(matches!(poll!(&mut third), Poll::Ready(_)));
    }
}
