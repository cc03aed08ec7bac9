//! `target.host`: a site on a plain machine, as it is written.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::java::{SpringBootSpec, TomcatSpec};
use super::python::{AsgiSpec, CgiSpec, WsgiSpec};
use super::requests::RequestsSpec;
use crate::api::remote::{ArchiveUrl, ImageRef, SecretName};
use crate::api::span;
use crate::api::types::{AbsPath, CacheControl, Hostname, RelPath, Sha256, UrlPath, UserName};

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
    validation = Rule::new("self.front != 'Include' || !has(self.tls)").message(
        "front Include takes no tls: your own server block has it"
    ),
    validation = Rule::new("self.front != 'Include' || !has(self.previewHostnames) || size(self.previewHostnames) == 0").message(
        "front Include takes no previewHostnames: your own server block has the names"
    ),
    validation = Rule::new("self.front != 'Include' || !has(self.requests) || !has(self.requests.maxBodySize)").message(
        "front Include takes no requests.maxBodySize: your own server block has it"
    ),
    validation = Rule::new("has(self.runtime.static) || has(self.ports) && size(self.ports.blue) > 0").message(
        "an app needs at least one port for each colour"
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
    /// The site is served over HTTPS, with this certificate, and what comes without it is sent on. Not with front Include.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// The names under which the idle colour answers, on the same addresses, while it runs and is ready: the candidate before its cutover, the
    /// standby after it. Otherwise they say that there is nothing to be seen; they never show the live colour. Not with front Include.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(regex(pattern = Hostname::PATTERN)), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub preview_hostnames: Vec<String>,
    /// How the web server passes requests on: how large a body may be, how long an app may be silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestsSpec>,
    /// What you uploaded: a folder (path), a file (archive), or where such arrive (uploads).
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
    /// Files outside the release that belong to it, or folders of them: copied beside it when a rollout starts, into the folder that the
    /// variable BLUEGREEN_CONFIG names, so that a rollback brings them back too. A Spring app reads them after its own, over which they win.
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
    /// A file of further variables outside the release, a line each as KEY=VALUE: taken over when a rollout starts, and never shown. What env
    /// says wins over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub env_file: Option<String>,
    /// How long an instance has from SIGTERM to SIGKILL.
    #[serde(default = "super::default::stop_within")]
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

/// A certificate, and where it is used.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// The file with the certificate and those between it and its root, in PEM form. It may be a link. A change is taken up by itself.
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub certificate: String,
    /// The file with the private key, in PEM form. Others than root and its group must not be able to read it.
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub key: String,
    /// Where HTTPS is listened for, as in the site's listen. Default: *:443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(regex(pattern = LISTEN_PATTERN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub listen: Option<Vec<String>>,
}

/// What you uploaded, or where it is fetched from: exactly one of path, archive, uploads, url and oci.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "[has(self.path), has(self.archive), has(self.uploads), has(self.url), has(self.oci)].filter(is, is).size() == 1"
    ).message("a release is exactly one of path, archive, uploads, url and oci"),
    validation = Rule::new("!has(self.sha256) || has(self.archive) || has(self.url)").message("sha256 is the checksum of an archive"),
    validation = Rule::new("!has(self.url) || has(self.sha256)").message("what is fetched from a url needs its sha256"),
    validation = Rule::new("!(has(self.caFile) || has(self.credentials)) || has(self.url) || has(self.oci)").message(
        "caFile and credentials are for what is fetched: url and oci"
    )
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
    /// A folder in which releases arrive (SFTP, scp, rsync, `bluegreen push`), as archives or folders. The one that became whole last is rolled
    /// out. NAME is whole once NAME.done lies beside it, NAME.sha256 lies there and is right, or it was renamed from NAME.part or the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 3800))]
    pub uploads: Option<String>,
    /// Where the archive is fetched from, once for this machine: https alone. It needs sha256, which alone says what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = ArchiveUrl::PATTERN), length(max = 2048))]
    pub url: Option<String>,
    /// An image or an artifact of a registry, fetched once for this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSpec>,
    /// Further authorities that the server's certificate may come from: a file of certificates (PEM) that is root's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub ca_file: Option<String>,
    /// Who this machine is to the server of url or oci.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsSpec>,
}

/// An image or an artifact of an OCI registry, by its digest.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OciSpec {
    /// REGISTRY/NAME@sha256:DIGEST. Of an index it is the image for this machine's architecture.
    #[schemars(regex(pattern = ImageRef::PATTERN), length(max = 512))]
    pub image: String,
    /// The folder of the image that is the release, as in /app; without it, all of the image. Not for an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 1024))]
    pub path: Option<String>,
}

/// Where credentials are: exactly one of the fields.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.file) != has(self.secret)").message("credentials are exactly one of file and secret"))]
pub struct CredentialsSpec {
    /// A file that is root's and that nobody else may read: a config.json as `docker login` writes it, or lines of `machine HOST login USER password WORD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub file: Option<String>,
    /// A Secret in this host's namespace of the hub that it has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = SecretName::PATTERN), length(max = 253))]
    pub secret: Option<String>,
}

/// The form of `archive`: an absolute path with one of the endings that are understood.
pub const ARCHIVE_PATTERN: &str = r"^/.*\.(tar\.gz|tgz|zip|jar|war)$";

/// What starts a release: exactly one of the fields.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuntimeSpec {
    /// Any program.
    Command(CommandSpec),
    /// A WSGI app of Python's (Django, Flask), served by gunicorn.
    Wsgi(WsgiSpec),
    /// An ASGI app of Python's (FastAPI), served by uvicorn.
    Asgi(AsgiSpec),
    /// Programs that are started for each request.
    Cgi(CgiSpec),
    /// Nothing: the web server answers everything from files. Written `static: {}`.
    Static(StaticRuntime),
    /// A Spring Boot jar.
    SpringBoot(SpringBootSpec),
    /// A war on Tomcat 10.
    Tomcat(TomcatSpec),
}

impl RuntimeSpec {
    /// The path that such a release answers at when it can serve, unless the site says another.
    #[must_use]
    pub fn health_path(&self) -> &str {
        match self {
            RuntimeSpec::Command(_) | RuntimeSpec::Static(_) => "/",
            RuntimeSpec::Wsgi(_) | RuntimeSpec::Asgi(_) | RuntimeSpec::Cgi(_) => "/",
            RuntimeSpec::SpringBoot(_) => "/actuator/health",
            RuntimeSpec::Tomcat(tomcat) => &tomcat.path,
        }
    }
}

/// A program and its arguments.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandSpec {
    /// The program (a path inside the release, or an absolute one) and its arguments. No shell reads them. $(PORT) becomes the
    /// instance's port, which the variable PORT holds too.
    #[schemars(length(min = 1, max = 256), inner(length(max = 4096)))]
    pub argv: Vec<String>,
    /// The program speaks FastCGI instead of HTTP (PHP-FPM), and is asked to run this file of the release for every path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RelPath::PATTERN), length(max = 1024))]
    pub fast_cgi: Option<String>,
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
    #[serde(default = "super::default::keep")]
    #[schemars(range(min = 0, max = 100))]
    pub keep: i32,
    /// The file of root that is answered, with status 200, to a GET or HEAD below path that meets no file: the page of an application that
    /// does its routing in the browser. It is answered with 'Cache-Control: no-cache'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RelPath::PATTERN), length(max = 1024))]
    pub fallback: Option<String>,
    /// The header Cache-Control of answers with a file, as in 'public, max-age=31536000, immutable' for files whose names change with what
    /// is in them. Neither an error nor the fallback carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = CacheControl::PATTERN), length(max = 256))]
    pub cache_control: Option<String>,
    /// Whether FILE.gz, where it lies beside FILE, is answered to a request for FILE that accepts gzip.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub precompressed: bool,
}

/// A file outside the release that belongs to it.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigFile {
    /// Where it is: a file, whose copy has the same last name, or a folder, all of whose files are taken.
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
