//! What the benchmark came to, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::bench::report::Machine;

/// What the benchmark came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: Machine,
    /// So many sites.
    pub sites: usize,
    /// So many of them were rolled out at once for the times below.
    pub at_once: usize,
    /// From the first site's creation until all were live and at rest.
    pub up_s: f64,
    /// The operator's resident memory with all of them at rest.
    pub rest_mib: f64,
    /// The most that it ever was.
    pub peak_mib: f64,
    /// At rest after all rounds.
    pub after_rounds_mib: f64,
    /// Writes of the operator for one rollout (of a few, one by one), as the API server counted them; leases, events and dry runs apart. Many at
    /// once take longer each, so that more of their phases are worth a write: see `rounds`.
    pub writes_per_rollout: f64,
    /// Which.
    pub writes: Writes,
    /// See [`Report::ready_to_cutover_ms`].
    pub ready_to_cutover_p99_ms: f64,
    /// From a pod's readiness to the write of the selector.
    pub ready_to_cutover_ms: Spans,
    /// From a pod's readiness until the slices of its colour, by which the operator goes, said so.
    pub ready_to_slices_ms: Spans,
    /// From the write of the selector until the slices of the live Service agreed.
    pub cutover_to_confirmed_ms: Spans,
    /// All of them, again and again.
    pub rounds: Vec<Round>,
    /// Ended and started again.
    pub restart: Restart,
}

/// What the API server was asked for one rollout.
#[derive(Clone, Debug, Serialize)]
pub struct Writes {
    /// Writes.
    pub per_rollout: f64,
    /// Each kind of them.
    pub counted: BTreeMap<String, f64>,
    /// What does not count: reads, watches, leases, events, dry runs.
    pub apart: BTreeMap<String, f64>,
}

/// All sites rolled out.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Until all were live and at rest.
    pub took_s: f64,
    /// Writes for one rollout.
    pub writes_per_rollout: f64,
    /// From a pod's readiness to the write of the selector.
    pub ready_to_cutover_ms: Spans,
    /// At rest after it.
    pub memory_mib: f64,
}

/// The operator, started anew.
#[derive(Clone, Debug, Serialize)]
pub struct Restart {
    /// From its start to the first write for a site that waited.
    pub first_write_ms: f64,
    /// Its resident memory then.
    pub memory_mib: f64,
}

/// How long something took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Spans {
    /// So often.
    pub count: usize,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 99 of a hundred took no longer.
    pub p99_ms: f64,
    /// None took longer.
    pub max_ms: f64,
}

impl Spans {
    /// Of all these.
    #[must_use]
    pub fn of(all: &[f64]) -> Spans {
        let mut all = all.to_vec();
        all.sort_by(f64::total_cmp);
        let at =
            |share: usize| all.get((all.len() * share).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
        Spans { count: all.len(), p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

impl Report {
    /// What is not as it is claimed to be.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let mut all = Vec::new();
        let limit = if self.sites <= 1_000 { 64.0 } else { 400.0 };
        if self.sites <= 10_000 && self.rest_mib > limit {
            all.push(format!("{:.0} MiB at rest with {} sites; {limit:.0} are claimed", self.rest_mib, self.sites));
        }
        if self.writes_per_rollout > 10.0 {
            all.push(format!("{} writes for a rollout; 10 are claimed", self.writes_per_rollout));
        }
        if self.ready_to_cutover_p99_ms > 1_000.0 {
            let took = self.ready_to_cutover_p99_ms;
            all.push(format!("{took:.0} ms from ready to cut over at p99; 1000 are claimed"));
        }
        if self.ready_to_cutover_ms.count < self.at_once {
            all.push(format!("only {} of {} cutovers were seen", self.ready_to_cutover_ms.count, self.at_once));
        }
        (!all.is_empty()).then(|| all.join("; "))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans = |spans: &Spans| {
            format!("p50 {:.0} ms, p99 {:.0} ms, at most {:.0} ms", spans.p50_ms, spans.p99_ms, spans.max_ms)
        };
        writeln!(f, "{} sites, {} rolled out at once ({} cores)", self.sites, self.at_once, self.machine.cores)?;
        writeln!(f, "  all up in                {:.1} s", self.up_s)?;
        writeln!(f, "  ready to cut over        {}", spans(&self.ready_to_cutover_ms))?;
        writeln!(f, "    of which slices lag    {}", spans(&self.ready_to_slices_ms))?;
        writeln!(f, "  cut over to confirmed    {}", spans(&self.cutover_to_confirmed_ms))?;
        writeln!(f, "  API writes a rollout     {}", self.writes_per_rollout)?;
        for (what, count) in &self.writes.counted {
            writeln!(f, "    {count:>6} {what}")?;
        }
        writeln!(f, "    apart:")?;
        for (what, count) in &self.writes.apart {
            writeln!(f, "    {count:>6} {what}")?;
        }
        writeln!(f, "  memory at rest           {:.1} MiB", self.rest_mib)?;
        writeln!(f, "  at its peak              {:.1} MiB", self.peak_mib)?;
        writeln!(f, "  after {} rounds of all   {:.1} MiB", self.rounds.len(), self.after_rounds_mib)?;
        for round in &self.rounds {
            writeln!(
                f,
                "    {:.1} s, {} writes each, ready to cut over {}, {:.1} MiB after it",
                round.took_s,
                round.writes_per_rollout,
                spans(&round.ready_to_cutover_ms),
                round.memory_mib
            )?;
        }
        write!(f, "  restart to first write   {:.0} ms", self.restart.first_write_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_spans_the_last_but_one_is_the_99th() {
        let all: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let spans = Spans::of(&all);
        assert_eq!((spans.count, spans.p50_ms, spans.p99_ms, spans.max_ms), (100, 50.0, 99.0, 100.0));
        assert_eq!(Spans::of(&[]).p99_ms, 0.0);
    }
}
