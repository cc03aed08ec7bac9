//! What the benchmark came to, for people and as JSON.

use std::fmt;

use serde::Serialize;

use super::cutovers::Summary;
use super::footprint::Footprint;
use super::product::Rollouts;
use super::throughput::Throughput;

/// What the benchmark came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: Machine,
    /// The include file and `nginx -s reload`.
    pub recipe: Summary,
    /// bluegreen.
    pub bluegreen: Bluegreen,
    /// The bare nginx with a static upstream.
    #[serde(rename = "static")]
    pub bare: Throughput,
    /// From `apply` to `Idle`.
    pub rollouts: Rollouts,
    /// What the agent takes while nothing happens.
    pub agent: Vec<Footprint>,
}

/// What bluegreen came to.
#[derive(Clone, Debug, Serialize)]
pub struct Bluegreen {
    /// Its cutovers.
    #[serde(flatten)]
    pub cutovers: Summary,
    /// Requests a second through its nginx.
    pub throughput: Throughput,
    /// The share of the static upstream's requests a second that it reaches.
    pub throughput_ratio: f64,
    /// The same of what one request costs nginx.
    pub nginx_cpu_ratio: f64,
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// So many processors.
    pub cores: usize,
    /// The kernel.
    pub kernel: String,
    /// nginx.
    pub nginx: String,
    /// Whether the programs were optimised.
    pub optimised: bool,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Machine {
        let nginx = std::process::Command::new("nginx").arg("-v").output();
        let nginx = nginx.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned()).unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
            nginx: nginx.trim_start_matches("nginx version: ").to_owned(),
            optimised: !cfg!(debug_assertions),
        }
    }
}

impl Report {
    /// What makes the run worthless, or the product wrong, whatever the machine: not what it measured, but what it lost.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let (lost, weak) = (self.bluegreen.cutovers.failed, self.recipe.failed == 0 && self.recipe.cutovers >= 200);
        if lost > 0 {
            return Some(format!("bluegreen lost {lost} requests"));
        }
        weak.then(|| "the recipe lost nothing: the load is too weak to show anything".to_owned())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, kernel, nginx, optimised } = &self.machine;
        let build = if *optimised { "" } else { ", DEBUG BUILD" };
        writeln!(
            f,
            "{cores} cores, Linux {kernel}, {nginx}{build}; 32 keep-alive clients, GET and POST, 5 ms think\n"
        )?;
        let (recipe, ours) = (&self.recipe, &self.bluegreen.cutovers);
        let mut line = |what: &str, recipe: String, ours: String, wanted: &str| {
            writeln!(f, "{what:<52}{recipe:>14}{ours:>14}   {wanted}")
        };
        line("", "recipe".into(), "bluegreen".into(), "wanted")?;
        line("cutovers", recipe.cutovers.to_string(), ours.cutovers.to_string(), "200 / 1000")?;
        line("requests meanwhile", recipe.requests.to_string(), ours.requests.to_string(), "")?;
        line("requests lost", recipe.failed.to_string(), ours.failed.to_string(), "0")?;
        let per = |summary: &Summary| format!("{:.2}", summary.failed_per_cutover);
        line("requests lost per cutover", per(recipe), per(ours), "0")?;
        let pair = |p50: f64, p99: f64| format!("{p50:.1} / {p99:.1}");
        let first = |s: &Summary| pair(s.first_new_p50_ms, s.first_new_p99_ms);
        line("decision to first request at the new, p50 / p99 ms", first(recipe), first(ours), "")?;
        let last = |s: &Summary| pair(s.last_old_p50_ms, s.last_old_p99_ms);
        line("change to last request at the old, p50 / p99 ms", last(recipe), last(ours), "p99 at most 10")?;
        writeln!(f, "\n{:<52}{:>14}{:>14}   wanted", "", "static", "bluegreen")?;
        let ours = &self.bluegreen;
        let (bare, own) = (&self.bare, &ours.throughput);
        writeln!(
            f,
            "{:<52}{:>14.0}{:>14.0}   ratio {:.3}, at least 0.95",
            format!("requests a second, median of {}", own.runs.len()),
            bare.requests_per_s,
            own.requests_per_s,
            ours.throughput_ratio
        )?;
        writeln!(
            f,
            "{:<52}{:>14.1}{:>14.1}   ratio {:.3}",
            "CPU time of nginx for a request, µs", bare.nginx_cpu_us, own.nginx_cpu_us, ours.nginx_cpu_ratio
        )?;
        let rollouts = &self.rollouts;
        writeln!(
            f,
            "\napply to Idle {:.0} ms, less the pool's {:.0} and the app's start of {:.0}: {:.0} ms, at most {:.0}   (wanted: at most 300)",
            rollouts.apply_to_idle_p50_ms,
            rollouts.pool_timeout_ms,
            rollouts.app_start_p50_ms,
            rollouts.own_p50_ms,
            rollouts.own_max_ms
        )?;
        for footprint in &self.agent {
            writeln!(
                f,
                "the agent with {} sites: {:.1} MiB, idle at {:.2} % of a core   (wanted: at most 32 MiB with 100; under 1 %)",
                footprint.sites, footprint.memory_mib, footprint.idle_cpu_percent
            )?;
        }
        Ok(())
    }
}
