//! `BlueGreenSite` as it is written: the resource whose schema is the CRD. Everything in here is still text that a person wrote; `parse`
//! makes a [`Site`](super::site::Site) of it, and nothing else reads it.
//!
//! The doc comments of the fields are what `kubectl explain` shows. The schema holds every check that Kubernetes can make; `parse` makes
//! them all again, since a host has no API server.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span;
use super::status::SiteStatus;
use super::types::{AbsPath, Hostname, RelPath, Sha256, UrlPath, UserName};

/// What a site shall be: where it lives, how its health is asked, and how a new revision of it goes live.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bluegreen.dev",
    version = "v1alpha1",
    kind = "BlueGreenSite",
    plural = "bluegreensites",
    shortname = "bgs",
    category = "bluegreen",
    namespaced,
    status = "SiteStatus",
    derive = "PartialEq",
    doc = "A web site that is deployed twice, blue and green, so that a new revision goes live with nothing lost.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where the rollout stands."),
    printcolumn(name = "Live", type_ = "string", json_path = ".status.live.colour", description = "The colour that serves."),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.live.revision", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 49").message("a site's name has at most 49 characters"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message(
        "a site's name holds lower-case letters, digits and '-', a letter or digit at both ends"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct BlueGreenSiteSpec {
    /// Where the site lives: exactly one of the fields below.
    pub target: Target,
    /// How an instance is asked whether it can serve.
    #[serde(default)]
    pub health: Health,
    /// How a new revision goes live, and how long each phase of that may last.
    #[serde(default)]
    pub strategy: Strategy,
}

/// Where a site lives: exactly one of the fields.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// On a plain machine, behind its nginx.
    Host(Host),
}

/// A site on a plain machine.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.front != 'Own' || has(self.hostnames) && size(self.hostnames) > 0").message(
        "front Own needs at least one hostname"
    ),
    validation = Rule::new(
        "self.front != 'Include' || (!has(self.hostnames) || size(self.hostnames) == 0) && !has(self.listen)"
    ).message("front Include takes neither hostnames nor listen: your own server block has them"),
    validation = Rule::new("!has(self.runtime.command) || has(self.ports) && size(self.ports.blue) > 0").message(
        "a command needs at least one port for each colour"
    ),
    validation = Rule::new("!has(self.runtime.static) || !has(self.ports) || size(self.ports.blue) == 0").message(
        "a static site takes no ports"
    ),
    validation = Rule::new("!has(self.runtime.static) || has(self.static) && size(self.static) > 0").message(
        "a static site needs at least one entry in static"
    )
)]
pub struct Host {
    /// Who writes the server block of the web server: Own (the agent does) or Include (you do, and include the agent's snippet in it).
    #[serde(default)]
    pub front: Front,
    /// The names that the site answers to: lower-case DNS names, optionally with '*.' in front. Needed with front Own; none with Include.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(regex(pattern = Hostname::PATTERN)), inner(length(max = 255)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hostnames: Vec<String>,
    /// Where the site listens: ADDRESS:PORT (an IPv6 address in brackets), or *:PORT for every address. Default: *:80. Not with front Include.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(regex(pattern = LISTEN_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub listen: Option<Vec<String>>,
    /// What you uploaded: a folder (path) or a file (archive).
    pub release: Release,
    /// What starts the release: exactly one of the fields below.
    pub runtime: RuntimeSpec,
    /// The ports of each colour's instances on 127.0.0.1; the number of ports is the number of instances. None for a static site.
    #[serde(default, skip_serializing_if = "PortPair::is_empty")]
    pub ports: PortPair,
    /// The user account that unpacks and runs the release: one of the site's own, not root, nobody, or a system account.
    #[schemars(regex(pattern = UserName::PATTERN), length(max = 32))]
    #[x_kube(validation = Rule::new("self != 'root' && self != 'nobody'").message(
        "a site never runs as root or nobody: name an account of its own"
    ))]
    pub user: String,
    /// Paths that the web server answers itself, from files of the release.
    #[serde(default, rename = "static", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["path".into()]))]
    pub statics: Vec<StaticSpec>,
    /// Files outside the release that belong to it: copied beside it when a rollout starts, into the folder that the variable
    /// BLUEGREEN_CONFIG names, so that a rollback brings them back too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["path".into()]))]
    pub config_files: Vec<ConfigFile>,
    /// Folders outside the release that appear inside it and outlive it: uploads, logs, a SQLite database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["path".into()]))]
    pub shared_dirs: Vec<SharedDirSpec>,
    /// Variables for the app. With PORT, PATH, LANG and BLUEGREEN_SITE, _COLOUR, _REVISION, _INSTANCE and _CONFIG they are its whole
    /// environment. No line breaks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub env: BTreeMap<String, String>,
    /// How long an instance has from SIGTERM to SIGKILL.
    #[serde(default = "default::stop_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub stop_within: String,
}

/// The form of an entry of `listen`. Whether an address is one is left to the parser.
pub const LISTEN_PATTERN: &str = r"^(\*|[0-9.]{7,15}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}$";

/// Who writes the server block of the web server.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Front {
    /// The agent does.
    #[default]
    Own,
    /// You do, and include the agent's snippet in it, as with certbot's or a panel's server blocks.
    Include,
}

/// What you uploaded: exactly one of path and archive.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.path) != has(self.archive)").message("a release is exactly one of path and archive"),
    validation = Rule::new("!has(self.sha256) || has(self.archive)").message("sha256 is the checksum of an archive")
)]
pub struct Release {
    /// A folder that holds the release. It is copied, so later changes to the folder change nothing that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub path: Option<String>,
    /// A file that holds the release: .tar.gz, .tgz or .zip, or a single .jar or .war.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = ARCHIVE_PATTERN), length(max = 4096))]
    pub archive: Option<String>,
    /// What the SHA-256 checksum of the archive must be: 64 lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = Sha256::PATTERN))]
    pub sha256: Option<String>,
}

/// The form of `archive`: an absolute path with one of the endings that are understood.
pub const ARCHIVE_PATTERN: &str = r"^/.*\.(tar\.gz|tgz|zip|jar|war)$";

/// What starts a release: exactly one of the fields.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuntimeSpec {
    /// Any program.
    Command(CommandSpec),
    /// Nothing: the web server answers everything from files. Written `static: {}`.
    Static(StaticRuntime),
}

/// A program and its arguments.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandSpec {
    /// The program (a path inside the release, or an absolute one) and its arguments. No shell reads them. $(PORT) becomes the
    /// instance's port, which the variable PORT holds too.
    #[schemars(length(min = 1, max = 256), inner(length(max = 4096)))]
    pub argv: Vec<String>,
}

/// No settings.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StaticRuntime {}

/// The ports of each colour's instances.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("size(self.blue) == size(self.green)").message("blue and green need the same number of ports"),
    validation = Rule::new("self.blue.all(port, !(port in self.green))").message("no port belongs to both colours")
)]
pub struct PortPair {
    /// Blue's ports.
    #[serde(default)]
    #[schemars(length(max = 64), inner(range(min = 1024, max = 65535)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub blue: Vec<i32>,
    /// Green's ports: as many as blue's.
    #[serde(default)]
    #[schemars(length(max = 64), inner(range(min = 1024, max = 65535)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub green: Vec<i32>,
}

impl PortPair {
    fn is_empty(&self) -> bool {
        self.blue.is_empty() && self.green.is_empty()
    }
}

/// A path that the web server answers itself.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticSpec {
    /// The paths below this one. Ends with '/'.
    #[schemars(regex(pattern = UrlPath::FOLDER_PATTERN), length(max = 1024))]
    pub path: String,
    /// The folder of the release that holds the files.
    #[schemars(regex(pattern = RelPath::PATTERN), length(max = 1024))]
    pub root: String,
    /// How many earlier revisions' files are still answered: a page that came from the old revision asks the new one for its hashed assets.
    #[serde(default = "default::keep")]
    #[schemars(range(min = 0, max = 100))]
    pub keep: i32,
}

/// A file outside the release that belongs to it.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigFile {
    /// Where it is. Its copy has the same last name.
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub path: String,
}

/// A folder that outlives releases.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SharedDirSpec {
    /// Where it appears in the release.
    #[schemars(regex(pattern = RelPath::PATTERN), length(max = 1024))]
    pub path: String,
    /// Where it is.
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub source: String,
}

/// How an instance is asked whether it can serve.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// A GET of this path at each instance must answer 200 to 399.
    #[serde(default = "default::path")]
    #[schemars(regex(pattern = UrlPath::PATTERN), length(max = 1024))]
    pub path: String,
    /// So many times in a row, before an instance counts as ready.
    #[serde(default = "default::successes")]
    #[schemars(range(min = 1, max = 1000))]
    pub successes: i32,
    /// So many failures in a row make a ready instance unready.
    #[serde(default = "default::failures")]
    #[schemars(range(min = 1, max = 1000))]
    pub failures: i32,
    /// From one question to the next.
    #[serde(default = "default::interval")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms')").message("ask at most every 10ms"))]
    pub interval: String,
    /// An answer must come within this.
    #[serde(default = "default::timeout")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms')").message("give an instance at least 10ms to answer"))]
    pub timeout: String,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            path: default::path(),
            successes: default::successes(),
            failures: default::failures(),
            interval: default::interval(),
            timeout: default::timeout(),
        }
    }
}

/// How a new revision goes live. Spans of time are written as in 1h30m, 10s or 500ms.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "[self.prepareWithin, self.readyWithin, self.verifyWithin, self.cutoverWithin].all(span, duration(span) > duration('0s'))"
    ).message("prepareWithin, readyWithin, verifyWithin and cutoverWithin are longer than 0s: nothing could ever go live"),
    validation = Rule::new("!has(self.approveWithin) || self.promotion == 'Manual'").message(
        "approveWithin is for promotion Manual: nothing waits for an approval otherwise"
    )
)]
pub struct Strategy {
    /// Who lets a verified revision go live: Automatic (it does by itself) or Manual (it waits for an approve that names it).
    #[serde(default)]
    pub promotion: PromotionSpec,
    /// How long the release may take to be fetched, checked and unpacked.
    #[serde(default = "default::prepare_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub prepare_within: String,
    /// How long the new revision may take until every instance is ready.
    #[serde(default = "default::ready_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub ready_within: String,
    /// How long the checks against the idle colour may take.
    #[serde(default = "default::verify_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub verify_within: String,
    /// How long a verified revision waits for its approval before it is rejected. Default: for ever. Only with promotion Manual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub approve_within: Option<String>,
    /// How long it may take until the front door is seen to answer from the new colour.
    #[serde(default = "default::cutover_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub cutover_within: String,
    /// How long a request in flight may hold up the end of the old colour.
    #[serde(default = "default::drain_within")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub drain_within: String,
    /// How long the new colour is watched before the rollout counts as a success.
    #[serde(default = "default::bake")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub bake: String,
    /// How long the old colour is kept warm after that, for an instant way back. 0s stops it at once.
    #[serde(default = "default::standby")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub standby: String,
    /// How long the live colour must have been down before traffic goes to the standby.
    #[serde(default = "default::failover_after")]
    #[schemars(regex(pattern = span::PATTERN), length(max = 32))]
    pub failover_after: String,
}

impl Default for Strategy {
    fn default() -> Self {
        Strategy {
            promotion: PromotionSpec::default(),
            prepare_within: default::prepare_within(),
            ready_within: default::ready_within(),
            verify_within: default::verify_within(),
            approve_within: None,
            cutover_within: default::cutover_within(),
            drain_within: default::drain_within(),
            bake: default::bake(),
            standby: default::standby(),
            failover_after: default::failover_after(),
        }
    }
}

/// Who lets a verified revision go live.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PromotionSpec {
    /// It goes live as soon as it is verified.
    #[default]
    Automatic,
    /// It waits for an approve that names it.
    Manual,
}

/// What holds when nothing is said.
mod default {
    pub fn path() -> String {
        "/".to_owned()
    }

    pub fn successes() -> i32 {
        3
    }

    pub fn failures() -> i32 {
        3
    }

    pub fn interval() -> String {
        "500ms".to_owned()
    }

    pub fn timeout() -> String {
        "1s".to_owned()
    }

    pub fn prepare_within() -> String {
        "10m".to_owned()
    }

    pub fn ready_within() -> String {
        "5m".to_owned()
    }

    pub fn verify_within() -> String {
        "1m".to_owned()
    }

    pub fn cutover_within() -> String {
        "1m".to_owned()
    }

    pub fn drain_within() -> String {
        "30s".to_owned()
    }

    pub fn bake() -> String {
        "60s".to_owned()
    }

    pub fn standby() -> String {
        "10m".to_owned()
    }

    pub fn failover_after() -> String {
        "5s".to_owned()
    }

    pub fn stop_within() -> String {
        "30s".to_owned()
    }

    pub fn keep() -> i32 {
        3
    }
}
