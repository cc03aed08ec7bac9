//! What needs no decision: the Services and budgets that a site always has, the seal on what is ready, sizes, and drift of what a colour runs.

use std::time::{Duration, Instant};

use kube::api::Patch;
use serde_json::{Value, json};

use super::ask::Failure;
use super::children::{Budget, Deployment, HttpRoute, Kind, Release as Stored, Service};
use super::front::stamp;
use super::look::{Scene, foreign};
use super::objects::{Objects, ServiceWanted, Start, of_colour, own_ports, preview, wanted_ports};
use super::release::ports;
use super::{ClusterPlatform, Inner, Wanted, lock, scene};
use crate::api::names::{cluster as names, reasons};
use crate::api::site::Route;
use crate::platform::Fault;
use crate::platform::clock::wall;
use crate::rollout::{Colour, Goal, Ledger, Phase, Plan, Revision, Step};

/// So many releases are kept for a rollback.
const KEPT: usize = 10;
/// Old ones are looked for so often at most.
const PRUNE: Duration = Duration::from_secs(60);
/// So often a candidate that somebody made smaller is made larger again.
const SHRUNK: u32 = 2;
/// Why pods are not ready is asked so often at most, and not before they had this long.
const ASK_WHY: Duration = Duration::from_secs(5);

impl ClusterPlatform {
    pub(super) async fn tend(&self, wanted: &Wanted, plan: &Plan, goal: &Goal, inner: &mut Inner) -> Result<(), Fault> {
        // What was just stopped or started is looked at again first.
        let moved = matches!(goal.step, Some(Step::Start { .. } | Step::Stop { .. }));
        let memory = self.load().await?;
        let ledger = memory.ledger.unwrap_or_default();
        let phase = memory.status.map(|status| status.phase);
        self.services(wanted).await?;
        if !moved {
            for colour in Colour::BOTH {
                self.tend_deployment(wanted, colour, &ledger, inner).await?;
            }
            self.tend_ledger(wanted).await?;
            self.tend_front(wanted, &ledger).await?;
        }
        self.budgets(wanted).await?;
        self.ask_why(wanted, inner).await;
        if phase == Some(Phase::Idle) {
            self.prune(wanted, plan, &ledger, inner).await?;
        }
        Ok(())
    }

    /// The Services of both colours, and the preview. Nothing is made before something was started.
    async fn services(&self, wanted: &Wanted) -> Result<(), Fault> {
        let children = self.children();
        let scene = scene(wanted, &children);
        if Colour::BOTH.into_iter().all(|colour| scene.deployment(colour).is_none()) && scene.front().is_none() {
            return Ok(());
        }
        let release = |colour: Colour| {
            let known = ports(scene.deployment(colour).and_then(|one| one.ports.as_deref()));
            if known.is_empty() { own_ports(&wanted.site.target.ports) } else { known }
        };
        for colour in Colour::BOTH {
            self.colour_service(wanted, colour, &release(colour)).await?;
        }
        let shown = scene.named().map_or(Colour::Blue, Colour::other);
        let objects = wanted.objects(self.key());
        let leading = super::release::leading_to(&wanted.site.target.ports, &release(shown));
        let service =
            ServiceWanted { selector: objects.selector(shown, None), ports: &leading, annotations: json!({}) };
        self.own_service(wanted, &preview(wanted.site.name.as_str()), None, shown, &service).await
    }

    async fn tend_deployment(
        &self,
        wanted: &Wanted,
        colour: Colour,
        ledger: &Ledger,
        inner: &mut Inner,
    ) -> Result<(), Fault> {
        let children = self.children();
        let scene = scene(wanted, &children);
        let Some(known) = scene.deployment(colour).filter(|known| known.replicas > 0) else {
            lock(&self.contested).remove(&colour);
            return Ok(());
        };
        let Some(revision) = known.revision.filter(|_| !known.owned.deleting) else {
            return Ok(());
        };
        let drifted = known.generation != known.ours && inner.eyes.of(colour).fine != Some(known.generation);
        if drifted {
            return self.put_back(wanted, known, colour, revision, inner).await;
        }
        let live = scene.named() == Some(colour);
        if self.resize(wanted, &scene, colour, live, ledger, inner).await? {
            return Ok(());
        }
        let pods = scene.pods(colour).unwrap_or_default();
        let ready = pods.values().filter(|ready| **ready).count();
        let all = usize::try_from(known.replicas).is_ok_and(|size| ready >= size);
        let foreign = foreign(known, inner.eyes.of(colour));
        if !known.paused && all && !foreign {
            // From now on, an edit of its template changes no pod.
            self.set(wanted, known, json!({"paused": true}), json!({})).await?;
            (self.wake)();
        } else if known.paused && (foreign || known.has == 0 && pods.is_empty()) && known.observed >= known.generation {
            // Somebody unsealed it, changed it and sealed it: pods run that are not of its template. Or there is no ReplicaSet that would make its
            // pods: it was deleted, or not restored with the rest.
            self.set(wanted, known, json!({"paused": false}), json!({})).await?;
        }
        Ok(())
    }

    /// Changes a Deployment's specification: to one that really is another one.
    async fn set(&self, wanted: &Wanted, known: &Deployment, spec: Value, mut annotations: Value) -> Result<(), Fault> {
        annotations[names::GENERATION] = json!((known.generation + 1).to_string());
        let change = wanted.objects(self.key()).deployment_change(known, &spec, &annotations);
        self.change_deployment(known, &change).await
    }

    /// Somebody changed a Deployment. Its size is theirs to change; what it runs is not.
    async fn put_back(
        &self,
        wanted: &Wanted,
        known: &Deployment,
        colour: Colour,
        revision: Revision,
        inner: &mut Inner,
    ) -> Result<(), Fault> {
        if known.ours < 0 {
            // Without any annotation there is no place to put one, and our tested writes would fail.
            let none = json!({names::GENERATION: "0"});
            let change = wanted.objects(self.key()).change(known.owned.version, Some(colour), none);
            self.ask.patch::<Deployment>(&known.name, &Patch::Merge(json!({"metadata": change}))).await?;
            (self.wake)();
            return Ok(());
        }
        let release = self.stored(wanted, revision, inner).await?;
        let at = stamp(known.started.unwrap_or_else(wall));
        let objects = wanted.objects(self.key());
        let mut start = Start {
            colour,
            revision,
            release: &release,
            replicas: known.replicas,
            wish: if known.wished < 0 { wanted.size() } else { known.wished },
            // A word of ours that changed would count as a change: asked is whether anything of theirs did.
            generation: known.ours,
            at: &at,
            paused: known.paused,
        };
        let would = self.ask.would_patch::<Deployment>(&known.name, &objects.start(known, &start)).await?;
        let whole = known.ports.is_some() && known.started.is_some() && known.wished >= 0;
        if would.fact.generation == known.generation && whole {
            // Only its size is another one, somebody noted something on it, or its seal is broken, which is mended where it is seen.
            inner.eyes.of(colour).fine = Some(known.generation);
            (self.wake)();
            return Ok(());
        }
        tracing::warn!(site = %self.key(), deployment = %known.name, "somebody changed what a colour runs; it is put back");
        start.generation = would.fact.generation;
        inner.eyes.of(colour).mended = Some(would.fact.generation).filter(|_| !known.paused);
        self.change_deployment(known, &objects.start(known, &start)).await?;
        (self.wake)();
        Ok(())
    }

    /// Sizes follow the specification where it changes, except from a cutover to its end; a candidate only grows. True: it was written.
    async fn resize(
        &self,
        wanted: &Wanted,
        scene: &Scene<'_>,
        colour: Colour,
        live: bool,
        ledger: &Ledger,
        inner: &mut Inner,
    ) -> Result<bool, Fault> {
        let Some(known) = scene.deployment(colour).filter(|_| ledger.intent.is_none()) else { return Ok(false) };
        let wish = wanted.size();
        let candidate =
            !live && scene.named().is_some() && !known.revision.is_some_and(|revision| ledger.trusts(revision));
        let size = if live && known.wished != wish {
            wish
        } else if candidate {
            let other = scene.deployment(colour.other()).map_or(0, |other| other.replicas);
            let size = wish.max(other).max(known.replicas);
            let shrunk = known.generation != known.ours && known.replicas < size;
            if shrunk && !self.grows_again(known, colour, size, inner) {
                return Ok(false);
            }
            size
        } else {
            lock(&self.contested).remove(&colour);
            return Ok(false);
        };
        if size == known.replicas && wish == known.wished {
            return Ok(false);
        }
        let annotations = json!({names::REPLICAS: wish.to_string()});
        if size == known.replicas {
            let change = wanted.objects(self.key()).deployment_change(known, &json!({}), &annotations);
            self.change_deployment(known, &change).await?;
        } else {
            self.set(wanted, known, json!({"replicas": size}), annotations).await?;
            inner.eyes.of(colour).fine = None;
        }
        Ok(true)
    }

    /// Somebody made a candidate smaller than what it is to replace. Whether it grows again: a slip of the hand is mended, and whoever goes on is obeyed
    /// and told of, since two who both insist would write for ever.
    fn grows_again(&self, known: &Deployment, colour: Colour, size: i32, inner: &mut Inner) -> bool {
        let eye = inner.eyes.of(colour);
        let times = eye.shrunk.filter(|(revision, _)| Some(*revision) == known.revision).map_or(0, |(_, times)| times);
        if times < SHRUNK {
            eye.shrunk = known.revision.map(|revision| (revision, times + 1));
            return true;
        }
        let text = format!(
            "somebody keeps setting the Deployment {} to {} pods, and it was to have {size} before traffic moves to it; that is obeyed: aim autoscalers at \
             the BlueGreenSite {}, whose size both colours follow",
            known.name,
            known.replicas,
            self.key().site()
        );
        if lock(&self.contested).insert(colour, text.clone()).is_none() {
            tracing::warn!(site = %self.key(), reason = reasons::SIZE_CONTESTED, "{text}");
        }
        false
    }

    /// A ledger that somebody took from the front object, while it still waited to be written with the next route, is written now.
    async fn tend_ledger(&self, wanted: &Wanted) -> Result<(), Fault> {
        let Some(front) = self.front_ledger(wanted).await?.filter(|front| front.ledger.is_none()) else {
            return Ok(());
        };
        let waiting = super::lock(&self.memory).ledger.clone();
        match waiting {
            Some(ledger) => self.write_ledger(wanted, front.version, &ledger).await,
            None => Ok(()),
        }
    }

    /// The live Service's ports, and what an HTTPRoute matches, follow the specification; its route is the logic's.
    async fn tend_front(&self, wanted: &Wanted, ledger: &Ledger) -> Result<(), Fault> {
        let children = self.children();
        let scene = scene(wanted, &children);
        let Some(colour) = scene.named().filter(|_| ledger.intent.is_none()) else { return Ok(()) };
        let objects = wanted.objects(self.key());
        match &wanted.site.target.route {
            Route::Service => {
                let name = wanted.site.target.service.as_str();
                let Some(live) = scene.service(name) else { return Ok(()) };
                let leading = self.live_ports(wanted, colour);
                if live.ports == wanted_ports(&leading) {
                    return Ok(());
                }
                let mut all = vec![json!({"$patch": "replace"})];
                all.extend(Objects::ports(&leading).as_array().cloned().unwrap_or_default());
                let patch = Patch::Strategic(json!({
                    "metadata": objects.change(live.owned.version, None, json!({})),
                    "spec": {"ports": all},
                }));
                self.ask.patch::<Service>(name, &patch).await?;
            }
            Route::HttpRoute(http) => {
                let name = wanted.site.name.as_str();
                let Some(known) = scene.children.route(name) else { return Ok(()) };
                let digest = objects.route_digest(http);
                if known.ours == known.generation && known.written == Some(digest) {
                    return Ok(());
                }
                let mut spec = objects.route_spec(http, Some(colour));
                if spec["hostnames"].is_null() {
                    spec.as_object_mut().map(|spec| spec.remove("hostnames"));
                }
                let change = [
                    json!({"op": "test", "path": "/metadata/generation", "value": known.generation}),
                    json!({"op": "add", "path": "/spec", "value": spec}),
                ];
                let would = self.ask.would_patch::<HttpRoute>(name, &change).await?;
                let annotations = json!({
                    names::DIGEST: format!("{digest:016x}"),
                    names::GENERATION: would.fact.generation.to_string(),
                });
                let patch = Patch::Merge(json!({
                    "metadata": objects.change(known.owned.version, None, annotations),
                    "spec": objects.route_spec(http, Some(colour)),
                }));
                self.ask.patch::<HttpRoute>(name, &patch).await?;
            }
        }
        (self.wake)();
        Ok(())
    }

    /// A colour of several pods is never emptied by whoever drains nodes.
    async fn budgets(&self, wanted: &Wanted) -> Result<(), Fault> {
        if self.ask.cache.complete(&[Kind::Budget]).is_err() {
            return Ok(());
        }
        let children = self.children();
        let scene = scene(wanted, &children);
        for colour in Colour::BOTH {
            let name = of_colour(wanted.site.name.as_str(), colour);
            let several = scene.deployment(colour).is_some_and(|one| one.replicas > 1);
            if !several || children.budgets.iter().any(|budget| *budget.name == *name) {
                continue;
            }
            match self.ask.create::<Budget>(&wanted.objects(self.key()).budget(colour)).await {
                // One that somebody else made for the same pods does as well.
                Ok(_) | Err(Failure::Exists) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    /// Why pods are not ready, and whether one that was ready ended by itself: for people, and for the checks. What can't be asked is not known.
    async fn ask_why(&self, wanted: &Wanted, inner: &mut Inner) {
        let now = wall();
        let checked = inner.eyes.check.map(|(goal, _)| goal.colour);
        for colour in Colour::BOTH {
            let (starts, name) = {
                let children = self.children();
                let scene = scene(wanted, &children);
                let Some(known) = scene.deployment(colour).filter(|one| one.replicas > 0) else { continue };
                let ready = scene.pods(colour).unwrap_or_default().values().filter(|ready| **ready).count();
                let short = usize::try_from(known.replicas).is_ok_and(|size| ready < size);
                let young = known.started.is_some_and(|started| now.since(started) < ASK_WHY);
                (short && !young, known.name.clone())
            };
            let eye = inner.eyes.of(colour);
            let stale = eye.why.as_ref().is_none_or(|(_, at)| now.since(*at) >= ASK_WHY);
            let suspicious = eye.suspects && checked == Some(colour);
            if !(suspicious || starts && stale) {
                continue;
            }
            let labels = format!("{}={},{}={colour}", names::SITE, wanted.site.name, names::COLOUR);
            let path = format!("/api/v1/namespaces/{}/pods", self.key().namespace());
            match self.ask.list::<Value>("pods", &path, &labels, 50).await {
                Ok(list) => {
                    let pods = list["items"].as_array().cloned().unwrap_or_default();
                    let why = pods.iter().find_map(waits).unwrap_or_default();
                    eye.why = Some((why, now));
                    if suspicious {
                        eye.suspects = false;
                        eye.fallen = pods.iter().find_map(|pod| ended(pod, &name)).map(|how| (how, now));
                    }
                    if starts {
                        (self.wake)();
                    }
                }
                Err(failure) => {
                    tracing::debug!(site = %self.key(), error = %Fault::from(failure), "pods can't be asked");
                    eye.why = Some((String::new(), now));
                    eye.suspects = false;
                }
            }
        }
    }

    /// Deletes releases that nobody goes back to: the newest few are kept, and those that are needed.
    async fn prune(&self, wanted: &Wanted, plan: &Plan, ledger: &Ledger, inner: &mut Inner) -> Result<(), Fault> {
        let children = self.children();
        let mut ours: Vec<&Stored> = children.releases.iter().filter(|one| one.owned.owner == wanted.owner).collect();
        if ours.len() <= KEPT || inner.pruned.is_some_and(|at| at.elapsed() < PRUNE) {
            return Ok(());
        }
        inner.pruned = Some(Instant::now());
        let scene = scene(wanted, &children);
        let mut needed: Vec<Revision> =
            [ledger.stable, ledger.intent].into_iter().flatten().map(|held| held.revision).collect();
        needed.extend(ledger.rollback.map(|rollback| rollback.to));
        needed.extend(plan.wanted);
        needed.extend(Colour::BOTH.into_iter().filter_map(|colour| scene.deployment(colour)?.revision));
        ours.sort_by_key(|one| std::cmp::Reverse(one.made));
        let old: Vec<String> = ours
            .iter()
            .skip(KEPT)
            .filter_map(|one| one.revision)
            .filter(|revision| !needed.contains(revision))
            .map(|revision| revision.to_string())
            .collect();
        if old.is_empty() {
            return Ok(());
        }
        let labels = format!("{}={},{} in ({})", names::SITE, wanted.site.name, names::REVISION, old.join(","));
        self.ask.delete_all::<Stored>(&labels).await?;
        let kept: Vec<Revision> = ours
            .iter()
            .filter_map(|one| one.revision)
            .filter(|revision| !old.contains(&revision.to_string()))
            .collect();
        // What is left over takes up room and harms nobody.
        if let Err(fault) = self.prune_copies(wanted, &kept, inner).await {
            tracing::warn!(site = %self.key(), %fault, "copies that nobody reads any more are left");
        }
        Ok(())
    }
}

/// What a pod waits for, in the words of whoever runs it.
fn waits(pod: &Value) -> Option<String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or("a pod");
    let none = Vec::new();
    let list = |path: &str| pod.pointer(path).and_then(Value::as_array).unwrap_or(&none).clone();
    let states = [list("/status/initContainerStatuses"), list("/status/containerStatuses")].concat();
    for state in &states {
        let waiting = &state["state"]["waiting"];
        if let Some(reason) =
            waiting["reason"].as_str().filter(|reason| *reason != "ContainerCreating" && *reason != "PodInitializing")
        {
            let message = waiting["message"].as_str().unwrap_or_default();
            return Some(format!("{name}: {reason} {message}").trim_end().to_owned());
        }
    }
    let condition = |kind: &str| {
        list("/status/conditions").into_iter().find(|one| one["type"] == json!(kind) && one["status"] == json!("False"))
    };
    for kind in ["PodScheduled", "Initialized", "ContainersReady", "Ready"] {
        if let Some(found) = condition(kind) {
            let message = found["message"].as_str().or(found["reason"].as_str()).unwrap_or(kind);
            return Some(format!("{name}: {message}"));
        }
    }
    None
}

/// How a container of a pod ended by itself, if one did.
fn ended(pod: &Value, deployment: &str) -> Option<String> {
    let statuses = pod.pointer("/status/containerStatuses")?.as_array()?;
    let name = pod["metadata"]["name"].as_str().unwrap_or(deployment);
    statuses.iter().find_map(|status| {
        let again = status["restartCount"].as_u64().unwrap_or(0) > 0;
        let ended = [&status["lastState"]["terminated"], &status["state"]["terminated"]];
        let how = ended.into_iter().find(|one| one.is_object())?;
        let reason = how["reason"].as_str().unwrap_or("Error");
        let code = how["exitCode"].as_i64().unwrap_or(-1);
        again.then(|| {
            format!(
                "container {} of {name} ended by itself after it was ready ({reason}, exit code {code}): see kubectl logs --previous {name}",
                status["name"].as_str().unwrap_or_default()
            )
        })
    })
}
