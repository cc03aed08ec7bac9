//! Of each kind of object, the little that a look needs.

use sha2::{Digest, Sha256};

use crate::rollout::{Colour, Revision, Time};

/// The kinds of objects that a site has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `apps/v1 Deployment`: one for each colour.
    Deployment,
    /// `v1 Service`: the live one, the preview, one for each colour.
    Service,
    /// `discovery.k8s.io/v1 EndpointSlice`: of those Services.
    Slice,
    /// `apps/v1 ControllerRevision`: a release as it is run.
    Release,
    /// `policy/v1 PodDisruptionBudget`: one for each colour.
    Budget,
    /// `gateway.networking.k8s.io/v1 HTTPRoute`, where the Gateway API is installed.
    HttpRoute,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Deployment, Kind::Service, Kind::Slice, Kind::Release, Kind::Budget, Kind::HttpRoute];

    /// As the API server names the resource: what a role has to grant.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            Kind::Deployment => "deployments.apps",
            Kind::Service => "services",
            Kind::Slice => "endpointslices.discovery.k8s.io",
            Kind::Release => "controllerrevisions.apps",
            Kind::Budget => "poddisruptionbudgets.policy",
            Kind::HttpRoute => "httproutes.gateway.networking.k8s.io",
        }
    }
}

/// What every object has. `deleting`: somebody deleted it, and something still holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The uid of the site that it belongs to; zero: of none.
    pub owner: u128,
    /// Its controller says so; otherwise an annotation, or nothing.
    pub controlled: bool,
    /// Its labels say that a site made it.
    pub labelled: bool,
    /// Its `resourceVersion`; grows with each change.
    pub version: u64,
    /// It is on its way out.
    pub deleting: bool,
}

/// A colour's Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its name.
    pub name: Box<str>,
    /// Whose it is.
    pub owned: Owned,
    /// Its own uid: another Deployment of the same name has another one.
    pub uid: u128,
    /// What it runs, by its annotation.
    pub revision: Option<Revision>,
    /// Grows with each change of its specification.
    pub generation: i64,
    /// The generation that our own last write made; negative: it does not say.
    pub ours: i64,
    /// The generation that its controller has seen.
    pub observed: i64,
    /// How many pods it shall have.
    pub replicas: i32,
    /// The size that the specification asked for when we gave it one last.
    pub wished: i32,
    /// How many it has.
    pub has: i32,
    /// How many of those are of its template.
    pub updated: i32,
    /// Whether changes of its template change no pod.
    pub paused: bool,
    /// When our last start of it was written.
    pub started: Option<Time>,
    /// The ports of what it runs, as JSON.
    pub ports: Option<Box<str>>,
    /// Why its controller can't make pods, in the API server's words (a quota, an admission).
    pub trouble: Option<Box<str>>,
}

/// What a Service selects, as far as it is one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// All pods of this colour of the site: `{site, colour}`.
    Colour(Colour),
    /// The pods of this colour that run this revision: `{site, colour, revision}`.
    Release(Colour, Revision),
    /// Anything else.
    Other,
}

/// A Service of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: Box<str>,
    /// Whose it is.
    pub owned: Owned,
    /// What it selects.
    pub selector: Selector,
    /// A [`digest`] of its ports.
    pub ports: u64,
    /// Whether it has an address of its own.
    pub headless: Headless,
    /// What the live Service carries besides.
    pub front: Front,
}

/// Whether a Service has an address. Without one it can't be a live Service: clients would resolve the pods of the old colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headless {
    /// It has none: `clusterIP: None`, or it is a name only.
    Yes,
    /// It has one.
    No,
}

/// What the front object carries for the rollout: the live Service, or the HTTPRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// The ledger, as it stands there.
    pub ledger: Option<Box<str>>,
    /// The ledger that an earlier site left there.
    pub left: Option<Box<str>>,
    /// When we moved traffic last.
    pub switched: Option<Time>,
}

/// Some endpoints of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Its name.
    pub name: Box<str>,
    /// Of no site: a controller of Kubernetes makes it.
    pub owned: Owned,
    /// The Service.
    pub service: Box<str>,
    /// The pods behind it.
    pub endpoints: Box<[Endpoint]>,
}

/// A pod behind a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Tells pods apart: the same pod has the same number in every slice.
    pub pod: u64,
    /// It gets new connections: ready, and not ending.
    pub ready: bool,
}

/// A release as it is run: a ControllerRevision. Its content is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its name.
    pub name: Box<str>,
    /// Whose it is.
    pub owned: Owned,
    /// Which release, by its label.
    pub revision: Option<Revision>,
    /// When it was made.
    pub made: Option<Time>,
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its name.
    pub name: Box<str>,
    /// Whose it is.
    pub owned: Owned,
}

/// An HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// Its name.
    pub name: Box<str>,
    /// Whose it is.
    pub owned: Owned,
    /// Grows with each change of its specification.
    pub generation: i64,
    /// The generation that our own last write made.
    pub ours: i64,
    /// A [`digest`] of what was wanted of it when we wrote it last.
    pub written: Option<u64>,
    /// The colour that every rule gives all its weight to.
    pub colour: Option<Colour>,
    /// Every parent has accepted it as it is now, and resolved what it names.
    pub accepted: bool,
    /// Why one has not, in its words.
    pub trouble: Option<Box<str>>,
    /// What it carries besides.
    pub front: Front,
}

/// A number that stands for a text.
#[must_use]
pub fn digest(text: &[u8]) -> u64 {
    let hash = Sha256::digest(text);
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}
