//! A site as it is kept in memory: all that a turn needs, and nothing else. Ten thousand of them are held at once.
//!
//! Specification and status stay text until a turn reads them. So a site that a newer or a broken writer made is still a site, which can
//! be told what is wrong with it, and never breaks the list that it came in.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::api::names::{GROUP, hub};
use crate::api::spec::{BlueGreenSite, BlueGreenSiteSpec};
use crate::api::status::{SiteStatus, UNSEEN};

/// A site, as the API server told it last.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SiteObject {
    /// Its metadata, without what only others need.
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Text,
    #[serde(default)]
    status: Text,
}

impl SiteObject {
    /// The object as its type says, and its status apart: one that can't be understood is as good as lost, which costs nothing but history.
    ///
    /// # Errors
    /// The specification can't be understood at all, so that the CRD is not the one that this program knows; why, in words.
    pub fn typed(&self) -> Result<BlueGreenSite, String> {
        let spec: BlueGreenSiteSpec = serde_json::from_str(self.spec.as_str()).map_err(|error| error.to_string())?;
        Ok(BlueGreenSite { metadata: self.metadata.clone(), spec, status: self.status() })
    }

    /// The fields of the specification that its type does not have: the CRD is newer than this program, which does nothing with them.
    #[must_use]
    pub fn unknown(&self, typed: &BlueGreenSite) -> Vec<String> {
        let (written, known) = (serde_json::from_str(self.spec.as_str()), serde_json::to_value(&typed.spec));
        let mut unknown = Vec::new();
        if let (Ok(written), Ok(known)) = (written, known) {
            compare("spec", &written, &known, &mut unknown);
        }
        unknown
    }

    /// Its status; `None`: there is none, or none that can be understood.
    #[must_use]
    pub fn status(&self) -> Option<SiteStatus> {
        serde_json::from_str(self.status.as_str()).ok()
    }

    /// Whether it is a site of a plain machine that follows this cluster as its hub: that machine turns it, and tells its status.
    #[must_use]
    pub fn is_a_hosts(&self) -> bool {
        #[derive(Deserialize)]
        struct Spec {
            target: Target,
        }
        #[derive(Deserialize)]
        struct Target {
            host: Option<IgnoredAny>,
        }
        let hosts = self.metadata.namespace.as_deref().is_some_and(|name| name.starts_with(hub::NAMESPACE));
        hosts && serde_json::from_str::<Spec>(self.spec.as_str()).is_ok_and(|spec| spec.target.host.is_some())
    }

    /// Whether an operator ever wrote a status.
    #[must_use]
    pub fn was_seen(&self) -> bool {
        // What the definition itself puts there says that nobody has looked.
        let unseen = json!({ "observedGeneration": UNSEEN });
        serde_json::from_str::<Value>(self.status.as_str()).is_ok_and(|status| status != unseen && !is_empty(&status))
    }
}

impl Resource for SiteObject {
    type DynamicType = ();
    type Scope = <BlueGreenSite as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        BlueGreenSite::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        BlueGreenSite::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        BlueGreenSite::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        BlueGreenSite::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The paths that are only in what was written. What is empty says nothing, and is left out when it is written again.
fn compare(path: &str, written: &Value, known: &Value, unknown: &mut Vec<String>) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (name, value) in written {
                let path = format!("{path}.{name}");
                match known.get(name) {
                    Some(known) => compare(&path, value, known, unknown),
                    None if is_empty(value) => {}
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(known)) => {
            for (index, (value, known)) in written.iter().zip(known).enumerate() {
                compare(&format!("{path}[{index}]"), value, known, unknown);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.values().all(is_empty),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// JSON, kept as it is written: a tree of values takes ten times the memory.
#[derive(Clone, Debug)]
struct Text(Box<str>);

impl Text {
    fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Text {
    fn default() -> Self {
        Text("null".into())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        Ok(Text(Value::deserialize(deserializer)?.to_string().into_boxed_str()))
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<Value>(&self.0).unwrap_or_default().serialize(serializer)
    }
}

/// Metadata without what a turn never asks for: who wrote which field, other people's annotations and labels.
fn slim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let all = ObjectMeta::deserialize(deserializer)?;
    let ours = |(name, _): &(String, String)| name.split('/').next() == Some(GROUP);
    let annotations: BTreeMap<String, String> = all.annotations.into_iter().flatten().filter(ours).collect();
    Ok(ObjectMeta {
        name: all.name,
        namespace: all.namespace,
        uid: all.uid,
        resource_version: all.resource_version,
        generation: all.generation,
        deletion_timestamp: all.deletion_timestamp,
        creation_timestamp: all.creation_timestamp,
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    })
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::api::names::annotations;

    fn object(spec: Value, status: Value) -> SiteObject {
        serde_json::from_value(json!({
            "apiVersion": "bluegreen.dev/v1alpha1",
            "kind": "BlueGreenSite",
            "metadata": {
                "name": "shop", "namespace": "web", "uid": "u", "resourceVersion": "7", "generation": 3,
                "labels": {"app.kubernetes.io/instance": "argo"},
                "annotations": {
                    annotations::APPROVE: "x",
                    "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(10_000),
                },
                "managedFields": [{"manager": "kubectl", "operation": "Apply"}],
            },
            "spec": spec,
            "status": status,
        }))
        .expect("any object is one")
    }

    #[test]
    fn what_only_others_need_is_dropped_on_arrival() {
        let object = object(json!({}), Value::Null);
        let meta = object.meta();
        assert_eq!(meta.managed_fields, None);
        assert_eq!(meta.labels, None);
        let kept: Vec<&String> = meta.annotations.iter().flatten().map(|(name, _)| name).collect();
        assert_eq!(kept, [annotations::APPROVE]);
        assert_eq!((meta.generation, meta.resource_version.as_deref()), (Some(3), Some("7")));
    }

    #[test]
    fn a_site_that_cannot_be_understood_is_still_a_site_and_says_why() {
        let object = object(json!({"target": {"moon": {}}}), json!({"phase": "Orbiting"}));
        let why = object.typed().expect_err("no such target");
        assert!(why.contains("moon"), "{why}");
        assert_eq!(object.status(), None, "a phase that only a newer operator knows");
        assert!(object.was_seen());
    }

    #[test]
    fn a_field_of_a_newer_crd_is_named_and_everything_else_is_as_it_was() {
        let cluster = json!({
            "replicas": 2,
            "service": { "ports": [{ "port": 80, "magic": true }] },
            "template": { "spec": { "containers": [{ "name": "app", "image": "app:1", "newInKubernetes": 1 }], "volumes": [] } },
            "configuration": {},
        });
        let object = object(json!({"target": {"cluster": cluster}, "strategy": {"canary": [10, 50]}}), Value::Null);
        let typed = object.typed().expect("the rest is known");
        assert_eq!(object.unknown(&typed), ["spec.strategy.canary", "spec.target.cluster.service.ports[0].magic"]);
    }

    #[test]
    fn a_site_of_a_host_is_told_by_its_target_and_its_namespace() {
        for (namespace, target, hosts) in [
            ("bluegreen-host-vps-1", json!({"host": {}}), true),
            ("web", json!({"host": {}}), false),
            ("bluegreen-host-vps-1", json!({"cluster": {}}), false),
            ("bluegreen-host-vps-1", json!(5), false),
        ] {
            let mut object = object(json!({"target": target}), Value::Null);
            object.metadata.namespace = Some(namespace.to_owned());
            assert_eq!(object.is_a_hosts(), hosts, "{namespace} {target}");
        }
    }

    #[test]
    fn a_list_is_read_though_one_site_in_it_is_broken() {
        let list = json!([
            {"metadata": {"name": "a"}, "spec": {"target": 5}},
            {"metadata": {"name": "b"}, "spec": []},
            {"metadata": {"name": "c"}},
            {"metadata": {"name": "d"}, "status": {"observedGeneration": UNSEEN}},
        ]);
        let sites: Vec<SiteObject> = serde_json::from_value(list).expect("a list");
        assert_eq!(sites.len(), 4);
        assert!(!sites[2].was_seen() && !sites[3].was_seen());
        assert_eq!(sites[3].status(), Some(SiteStatus::default()), "what nobody looked at has no generation");
    }
}
