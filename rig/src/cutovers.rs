//! What the tests of runtimes share: how many cutovers each makes, and the line that says what came of them.

use crate::load::Totals;

/// How many cutovers a test makes: so few, or what `BLUEGREEN_RUNTIME_CUTOVERS` says.
#[must_use]
pub fn count(few: usize) -> usize {
    std::env::var("BLUEGREEN_RUNTIME_CUTOVERS").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

/// Prints what came of so many cutovers, and sees to it that nothing was lost.
///
/// # Panics
/// When a request failed, or nothing was asked.
#[track_caller]
pub fn nothing_lost(runtime: &str, front: &str, cutovers: usize, totals: &Totals) {
    println!(
        "runtime={runtime} front={front} cutovers={cutovers} requests={} failed={}",
        totals.requests, totals.failed
    );
    assert_eq!(totals.complaint(), None, "{runtime} on {front}");
}
