//! What people are told of the repository, on each site that comes from it: as a warning, since what runs goes on.

use std::sync::{Mutex, PoisonError};

use crate::platform::Fault;

/// What is wrong with the repository now.
#[derive(Debug, Default)]
pub struct Told {
    refused: Mutex<Option<Fault>>,
    unread: Mutex<Option<Fault>>,
}

impl Told {
    /// Why its newest commit is not applied; `None`: it is. Returns whether that is news.
    pub fn refused(&self, why: Option<Fault>) -> bool {
        put(&self.refused, why)
    }

    /// Why it could not be read for a while; `None`: it could. Returns whether that is news.
    pub fn unread(&self, why: Option<Fault>) -> bool {
        put(&self.unread, why)
    }

    /// All of it.
    pub fn warnings(&self) -> Vec<Fault> {
        let get = |slot: &Mutex<Option<Fault>>| slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        [get(&self.refused), get(&self.unread)].into_iter().flatten().collect()
    }
}

fn put(slot: &Mutex<Option<Fault>>, why: Option<Fault>) -> bool {
    let mut now = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let news = now.as_ref().map(|fault| &fault.message) != why.as_ref().map(|fault| &fault.message);
    *now = why;
    news
}
