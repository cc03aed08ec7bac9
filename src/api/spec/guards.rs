//! `guards`: what stops a new revision before it goes live.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stops a new revision before it goes live.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guards {
    /// A setting that makes the app change the schema of its database when it starts, as ddl-auto: update. Default: Deny, which rejects the
    /// revision before anything of it runs. Warn says so and goes on; Off does not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_changes: Option<GuardSpec>,
    /// A setting that is for development only, as Django's DEBUG = True. Default: Deny. For a
    /// host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_settings: Option<GuardSpec>,
    /// A candidate that listens where others than this machine can reach it, and that no firewall table of the agent's closes. Default: Deny, which
    /// rejects it (and first closes further ports that its processes opened). Warn says so and goes on; Off does not look. For a host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<GuardSpec>,
}

/// What a guard does when it finds something: Deny, the default, rejects the revision; Warn says so and goes on; Off does not look.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardSpec {
    /// The revision is rejected.
    #[default]
    Deny,
    /// It is said, and the revision goes live.
    Warn,
    /// Nobody looks.
    Off,
}
