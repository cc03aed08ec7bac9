//! `BlueGreenSite.status`: what people and tools read. Everything in it can be lost: what must survive stands in the ledger too.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::rollout::{self, Colour, Phase, Reason, Revision};

/// The generation that the definition gives to a site that nobody has looked at: without it kstatus, and with it Helm and Flux, would take what is
/// new for what is done.
pub const UNSEEN: i64 = -1;

/// Where a site stands, as far as the agent or operator has seen it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = json!({ "observedGeneration": UNSEEN })))]
pub struct SiteStatus {
    /// The generation of the specification that everything below is about; -1: nobody has looked at the site yet.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "seen")]
    pub observed_generation: Option<i64>,
    /// Where the rollout stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "phase_schema")]
    pub phase: Option<Phase>,
    /// What serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
    /// What is on its way to be live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// What is kept warm for an instant way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<Standby>,
    /// Why the revision that the specification describes is not wanted any more. Gone once it is retried or the specification changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejected>,
    /// How many pods of the live colour are ready. On a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// What selects the pods of the live colour, for autoscalers. On a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Ready, Reconciling and Stalled as kstatus understands them, Available, and Warning with what holds up nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What the rollout remembers: its phase, its deadline and a copy of the ledger. For the agent or operator alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque")]
    pub rollout: Option<rollout::Status>,
    /// What a newer operator wrote, and this program does not know: kept as it is, for when that one is back.
    #[serde(flatten)]
    #[schemars(skip)]
    pub more: BTreeMap<String, Value>,
}

/// What nobody has looked at is no generation to us.
fn seen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<i64>::deserialize(deserializer)?.filter(|generation| *generation >= 0))
}

/// What serves.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// The colour that the route names.
    #[schemars(schema_with = "colour_schema")]
    pub colour: Colour,
    /// What it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "revision_schema")]
    pub revision: Option<Revision>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// What is on its way to be live.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Where it runs, or will.
    #[schemars(schema_with = "colour_schema")]
    pub colour: Colour,
    /// What it is.
    #[schemars(schema_with = "revision_schema")]
    pub revision: Revision,
    /// Which try it is, counted from 1.
    #[schemars(schema_with = "attempt_schema")]
    pub attempt: u32,
    /// When the phase that it is in ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
}

/// What is kept warm.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standby {
    /// Where it runs.
    #[schemars(schema_with = "colour_schema")]
    pub colour: Colour,
    /// What it is.
    #[schemars(schema_with = "revision_schema")]
    pub revision: Revision,
    /// Until when it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// A revision that never gets traffic again by our hand, until somebody retries it.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// What it is.
    #[schemars(schema_with = "revision_schema")]
    pub revision: Revision,
    /// Why, in one word.
    #[schemars(schema_with = "text_schema")]
    pub reason: Reason,
    /// Why, in the words of whoever found out: what an instance waited for, what a check measured.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When.
    pub at: Time,
}

/// Every phase, in the order in which a rollout passes them.
pub const PHASES: [Phase; 13] = [
    Phase::Idle,
    Phase::Preparing,
    Phase::Starting,
    Phase::Verifying,
    Phase::AwaitingApproval,
    Phase::CuttingOver,
    Phase::Draining,
    Phase::Baking,
    Phase::Retiring,
    Phase::RollingBack,
    Phase::Deleting,
    Phase::Gone,
    Phase::Stalled,
];

/// The name of a phase, as it stands in the status.
#[must_use]
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Idle => "Idle",
        Phase::Preparing => "Preparing",
        Phase::Starting => "Starting",
        Phase::Verifying => "Verifying",
        Phase::AwaitingApproval => "AwaitingApproval",
        Phase::CuttingOver => "CuttingOver",
        Phase::Draining => "Draining",
        Phase::Baking => "Baking",
        Phase::Retiring => "Retiring",
        Phase::RollingBack => "RollingBack",
        Phase::Deleting => "Deleting",
        Phase::Gone => "Gone",
        Phase::Stalled => "Stalled",
    }
}

// The logic knows nothing of schemas, so its words get theirs here.

fn phase_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": PHASES.map(phase_name)})
}

fn colour_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": Colour::BOTH.map(Colour::name)})
}

fn revision_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[0-9a-f]{32}$"})
}

fn text_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string"})
}

fn attempt_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": 1})
}

fn opaque(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_written_by_its_name() {
        for phase in PHASES {
            assert_eq!(
                serde_json::to_value(phase).expect("a phase is a word"),
                serde_json::Value::from(phase_name(phase))
            );
        }
    }
}
