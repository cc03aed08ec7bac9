//! What `make bench-operator` measures: the operator with many sites on one real API server, whose pods kwok plays.
//!
//! `sites` makes and changes them, `observer` watches what becomes of them, `report` shows it all; this is what is done with them, in order.

mod observer;
mod program;
pub mod report;
mod sites;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::observer::Observer;
use self::program::Program;
use self::report::{Report, Restart, Round, Spans, Writes};
use self::sites::Sites;
use crate::bench::report::Machine;
use crate::cluster::{ControlPlane, Mark, Options, Request, counted};
use crate::process;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// So many sites.
    pub sites: usize,
    /// So many of them are rolled out at once for the time from ready to cut over.
    pub at_once: usize,
    /// So often all of them are rolled out.
    pub rounds: usize,
}

/// So many are rolled out one by one, for what one rollout costs the API server.
const FEW: usize = 10;
/// So long nothing may happen until it counts as rest.
const REST: Duration = Duration::from_secs(5);

/// Measures.
///
/// # Errors
/// When something does not come up, or a rollout does not end.
pub fn measure(plan: Plan) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(plan))
}

async fn run(plan: Plan) -> Result<Report> {
    let plane = ControlPlane::start(Options::pods())?;
    let crd = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/bluegreen.dev_bluegreensites.yaml");
    plane.kubectl(&["apply", "--server-side", "--filename", crd])?;
    plane.wait_for_resource("bluegreensites")?;
    let sites = Sites::new(&plane, plan.sites).await?;
    let observer = Observer::start(sites.client());
    let mut program = Program::start(&plane, sites.lease_namespace())?;
    // A limit for something that hangs, and nothing that is measured.
    let patience = Duration::from_secs(300) + Duration::from_millis(600) * u32::try_from(plan.sites)?;

    say("making the sites");
    let begun = Instant::now();
    sites.create().await?;
    let up = observer.all_live(sites.names(), 1, patience).await.with_context(|| program.said())?;
    let up = up.duration_since(begun);
    tokio::time::sleep(REST).await;
    let rest = program.memory()?;

    say("rolling some of them out at once");
    let some = &sites.names()[..plan.at_once.min(plan.sites)];
    observer.forget();
    let mark = plane.mark();
    sites.release(some, 2).await?;
    observer.all_live(some, 2, patience).await.with_context(|| program.said())?;
    tokio::time::sleep(REST).await;
    let asked = ours(&plane, mark)?;
    let steps = observer.steps(some, 2, &asked);

    say("rolling a few out one by one");
    let few = &sites.names()[..FEW.min(plan.sites)];
    let mark = plane.mark();
    for name in few.chunks(1) {
        sites.release(name, 3).await?;
        observer.all_live(name, 3, patience).await.with_context(|| program.said())?;
    }
    tokio::time::sleep(REST).await;
    let writes = Writes::of(&ours(&plane, mark)?, few.len());

    let mut rounds = Vec::new();
    for round in 0..plan.rounds {
        say(&format!("round {} of {}", round + 1, plan.rounds));
        observer.forget();
        let version = u32::try_from(round)? + 4;
        let (mark, begun) = (plane.mark(), Instant::now());
        sites.release(sites.names(), version).await?;
        let all = observer.all_live(sites.names(), version, patience).await.with_context(|| program.said())?;
        let took = all.duration_since(begun);
        tokio::time::sleep(REST).await;
        let asked = ours(&plane, mark)?;
        rounds.push(Round {
            took_s: took.as_secs_f64(),
            writes_per_rollout: Writes::of(&asked, plan.sites).per_rollout,
            ready_to_cutover_ms: Spans::of(&observer.steps(sites.names(), version, &asked).to_cutover),
            memory_mib: program.memory()?,
        });
    }
    let (after_rounds, peak) = (program.memory()?, program.peak()?);

    say("starting it anew while something waits");
    program.stop();
    let version = u32::try_from(plan.rounds)? + 4;
    sites.release(&sites.names()[..1], version).await?;
    let mark = plane.mark();
    let started = jiff::Timestamp::now();
    let program = Program::start(&plane, sites.lease_namespace())?;
    observer.all_live(&sites.names()[..1], version, patience).await.with_context(|| program.said())?;
    let first = ours(&plane, mark)?.into_iter().filter(counts).map(|one| one.at).min().context("it wrote nothing")?;
    let restart =
        Restart { first_write_ms: (first - started).total(jiff::Unit::Millisecond)?, memory_mib: program.memory()? };

    Ok(Report {
        machine: Machine::here(),
        sites: plan.sites,
        at_once: some.len(),
        up_s: up.as_secs_f64(),
        rest_mib: rest,
        peak_mib: peak,
        after_rounds_mib: after_rounds,
        writes_per_rollout: writes.per_rollout,
        writes,
        ready_to_cutover_p99_ms: Spans::of(&steps.to_cutover).p99_ms,
        ready_to_cutover_ms: Spans::of(&steps.to_cutover),
        ready_to_slices_ms: Spans::of(&steps.to_slices),
        cutover_to_confirmed_ms: Spans::of(&steps.to_confirmed),
        rounds,
        restart,
    })
}

/// What the operator asked for since.
fn ours(plane: &ControlPlane, mark: Mark) -> Result<Vec<Request>> {
    let all = plane.requests_since(mark)?;
    Ok(all.into_iter().filter(|one| one.user_agent.starts_with("bluegreen/")).collect())
}

/// Whether a request counts as a write of a rollout: leases, events and dry runs are told apart.
fn counts(request: &Request) -> bool {
    request.writes() && !request.dry_run && !matches!(request.resource.as_str(), "leases" | "events")
}

impl Writes {
    fn of(asked: &[Request], rollouts: usize) -> Writes {
        #[expect(clippy::cast_precision_loss)]
        let each = |count: usize| (count as f64 / rollouts.max(1) as f64 * 100.0).round() / 100.0;
        let (counted_ones, others): (Vec<&Request>, Vec<&Request>) = asked.iter().partition(|one| counts(one));
        let per = |all: Vec<&Request>| counted(all).into_iter().map(|(what, count)| (what, each(count))).collect();
        Writes { per_rollout: each(counted_ones.len()), counted: per(counted_ones), apart: per(others) }
    }
}

fn say(what: &str) {
    eprintln!("bench-operator: {what}");
}

/// The peak of a process's resident memory, in MiB.
fn peak(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// A process's resident memory, in MiB.
fn memory(pid: u32) -> Option<f64> {
    process::memory(pid).map(crate::bench::mib)
}
