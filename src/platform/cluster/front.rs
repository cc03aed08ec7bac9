//! The front object: the live Service, or the HTTPRoute. It carries the route and, in an annotation, the ledger, so that an intent and what it
//! intends change in one write.

use kube::api::Patch;
use serde_json::{Value, json};

use super::ask::{Failure, changed};
use super::children::{Fact, HttpRoute, Owned, Service, Watched, uid};
use super::objects::{Objects, ServiceWanted};
use super::release::{leading_to, ports};
use super::{ClusterPlatform, Wanted, scene};
use crate::api::names::{API_VERSION, KIND, cluster as names, reasons};
use crate::api::site::{Route, ServicePort};
use crate::driver::clock::wall;
use crate::platform::{Class, Fault};
use crate::rollout::{Colour, Ledger, Revision, Time};

/// Whose an object of a name that we need is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Ours.
    Ours,
    /// Nobody's that we know of, and a person says that we may have it.
    Offered,
    /// A site's that was deleted, and had our name: it will be gone soon.
    Leftover,
    /// Somebody else's, in words.
    Taken(String),
}

/// Whose this object is.
pub(super) fn whose(wanted: &Wanted, object: &Value) -> Whose {
    let metadata = &object["metadata"];
    let none = Vec::new();
    let owners = metadata["ownerReferences"].as_array().unwrap_or(&none);
    let controller = owners.iter().find(|owner| owner["controller"] == json!(true));
    let annotation = |name: &str| metadata["annotations"][name].as_str();
    let site = wanted.site.name.as_str();
    match controller {
        Some(owner) if owner["uid"].as_str().map(uid) == Some(wanted.owner) => Whose::Ours,
        Some(owner)
            if owner["kind"] == json!(KIND)
                && owner["name"] == json!(site)
                && owner["apiVersion"] == json!(API_VERSION) =>
        {
            Whose::Leftover
        }
        Some(owner) => Whose::Taken(format!(
            "{} {}",
            owner["kind"].as_str().unwrap_or("something"),
            owner["name"].as_str().unwrap_or_default()
        )),
        None => match annotation(names::OWNER) {
            Some(owner) if uid(owner) == wanted.owner => Whose::Ours,
            _ if annotation(names::ADOPT) == Some(site) => Whose::Offered,
            Some(_) => Whose::Taken("a site that was deleted and left it".to_owned()),
            None => Whose::Taken("somebody who made it by hand or with another tool".to_owned()),
        },
    }
}

/// It belongs to somebody else.
pub(super) fn taken(kind: &str, name: &str, whose: &Whose, adoptable: bool, site: &str) -> Fault {
    match whose {
        Whose::Leftover => Fault {
            class: Class::Transient,
            reason: reasons::NAME_TAKEN,
            message: format!(
                "the {kind} {name} still belongs to a site of the same name that was deleted; waiting until it is gone"
            ),
        },
        Whose::Taken(who) => {
            let offer = if adoptable {
                format!(
                    ", or hand it over with: kubectl annotate {} {name} {}={site}",
                    kind.to_lowercase(),
                    names::ADOPT
                )
            } else {
                String::new()
            };
            Fault {
                class: Class::User,
                reason: reasons::NAME_TAKEN,
                message: format!(
                    "the {kind} {name} belongs to {who} and is not touched: give the site another name, or delete it{offer}"
                ),
            }
        }
        Whose::Ours | Whose::Offered => changed(&format!("the {kind} {name} came in the meantime")),
    }
}

/// The front object as it is at this moment.
pub(super) struct Found {
    object: Value,
    whose: Whose,
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
        Ok(object.map(|object| Found { whose: whose(wanted, &object), object }))
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

    /// The ledger as it stands on the front object, and that object's version. `None`: there is no front object of ours.
    pub(super) async fn front_ledger(&self, wanted: &Wanted) -> Result<Option<(u64, Option<Ledger>)>, Fault> {
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
                let text = found.object["metadata"]["annotations"][names::LEDGER].as_str();
                Some((super::ask::version(&found.object), text.and_then(|text| serde_json::from_str(text).ok())))
            }
            None => {
                *super::lock(&self.no_front) = Some(std::time::Instant::now());
                None
            }
        })
    }

    fn known_front(&self, wanted: &Wanted) -> Option<(u64, Option<Ledger>)> {
        let children = self.children();
        let scene = scene(wanted, &children);
        let front = scene.front()?;
        let version = self.front_owned(wanted)?.version;
        Some((version, front.ledger.as_deref().and_then(|text| serde_json::from_str(text).ok())))
    }

    fn front_owned(&self, wanted: &Wanted) -> Option<Owned> {
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
        let annotations = json!({names::LEDGER: json!(ledger).to_string()});
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
