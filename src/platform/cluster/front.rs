//! The front object: the live Service, or the HTTPRoute. It carries the route and, in an annotation, the ledger, so that an intent and what it
//! intends change in one write.

use kube::api::Patch;
use serde_json::{Value, json};

use super::ask::{Failure, changed};
use super::children::{Fact, HttpRoute, Owned, Service, Watched};
use super::objects::{Objects, ServiceWanted};
use super::ownership::{Whose, taken};
use super::release::{leading_to, ports};
use super::{ClusterPlatform, Wanted, scene};
use crate::api::names::{cluster as names, reasons};
use crate::api::site::{Route, ServicePort};
use crate::platform::clock::wall;
use crate::platform::{Class, Fault};
use crate::rollout::{Colour, Ledger, Revision, Time};

/// The front object as it is at this moment.
pub(super) struct Found {
    object: Value,
    whose: Whose,
}

/// What stands on the front object for the logic, and that object's version.
pub(super) struct Beside {
    pub version: u64,
    pub ledger: Option<Ledger>,
    /// What an earlier site left.
    pub left: Option<Ledger>,
}

impl Beside {
    fn new(version: u64, ledger: Option<&str>, left: Option<&str>) -> Beside {
        let read = |text: Option<&str>| text.and_then(|text| serde_json::from_str(text).ok());
        Beside { version, ledger: read(ledger), left: read(left) }
    }
}

/// A moment as an annotation holds it: to the millisecond.
pub(super) fn stamp(time: Time) -> String {
    match k8s_openapi::jiff::Timestamp::from_millisecond(time.0) {
        Ok(moment) => format!("{moment:.3}"),
        Err(_) => String::new(),
    }
}

impl ClusterPlatform {
    /// The front object, read at this moment; the cache takes it if it is newer.
    pub(super) async fn read_front(&self, wanted: &Wanted) -> Result<Option<Found>, Fault> {
        let target = &wanted.site.target;
        let object = match target.route {
            Route::Service => self.read_noting::<Service>(target.service.as_str()).await?,
            Route::HttpRoute(_) => self.read_noting::<HttpRoute>(wanted.site.name.as_str()).await?,
        };
        let Some(object) = object else { return Ok(None) };
        Ok(Some(Found { whose: self.whose_now(wanted, &object).await?, object }))
    }

    /// An object as it is now, whole; the cache takes what it needs of it.
    pub(super) async fn read_noting<F: Fact>(&self, name: &str) -> Result<Option<Value>, Fault> {
        let path = self.ask.path::<F>();
        let object: Option<Value> = self.ask.read(F::KIND.resource(), &path, name).await?;
        if let Some(object) = &object
            && let Ok(seen) = serde_json::from_value::<Watched<F>>(object.clone())
        {
            self.ask.cache.note(&seen);
        }
        Ok(object)
    }

    /// The ledger as it stands on the front object. `None`: there is no front object of ours.
    pub(super) async fn front_ledger(&self, wanted: &Wanted) -> Result<Option<Beside>, Fault> {
        if let Some(known) = self.known_front(wanted) {
            return Ok(Some(known));
        }
        // Somebody may have taken away the label by which it is watched: so it is asked for, but not at each look.
        let recent = super::lock(&self.no_front).is_some_and(|at| at.elapsed() < NO_FRONT);
        if recent {
            return Ok(None);
        }
        let found = self.read_front(wanted).await?;
        Ok(match found.filter(|found| found.whose == Whose::Ours) {
            Some(found) => {
                let text = |name: &str| found.object["metadata"]["annotations"][name].as_str();
                Some(Beside::new(super::ask::version(&found.object), text(names::LEDGER), text(names::LEFT)))
            }
            None => {
                *super::lock(&self.no_front) = Some(std::time::Instant::now());
                None
            }
        })
    }

    fn known_front(&self, wanted: &Wanted) -> Option<Beside> {
        let children = self.children();
        let scene = scene(wanted, &children);
        let front = scene.front()?;
        let version = self.front_owned(wanted)?.version;
        Some(Beside::new(version, front.ledger.as_deref(), front.left.as_deref()))
    }

    /// What is known of the front object, if there is one of ours.
    pub(super) fn front_owned(&self, wanted: &Wanted) -> Option<Owned> {
        let children = self.children();
        let target = &wanted.site.target;
        let owned = match target.route {
            Route::Service => children.service(target.service.as_str()).map(|service| service.owned),
            Route::HttpRoute(_) => children.route(wanted.site.name.as_str()).map(|route| route.owned),
        };
        owned.filter(|owned| owned.owner == wanted.owner)
    }

    /// Writes the ledger alone.
    pub(super) async fn write_ledger(&self, wanted: &Wanted, version: u64, ledger: &Ledger) -> Result<(), Fault> {
        let annotations = json!({names::LEDGER: json!(ledger).to_string(), names::LEFT: null});
        let patch = Patch::Merge(json!({
            "metadata": wanted.objects(&self.ask.key).change(version, None, annotations),
        }));
        let target = &wanted.site.target;
        match target.route {
            Route::Service => self.ask.patch::<Service>(target.service.as_str(), &patch).await.map(drop)?,
            Route::HttpRoute(_) => self.ask.patch::<HttpRoute>(wanted.site.name.as_str(), &patch).await.map(drop)?,
        }
        Ok(())
    }

    /// Sends traffic to a revision on a colour, or nowhere; the ledger goes with it.
    pub(super) async fn route_to(
        &self,
        wanted: &Wanted,
        to: Option<(Colour, Revision)>,
        ledger: &Ledger,
    ) -> Result<(), Fault> {
        let objects = wanted.objects(&self.ask.key);
        let annotations = json!({
            names::LEDGER: json!(ledger).to_string(),
            names::SWITCHED_AT: stamp(wall()),
        });
        match &wanted.site.target.route {
            Route::Service => self.select(wanted, &objects, to, annotations).await?,
            Route::HttpRoute(http) => {
                self.weigh(wanted, &objects, http, to.map(|(colour, _)| colour), annotations).await?;
            }
        }
        let mut memory = super::lock(&self.memory);
        if memory.ledger.as_ref().is_some_and(|pending| pending.version <= ledger.version) {
            memory.ledger = None;
        }
        Ok(())
    }

    /// The live Service's ports, leading to where the pods of a colour listen.
    pub(super) fn live_ports(&self, wanted: &Wanted, colour: Colour) -> Vec<ServicePort> {
        let children = self.children();
        let scene = scene(wanted, &children);
        let release = ports(scene.deployment(colour).and_then(|deployment| deployment.ports.as_deref()));
        leading_to(&wanted.site.target.ports, &release)
    }

    async fn select(
        &self,
        wanted: &Wanted,
        objects: &Objects<'_>,
        to: Option<(Colour, Revision)>,
        mut annotations: Value,
    ) -> Result<(), Fault> {
        let name = wanted.site.target.service.as_str();
        let selector =
            to.map_or_else(|| objects.nothing(), |(colour, revision)| objects.selector(colour, Some(revision)));
        let colour = to.map_or(Colour::Blue, |(colour, _)| colour);
        let ports = self.live_ports(wanted, colour);
        let known = self.front_owned(wanted);
        if let Some(known) = known {
            let service = ServiceWanted { selector, ports: &ports, annotations };
            let patch = Patch::Strategic(objects.service_change(known.version, None, &service));
            return match self.ask.patch::<Service>(name, &patch).await {
                Ok(_) => Ok(()),
                Err(Failure::NotFound) => {
                    self.ask.cache.forget::<Service>(&self.ask.key, name);
                    Err(changed("the live Service is gone"))
                }
                Err(other) => Err(other.into()),
            };
        }
        let Some(found) = self.read_front(wanted).await? else {
            let Some(_) = to else { return Ok(()) };
            let service = ServiceWanted { selector, ports: &ports, annotations };
            self.ask.create::<Service>(&objects.service(name, None, &service)).await?;
            return Ok(());
        };
        match found.whose {
            // Its label was taken away, so it isn't watched.
            Whose::Ours => {}
            Whose::Offered => {
                if found.object["spec"]["clusterIP"] == json!("None")
                    || found.object["spec"]["type"] == json!("ExternalName")
                {
                    return Err(Fault {
                        class: Class::User,
                        reason: reasons::NAME_TAKEN,
                        message: format!(
                            "the Service {name} has no address of its own (it is headless, or a name only), so traffic can't be moved by it: give the \
                             site another Service, or use route.httpRoute"
                        ),
                    });
                }
                let before = found.object["spec"]["selector"].clone();
                annotations[names::ADOPTED_SELECTOR] = json!(before.to_string());
            }
            other => return Err(taken("Service", name, &other, true, wanted.site.name.as_str())),
        }
        let service = ServiceWanted { selector, ports: &ports, annotations };
        let mut change = objects.service_change(super::ask::version(&found.object), None, &service);
        change["metadata"]["ownerReferences"] = objects.owners();
        self.ask.patch::<Service>(name, &Patch::Strategic(change)).await?;
        Ok(())
    }

    async fn weigh(
        &self,
        wanted: &Wanted,
        objects: &Objects<'_>,
        http: &crate::api::site::HttpRoute,
        to: Option<Colour>,
        mut annotations: Value,
    ) -> Result<(), Fault> {
        let name = wanted.site.name.as_str();
        annotations[names::DIGEST] = json!(format!("{:016x}", objects.route_digest(http)));
        let spec = objects.route_spec(http, to);
        let known = self.children().route(name).filter(|route| route.owned.owner == wanted.owner).cloned();
        if let Some(known) = known {
            // Other weights are another generation; if only the ledger is new, the next look finds that nothing drifted.
            annotations[names::GENERATION] = json!((known.generation + 1).to_string());
            let change = objects.change(known.owned.version, None, annotations);
            let patch = Patch::Merge(json!({"metadata": change, "spec": spec}));
            self.ask.patch::<HttpRoute>(name, &patch).await?;
            return Ok(());
        }
        if let Some(found) = self.read_front(wanted).await? {
            return match found.whose {
                Whose::Ours => {
                    let generation = found.object["metadata"]["generation"].as_i64().unwrap_or(0);
                    annotations[names::GENERATION] = json!((generation + 1).to_string());
                    let change = objects.change(super::ask::version(&found.object), None, annotations);
                    let patch = Patch::Merge(json!({"metadata": change, "spec": spec}));
                    self.ask.patch::<HttpRoute>(name, &patch).await?;
                    Ok(())
                }
                other => Err(taken("HTTPRoute", name, &other, false, name)),
            };
        }
        if to.is_none() {
            return Ok(());
        }
        annotations[names::GENERATION] = json!("1");
        let mut spec = spec;
        if spec["hostnames"].is_null() {
            spec.as_object_mut().map(|spec| spec.remove("hostnames"));
        }
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": objects.metadata(name, None, annotations),
            "spec": spec,
        });
        match self.ask.create::<HttpRoute>(&route).await {
            Ok(_) => Ok(()),
            Err(Failure::NotFound) => Err(Fault {
                class: Class::User,
                reason: reasons::NO_GATEWAY_API,
                message: "the Gateway API is not installed on this cluster, so there are no HTTPRoutes: install it, or use route.service".to_owned(),
            }),
            Err(other) => Err(other.into()),
        }
    }

    /// Whether the front object can be ours, before anything is started that would need it.
    pub(super) async fn front_can_be_had(&self, wanted: &Wanted) -> Result<(), Fault> {
        if self.front_owned(wanted).is_some() {
            return Ok(());
        }
        let site = wanted.site.name.as_str();
        let service = matches!(wanted.site.target.route, Route::Service);
        let (kind, name) = if service { ("Service", wanted.site.target.service.as_str()) } else { ("HTTPRoute", site) };
        match self.read_front(wanted).await?.map(|found| found.whose) {
            None | Some(Whose::Ours | Whose::Offered) => Ok(()),
            Some(other) => Err(taken(kind, name, &other, service, site)),
        }
    }
}

/// A front object that wasn't there is asked for again after this.
const NO_FRONT: std::time::Duration = std::time::Duration::from_secs(1);
