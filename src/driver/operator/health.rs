//! Whether this replica is well (its loops run) and ready (it has seen everything that it watches). Not leading is neither.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::lease::Moment;
use super::reign::now;

/// The election looks at the lease every few seconds, whatever the API server does. Silent for so long, it hangs.
const SILENT: Duration = Duration::from_secs(60);

/// Whether this replica is well.
#[derive(Debug)]
pub struct Health {
    beat: Mutex<Moment>,
    unseen: Mutex<BTreeSet<&'static str>>,
    all_seen: watch::Sender<bool>,
}

impl Health {
    /// A replica that has yet to see all of `watched`.
    #[must_use]
    pub fn awaiting(watched: impl IntoIterator<Item = &'static str>) -> Health {
        Health {
            beat: Mutex::new(now()),
            unseen: Mutex::new(watched.into_iter().collect()),
            all_seen: watch::Sender::new(false),
        }
    }

    /// The election's loop runs.
    pub fn beat(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = now();
    }

    /// Everything of this resource was seen once.
    pub fn saw(&self, resource: &'static str) {
        let mut unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        unseen.remove(resource);
        if unseen.is_empty() {
            self.all_seen.send_if_modified(|seen| !std::mem::replace(seen, true));
        }
    }

    /// Waits until everything was seen once: before that, what isn't known can't be told from what isn't there.
    pub async fn all_seen(&self) {
        // The sender lives as long as we do.
        let _ = self.all_seen.subscribe().wait_for(|seen| *seen).await;
    }

    /// What is wrong with this replica, so that it should be started anew.
    #[must_use]
    pub fn ill(&self) -> Option<String> {
        let silent = now().since(*self.beat.lock().unwrap_or_else(PoisonError::into_inner));
        (silent > SILENT).then(|| format!("the election has been silent for {} s", silent.as_secs()))
    }

    /// What this replica has yet to see before it can lead.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        let unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        (!unseen.is_empty()).then(|| {
            let names: Vec<&str> = unseen.iter().copied().collect();
            format!("not everything was seen yet: {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_replica_is_ready_once_it_has_seen_everything_and_says_what_it_waits_for() {
        let health = Health::awaiting(["deployments", "services"]);
        assert_eq!(health.unready().as_deref(), Some("not everything was seen yet: deployments, services"));
        health.saw("services");
        assert_eq!(health.unready().as_deref(), Some("not everything was seen yet: deployments"));
        assert_eq!(health.ill(), None);
        health.saw("deployments");
        assert_eq!(health.unready(), None);
        health.all_seen().await;
    }
}
