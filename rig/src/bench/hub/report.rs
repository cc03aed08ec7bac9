//! What the benchmark came to, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::bench::report::Machine;
use crate::load::Loss;

/// The most watches that a host may have at once.
const WATCHES: usize = 2;
/// The most that a cutover may take beyond the app's own start.
const BEYOND: f64 = 2000.0;

/// What the benchmark came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: Machine,
    /// One app on two hosts.
    pub commits: Commits,
    /// Many hosts.
    pub fleet: Fleet,
}

/// From a change on the hub to the cutover.
#[derive(Clone, Debug, Serialize)]
pub struct Commits {
    /// So many, on both hosts together.
    pub count: usize,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// All but one of a hundred.
    pub p99_ms: f64,
    /// What the app takes by itself until it answers, at its median.
    pub app_start_ms: f64,
    /// What the worst took beyond that.
    pub beyond_p99_ms: f64,
    /// What was asked of both hosts meanwhile.
    pub asked: Asked,
}

/// What keep-alive clients asked of hosts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Asked {
    /// Of so many.
    pub hosts: usize,
    /// So much in all.
    pub requests: u64,
    /// So much of it was lost.
    pub failed: u64,
    /// By how it was lost.
    pub losses: BTreeMap<Loss, u64>,
    /// Clients that stopped for a fault of their own: the count is worth nothing then.
    pub broken_clients: u64,
}

impl Asked {
    fn complaint(&self) -> Option<String> {
        let wrong = self.failed > 0 || self.broken_clients > 0 || self.requests == 0;
        wrong.then(|| format!("{self}: {:?}, {} broken clients", self.losses, self.broken_clients))
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests to {} hosts, {} failed", self.requests, self.hosts, self.failed)
    }
}

/// Many hosts on one API server.
#[derive(Clone, Debug, Serialize)]
pub struct Fleet {
    /// So many hosts.
    pub hosts: usize,
    /// So many sites in all.
    pub sites: usize,
    /// Until all of them were live for the first time.
    pub up_s: f64,
    /// Until all of them had been rolled out at once.
    pub rolled_s: f64,
    /// What both took of the API server's processors.
    pub api_cpu_s: f64,
    /// Its share of one core while nothing happened.
    pub api_idle_cpu_percent: f64,
    /// Its share of one core while all were rolled out at once.
    pub api_rolling_cpu_percent: f64,
    /// Its resident memory at rest.
    pub api_memory_mib: f64,
    /// The most that it ever had.
    pub api_peak_memory_mib: f64,
    /// The most watches that any host had at one moment.
    pub watches_per_host: usize,
    /// Writes of the hosts while all came up and were rolled out, by what was written.
    pub writes: BTreeMap<String, usize>,
    /// Writes to sites while nothing happened.
    pub writes_of_sites_at_rest: usize,
    /// An agent's resident memory, on average.
    pub agent_memory_mib: f64,
    /// What an agent and its web server take of the machine's memory together, on average.
    pub host_memory_mib: f64,
    /// What was asked of some of them from the first rollout to the end.
    pub asked: Asked,
}

impl Commits {
    /// Of what each took, and what the app takes by itself.
    #[must_use]
    pub fn of(took: &[Duration], starts: &[Duration], asked: Asked) -> Commits {
        let share = |all: &[Duration], percent: usize| {
            let mut sorted = all.to_vec();
            sorted.sort();
            let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(at).map_or(0.0, |one| one.as_secs_f64() * 1000.0)
        };
        let (p99_ms, app_start_ms) = (share(took, 99), share(starts, 50));
        Commits {
            count: took.len(),
            p50_ms: share(took, 50),
            p99_ms,
            app_start_ms,
            beyond_p99_ms: p99_ms - app_start_ms,
            asked,
        }
    }
}

impl Report {
    /// What is not as it should be, if anything.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let lost = [&self.commits.asked, &self.fleet.asked].into_iter().find_map(Asked::complaint);
        if lost.is_some() {
            return lost;
        }
        if self.fleet.watches_per_host > WATCHES {
            return Some(format!("{} watches a host: {WATCHES} are allowed", self.fleet.watches_per_host));
        }
        (self.commits.beyond_p99_ms > BEYOND).then(|| {
            format!("a cutover took {:.0} ms beyond the app's start: {BEYOND} are allowed", self.commits.beyond_p99_ms)
        })
    }
}

impl fmt::Display for Commits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "From a change on the hub to the cutover, two hosts, {} cutovers", self.count)?;
        writeln!(
            f,
            "  p50 {:.0} ms, p99 {:.0} ms; the app by itself {:.0} ms",
            self.p50_ms, self.p99_ms, self.app_start_ms
        )?;
        write!(f, "  meanwhile {}", self.asked)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (commits, fleet) = (&self.commits, &self.fleet);
        writeln!(f, "{} cores, {}, optimised: {}", self.machine.cores, self.machine.kernel, self.machine.optimised)?;
        writeln!(f, "\n{commits}")?;
        writeln!(f, "\n{} hosts with {} sites on one API server", fleet.hosts, fleet.sites)?;
        writeln!(f, "  all live after               {:>8.0} s", fleet.up_s)?;
        writeln!(f, "  all rolled out in            {:>8.0} s", fleet.rolled_s)?;
        writeln!(f, "  API server, both together    {:>8.1} s of processor", fleet.api_cpu_s)?;
        writeln!(f, "  API server, rolling out      {:>8.1} % of a core", fleet.api_rolling_cpu_percent)?;
        writeln!(f, "  API server's memory          {:>8.0} MiB at its peak", fleet.api_peak_memory_mib)?;
        writeln!(
            f,
            "  API server at rest           {:>8.1} % of a core, {:.0} MiB",
            fleet.api_idle_cpu_percent, fleet.api_memory_mib
        )?;
        writeln!(f, "  watches a host               {:>8} at most", fleet.watches_per_host)?;
        writeln!(f, "  writes of sites at rest      {:>8}", fleet.writes_of_sites_at_rest)?;
        writeln!(f, "  an agent's memory            {:>8.1} MiB", fleet.agent_memory_mib)?;
        writeln!(f, "  with its web server's        {:>8.1} MiB", fleet.host_memory_mib)?;
        writeln!(f, "  {} meanwhile", fleet.asked)?;
        for (what, count) in &fleet.writes {
            writeln!(f, "  writes, {what:<20} {count:>8}")?;
        }
        Ok(())
    }
}
