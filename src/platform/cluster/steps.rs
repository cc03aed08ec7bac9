//! Takes one step, with a last look right before it.

use kube::api::Patch;
use serde_json::{Value, json};

use super::ask::{Failure, changed};
use super::children::{Deployment, Kind, Service, Watched};
use super::front::stamp;
use super::look::Scene;
use super::objects::{ServiceWanted, Start, colour_selector, of_colour, wanted_ports};
use super::ownership::{Whose, taken, whose};
use super::release::{Port, leading_to};
use super::{ClusterPlatform, Inner, Wanted, scene};
use crate::api::names::{cluster as names, reasons};
use crate::platform::clock::wall;
use crate::platform::{Class, Fault};
use crate::rollout::{Colour, Goal, Refusal, Revision, Step, guard};

impl ClusterPlatform {
    pub(super) async fn step(&self, wanted: &Wanted, goal: &Goal, inner: &mut Inner) -> Result<(), Fault> {
        let Some(step) = goal.step else { return Ok(()) };
        if matches!(step, Step::Stop { .. } | Step::Unroute) {
            // Whatever watches may have missed: what is about to be stopped must not be what is live.
            self.read_front(wanted).await?;
        }
        let ledger = self.load().await?.ledger.unwrap_or_default();
        let children = self.children();
        let seen = scene(wanted, &children);
        let world = seen.world(&mut inner.eyes).map_err(|what| Fault {
            class: Class::Conflict,
            reason: reasons::UNKNOWN,
            message: format!("{what}; nothing is done before it can be seen"),
        })?;
        guard(goal, &ledger, &world).map_err(refused)?;
        match step {
            Step::Start { colour, revision } => self.start(wanted, &seen, colour, revision, inner).await,
            Step::Stop { colour, .. } => self.stop(wanted, &seen, colour).await,
            Step::Route { colour, revision, .. } => self.route_to(wanted, Some((colour, revision)), &ledger).await,
            Step::Unroute => self.route_to(wanted, None, &ledger).await,
        }
    }

    async fn start(
        &self,
        wanted: &Wanted,
        seen: &Scene<'_>,
        colour: Colour,
        revision: Revision,
        inner: &mut Inner,
    ) -> Result<(), Fault> {
        let known = seen.deployment(colour);
        if let Some(known) = known {
            if known.owned.deleting {
                return Err(changed(&format!("the Deployment {} is still being deleted", known.name)));
            }
            if known.replicas > 0 && known.revision == Some(revision) {
                return Ok(());
            }
        }
        let named = seen.named() == Some(colour) && (known.is_some() || seen.selected() == Some((colour, revision)));
        let left = seen.pods(colour).map_or(0, |pods| pods.len());
        if left > 0 && !named {
            // They would be taken for pods of the revision that is started.
            return Err(Fault {
                class: Class::Transient,
                reason: reasons::PODS_LEFT,
                message: format!(
                    "{left} pods of what {colour} ran before are still there: waiting until they are gone"
                ),
            });
        }
        let release = self.stored(wanted, revision, inner).await?;
        self.colour_service(wanted, colour, &release.ports).await?;
        let size = |colour: Colour| seen.deployment(colour).map_or(0, |one| one.replicas);
        let other = if seen.named() == Some(colour.other()) { size(colour.other()) } else { 0 };
        // A live colour that somebody scaled to nothing gets back what we gave it last.
        let before = known.filter(|_| named).map_or(0, |known| known.wished);
        let wish = wanted.size();
        let replicas = wish.max(other).max(before);
        let at = stamp(wall());
        let objects = wanted.objects(self.key());
        let name = of_colour(wanted.site.name.as_str(), colour);
        let generation = known.map_or(1, |known| known.generation + 1);
        let start = Start { colour, revision, release: &release, replicas, wish, generation, at: &at, paused: false };
        let Some(known) = known else {
            return match self.ask.create::<Deployment>(&objects.deployment(&start)).await {
                Ok(_) => Ok(()),
                Err(Failure::Exists) => self.foreign_deployment(wanted, &name).await,
                Err(other) => Err(other.into()),
            };
        };
        self.change_deployment(known, &objects.start(known, &start)).await
    }

    /// Writes a Deployment that is as it was seen.
    pub(super) async fn change_deployment(&self, known: &Deployment, operations: &[Value]) -> Result<(), Fault> {
        let name = &*known.name;
        let refused = match self.ask.patch_tested::<Deployment>(name, operations).await {
            Ok(_) => return Ok(()),
            Err(Failure::NotFound) => {
                self.ask.cache.forget::<Deployment>(self.key(), name);
                return Err(changed(&format!("the Deployment {name} is gone")));
            }
            Err(Failure::Refused(message)) => message,
            Err(other) => return Err(other.into()),
        };
        // A test that failed is refused like a field that is wrong.
        let now = self
            .ask
            .read::<Watched<Deployment>>(Kind::Deployment.resource(), &self.ask.path::<Deployment>(), name)
            .await?;
        match now {
            Some(now) if now.fact.generation == known.generation && now.fact.uid == known.uid => {
                Err(Failure::Refused(refused).into())
            }
            Some(now) => {
                self.ask.cache.note(&now);
                Err(changed(&format!("the Deployment {name} was changed in the meantime")))
            }
            None => Err(changed(&format!("the Deployment {name} is gone"))),
        }
    }

    async fn foreign_deployment(&self, wanted: &Wanted, name: &str) -> Result<(), Fault> {
        let Some(there) = self.read_noting::<Deployment>(name).await? else {
            return Err(changed(&format!("the Deployment {name} came and went")));
        };
        match whose(wanted, &there) {
            Whose::Ours => {
                // Its label was taken away, so it isn't watched.
                let version = super::ask::version(&there);
                let objects = wanted.objects(self.key());
                let patch = Patch::Merge(json!({"metadata": objects.change(version, None, json!({}))}));
                self.ask.patch::<Deployment>(name, &patch).await?;
                Err(changed(&format!("the Deployment {name} was not seen before")))
            }
            other => Err(taken("Deployment", name, &other, false, wanted.site.name.as_str())),
        }
    }

    async fn stop(&self, wanted: &Wanted, seen: &Scene<'_>, colour: Colour) -> Result<(), Fault> {
        let Some(known) = seen.deployment(colour).filter(|known| known.replicas > 0) else { return Ok(()) };
        let annotations = json!({names::GENERATION: (known.generation + 1).to_string()});
        let change = wanted.objects(self.key()).deployment_change(known, &json!({"replicas": 0}), &annotations);
        self.change_deployment(known, &change).await
    }

    /// Sees to it that a colour's own Service is there, selects that colour, and leads to where its pods listen.
    pub(super) async fn colour_service(&self, wanted: &Wanted, colour: Colour, release: &[Port]) -> Result<(), Fault> {
        let name = of_colour(wanted.site.name.as_str(), colour);
        let objects = wanted.objects(self.key());
        let ports = leading_to(&wanted.site.target.ports, release);
        let selector = objects.selector(colour, None);
        let service = ServiceWanted { selector, ports: &ports, annotations: json!({}) };
        self.own_service(wanted, &name, Some(colour), colour, &service).await
    }

    /// Sees to it that one of the Services that nobody but us needs is as it shall be.
    pub(super) async fn own_service(
        &self,
        wanted: &Wanted,
        name: &str,
        label: Option<Colour>,
        selects: Colour,
        service: &ServiceWanted<'_>,
    ) -> Result<(), Fault> {
        let children = self.children();
        let objects = wanted.objects(self.key());
        if let Some(known) = scene(wanted, &children).service(name) {
            if known.selector == colour_selector(selects) && known.ports == wanted_ports(service.ports) {
                return Ok(());
            }
            let patch = Patch::Strategic(objects.service_change(known.owned.version, label, service));
            return match self.ask.patch::<Service>(name, &patch).await {
                Ok(_) => Ok(()),
                Err(Failure::NotFound) => {
                    self.ask.cache.forget::<Service>(self.key(), name);
                    Err(changed(&format!("the Service {name} is gone")))
                }
                Err(other) => Err(other.into()),
            };
        }
        match self.ask.create::<Service>(&objects.service(name, label, service)).await {
            Ok(_) => Ok(()),
            Err(Failure::Exists) => {
                let Some(there) = self.read_noting::<Service>(name).await? else {
                    return Err(changed(&format!("the Service {name} came and went")));
                };
                match whose(wanted, &there) {
                    Whose::Ours => {
                        let change = objects.service_change(super::ask::version(&there), label, service);
                        self.ask.patch::<Service>(name, &Patch::Strategic(change)).await?;
                        Ok(())
                    }
                    other => Err(taken("Service", name, &other, false, wanted.site.name.as_str())),
                }
            }
            Err(other) => Err(other.into()),
        }
    }
}

fn refused(refusal: Refusal) -> Fault {
    changed(match refusal {
        Refusal::Outdated => "it was decided with an older memory than the one on record",
        Refusal::RouteNamesIt => "traffic goes to the colour that was to be stopped",
        Refusal::StillDraining => "the colour that was to be stopped still has requests in flight",
        Refusal::Occupied => "the slot runs something else",
        Refusal::NotReady => "the colour that traffic was to go to is not ready",
        Refusal::NotIntended => "the cutover is not on record",
    })
}
