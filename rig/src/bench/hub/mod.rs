//! What `make bench-hub` measures: many hosts that carry out the sites of one API server, and how soon a commit is a cutover on two of them.
//!
//! `hosts` are the real thing, an agent behind an nginx each, all on this machine; `report` shows it all; this is what is done with them, in order.

mod follow;
mod hosts;
pub mod report;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use self::hosts::Hosts;
use self::report::{Asked, Commits, Fleet, Report};
use crate::bench::report::Machine;
use crate::cluster::{ControlPlane, Options, Part, most_at_once};
use crate::load::Running;
use crate::{process, wait};

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// So many hosts.
    pub hosts: usize,
    /// So many sites on each of them.
    pub sites: usize,
    /// So many commits, one by one, to two hosts.
    pub commits: usize,
}

/// So many hosts are asked by somebody all the while.
const SAMPLE: usize = 16;
/// So long nothing may happen until it counts as rest.
const REST: Duration = Duration::from_secs(30);

/// Measures.
///
/// # Errors
/// When something does not come up, or a rollout does not end.
pub fn measure(plan: Plan) -> Result<Report> {
    let commits = commits(plan.commits)?;
    // The rest takes half an hour, and may fail.
    say(&commits.to_string());
    Ok(Report { machine: Machine::here(), commits, fleet: fleet(plan)? })
}

fn a_hub() -> Result<ControlPlane> {
    let plane = ControlPlane::start(Options::api())?;
    let crd = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/bluegreen.dev_bluegreensites.yaml");
    plane.kubectl(&["apply", "--server-side", "--filename", crd])?;
    plane.wait_for_resource("bluegreensites")?;
    Ok(plane)
}

/// One app on two hosts, changed on the hub as Argo CD changes it; and what the app takes to start by itself.
fn commits(count: usize) -> Result<Commits> {
    let plane = a_hub()?;
    let hosts = Hosts::join(&plane, 2)?;
    let app = hosts.app()?;
    hosts.commit(&app, "v0")?;
    let loads = hosts.load_on_app()?;
    let mut took = Vec::new();
    for number in 1..=count {
        say(&format!("commit {number} of {count}"));
        took.extend(hosts.commit(&app, &format!("v{number}"))?);
    }
    let asked = stopped(loads);
    Ok(Commits::of(&took, &hosts.app_starts(20)?, asked))
}

fn fleet(plan: Plan) -> Result<Fleet> {
    let plane = a_hub()?;
    say(&format!("starting {} hosts", plan.hosts));
    let first = plane.mark();
    let hosts = Hosts::join(&plane, plan.hosts)?;
    let all = plan.hosts * plan.sites;
    let patience = Duration::from_secs(300) + Duration::from_millis(500) * u32::try_from(all)?;
    let pid = plane.pid(Part::Api).context("the API server has ended")?;
    let spent = || process::cpu_time(pid).context("the API server has ended");

    say(&format!("making {all} sites"));
    let (begun, before, mark) = (Instant::now(), spent()?, plane.mark());
    hosts.make_files(plan.sites)?;
    hosts.all_live(all, 1, patience)?;
    let up = (begun.elapsed(), spent()?.saturating_sub(before));

    let loads = hosts.load_on_files(SAMPLE)?;
    say("rolling all of them out");
    let (begun, before) = (Instant::now(), spent()?);
    hosts.change_files(plan.sites)?;
    hosts.all_live(all, 2, patience)?;
    let rolled = (begun.elapsed(), spent()?.saturating_sub(before));
    let writes = plane
        .requests_since(mark)?
        .into_iter()
        .filter(|one| one.user_agent.starts_with("bluegreen-host/") && one.writes());
    let mut by_what: BTreeMap<String, usize> = BTreeMap::new();
    for one in writes {
        *by_what.entry(one.resource.clone()).or_default() += 1;
    }

    say("watching them rest");
    let (before, mark, begun) = (spent()?, plane.mark(), Instant::now());
    // The one place where time itself is what is measured.
    thread::sleep(REST);
    let rested = begun.elapsed();
    let share = spent()?.saturating_sub(before).as_secs_f64() / rested.as_secs_f64();
    let status_writes =
        plane.requests_since(mark)?.into_iter().filter(|one| one.writes() && one.resource == "bluegreensites").count();
    let asked = stopped(loads);
    let watches = plane.watches_since(first)?;
    let of_hosts = watches.iter().filter(|one| one.user.starts_with("system:serviceaccount:bluegreen-host-"));
    let most = most_at_once(of_hosts);
    ensure!(most.len() >= plan.hosts, "{} hosts of {} watch: somebody isn't there", most.len(), plan.hosts);
    let mib = |pid| process::memory(pid).map(crate::bench::mib);
    let agents: Vec<f64> = hosts.agents().filter_map(mib).collect();
    Ok(Fleet {
        hosts: plan.hosts,
        sites: all,
        up_s: up.0.as_secs_f64(),
        rolled_s: rolled.0.as_secs_f64(),
        api_cpu_s: (up.1 + rolled.1).as_secs_f64(),
        api_idle_cpu_percent: share * 100.0,
        api_rolling_cpu_percent: rolled.1.as_secs_f64() / rolled.0.as_secs_f64() * 100.0,
        api_memory_mib: mib(pid).context("the API server has ended")?,
        api_peak_memory_mib: process::peak_memory(pid).map(crate::bench::mib).context("the API server has ended")?,
        watches_per_host: most.values().copied().max().unwrap_or_default(),
        writes: by_what,
        writes_of_sites_at_rest: status_writes,
        agent_memory_mib: agents.iter().sum::<f64>() / f64::from(u32::try_from(agents.len())?),
        host_memory_mib: hosts.memory_each(),
        asked,
    })
}

/// What became of all that was asked.
fn stopped(loads: Vec<Running>) -> Asked {
    let hosts = loads.len();
    let mut all = crate::load::Totals::default();
    loads.into_iter().for_each(|load| all.add(&load.stop()));
    Asked { hosts, requests: all.requests, failed: all.failed, losses: all.losses, broken_clients: all.broken_clients }
}

fn say(what: &str) {
    eprintln!("bench-hub: {what}");
}

/// Waits for something that a host does.
fn until<T>(what: &str, within: Duration, seen: impl FnMut() -> Option<T>) -> Result<T> {
    Ok(wait::until(what, within, seen)?)
}
