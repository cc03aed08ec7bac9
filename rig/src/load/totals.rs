//! What was counted: requests, losses by kind, and when each version began and ceased to answer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::wire::Loss;

/// How many losses are told one by one.
const TOLD: usize = 100;

/// One request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// What it called itself, in `X-Request-Id`.
    pub id: String,
    /// When the client began with it (wall clock, nanoseconds).
    pub start_ns: u64,
    /// When it was over.
    pub end_ns: u64,
    /// When the app had read its head, as the app says.
    pub arrived_ns: Option<u64>,
    /// Which version answered.
    pub version: Option<String>,
    /// Which colour it says it is.
    pub colour: Option<String>,
    /// Whether it was a POST.
    pub post: bool,
    /// How it was lost, if it was.
    pub loss: Option<Loss>,
}

/// What was counted.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Requests that are over, lost or not.
    pub requests: u64,
    /// Those that were lost.
    pub failed: u64,
    /// Those that were lost, by how.
    pub losses: BTreeMap<Loss, u64>,
    /// Connections that were made.
    pub connections: u64,
    /// Connections that the server closed between two requests.
    pub idle_closed: u64,
    /// Clients that stopped for a fault of their own: the count is worth nothing then.
    pub broken_clients: u64,
    /// By the version that answered.
    pub versions: BTreeMap<String, VersionTotals>,
    /// By the colour that answered.
    pub colours: BTreeMap<String, u64>,
    /// How long answers took.
    pub latency: Histogram,
    /// The first losses: milliseconds from the beginning of the load, how, and whether it was a POST.
    pub told: Vec<(u64, Loss, bool)>,
}

/// What one version answered.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionTotals {
    /// So many requests.
    pub answered: u64,
    /// When its first one arrived there (wall clock, nanoseconds).
    pub first_arrival_ns: u64,
    /// When its last one did.
    pub last_arrival_ns: u64,
}

impl Totals {
    /// Counts a request of a load that began then.
    pub fn count(&mut self, sample: &Sample, begun_ns: u64) {
        self.requests += 1;
        if let Some(loss) = sample.loss {
            self.failed += 1;
            *self.losses.entry(loss).or_default() += 1;
            if self.told.len() < TOLD {
                self.told.push((sample.end_ns.saturating_sub(begun_ns) / 1_000_000, loss, sample.post));
            }
            return;
        }
        self.latency.count(sample.end_ns.saturating_sub(sample.start_ns) / 1000);
        if let Some(colour) = &sample.colour {
            *self.colours.entry(colour.clone()).or_default() += 1;
        }
        if let Some(version) = &sample.version {
            let arrived = sample.arrived_ns.unwrap_or(sample.start_ns);
            let entry = self.versions.entry(version.clone()).or_default();
            entry.answered += 1;
            if entry.first_arrival_ns == 0 || arrived < entry.first_arrival_ns {
                entry.first_arrival_ns = arrived;
            }
            entry.last_arrival_ns = entry.last_arrival_ns.max(arrived);
        }
    }

    /// Adds what another load counted.
    pub fn add(&mut self, other: &Totals) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.connections += other.connections;
        self.idle_closed += other.idle_closed;
        self.broken_clients += other.broken_clients;
        for (loss, count) in &other.losses {
            *self.losses.entry(*loss).or_default() += count;
        }
        for (colour, count) in &other.colours {
            *self.colours.entry(colour.clone()).or_default() += count;
        }
        for (version, more) in &other.versions {
            let entry = self.versions.entry(version.clone()).or_default();
            if entry.answered == 0 || more.first_arrival_ns < entry.first_arrival_ns {
                entry.first_arrival_ns = more.first_arrival_ns;
            }
            entry.answered += more.answered;
            entry.last_arrival_ns = entry.last_arrival_ns.max(more.last_arrival_ns);
        }
        self.latency.add(&other.latency);
        let room = TOLD.saturating_sub(self.told.len());
        self.told.extend(other.told.iter().take(room));
    }

    /// Nothing at all if nothing was lost and something was asked, otherwise what was lost, for an assertion's message.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        (self.failed > 0 || self.requests == 0 || self.broken_clients > 0).then(|| self.to_string())
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "requests={} failed={}", self.requests, self.failed)?;
        for (loss, count) in &self.losses {
            write!(f, " {loss:?}={count}")?;
        }
        write!(f, " connections={} idle-closed={}", self.connections, self.idle_closed)?;
        if self.broken_clients > 0 {
            write!(f, " broken-clients={}", self.broken_clients)?;
        }
        let (p50, p99, max) = (self.latency.quantile(0.5), self.latency.quantile(0.99), self.latency.quantile(1.0));
        write!(f, " p50={p50:.1?} p99={p99:.1?} max={max:.1?}")?;
        for (version, totals) in &self.versions {
            write!(f, " {version}={}", totals.answered)?;
        }
        for (ms, loss, post) in self.told.iter().take(10) {
            write!(f, "\n  at {ms} ms: {} lost, {loss:?}", if *post { "POST" } else { "GET" })?;
        }
        Ok(())
    }
}

/// Durations by their size, to within 2 %.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: BTreeMap<u32, u64>,
    count: u64,
}

impl Histogram {
    /// Counts so many microseconds.
    pub fn count(&mut self, us: u64) {
        *self.buckets.entry(bucket(us)).or_default() += 1;
        self.count += 1;
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Histogram) {
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.count += other.count;
    }

    /// The duration that this share of all doesn't exceed; zero if there are none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(ceiling(*bucket));
            }
        }
        Duration::ZERO
    }
}

impl Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];
        let us = |share| u64::try_from(self.quantile(share).as_micros()).unwrap_or(u64::MAX);
        serializer.collect_map(quantiles.map(|(name, share)| (format!("{name}Us"), us(share))))
    }
}

/// 64 buckets to each doubling.
fn bucket(us: u64) -> u32 {
    let log = us.max(1).ilog2();
    if log < 6 {
        return u32::try_from(us).unwrap_or(0);
    }
    let within = u32::try_from((us >> (log - 6)) & 63).unwrap_or(0);
    (log - 5) * 64 + within
}

fn ceiling(bucket: u32) -> u64 {
    if bucket < 64 {
        return u64::from(bucket);
    }
    let (log, within) = (bucket / 64 + 5, u64::from(bucket % 64));
    ((64 + within + 1) << (log - 6)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_right_to_within_two_percent() {
        let mut histogram = Histogram::default();
        for us in 1..=100_000 {
            histogram.count(us);
        }
        for (share, right) in [(0.5, 50_000u64), (0.99, 99_000), (1.0, 100_000)] {
            let got = u64::try_from(histogram.quantile(share).as_micros()).expect("it is small");
            assert!(got >= right && got * 100 <= right * 102, "{share}: {got} is not {right}");
        }
        for us in 0..200_000u64 {
            assert!(ceiling(bucket(us)) >= us && ceiling(bucket(us)) * 100 <= us * 102, "{us}");
        }
    }
}
