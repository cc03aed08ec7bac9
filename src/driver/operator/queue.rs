//! Sites that something happened to, on their way to a turn. Only keeps count: the order, and that no site is turned twice at once, is the
//! `Controller`'s.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::Stream;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;

use super::metrics::Metrics;
use super::object::SiteObject;
use super::reign::Reign;
use crate::platform::cluster::children::Key;

/// Sites that something happened to.
pub struct Queue {
    /// Since when each of them waits.
    waiting: Mutex<HashMap<Key, Instant>>,
    woken: mpsc::UnboundedSender<ObjectRef<SiteObject>>,
    reign: Arc<Reign>,
    metrics: Arc<Metrics>,
}

impl Queue {
    /// An empty queue, and what comes out of it.
    pub fn new(
        reign: Arc<Reign>,
        metrics: Arc<Metrics>,
    ) -> (Queue, impl Stream<Item = ObjectRef<SiteObject>> + Send + 'static) {
        let (woken, mut heard) = mpsc::unbounded_channel();
        let queue = Queue { waiting: Mutex::default(), woken, reign, metrics };
        (queue, futures::stream::poll_fn(move |context| heard.poll_recv(context)))
    }

    /// Something happened to this site. Whoever does not lead turns none; whoever begins to lead wakes all.
    pub fn wake(&self, key: &Key) {
        if self.reign.term().is_none() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(key.clone()).or_insert_with(Instant::now);
        self.metrics.waiting(waiting.len());
        drop(waiting);
        // A site that waits already is told of again: the `Controller` folds the two, and one that was dropped because the site was not there
        // yet must not swallow the next. An error: nobody listens any more, since the process ends.
        let _ = self.woken.send(ObjectRef::new(key.site()).within(key.namespace()));
    }

    /// The site has its turn, or isn't there.
    pub fn begins(&self, key: &Key) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = waiting.remove(key) {
            self.metrics.waited(since.elapsed());
            self.metrics.waiting(waiting.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt, StreamExt};

    use super::super::reign::now;
    use super::*;

    #[tokio::test]
    async fn only_a_leader_wakes_sites() {
        let reign = Arc::new(Reign::default());
        let (queue, mut woken) = Queue::new(reign.clone(), Arc::default());
        let key = Key::new("web", "shop");
        queue.wake(&key);
        assert!(woken.next().now_or_never().is_none());
        reign.hold(now() + Duration::from_secs(3600));
        queue.wake(&key);
        let first = woken.next().await.expect("woken");
        assert_eq!((first.name.as_str(), first.namespace.as_deref()), ("shop", Some("web")));
    }

    #[tokio::test]
    async fn a_site_that_was_not_there_when_it_was_woken_can_be_woken_again() {
        let reign = Arc::new(Reign::default());
        reign.hold(now() + Duration::from_secs(3600));
        let (queue, mut woken) = Queue::new(reign, Arc::default());
        let key = Key::new("web", "shop");
        for _ in 0..2 {
            queue.wake(&key);
            assert!(woken.next().now_or_never().is_some(), "nobody said that its turn began");
        }
    }
}
