//! Requests a second through an nginx, and what one costs it. Measured with wrk: no client of ours is fast enough to be in nobody's way.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::nginx::Nginx;
use crate::process;

/// One way, measured several times.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Throughput {
    /// Requests a second, the median.
    pub requests_per_s: f64,
    /// The web server's time on a CPU for one request, the median, in microseconds: what a busy machine can't disturb.
    pub nginx_cpu_us: f64,
    /// Every run.
    pub runs: Vec<f64>,
    #[serde(skip)]
    costs: Vec<f64>,
}

impl Throughput {
    /// One more run.
    ///
    /// # Errors
    /// When wrk isn't there, or anything but status 200 was answered.
    pub fn run(&mut self, nginx: &Nginx, address: SocketAddr, host: &str, lasting: Duration) -> Result<()> {
        let before = cpu(nginx);
        let (second, all) = wrk(address, host, lasting)?;
        let spent = cpu(nginx).saturating_sub(before);
        self.runs.push(second);
        self.costs.push(spent.as_secs_f64() * 1e6 / all);
        self.requests_per_s = median(&self.runs);
        self.nginx_cpu_us = median(&self.costs);
        Ok(())
    }
}

/// Requests a second, and how many there were.
///
/// # Errors
/// When wrk isn't there, or anything but status 200 was answered.
pub fn wrk(address: SocketAddr, host: &str, lasting: Duration) -> Result<(f64, f64)> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c32", &format!("-d{}s", lasting.as_secs().max(1)), "-H", &format!("Host: {host}")]);
    let output = process::run(wrk.arg(format!("http://{address}/"))).context("wrk is needed: apt-get install wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "wrk was not answered well:\n{text}");
    let second = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse::<f64>().ok());
    let all = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<f64>().ok());
    second.zip(all).with_context(|| format!("wrk said something else:\n{text}"))
}

fn cpu(nginx: &Nginx) -> Duration {
    nginx.workers().into_iter().filter_map(process::precise_cpu_time).sum()
}

/// The one in the middle.
#[must_use]
pub fn median(all: &[f64]) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
