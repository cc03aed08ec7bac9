//! The apps that run on a Java virtual machine, parsed: part of [`Runtime`](super::site::Runtime).

use serde::{Deserialize, Serialize};

use super::types::{AbsPath, Profiles, RelPath, UrlPath};

/// A name as Spring compares it: case, dots, `-` and `_` make no difference.
#[must_use]
pub fn squeezed(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// A Spring Boot app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpringBoot {
    /// The jar inside the release; `None`: the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jar: Option<RelPath>,
    /// The active profiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profiles>,
    /// The Java to run it on; `None`: the one on PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub java: Option<AbsPath>,
    /// Options of the virtual machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jvm: Vec<String>,
    /// Arguments of the app; none of [`SpringBoot::OURS`] is among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

impl SpringBoot {
    /// The properties that the agent sets by argument, over everything that the app brings, and nobody else may.
    pub const OURS: &[&str] = &[
        "server.address",
        "server.port",
        "server.shutdown",
        "spring.lifecycle.timeout-per-shutdown-phase",
        "spring.config.additional-location",
        "spring.config.location",
        "spring.config.name",
    ];
}

/// A war on Tomcat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tomcat {
    /// The war inside the release, a file or a folder; `None`: the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub war: Option<RelPath>,
    /// The context path, without `/` at its end unless it is the root.
    pub path: UrlPath,
    /// Where Tomcat is installed.
    pub home: AbsPath,
    /// The Java to run it on; `None`: the one on PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub java: Option<AbsPath>,
    /// Options of the virtual machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jvm: Vec<String>,
}
