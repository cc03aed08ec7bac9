//! What the agent takes of the machine while nothing happens.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::agent::Agent;
use crate::manifest::{self, Manifest};
use crate::nginx::Nginx;
use crate::ports::Port;
use crate::users::User;
use crate::{interrupt, process, wait};

/// What the agent takes while nothing happens.
#[derive(Clone, Debug, Serialize)]
pub struct Footprint {
    /// So many sites, each with one instance that runs.
    pub sites: usize,
    /// Resident memory.
    pub memory_mib: f64,
    /// Its share of one core.
    pub idle_cpu_percent: f64,
    /// It was watched for so long.
    pub watched_s: f64,
}

/// Runs an agent with so many sites and watches it for so long.
///
/// # Errors
/// When a site isn't live in time.
pub fn measure(sites: usize, lasting: Duration) -> Result<Footprint> {
    let (user, nginx) = (User::ordinary()?, Nginx::start()?);
    let agent = Agent::start(&nginx)?;
    let ports = Port::take_many(sites * 2)?;
    let release = manifest::release(&agent.uploads(), "v1", "")?;
    let names: Vec<String> = (0..sites).map(|number| format!("shop-{number}")).collect();
    for (name, pair) in names.iter().zip(ports.chunks(2)) {
        let (blue, green) = (pair[0].number(), pair[1].number());
        let site = Manifest::app(name, nginx.address(), user.name(), &[blue], &[green]).release(&release);
        // Asked as often as a site is that says nothing about it.
        agent.apply(&site.unset("/spec/health/interval"))?;
    }
    let all = Duration::from_secs(60) + Duration::from_secs(2) * u32::try_from(sites)?;
    for name in &names {
        wait::until(&format!("{name} was live"), all, || {
            let live = agent.live_colour(name).is_some() && agent.phase(name).as_deref() == Some("Idle");
            live.then_some(())
        })
        .with_context(|| agent.log())?;
    }
    let pid = agent.pid().context("the agent has ended")?;
    let spent = || process::cpu_time(pid).context("the agent has ended");
    let (before, begun) = (spent()?, Instant::now());
    // The one place where time itself is what is measured.
    while begun.elapsed() < lasting && !interrupt::pending() {
        thread::sleep(Duration::from_millis(100));
    }
    let watched = begun.elapsed();
    let share = (spent()?.saturating_sub(before)).as_secs_f64() / watched.as_secs_f64();
    let memory = process::memory(pid).context("the agent has ended")?;
    Ok(Footprint {
        sites,
        memory_mib: super::mib(memory),
        idle_cpu_percent: share * 100.0,
        watched_s: watched.as_secs_f64(),
    })
}
