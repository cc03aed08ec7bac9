//! What the pods of a colour print: straight from the API server, followed for as long as they live, and those that come after them too.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Cluster, ClusterError};
use crate::api::names::cluster;
use crate::cli::output::{complain, print};
use crate::control::api::{Place, SiteView};
use crate::rollout::Colour;

/// From one look for new pods to the next.
const LOOK: Duration = Duration::from_secs(1);
/// The annotation by which a pod says which of its containers is meant.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Which logs are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of this colour; `None`: the live one.
    pub colour: Option<Colour>,
    /// Of the pod of this name, or with this end of a name; `None`: of each.
    pub pod: Option<String>,
    /// Of this container; `None`: the one that the pod names, or its first.
    pub container: Option<String>,
    /// At most so many of the last lines of each.
    pub lines: usize,
    /// Go on with what they print from now on.
    pub follow: bool,
}

/// One container in one of its lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Life {
    pod: String,
    uid: String,
    container: String,
    restarts: i32,
}

/// Prints them.
///
/// # Errors
/// There is no such site, pod or container, nothing runs, or there is no answer.
pub async fn run(cluster: &Cluster, name: &str, wanted: &Wanted) -> anyhow::Result<()> {
    let view = cluster.site(name).await?;
    let colour = match wanted.colour {
        Some(colour) => colour,
        None => chosen(&view)
            .ok_or_else(|| anyhow::anyhow!("nothing runs for {name} yet; see {} describe {name}", cluster.called()))?,
    };
    let mut lives = cluster.lives(name, colour, wanted).await?;
    if lives.is_empty() {
        let there: Vec<&str> = pods(&view, colour);
        match &wanted.pod {
            Some(pod) if !there.is_empty() => {
                anyhow::bail!("{colour} of {name} has no pod {pod:?}; it has {}", there.join(", "))
            }
            _ => {
                anyhow::bail!("nothing has started on {colour} of {name} yet; see {} describe {name}", cluster.called())
            }
        }
    }
    // Whose lines they are is only a question when there are several.
    let prefixed = lives.len() > 1;
    if !wanted.follow {
        let mut text = String::new();
        for life in &lives {
            let lines = cluster.last_lines(life, wanted.lines).await?;
            text.extend(lines.lines().map(|line| labelled(life, prefixed, line)));
        }
        print(&text)?;
        return Ok(());
    }
    let (sender, mut printed) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    let mut known: BTreeSet<Life> = BTreeSet::new();
    let mut first = true;
    loop {
        for life in lives.into_iter().filter(|life| !known.contains(life)).collect::<Vec<_>>() {
            known.insert(life.clone());
            let params = LogParams {
                container: Some(life.container.clone()),
                follow: true,
                // Of what came later all lines are new.
                tail_lines: first.then(|| i64::try_from(wanted.lines).unwrap_or(i64::MAX)),
                ..LogParams::default()
            };
            let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
            let sender = sender.clone();
            tasks.spawn(async move {
                // A pod that goes away takes its log with it; the next look tells what came instead.
                let Ok(stream) = api.log_stream(&life.pod, &params).await else { return };
                let mut lines = stream.lines();
                while let Ok(Some(line)) = lines.try_next().await {
                    if sender.send(labelled(&life, prefixed, &line)).await.is_err() {
                        return;
                    }
                }
            });
        }
        first = false;
        let next = sleep(LOOK);
        tokio::pin!(next);
        loop {
            tokio::select! {
                line = printed.recv() => print(&line.unwrap_or_default())?,
                () = &mut next => break,
            }
        }
        lives = match cluster.lives(name, colour, wanted).await {
            Ok(lives) => lives,
            Err(ClusterError::Away { server, why }) => {
                complain(&format!("the API server at {server} is away, waiting for it: {why}"));
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
    }
}

impl Cluster {
    /// The containers of a colour that have begun to print.
    async fn lives(&self, site: &str, colour: Colour, wanted: &Wanted) -> Result<Vec<Life>, ClusterError> {
        let selector = format!("{}={site},{}={colour}", cluster::SITE, cluster::COLOUR);
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut pods = self.all_of(&api, "pods", &ListParams::default().labels(&selector)).await?;
        pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.name_any()));
        let meant = |pod: &Pod| {
            let name = pod.name_any();
            wanted.pod.as_ref().is_none_or(|wanted| name == *wanted || name.ends_with(&format!("-{wanted}")))
        };
        let mut lives = Vec::new();
        for pod in pods.iter().filter(|pod| meant(pod)) {
            lives.extend(life(pod, wanted.container.as_deref())?);
        }
        Ok(lives)
    }

    async fn last_lines(&self, life: &Life, lines: usize) -> Result<String, ClusterError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = LogParams {
            container: Some(life.container.clone()),
            tail_lines: Some(i64::try_from(lines).unwrap_or(i64::MAX)),
            ..LogParams::default()
        };
        self.answer("get", "pods/log", Some(&life.pod), api.logs(&life.pod, &params)).await
    }
}

/// The life of the container that is meant, if it has begun.
fn life(pod: &Pod, container: Option<&str>) -> Result<Option<Life>, ClusterError> {
    let spec = pod.spec.as_ref();
    let names: Vec<&str> = spec.iter().flat_map(|spec| &spec.containers).map(|one| one.name.as_str()).collect();
    let named = container.or_else(|| pod.annotations().get(DEFAULT_CONTAINER).map(String::as_str));
    let Some(name) = named.or(names.first().copied()) else { return Ok(None) };
    if !names.contains(&name) {
        return Err(ClusterError::Refused(format!(
            "pod {} has no container {name:?}; it has {}",
            pod.name_any(),
            names.join(", ")
        )));
    }
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let status = statuses.into_iter().find(|status| status.name == name);
    let begun = status.filter(|status| {
        let state = status.state.as_ref();
        status.restart_count > 0 || state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    });
    Ok(begun.map(|status| Life {
        pod: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        container: name.to_owned(),
        restarts: status.restart_count,
    }))
}

fn labelled(life: &Life, prefixed: bool, line: &str) -> String {
    if prefixed { format!("[{}] {line}\n", life.pod) } else { format!("{line}\n") }
}

/// The live colour; before there is one, the one in which something runs.
fn chosen(view: &SiteView) -> Option<Colour> {
    let live = view.slots.iter().find(|slot| slot.live);
    live.or_else(|| view.slots.iter().find(|slot| !slot.instances.is_empty())).map(|slot| slot.colour)
}

fn pods(view: &SiteView, colour: Colour) -> Vec<&str> {
    let slots = view.slots.iter().filter(|slot| slot.colour == colour);
    slots
        .flat_map(|slot| &slot.instances)
        .filter_map(|instance| match &instance.place {
            Place::Pod { pod, .. } => Some(pod.as_str()),
            Place::Process { .. } => None,
        })
        .collect()
}
