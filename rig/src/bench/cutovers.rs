//! Cutovers under load: what they lose, and how long both colours answer.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::load::{Running, Sample, Totals};
use crate::wait;

/// When a cutover was decided and when it was made (wall clock, nanoseconds).
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Somebody decided.
    pub decided_ns: u64,
    /// What decides for nginx had changed on disk, or nginx had been told.
    pub made_ns: u64,
}

/// What the requests around one cutover show.
#[derive(Clone, Copy, Debug)]
struct Seen {
    first_new: Duration,
    last_old: Duration,
}

/// What the cutovers of one contestant showed.
#[derive(Debug, Default)]
pub struct Cutovers {
    seen: Vec<Seen>,
    failed_in: Vec<u64>,
}

/// What the cutovers of one contestant come to.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// So many cutovers.
    pub cutovers: usize,
    /// Requests that were asked meanwhile.
    pub requests: u64,
    /// Requests that were lost.
    pub failed: u64,
    /// Lost requests per cutover.
    pub failed_per_cutover: f64,
    /// Cutovers that lost something.
    pub cutovers_with_loss: usize,
    /// From the decision to the arrival of the first request at the new colour, in milliseconds.
    pub first_new_p50_ms: f64,
    /// The same.
    pub first_new_p99_ms: f64,
    /// From the change to the arrival of the last request at the old colour; 0 if none arrived there any more.
    pub last_old_p50_ms: f64,
    /// The same.
    pub last_old_p99_ms: f64,
    /// The same, the worst.
    pub last_old_max_ms: f64,
}

impl Cutovers {
    /// Makes one cutover under load and looks at the requests around it. `old` and `new` are the two colours' names.
    ///
    /// # Errors
    /// When the cutover fails, or the new colour never answers.
    pub fn watch(&mut self, load: &Running, old: &str, new: &str, cut: impl FnOnce() -> Result<Moment>) -> Result<()> {
        drop(load.take());
        let lost_before = load.totals().failed;
        let moment = cut()?;
        let mut samples = Vec::new();
        // Over when the old colour has been silent for as long as every client needs for some requests each, twice.
        let mut quiet = 0;
        wait::until(&format!("{new} answered and {old} did not"), wait::PATIENCE, || {
            load.wait_for_more(200).ok()?;
            let more = load.take();
            let silent = !more.iter().any(|sample| sample.colour.as_deref() == Some(old));
            let speaks = more.iter().any(|sample| sample.colour.as_deref() == Some(new));
            quiet = if silent && speaks { quiet + 1 } else { 0 };
            samples.extend(more);
            (quiet >= 2).then_some(())
        })?;
        self.seen.push(look(&samples, moment, old, new));
        self.failed_in.push(load.totals().failed - lost_before);
        Ok(())
    }

    /// Takes another's in.
    pub fn add(&mut self, others: Cutovers) {
        self.seen.extend(others.seen);
        self.failed_in.extend(others.failed_in);
    }

    /// So many so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// What they come to, with what the load lost in all.
    #[must_use]
    pub fn summary(&self, totals: &Totals) -> Summary {
        let first_new: Vec<Duration> = self.seen.iter().map(|seen| seen.first_new).collect();
        let last_old: Vec<Duration> = self.seen.iter().map(|seen| seen.last_old).collect();
        #[expect(clippy::cast_precision_loss)]
        let failed_per_cutover = totals.failed as f64 / self.count().max(1) as f64;
        Summary {
            cutovers: self.count(),
            requests: totals.requests,
            failed: totals.failed,
            failed_per_cutover,
            cutovers_with_loss: self.failed_in.iter().filter(|failed| **failed > 0).count(),
            first_new_p50_ms: quantile_ms(&first_new, 0.5),
            first_new_p99_ms: quantile_ms(&first_new, 0.99),
            last_old_p50_ms: quantile_ms(&last_old, 0.5),
            last_old_p99_ms: quantile_ms(&last_old, 0.99),
            last_old_max_ms: quantile_ms(&last_old, 1.0),
        }
    }
}

fn look(samples: &[Sample], moment: Moment, old: &str, new: &str) -> Seen {
    let first_new = arrivals(samples, new).filter(|at| *at >= moment.decided_ns).min().unwrap_or(moment.decided_ns);
    let last_old = arrivals(samples, old).max().unwrap_or(0);
    Seen {
        first_new: Duration::from_nanos(first_new - moment.decided_ns),
        last_old: Duration::from_nanos(last_old.saturating_sub(moment.made_ns)),
    }
}

fn arrivals<'a>(samples: &'a [Sample], colour: &'a str) -> impl Iterator<Item = u64> + 'a {
    let of_colour = samples.iter().filter(move |sample| sample.colour.as_deref() == Some(colour));
    of_colour.filter_map(|sample| sample.arrived_ns)
}

/// The duration in milliseconds that this share of all doesn't exceed.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
pub fn quantile_ms(all: &[Duration], share: f64) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let at = sorted.get(rank.clamp(1, sorted.len().max(1)) - 1);
    at.map_or(0.0, |duration| (duration.as_secs_f64() * 1e6).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(colour: &str, arrived_ns: u64) -> Sample {
        Sample {
            id: String::new(),
            start_ns: arrived_ns,
            end_ns: arrived_ns,
            arrived_ns: Some(arrived_ns),
            version: None,
            colour: Some(colour.to_owned()),
            post: false,
            loss: None,
        }
    }

    #[test]
    fn the_last_request_at_the_old_colour_is_found_among_the_new_ones() {
        let samples = [sample("blue", 90), sample("green", 130), sample("blue", 145), sample("green", 150)];
        let seen = look(&samples, Moment { decided_ns: 100, made_ns: 120 }, "blue", "green");
        assert_eq!((seen.first_new, seen.last_old), (Duration::from_nanos(30), Duration::from_nanos(25)));
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let all: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert!((quantile_ms(&all, 0.5) - 50.0).abs() < 1e-9);
        assert!((quantile_ms(&all, 0.99) - 99.0).abs() < 1e-9);
        assert!((quantile_ms(&all, 1.0) - 100.0).abs() < 1e-9);
    }
}
