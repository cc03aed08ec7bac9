//! The sites that this replica turns, and what it remembers of each from one turn to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;

use super::events::Events;
use super::metrics::Metrics;
use super::object::SiteObject;
use super::reign::Term;
use crate::platform::cluster::children::{Cache, Key};

pub struct Sites {
    entries: Mutex<HashMap<Key, ()>>,
}

impl Sites {
    pub fn new(_client: Client, _cache: Arc<Cache>, _events: Events, _metrics: Arc<Metrics>) -> Sites {
        Sites { entries: Mutex::default() }
    }
    pub fn gone(&self, _key: &Key) {}
    pub fn keep(&self, which: impl Fn(&Key) -> bool) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, ()| which(key));
    }
    pub async fn turn(&self, _key: &Key, _site: Arc<SiteObject>, _term: Term) -> (&'static str, Option<Duration>) {
        ("idle", None)
    }
}
