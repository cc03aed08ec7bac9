//! `target.host.requests`: how the web server passes requests on, as it is written.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::{requests, span};

/// How the web server passes requests on. A change is taken up by one reload of the web server and is no new revision.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestsSpec {
    /// The largest body of a request, from 1Ki to 1024Gi; a larger one is answered 413. Apache counts only a body that says its length.
    /// Default: 1Gi. Not with front Include.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = requests::SIZE_PATTERN), length(max = 8))]
    pub max_body_size: Option<String>,
    /// How long the app may send nothing of its answer, and take nothing of the request, before the client is answered 504 (by Apache
    /// 502): whole seconds, from 1s to 24h. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub timeout: Option<String>,
    /// The same for websockets and for event streams (requests that accept text/event-stream), which are silent for long without anything being
    /// wrong. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub stream_timeout: Option<String>,
    /// How long a connection to an instance may take before the next instance is asked: whole seconds, from 1s to 60s. Default: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub connect_timeout: Option<String>,
}
