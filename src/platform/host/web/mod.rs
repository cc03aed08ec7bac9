//! The front door: a web server that somebody else made, told what to serve by files that we render.
//!
//! A cutover needs nobody in here: it is one rename of the link `live` (see `route`). A web server is asked only when the *shape* of a
//! site changes, and to say which colour it is seen to answer from.
//!
//! | part | what it does |
//! |---|---|
//! | `kind` | what one kind of web server does otherwise than another |
//! | `nginx`, `apache` | the two of them |
//! | `queue` | the calls of many sites, batched; remembers what is in force |
//! | `draft`, `apply`, `no` | what the files shall be; put in place, seen, or taken back; why not |
//! | `files` | which files are ours, and how a new set takes their place |
//! | `trial` | tests a configuration that is not in place |
//! | `serving` | what else the web server serves, and what of it is in the way |
//! | `version` | whether it is new enough |
//! | `process`, `log` | its processes, and what it says of a reload |
//! | `fastcgi` | what a program that is started for each request is told of its place |
//! | `certificate` | whether it could use a certificate |
//! | `door` | asks which colour a request gets now, and from which generation |

pub mod apache;
mod apply;
pub mod certificate;
pub mod door;
mod draft;
mod fastcgi;
pub mod files;
pub mod kind;
mod log;
pub mod nginx;
mod no;
mod process;
pub mod queue;
pub mod reason;
mod serving;
mod trial;
mod version;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::layout::SiteDir;
use crate::api::requests::Requests;
use crate::api::site::Protocol;
use crate::api::types::{CacheControl, Hostname, RelPath, SiteName, UrlPath};
use crate::platform::{Class, Fault};
use crate::rollout::Colour;

/// A web server. Its calls may come from many sites at once; it batches what needs a reload.
pub trait WebServer: Send + Sync {
    /// Makes the shape of a site be in force, and returns once it was *seen* to be: tested whole before it is in place, put in
    /// place, reloaded, seen in every worker; taken back on failure. Costs nothing when the shape is already in force.
    fn ensure(&self, site: Shape) -> impl Future<Output = Result<(), Fault>> + Send;

    /// What the site wants and this web server can't do, though it serves the site without: to be warned of.
    fn lacks(&self, site: &Shape) -> impl Future<Output = Option<Fault>> + Send;

    /// Makes the site be served no more. Nothing happens if it wasn't.
    fn remove(&self, site: &SiteName) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The colour that the front door answers from now, asked at the door itself. `None`: it answers that there is none.
    fn seen(&self, site: &SiteName) -> impl Future<Output = Result<Option<Colour>, Fault>> + Send;

    /// How long an idle connection to an instance is kept: a colour can't be called drained sooner after the cutover.
    fn pool_timeout(&self) -> Duration;

    /// Whether a request to the site that came in longer than `ago` ago is being answered still, by the web server's own account. `None`: it has
    /// none, and the sockets of the instances tell.
    fn in_flight(&self, site: &SiteName, ago: Duration) -> impl Future<Output = Result<Option<bool>, Fault>> + Send;
}

/// All of a site that the web server's configuration depends on. Equal shapes need no reload. Everything in it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whose.
    pub site: SiteName,
    /// Where the link and the markers are.
    pub dir: SiteDir,
    /// Who writes the server block.
    pub mode: Mode,
    /// How requests are passed on.
    pub requests: Requests,
    /// What blue answers with.
    pub blue: Side,
    /// What green answers with.
    pub green: Side,
}

impl Shape {
    /// What this colour answers with.
    #[must_use]
    pub fn side(&self, colour: Colour) -> &Side {
        match colour {
            Colour::Blue => &self.blue,
            Colour::Green => &self.green,
        }
    }
}

/// What one colour answers with. It belongs to the slot's own release, so that a revision may move its files without touching what the other
/// colour serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Its instances; empty for a site of files alone. While the slot is empty, those that it will have: else every rollout changes the shape,
    /// and a reload closes idle connections under the requests that are on their way on them.
    pub instances: Vec<SocketAddr>,
    /// What is spoken with them.
    pub protocol: Protocol,
    /// What the web server answers itself from the slot's release.
    pub statics: Vec<StaticPath>,
}

/// Who writes the server block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// We do.
    Own {
        /// The names that it answers to.
        hostnames: Vec<Hostname>,
        /// The names under which the idle colour answers; none of them is a wildcard.
        previews: Vec<Hostname>,
        /// Where it listens.
        listen: Vec<SocketAddr>,
        /// How it is served over HTTPS, if it is: then `listen` sends on.
        tls: Option<Tls>,
    },
    /// The user does, and includes our snippet in it.
    Include,
}

impl Mode {
    /// Every name that it answers to.
    #[must_use]
    pub fn names(&self) -> Vec<Hostname> {
        match self {
            Mode::Own { hostnames, previews, .. } => hostnames.iter().chain(previews).cloned().collect(),
            Mode::Include => Vec::new(),
        }
    }

    /// Every address on which the site listens.
    #[must_use]
    pub fn doors(&self) -> Vec<SocketAddr> {
        match self {
            Mode::Own { listen, tls, .. } => {
                listen.iter().chain(tls.iter().flat_map(|tls| &tls.listen)).copied().collect()
            }
            Mode::Include => Vec::new(),
        }
    }
}

/// How a site is served over HTTPS. The files are copies of ours, which were read and found good: what a web server can't use would keep it from
/// ever reading its configuration again, for all sites. Another certificate is another path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Its certificate and those between it and its root.
    pub certificate: PathBuf,
    /// The private key, root's alone.
    pub key: PathBuf,
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
}

impl Tls {
    /// What a client has to write behind the host's name to get here: `:8443`, or nothing.
    #[must_use]
    pub fn port(&self) -> String {
        match self.listen.first().map(SocketAddr::port) {
            None | Some(443) => String::new(),
            Some(port) => format!(":{port}"),
        }
    }
}

/// Paths that the web server answers itself, from the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPath {
    /// The paths below this one; ends with `/`.
    pub path: UrlPath,
    /// The folder of the release that holds them.
    pub root: RelPath,
    /// Whether files that only the other colour or earlier revisions have are answered too (hashed assets). Those of earlier revisions lie in
    /// `kept/INDEX/`, all in one folder or behind a link to one; INDEX is the position of this path in the list that it stands in. A file must
    /// keep its time of change: a browser is told by it whether its copy is still good.
    pub keep: bool,
    /// The file below the root that is answered to a GET or HEAD that meets no file.
    pub fallback: Option<RelPath>,
    /// What answers with a file say of caching them; errors and the fallback don't.
    pub cache: Option<CacheControl>,
    /// Whether `FILE.gz` is answered for `FILE` to who accepts it.
    pub precompressed: bool,
}

fn fault(class: Class, reason: &'static str, message: String) -> Fault {
    Fault { class, reason, message }
}
