//! Waiting for something to become true. Tests wait for what they need, with a deadline, and never for a time.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::interrupt;

/// How long anything in a test may take before it counts as failed. Long, since machines are slow and shared; a passing test never waits
/// that long.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(10);

/// It did not become true in time.
#[derive(Debug)]
pub struct TooLate {
    what: String,
    waited: Duration,
}

impl std::fmt::Display for TooLate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "waited {:.1?} in vain until {}", self.waited, self.what)
    }
}

impl std::error::Error for TooLate {}

/// Asks again and again until there is an answer, and returns it. `what` ends the sentence "waited in vain until …".
///
/// # Errors
/// When `within` has passed without an answer.
pub fn until<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T, TooLate> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if begun.elapsed() >= within || interrupt::pending() {
            return Err(TooLate { what: what.to_owned(), waited: begun.elapsed() });
        }
        std::thread::sleep(PAUSE);
    }
}

/// [`until`], for a question that must be awaited.
///
/// # Errors
/// When `within` has passed without an answer.
pub async fn until_async<T, F>(what: &str, within: Duration, mut ask: impl FnMut() -> F) -> Result<T, TooLate>
where
    F: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if begun.elapsed() >= within || interrupt::pending() {
            return Err(TooLate { what: what.to_owned(), waited: begun.elapsed() });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_waited_for_in_vain() {
        let error = until::<()>("pigs fly", Duration::from_millis(1), || None).expect_err("they don't");
        assert!(error.to_string().ends_with("in vain until pigs fly"), "{error}");
    }
}
