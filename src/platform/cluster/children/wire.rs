//! How a fact is read off what the API server sends. Each kind is a kube [`Resource`] whose `Deserialize` skips everything else: `managedFields`,
//! templates and conditions never come to be.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::cache::{Children, Key};
use super::facts::{Front, Kind, Owned, digest};
use crate::api::names::cluster as names;
use crate::rollout::Time;

/// A kind of object, as far as it is kept.
pub trait Fact: Clone + Debug + Send + Sync + Sized + 'static {
    /// Which.
    const KIND: Kind;
    /// Its group, version, kind and plural.
    const NAMES: (&'static str, &'static str, &'static str, &'static str);
    /// Whether its metadata says all.
    const METADATA_ONLY: bool = false;
    /// What is read of it.
    #[doc(hidden)]
    type Wire: DeserializeOwned;

    /// Reads it.
    #[doc(hidden)]
    fn read(wire: Self::Wire) -> (Meta, Self);
    /// Its name.
    fn name(&self) -> &str;
    /// Whose it is, and how new.
    fn owned(&self) -> Owned;
    /// Where it is kept.
    #[doc(hidden)]
    fn place(children: &mut Children) -> &mut Vec<Self>;
    /// All of its kind.
    #[doc(hidden)]
    fn all(children: &Children) -> &[Self];
}

/// An object as the API server sends it, which keeps no more of it than a fact.
#[derive(Clone, Debug)]
pub struct Watched<F> {
    meta: ObjectMeta,
    /// The site that it says it belongs to.
    pub key: Option<Key>,
    /// The fact.
    pub fact: F,
}

impl<'de, F: Fact> Deserialize<'de> for Watched<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (meta, fact) = F::read(F::Wire::deserialize(deserializer)?);
        let key = meta.labels.get(names::SITE).map(|site| Key::new(&meta.namespace, site));
        let meta = ObjectMeta {
            name: Some(meta.name),
            namespace: Some(meta.namespace),
            resource_version: Some(meta.resource_version),
            ..ObjectMeta::default()
        };
        Ok(Watched { meta, key, fact })
    }
}

impl<F: Fact> Resource for Watched<F> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(&(): &()) -> Cow<'_, str> {
        F::NAMES.2.into()
    }

    fn group(&(): &()) -> Cow<'_, str> {
        F::NAMES.0.into()
    }

    fn version(&(): &()) -> Cow<'_, str> {
        F::NAMES.1.into()
    }

    fn plural(&(): &()) -> Cow<'_, str> {
        F::NAMES.3.into()
    }

    fn metadata_api() -> bool {
        F::METADATA_ONLY
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// What is read of an object's metadata.
#[doc(hidden)]
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) generation: i64,
    pub(super) creation_timestamp: Option<String>,
    pub(super) deletion_timestamp: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    owner_references: Vec<OwnerWire>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OwnerWire {
    uid: String,
    controller: bool,
}

impl Meta {
    pub(super) fn owned(&self) -> Owned {
        let controller = self.owner_references.iter().find(|owner| owner.controller).map(|owner| owner.uid.as_str());
        let owner = controller.or_else(|| self.annotations.get(names::OWNER).map(String::as_str));
        Owned {
            owner: owner.map_or(0, uid),
            controlled: controller.is_some(),
            labelled: self.labels.get(names::MANAGED_BY).is_some_and(|by| by == names::MANAGER),
            // The API server's versions are numbers that can be compared; one that isn't is as old as can be, and never written with.
            version: self.resource_version.parse().unwrap_or(0),
            deleting: self.deletion_timestamp.is_some(),
        }
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> i64 {
        self.annotation(name).and_then(|text| text.parse().ok()).unwrap_or(-1)
    }

    pub(super) fn moment(&self, name: &str) -> Option<Time> {
        self.annotation(name).and_then(moment)
    }

    pub(super) fn front(&self) -> Front {
        let text = |name: &str| self.annotation(name).map(Box::from);
        Front { ledger: text(names::LEDGER), left: text(names::LEFT), switched: self.moment(names::SWITCHED_AT) }
    }

    pub(super) fn name(&self) -> Box<str> {
        self.name.as_str().into()
    }
}

/// A uid as a number; zero stands for none.
pub fn uid(text: &str) -> u128 {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let hashed = || {
        let bytes = text.as_bytes();
        u128::from(digest(bytes)) << 64 | u128::from(digest(&[bytes, b"."].concat()))
    };
    match digits.len() {
        0 => 0,
        32 => u128::from_str_radix(&digits, 16).unwrap_or_else(|_| hashed()),
        _ => hashed(),
    }
}

/// A uid as text, as Kubernetes writes it.
pub fn uid_text(uid: u128) -> String {
    let digits = format!("{uid:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// A moment as an annotation holds it.
pub(super) fn moment(text: &str) -> Option<Time> {
    text.parse::<Timestamp>().ok().map(|moment| Time(moment.as_millisecond()))
}

/// A condition of a status.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConditionWire {
    pub r#type: String,
    pub status: String,
    pub message: String,
    pub observed_generation: i64,
}
