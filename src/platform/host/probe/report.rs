//! What is known of a colour's health, for the driver and for people.

use std::collections::VecDeque;
use std::time::Instant;

/// So many answers of each kind are remembered with their time.
const REMEMBERED: usize = 16;

/// So many instances that are not ready are told one by one.
const TOLD: usize = 3;

/// What is known of a colour's instances, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each port of the target.
    pub instances: Vec<Health>,
}

impl Report {
    /// Whether every instance is ready; false if there is none.
    #[must_use]
    pub fn all_ready(&self) -> bool {
        !self.instances.is_empty() && self.instances.iter().all(|instance| instance.ready)
    }

    /// Whether one is ready.
    #[must_use]
    pub fn any_ready(&self) -> bool {
        self.instances.iter().any(|instance| instance.ready)
    }

    /// For people: how many are ready, and what the first of the others wait for: each may have a reason of its own, as when its port is taken.
    #[must_use]
    pub fn detail(&self) -> String {
        let ready = self.instances.iter().filter(|instance| instance.ready).count();
        let all = self.instances.len();
        let waiting = || self.instances.iter().enumerate().filter(|(_, instance)| !instance.ready);
        let mut words = format!("{ready} of {all} ready");
        for (index, waits) in waiting().take(TOLD) {
            words.push_str(&format!("; instance {index}: {}", waits.detail));
        }
        match waiting().count().saturating_sub(TOLD) {
            0 => words,
            more => format!("{words}; and {more} more"),
        }
    }
}

/// What is known of an instance's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it answered as often in a row as was asked, and not failed as often since.
    pub ready: bool,
    /// Since when it is ready, or isn't.
    pub since: Instant,
    /// The last answer, or what keeps it from answering, for people.
    pub detail: String,
    passed: VecDeque<Instant>,
    failed: VecDeque<Instant>,
}

impl Health {
    pub(super) fn unknown(now: Instant) -> Health {
        Health {
            ready: false,
            since: now,
            detail: "not looked at yet".to_owned(),
            passed: VecDeque::new(),
            failed: VecDeque::new(),
        }
    }

    /// How many answers were good whose question was asked at `moment` or later; counts up to 16.
    #[must_use]
    pub fn passed_since(&self, moment: Instant) -> usize {
        self.passed.iter().filter(|&&at| at >= moment).count()
    }

    /// How many were bad, or did not come; counts up to 16.
    #[must_use]
    pub fn failed_since(&self, moment: Instant) -> usize {
        self.failed.iter().filter(|&&at| at >= moment).count()
    }

    pub(super) fn remember(&mut self, passed: bool, asked: Instant) {
        let kept = if passed { &mut self.passed } else { &mut self.failed };
        kept.truncate(REMEMBERED - 1);
        kept.push_front(asked);
    }
}
