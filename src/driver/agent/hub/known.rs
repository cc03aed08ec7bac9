//! A site of the hub, as it was seen there last, and what is to be done about it. Pure: what the hub has and what this host has come in, one step comes
//! out. The order of steps is what keeps a site from being lost on either side.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::api::names::{API_VERSION, KIND, annotations, hub};
use crate::api::status::SiteStatus;
use crate::api::types::SiteName;
use crate::driver::agent::origin::Origin;

/// A site of the hub, in what is needed of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Which object of that name it is.
    pub uid: String,
    /// How often its specification changed.
    pub generation: i64,
    /// Its `resourceVersion`.
    pub version: String,
    /// Whether somebody deleted it.
    pub deleting: bool,
    /// Its finalizers, since a write of ours must keep those of others.
    pub finalizers: Vec<String>,
    /// What it says, as a manifest: the specification, and the commands among its annotations.
    pub text: String,
    /// The SHA-256 of that.
    pub digest: String,
    /// Its status.
    pub status: Option<SiteStatus>,
}

impl Known {
    /// Of an object of the hub. `None`: it is no site of a host, or one that no host could have.
    #[must_use]
    pub fn of(object: DynamicObject) -> Option<(SiteName, Known)> {
        let ObjectMeta {
            name,
            uid,
            generation,
            resource_version,
            deletion_timestamp,
            finalizers,
            annotations: all,
            ..
        } = object.metadata;
        let name: SiteName = name?.parse().ok()?;
        // Sites of a cluster are an operator's, wherever they are.
        object.data.pointer("/spec/target/host")?;
        let (uid, generation) = (uid?, generation.unwrap_or(0));
        let all = all.unwrap_or_default();
        let commands: Map<String, Value> = annotations::ALL
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), Value::from(all.get(name)?.as_str()))))
            .collect();
        let text = json!({
            "apiVersion": API_VERSION, "kind": KIND,
            "metadata": { "name": name, "uid": uid, "generation": generation, "annotations": commands },
            "spec": object.data.get("spec"),
        })
        .to_string();
        let known = Known {
            uid,
            generation,
            version: resource_version.unwrap_or_default(),
            deleting: deletion_timestamp.is_some(),
            finalizers: finalizers.unwrap_or_default(),
            digest: hex::encode(Sha256::digest(text.as_bytes())),
            text,
            status: object.data.get("status").and_then(|status| serde_json::from_value(status.clone()).ok()),
        };
        Some((name, known))
    }

    /// Where a site of this object comes from.
    #[must_use]
    pub fn origin(&self, hub: &str) -> Origin {
        Origin::Hub {
            hub: hub.to_owned(),
            uid: self.uid.clone(),
            generation: self.generation,
            version: self.version.clone(),
        }
    }

    /// Whether the hub keeps the object until this host lets it go.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.finalizers.iter().any(|one| one == hub::FINALIZER)
    }

    /// Whether this is an older sight of the same object than `other`.
    #[must_use]
    pub fn is_older_than(&self, other: &Known) -> bool {
        self.uid == other.uid
            && number(&self.version).zip(number(&other.version)).is_some_and(|(mine, theirs)| mine < theirs)
    }
}

/// What this host has under the name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Here {
    /// The uid and digest of what was accepted from a hub.
    pub accepted: Option<(String, String)>,
    /// The name is taken by a site that comes from elsewhere.
    pub foreign: bool,
    /// There is something under the name, accepted or refused, that came from a hub.
    pub from_hub: bool,
    /// Its deletion has begun.
    pub deleting: bool,
    /// What people are to be told, if there is anything.
    pub status: Option<SiteStatus>,
}

/// What was done in this session about an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// The digest that was offered last.
    pub offered: Option<String>,
    /// It may be acceptable by now, whatever came of the last offer.
    pub again: bool,
}

/// One step towards both sides saying the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Judge what the hub says, and accept it if it is good.
    Offer,
    /// Begin to take the site away from this host.
    Retire,
    /// Ask the hub to keep the object until the site is gone here.
    Hold,
    /// Let the object go.
    LetGo,
    /// Tell the hub how the site is.
    Tell(Box<SiteStatus>),
}

/// The next step; `None`: both sides say the same.
#[must_use]
pub fn next(known: &Known, here: &Here, done: &Done) -> Option<Step> {
    let ours = here.accepted.as_ref().filter(|(uid, _)| *uid == known.uid);
    if known.deleting {
        if here.from_hub && !here.deleting {
            return Some(Step::Retire);
        }
        if !here.from_hub {
            return known.is_held().then_some(Step::LetGo);
        }
        return tell(known, here);
    }
    // What goes away here goes first; then this is a new site.
    if !here.deleting && (done.offered.as_ref() != Some(&known.digest) || done.again) {
        return Some(Step::Offer);
    }
    if ours.is_some() && !here.deleting && !known.is_held() {
        return Some(Step::Hold);
    }
    tell(known, here)
}

fn tell(known: &Known, here: &Here) -> Option<Step> {
    let status = here.status.as_ref().filter(|status| known.status.as_ref() != Some(status))?;
    Some(Step::Tell(Box::new(status.clone())))
}

/// A site of this host that came from the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which object it came from.
    pub uid: String,
    /// That object's `resourceVersion` then.
    pub version: String,
}

/// What is to become of sites that a whole list of the hub they came from doesn't have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// They were deleted there, and go.
    pub retire: BTreeSet<SiteName>,
    /// The hub looks as if it had forgotten them: they run on.
    pub keep: BTreeSet<SiteName>,
}

/// Judges what is missing. A hub that was restored from a backup, or made anew under its old name, has lost what came after; so nothing goes unless the
/// list is no older than what was read before, and holds at least one of the very objects that this host knows. (Who deletes an object has to wait for this
/// host's finalizer, so that a deletion is seen even if it was asked while the host was away: what is judged here was torn out.)
#[must_use]
pub fn missing(listed: &BTreeMap<SiteName, String>, version: &str, kept: &BTreeMap<SiteName, Kept>) -> Missing {
    let gone: BTreeSet<SiteName> = kept.keys().filter(|name| !listed.contains_key(*name)).cloned().collect();
    let newest = kept.values().filter_map(|one| number(&one.version)).max();
    let rewound = newest.zip(number(version)).is_none_or(|(newest, listed)| listed < newest);
    let witness = kept.iter().any(|(name, one)| listed.get(name) == Some(&one.uid));
    if witness && !rewound {
        Missing { retire: gone, keep: BTreeSet::new() }
    } else {
        Missing { retire: BTreeSet::new(), keep: gone }
    }
}

/// Versions count upwards on every API server that keeps its objects in etcd, and by now they are promised to.
fn number(version: &str) -> Option<u128> {
    version.parse().ok()
}

#[cfg(test)]
mod tests;
