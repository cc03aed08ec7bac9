//! Watches what becomes of the sites, and notes when it saw what. All of it through watches of its own: what it sees late it notes late, and
//! so does the operator.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};

use super::sites::{image, resource};
use crate::cluster::Request;

/// When something was seen first.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Timestamp,
    instant: Instant,
}

/// What was seen of pods, by their names.
#[derive(Clone, Debug, Default)]
struct Life {
    site: String,
    image: String,
    ready: Option<Moment>,
    /// In a slice of its colour's Service.
    in_slices: Option<Moment>,
    /// In a slice of the live Service, alone.
    alone: Option<Moment>,
}

#[derive(Debug, Default)]
struct Seen {
    pods: HashMap<String, Life>,
    /// Of each site: the image of the specification that it is live with, and since when.
    live: HashMap<String, (String, Instant)>,
}

/// What became of the sites.
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// How long the steps of cutovers took, in milliseconds.
#[derive(Debug, Default)]
pub struct Steps {
    /// From a pod's readiness to the write of the selector.
    pub to_cutover: Vec<f64>,
    /// From a pod's readiness until the slices of its colour say so.
    pub to_slices: Vec<f64>,
    /// From the write of the selector until the slices of the live Service agree.
    pub to_confirmed: Vec<f64>,
}

impl Observer {
    /// Begins to watch. To be called within a runtime.
    pub fn start(client: Client) -> Observer {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let config = || watcher::Config::default().labels("bluegreen.dev/site");
        let pods = watcher(Api::<Pod>::all(client.clone()), config());
        let slices = watcher(Api::<EndpointSlice>::all(client.clone()), config());
        let sites: Api<DynamicObject> = Api::all_with(client, &resource());
        let sites = watcher(sites, watcher::Config::default());
        let tasks = vec![
            tokio::spawn(each(pods, seen.clone(), pod)),
            tokio::spawn(each(slices, seen.clone(), slice)),
            tokio::spawn(each(sites, seen.clone(), site)),
        ];
        Observer { seen, tasks }
    }

    /// Forgets all pods: another round begins.
    pub fn forget(&self) {
        lock(&self.seen).pods.clear();
    }

    /// Waits until all of these are live with this version and at rest; says when the last one was.
    pub async fn all_live(&self, names: &[String], version: u32, within: Duration) -> Result<Instant> {
        let begun = Instant::now();
        let wanted = image(version);
        loop {
            let (mut last, mut missing) = (begun, None);
            {
                let seen = lock(&self.seen);
                for name in names {
                    match seen.live.get(name) {
                        Some((image, at)) if *image == wanted => last = last.max(*at),
                        _ => missing = Some(name.clone()),
                    }
                }
            }
            let Some(missing) = missing else { return Ok(last) };
            if begun.elapsed() > within || crate::interrupt::pending() {
                bail!("{missing} is not live with {wanted} after {:.0?}", begun.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How long the steps of these sites' cutovers to this version took. When the selector was written, the API server says.
    pub fn steps(&self, names: &[String], version: u32, asked: &[Request]) -> Steps {
        let seen = lock(&self.seen);
        let wanted = image(version);
        let pods: BTreeMap<&str, &Life> =
            seen.pods.values().filter(|life| life.image == wanted).map(|life| (life.site.as_str(), life)).collect();
        let mut steps = Steps::default();
        for name in names {
            let Some(life) = pods.get(name.as_str()) else { continue };
            let Some(ready) = life.ready else { continue };
            // The live Service bears the site's name. Its first write after the pod was ready is the cutover.
            let writes = asked.iter().filter(|one| one.resource == "services" && one.name == *name && one.code < 300);
            let cutover = writes.filter(|one| one.writes()).map(|one| one.answered).find(|at| *at >= ready.at);
            let millis =
                |from: Timestamp, to: Timestamp| (to - from).total(jiff::Unit::Millisecond).unwrap_or(0.0).max(0.0);
            if let Some(cutover) = cutover {
                steps.to_cutover.push(millis(ready.at, cutover));
                steps.to_confirmed.extend(life.alone.map(|alone| millis(cutover, alone.at)));
            }
            steps.to_slices.extend(life.in_slices.map(|slices| millis(ready.at, slices.at)));
        }
        steps
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn each<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    seen: Arc<Mutex<Seen>>,
    note: fn(&mut Seen, K, Moment),
) where
    K: kube::Resource + Clone + Send + 'static,
{
    let mut events = std::pin::pin!(events.default_backoff());
    while let Some(event) = events.next().await {
        if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
            let now = Moment { at: Timestamp::now(), instant: Instant::now() };
            note(&mut lock(&seen), object, now);
        }
    }
}

fn pod(seen: &mut Seen, pod: Pod, now: Moment) {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()).and_then(|one| one.image.clone());
    let life = seen.pods.entry(pod.name_any()).or_default();
    life.site = pod.labels().get("bluegreen.dev/site").cloned().unwrap_or_default();
    life.image = image.unwrap_or_default();
    if ready && life.ready.is_none() {
        life.ready = Some(now);
    }
}

fn slice(seen: &mut Seen, slice: EndpointSlice, now: Moment) {
    let service = slice.labels().get("kubernetes.io/service-name").cloned().unwrap_or_default();
    let site = slice.labels().get("bluegreen.dev/site").cloned().unwrap_or_default();
    let serves = |one: &&k8s_openapi::api::discovery::v1::Endpoint| {
        let conditions = one.conditions.as_ref();
        conditions.and_then(|all| all.ready).unwrap_or(true)
            && !conditions.and_then(|all| all.terminating).unwrap_or(false)
    };
    let ready: Vec<String> =
        slice.endpoints.iter().filter(serves).filter_map(|one| one.target_ref.as_ref()?.name.clone()).collect();
    for pod in &ready {
        let life = seen.pods.entry(pod.clone()).or_default();
        if service == site {
            if ready.len() == 1 && life.alone.is_none() {
                life.alone = Some(now);
            }
        } else if service.ends_with("-blue") || service.ends_with("-green") {
            life.in_slices.get_or_insert(now);
        }
    }
}

fn site(seen: &mut Seen, site: DynamicObject, now: Moment) {
    let status = &site.data["status"];
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
    let newest = status["observedGeneration"].as_i64() == site.metadata.generation;
    if ready && newest && status["phase"] == "Idle" {
        let image = &site.data["spec"]["target"]["cluster"]["template"]["spec"]["containers"][0]["image"];
        let image = image.as_str().unwrap_or_default().to_owned();
        let known = seen.live.get(&site.name_any()).is_some_and(|(known, _)| *known == image);
        if !known {
            seen.live.insert(site.name_any(), (image, now.instant));
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
