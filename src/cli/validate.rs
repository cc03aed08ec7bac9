//! `bluegreen validate`: judges manifests without an agent.

use std::path::{Path, PathBuf};

use super::Quiet;
use super::apply::{read, shown};
use super::output::{complain, print};
use crate::api::conflicts::conflicts;
use crate::api::parse;
use crate::api::problem::Problem;
use crate::api::site::{Site, SiteOnHost};
use crate::api::spec::{BlueGreenSite, Target};

/// Judge manifests without an agent.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The manifests; a folder stands for its *.yaml files, '-' for the standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut sites: Vec<(PathBuf, Site)> = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    let mut wrong = 0_usize;
    for file in files(&args.files)? {
        match parse::manifest(&read(&file)?) {
            Ok((object, site)) => {
                places.push(Place::of(&object));
                sites.push((file, site));
            }
            Err(problems) => {
                wrong += problems.all().len();
                for problem in problems.all() {
                    complain(&line(&file, problem));
                }
            }
        }
    }
    for (index, (file, site)) in sites.iter().enumerate() {
        let same = |other: &usize| places[*other] == places[index] && sites[*other].1.name == site.name;
        if let Some(other) = (0..index).find(same) {
            let first = &sites[other].0;
            wrong += 1;
            complain(&format!("{}: the site {} is in {} already", shown(file), site.name, shown(first)));
        }
    }
    // Sites of a cluster share no host names or ports of a machine.
    let on_host: Vec<SiteOnHost> = sites.iter().filter_map(|(_, site)| site.clone().on_host().ok()).collect();
    for (name, problem) in conflicts(&on_host) {
        wrong += 1;
        if let Some((file, _)) = sites.iter().find(|(_, site)| site.name == name) {
            complain(&line(file, &problem));
        }
    }
    match wrong {
        0 => {
            let lines: String =
                sites.iter().map(|(file, site)| format!("{}: site {} is sound\n", shown(file), site.name)).collect();
            Ok(print(&lines)?)
        }
        1 => Err(finish("1 problem")),
        several => Err(finish(&format!("{several} problems"))),
    }
}

/// Where a name may be had once.
#[derive(PartialEq)]
enum Place {
    /// A machine: each of these manifests may be for another one, but they are judged as if they met.
    Host,
    /// A namespace, if the manifest says which.
    Cluster(Option<String>),
}

impl Place {
    fn of(object: &BlueGreenSite) -> Place {
        match object.spec.target {
            Target::Host(_) => Place::Host,
            Target::Cluster(_) => Place::Cluster(object.metadata.namespace.clone()),
        }
    }
}

fn finish(count: &str) -> anyhow::Error {
    complain(count);
    Quiet.into()
}

/// As compilers say it, so that an editor finds the place.
fn line(file: &Path, problem: &Problem) -> String {
    let place = match problem.at {
        Some(at) => format!("{}:{}:{}", shown(file), at.line, at.column),
        None => shown(file),
    };
    let bare = Problem { at: None, ..problem.clone() };
    format!("{place}: {bare}")
}

fn files(given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in given {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
                inside.push(path);
            }
        }
        if inside.is_empty() {
            anyhow::bail!("there is no *.yaml file in {}", path.display());
        }
        inside.sort();
        all.extend(inside);
    }
    Ok(all)
}
