//! Follows all sites of a hub by one watch: whoever asked for the whole list again and again would be a part of what is measured.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::cluster::ControlPlane;
use crate::process::Guarded;

/// A line for each site and for each change: where it is, the generation that was seen, and whether it serves that. (By `jsonpath`, what is there
/// at first comes as one list.)
const COLUMNS: &str = r#"--output=custom-columns=A:.metadata.namespace,B:.metadata.name,C:.status.observedGeneration,D:.status.conditions[?(@.type=="Ready")].status"#;

/// What is known of each site: the generation that it is ready with, if it is.
type Known = BTreeMap<String, Option<i64>>;

/// The sites of all hosts, as they change.
pub struct Follow {
    _kubectl: Guarded,
    known: Arc<Mutex<Known>>,
}

impl Follow {
    /// Begins with what is there. An API server ends a watch after half an hour or more: one is for one thing that is waited for.
    pub fn begin(plane: &ControlPlane) -> Result<Follow> {
        let mut command = plane.kubectl_command()?;
        command.args(["get", "bluegreensites", "--all-namespaces", "--watch", "--no-headers", COLUMNS]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start kubectl")?;
        let lines = BufReader::new(child.stdout.take().context("its output is a pipe")?).lines();
        let known: Arc<Mutex<Known>> = Arc::default();
        let into = known.clone();
        // Ends with kubectl.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [namespace, name, generation, ready] = words[..] else { continue };
                let generation = generation.parse().ok().filter(|_| ready == "True");
                lock(&into).insert(format!("{namespace}/{name}"), generation);
            }
        });
        Ok(Follow { _kubectl: Guarded::of(child, Signal::TERM, Duration::from_secs(5)), known })
    }

    /// How many are ready with this generation.
    pub fn live(&self, generation: i64) -> usize {
        lock(&self.known).values().filter(|of| **of == Some(generation)).count()
    }

    /// Those that aren't.
    pub fn others(&self, generation: i64) -> Vec<String> {
        let known = lock(&self.known);
        known.iter().filter(|(_, of)| **of != Some(generation)).map(|(name, _)| name.clone()).collect()
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
