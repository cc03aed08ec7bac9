//! `target.cluster`: a site on Kubernetes, as it is written.

use std::fmt;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::api::types::{Label, PortName};

/// A site on Kubernetes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// How many pods serve. Outside of the revision: `kubectl scale` and autoscalers set it without a rollout.
    #[serde(default = "super::default::replicas")]
    #[schemars(range(min = 1, max = 10000))]
    pub replicas: i32,
    /// The Service that clients use, and its ports.
    pub service: ServiceSpec,
    /// What moves traffic from one colour to the other: exactly one of the fields. Default: the Service.
    // No default in the schema: the API server would write it down, and an `httpRoute` that is applied later would stand beside it.
    #[serde(default, skip_serializing_if = "RouteSpec::is_default")]
    pub route: RouteSpec,
    /// The pods, as in a Deployment. Two Deployments are made of it, NAME-blue and NAME-green.
    #[schemars(schema_with = "template_schema")]
    pub template: Template,
    /// What belongs to a revision besides the template.
    #[serde(default)]
    pub configuration: Configuration,
    /// What becomes of the Deployments and Services when the site is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Gives each container without a preStop hook one that sleeps for 5 s, so that clients learn of the end of a pod before the pod does. Off by
    /// default, since it changes what you wrote.
    #[serde(default)]
    pub inject_pre_stop: bool,
}

/// The Service that clients use.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Its name. Default: the site's. One that is there already is taken over only if its annotation bluegreen.dev/adopt names this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = Label::PATTERN), length(max = 63))]
    pub name: Option<String>,
    /// Its ports.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["port".into()]),
        validation = Rule::new("size(self) == 1 || self.all(port, has(port.name))").message("several ports each need a name")
    )]
    pub ports: Vec<PortSpec>,
}

/// A port of the Service.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortSpec {
    /// Its name; needed when there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = PortName::PATTERN), length(max = 15))]
    pub name: Option<String>,
    /// What clients connect to.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// What the pods listen on: a number, or the name of a container's port. Default: the same number. It belongs to the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<IntOrString>,
    /// What is spoken there, as a hint for gateways and meshes: http, kubernetes.io/h2c, kubernetes.io/ws, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub app_protocol: Option<String>,
}

/// What moves traffic: exactly one of the fields.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteSpec {
    /// The selector of the Service. New connections move at once; those that are kept alive stay with the old pods until these close them.
    Service(ServiceRoute),
    /// The weights of an HTTPRoute (Gateway API), which moves every request. The Service is not made then.
    HttpRoute(HttpRouteSpec),
}

impl RouteSpec {
    fn is_default(&self) -> bool {
        *self == RouteSpec::default()
    }
}

impl Default for RouteSpec {
    fn default() -> Self {
        RouteSpec::Service(ServiceRoute {})
    }
}

/// No settings.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRoute {}

/// An HTTPRoute that has the site's name.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteSpec {
    /// The Gateways that it is attached to, as in an HTTPRoute.
    #[schemars(length(min = 1, max = 32), schema_with = "opaque_list")]
    pub parent_refs: Vec<Value>,
    /// The names that it answers to. Default: those of the Gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(regex(pattern = crate::api::types::Hostname::PATTERN)), inner(length(max = 253)))]
    pub hostnames: Vec<String>,
    /// Rules as in an HTTPRoute, without backendRefs: those are the two colours. Default: one that takes every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), schema_with = "opaque_list")]
    pub rules: Vec<Value>,
    /// So long after the Gateway has accepted new weights, every proxy behind it is taken to have them; and so long after the pods of a candidate
    /// are ready, to know them. Is added to verifyWithin and cutoverWithin. 120 for GKE.
    #[serde(default = "super::default::settle_seconds")]
    #[schemars(range(min = 0, max = 3600))]
    pub settle_seconds: i32,
}

/// What belongs to a revision besides the template.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// ConfigMaps that the template names: Snapshot (a changed one is a new revision, and each colour reads a copy of its own) or Ignore.
    #[serde(default)]
    pub config_maps: ConfigMapsSpec,
    /// Secrets that the template names: Ignore, Rollout (a changed one is a new revision) or Snapshot (each colour reads a copy of its own too). Other
    /// than Ignore, the operator needs the right to read Secrets in this namespace.
    #[serde(default)]
    pub secrets: SecretsSpec,
}

/// What is done with ConfigMaps that the template names.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigMapsSpec {
    /// Each colour reads a copy of its own, and a changed ConfigMap is a new revision.
    #[default]
    Snapshot,
    /// Pods read them as they are.
    Ignore,
}

/// What is done with Secrets that the template names.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretsSpec {
    /// Pods read them as they are; the operator never does.
    #[default]
    Ignore,
    /// A changed Secret is a new revision.
    Rollout,
    /// Besides, each colour reads a copy of its own.
    Snapshot,
}

/// What becomes of a deleted site's objects.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// They go with it.
    #[default]
    Delete,
    /// They stay and go on serving.
    Orphan,
}

/// A pod template, as somebody wrote it: JSON that is carried as it is, so that no field is lost that this version does not know. The API
/// server judges it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Template(Box<str>);

impl Template {
    /// The template with this content; its fields are put into an order.
    #[must_use]
    pub fn new(value: &Value) -> Template {
        Template(value.to_string().into_boxed_str())
    }

    /// As compact JSON: the same content is the same text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// As JSON.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// Not its content: variables of an app may be secret.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({} bytes)", self.0.len())
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Template::new(&value))
    }
}

/// The schema of a pod template, for `kubectl explain` and typing errors in it. Without descriptions, since with them the definition would not fit
/// into an annotation of 256 KiB; and fields that it does not know are kept, since a newer server may know them.
fn template_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<PodTemplateSpec>().to_value();
    open(&mut schema);
    schema["description"] =
        json!("The pods, as in a Deployment. Two Deployments are made of it, NAME-blue and NAME-green.");
    Schema::try_from(schema).unwrap_or_default()
}

fn open(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    map.remove("description");
    map.remove("title");
    let each = |map: &mut Map<String, Value>, key: &str| {
        map.get_mut(key).and_then(Value::as_object_mut).into_iter().flatten().for_each(|(_, field)| open(field));
    };
    each(map, "properties");
    if map.contains_key("properties") {
        map.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            open(inner);
        }
    }
}

fn opaque_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}
