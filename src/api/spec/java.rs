//! `springBoot` and `tomcat`: apps that run on a Java virtual machine, as they are written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::types::{AbsPath, Profiles, RelPath, UrlPath};

/// A Spring Boot app. Address, port, graceful shutdown and the place of the configuration files are set by the agent, over everything
/// that the jar says.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpringBootSpec {
    /// The jar inside the release. Default: the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RelPath::PATTERN), length(max = 1024))]
    pub jar: Option<String>,
    /// The active profiles, joined by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = Profiles::PATTERN), length(max = 256))]
    pub profile: Option<String>,
    /// The Java to run it on, as /usr/lib/jvm/java-17-openjdk-amd64/bin/java. Default: the one on PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub java: Option<String>,
    /// Options of the virtual machine, as -Xmx256m. Everybody on the machine can read them: no secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub jvm: Vec<String>,
    /// Arguments of the app, as --shop.currency=EUR. Everybody on the machine can read them: secrets belong into configFiles or envFile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub arguments: Vec<String>,
}

/// A war on Tomcat 10, with a Tomcat of its own for each instance. The machine's own Tomcat service is neither used nor touched.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TomcatSpec {
    /// The war inside the release, packed or as a folder. Default: the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RelPath::PATTERN), length(max = 1024))]
    pub war: Option<String>,
    /// The context path that it answers below.
    #[serde(default = "root")]
    #[schemars(regex(pattern = UrlPath::PATTERN), length(max = 1024))]
    pub path: String,
    /// Where Tomcat is installed: its CATALINA_HOME.
    #[serde(default = "home")]
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub home: String,
    /// The Java to run it on. Default: the one on PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub java: Option<String>,
    /// Options of the virtual machine, as -Xmx256m. Everybody on the machine can read them: no secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub jvm: Vec<String>,
}

impl Default for TomcatSpec {
    fn default() -> Self {
        TomcatSpec { war: None, path: root(), home: home(), java: None, jvm: Vec::new() }
    }
}

fn root() -> String {
    "/".to_owned()
}

/// Where Debian's package has it.
fn home() -> String {
    "/usr/share/tomcat10".to_owned()
}
