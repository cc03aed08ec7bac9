//! The one place that judges a specification: text → `BlueGreenSite` → [`Site`]. Whatever it lets through, nothing after it
//! checks again. It never stops at the first error.

mod cluster;
mod host;
mod java;
mod judge;
mod python;
mod release;
mod requests;
mod runtime;
mod strategy;

use serde_json::Value;

use super::names::annotations;
use super::problem::{Problem, Problems};
use super::site::{Route, SettingsGuards, Site, Target};
use super::spec::{self, BlueGreenSite};
use super::{shape, yaml};
pub use cluster::PROXIES_LAG;
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
        let (promotion, mut limits) = self.strategy(&object.spec.strategy);
        let restart = object.metadata.annotations.as_ref().and_then(|all| all.get(annotations::RESTART));
        let incarnation = match restart {
            None => Some(None),
            Some(token) => self.narrow(&format!("metadata.annotations[{}]", annotations::RESTART), token).map(Some),
        };
        let guards = object.spec.guards.clone().unwrap_or_default();
        let settings = SettingsGuards {
            schema_changes: guards.schema_changes.unwrap_or_default(),
            insecure_settings: guards.insecure_settings.unwrap_or_default(),
        };
        let target = match &object.spec.target {
            spec::Target::Host(host) => {
                let health = object.spec.health.clone().unwrap_or_default();
                let health = self.health(&health, host.runtime.health_path());
                if let (Some(health), Some(limits)) = (&health, &limits) {
                    self.time_to_be_ready(health, limits);
                    let instances = !matches!(host.runtime, spec::RuntimeSpec::Static(_));
                    self.time_to_warm_up(health, limits, instances);
                }
                let exposure = guards.exposure.unwrap_or_default();
                self.host(host, health, incarnation, settings, exposure).map(Target::Host)
            }
            spec::Target::Cluster(cluster) => {
                if guards.insecure_settings.is_some() {
                    self.wrong(
                        "spec.guards.insecureSettings",
                        "is for target.host: on a cluster they are files of the image, which nobody can see from here; leave it out",
                    );
                }
                if object.spec.health.is_some() {
                    self.wrong(
                        "spec.health",
                        "is for target.host: on a cluster the probes of the template say whether an instance can serve, and when it is warm",
                    );
                }
                if guards.exposure.is_some() {
                    self.wrong(
                        "spec.guards.exposure",
                        "is for target.host: on a cluster a NetworkPolicy says who reaches a pod; leave it out",
                    );
                }
                let target =
                    incarnation.and_then(|incarnation| self.cluster(name.as_ref(), cluster, incarnation, settings));
                if let (Some(limits), Some(target)) = (&mut limits, &target) {
                    match &target.route {
                        Route::Service => limits.drain_within += PROXIES_LAG,
                        // What is waited for anyway is no reason to give up.
                        Route::HttpRoute(http) => {
                            limits.verify_within += http.settle;
                            limits.cutover_within += http.settle;
                        }
                    }
                }
                target.map(Target::Cluster)
            }
        };
        Some(Site {
            name: name?,
            generation: object.metadata.generation.unwrap_or(1),
            promotion,
            limits: limits?,
            target: target?,
        })
    }
}
