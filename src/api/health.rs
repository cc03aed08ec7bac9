//! How an instance is asked whether it can serve, and what warms it up, parsed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::types::UrlPath;

/// How readiness is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// A GET of this path at each instance must answer 200 to 399.
    pub path: UrlPath,
    /// So many times in a row.
    pub successes: u32,
    /// So many failures in a row make a ready instance unready.
    pub failures: u32,
    /// From one check of a starting instance to the next.
    pub interval: Duration,
    /// An answer must come within this.
    pub timeout: Duration,
    /// What each instance of a candidate is asked besides, before traffic goes to it. Left out of the JSON where there is none: it is hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
}

/// Requests that warm an instance up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmUp {
    /// What is asked for, in turn; at least one path.
    pub paths: Vec<UrlPath>,
    /// So many times each; at least once.
    pub requests: u32,
    /// All of it must be answered within this.
    pub within: Duration,
}

impl WarmUp {
    /// How many requests an instance gets.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::try_from(self.requests).unwrap_or(usize::MAX).saturating_mul(self.paths.len())
    }

    /// What an instance is asked for, in order.
    pub fn asks(&self) -> impl Iterator<Item = &UrlPath> {
        (0..self.requests).flat_map(|_| &self.paths)
    }
}
