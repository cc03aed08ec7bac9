//! The one place that judges a specification: text → `BlueGreenSite` → [`Site`]. Whatever it lets through, nothing after it
//! checks again. It never stops at the first error.

mod host;
mod judge;
mod strategy;

use serde_json::Value;

use super::names::annotations;
use super::problem::{Problem, Problems};
use super::site::{HostTarget, Run, Site};
use super::spec::{self, BlueGreenSite};
use super::{shape, yaml};
use judge::Judge;

/// Reads a manifest: one site, in YAML or JSON.
///
/// # Errors
/// Everything that is wrong with it, each with its path and its line.
pub fn manifest(text: &str) -> Result<(BlueGreenSite, Site), Problems> {
    let mut document = yaml::read(text).map_err(Problems::one)?;
    if document.value.is_null() {
        return Err(Problems::one(Problem::new("", "the file holds nothing; a site is wanted")));
    }
    let found = shape::check(&mut document.value);
    let parsed = match typed(document.value.clone()) {
        Ok(object) => match Site::parse(&object) {
            Ok(site) if found.problems.is_empty() => return Ok((object, site)),
            Ok(_) => Vec::new(),
            Err(problems) => problems.all().to_vec(),
        },
        Err(problem) if found.problems.is_empty() => vec![problem],
        Err(_) => Vec::new(),
    };
    let mut all: Vec<Problem> = parsed.into_iter().filter(|problem| !found.covers(&problem.path)).collect();
    all.extend(found.problems);
    for problem in &mut all {
        problem.at = document.place(&problem.path);
    }
    Problems::check(all)?;
    // Only mended values were wrong, and what was mended is a problem itself, so this is not reached.
    Err(Problems::one(Problem::new("", "the manifest can't be read")))
}

/// Reads a manifest as it was written: what the typed form would fill in is left out, since who applies it answers only for what they wrote.
///
/// # Errors
/// It is not one YAML document.
pub fn value(text: &str) -> Result<Value, Problem> {
    yaml::read(text).map(|document| document.value)
}

fn typed(value: Value) -> Result<BlueGreenSite, Problem> {
    serde_json::from_value(value).map_err(|error| Problem::new("", error.to_string()))
}

impl Site {
    /// Judges a specification.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its path.
    pub fn parse(object: &BlueGreenSite) -> Result<Site, Problems> {
        let mut judge = Judge::default();
        let site = judge.site(object);
        Problems::check(judge.problems)?;
        site.ok_or_else(|| Problems::one(Problem::new("", "the specification can't be read")))
    }
}

impl Judge {
    fn site(&mut self, object: &BlueGreenSite) -> Option<Site> {
        let name = self.narrow("metadata.name", object.metadata.name.as_deref().unwrap_or_default());
        let (promotion, limits) = self.strategy(&object.spec.strategy);
        let health = self.health(&object.spec.health);
        if let (Some(health), Some(limits)) = (&health, &limits) {
            self.time_to_be_ready(health, limits);
        }
        let restart = object.metadata.annotations.as_ref().and_then(|all| all.get(annotations::RESTART));
        let incarnation = match restart {
            None => Some(None),
            Some(token) => self.narrow(&format!("metadata.annotations[{}]", annotations::RESTART), token).map(Some),
        };
        let spec::Target::Host(host) = &object.spec.target;
        let front = self.front(host);
        let release = self.release(&host.release);
        let runtime = self.runtime(&host.runtime);
        let ports = self.ports(host);
        if let (Some(front), Some(ports)) = (&front, &ports) {
            self.doors(front, ports);
        }
        let user = self.user(host);
        let statics = self.statics(host);
        let config_files = self.config_files(host);
        let shared_dirs = self.shared_dirs(host);
        let env = self.env(&host.env);
        let stop_within = self.span("spec.target.host.stopWithin", &host.stop_within);
        Some(Site {
            name: name?,
            generation: object.metadata.generation.unwrap_or(1),
            promotion,
            limits: limits?,
            host: HostTarget {
                front: front?,
                release: release?,
                run: Run {
                    runtime: runtime?,
                    ports: ports?,
                    user: user?,
                    statics: statics?,
                    config_files: config_files?,
                    shared_dirs: shared_dirs?,
                    env: env?,
                    health: health?,
                    stop_within: stop_within?,
                    incarnation: incarnation?,
                },
            },
        })
    }
}
