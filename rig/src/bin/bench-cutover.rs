//! `make bench-cutover`. Without arguments it measures what is claimed; fewer of each is for a quick look.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use bluegreen_rig::bench::cutovers::{Cutovers, Moment};
use bluegreen_rig::bench::footprint;
use bluegreen_rig::bench::product::{self, Product};
use bluegreen_rig::bench::recipe::{Recipe, Static};
use bluegreen_rig::bench::report::{Bluegreen, Machine, Report};
use bluegreen_rig::bench::throughput::Throughput;
use bluegreen_rig::load::{Load, Totals};
use bluegreen_rig::nginx::Nginx;
use clap::Parser;

/// Measures what a cutover loses and costs, beside the known recipe and a static upstream.
#[derive(Debug, Parser)]
struct Options {
    /// Cutovers by the recipe.
    #[arg(long, default_value_t = 200)]
    recipe: usize,
    /// Cutovers by bluegreen.
    #[arg(long, default_value_t = 1000)]
    bluegreen: usize,
    /// Runs of each that measure requests a second.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Seconds that such a run takes.
    #[arg(long, default_value_t = 5)]
    run_seconds: u64,
    /// Rollouts that are timed from apply to Idle.
    #[arg(long, default_value_t = 10)]
    rollouts: usize,
    /// Numbers of sites with which the agent is watched while it is idle.
    #[arg(long, default_values_t = [1, 100])]
    sites: Vec<usize>,
    /// Seconds for which it is watched.
    #[arg(long, default_value_t = 30)]
    idle_seconds: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench/cutover.json")]
    out: PathBuf,
}

/// Rounds in which the contestants take turns.
const ROUNDS: usize = 20;

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    bluegreen_rig::interrupt::heed()?;
    let report = measure(&options)?;
    let json = serde_json::to_string_pretty(&report)?;
    if let Some(folder) = options.out.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&options.out, format!("{json}\n")).with_context(|| format!("cannot write {}", options.out.display()))?;
    if options.json {
        println!("{json}");
    } else {
        println!("{report}");
    }
    if let Some(complaint) = report.complaint() {
        eprintln!("bench-cutover: {complaint}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &Options) -> Result<Report> {
    let recipe = Recipe::start(Nginx::start()?)?;
    let mut sites = (0..SITES).map(|_| Product::start(Nginx::start()?)).collect::<Result<Vec<_>>>()?;

    let (mut recipe_cutovers, mut recipe_totals, mut recipe_live) = (Cutovers::default(), Totals::default(), 0);
    let (mut our_cutovers, mut our_totals) = (Cutovers::default(), Totals::default());
    for round in 0..ROUNDS {
        let turns = share(options.recipe, round);
        let totals = under_load(&recipe.nginx, "shop.test", CLIENTS, |load| {
            for _ in 0..turns {
                let (old, new) = (recipe_live, 1 - recipe_live);
                recipe_cutovers.watch(load, COLOURS[old], COLOURS[new], || recipe.cut_to(new))?;
                recipe_live = new;
            }
            Ok(())
        })?;
        recipe_totals.add(&totals);
        for (cutovers, totals) in side_by_side(&sites, share(options.bluegreen, round))? {
            our_cutovers.add(cutovers);
            our_totals.add(&totals);
        }
        tell(&format!(
            "round {} of {ROUNDS}: recipe {} cutovers, {} lost; bluegreen {} cutovers, {} lost",
            round + 1,
            recipe_cutovers.count(),
            recipe_totals.failed,
            our_cutovers.count(),
            our_totals.failed
        ));
    }
    drop(recipe);
    // One is enough for the rest, and the others would only be in its way.
    sites.truncate(1);
    let mut ours = sites.remove(0);

    let bare = Static::start(Nginx::start()?)?;
    let (mut bare_runs, mut our_runs) = (Throughput::default(), Throughput::default());
    let lasting = Duration::from_secs(options.run_seconds);
    for run in 0..options.runs {
        // Each is first every other time.
        if run % 2 == 0 {
            bare_runs.run(&bare.nginx, bare.nginx.address(), "shop.test", lasting)?;
            our_runs.run(&ours.nginx, ours.nginx.address(), &ours.host(), lasting)?;
        } else {
            our_runs.run(&ours.nginx, ours.nginx.address(), &ours.host(), lasting)?;
            bare_runs.run(&bare.nginx, bare.nginx.address(), "shop.test", lasting)?;
        }
        // On the other colour next time: what nginx does for one may cost more than for the other.
        ours.restart()?;
        tell(&format!(
            "run {}: {:.0} and {:.0} requests/s",
            run + 1,
            bare_runs.requests_per_s,
            our_runs.requests_per_s
        ));
    }
    drop(bare);
    tell("timing rollouts");
    let rollouts = product::rollouts(&mut ours, options.rollouts)?;
    drop(ours);
    let mut agent = Vec::new();
    for sites in &options.sites {
        tell(&format!("watching an idle agent with {sites} sites"));
        agent.push(footprint::measure(*sites, Duration::from_secs(options.idle_seconds))?);
    }

    Ok(Report {
        machine: Machine::here(),
        recipe: recipe_cutovers.summary(&recipe_totals),
        bluegreen: Bluegreen {
            cutovers: our_cutovers.summary(&our_totals),
            throughput_ratio: our_runs.requests_per_s / bare_runs.requests_per_s,
            nginx_cpu_ratio: bare_runs.nginx_cpu_us / our_runs.nginx_cpu_us,
            throughput: our_runs,
        },
        bare: bare_runs,
        rollouts,
        agent,
    })
}

/// The clients of either contestant.
const CLIENTS: usize = 32;

/// A rollout waits for nginx's pool most of its time: so many sites, each with its own agent, nginx and part of the clients, wait side by side.
const SITES: usize = 8;

/// So many cutovers, spread over the sites.
fn side_by_side(sites: &[Product], cutovers: usize) -> Result<Vec<(Cutovers, Totals)>> {
    std::thread::scope(|scope| {
        let turns = (0..sites.len()).map(|at| cutovers * (at + 1) / sites.len() - cutovers * at / sites.len());
        let threads: Vec<_> =
            sites.iter().zip(turns).map(|(site, turns)| scope.spawn(move || take_turns(site, turns))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn take_turns(site: &Product, turns: usize) -> Result<(Cutovers, Totals)> {
    let mut cutovers = Cutovers::default();
    let totals = under_load(&site.nginx, &site.host(), CLIENTS / SITES, |load| {
        for _ in 0..turns {
            let old = site.live()?;
            let new = if old == COLOURS[0] { COLOURS[1] } else { COLOURS[0] };
            cutovers.watch(load, &old, new, || -> Result<Moment> { site.restart() })?;
        }
        Ok(())
    })?;
    Ok((cutovers, totals))
}

const COLOURS: [&str; 2] = ["blue", "green"];

/// What of `all` falls to this round.
fn share(all: usize, round: usize) -> usize {
    all * (round + 1) / ROUNDS - all * round / ROUNDS
}

fn under_load(
    nginx: &Nginx,
    host: &str,
    clients: usize,
    work: impl FnOnce(&bluegreen_rig::load::Running) -> Result<()>,
) -> Result<Totals> {
    let load = Load::to(nginx.address(), host).clients(clients).keep_samples().start()?;
    load.wait_for_more(200)?;
    work(&load)?;
    Ok(load.stop())
}

fn tell(text: &str) {
    eprintln!("bench-cutover: {text}");
}
