//! A site, parsed: what `parse` makes of a specification. Nothing in here can be wrong any more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::types::{AbsPath, EnvName, Hostname, RelPath, Sha256, SiteName, Token, UrlPath, UserName};
use crate::rollout::{Limits, Promotion};

/// A site as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name.
    pub name: SiteName,
    /// Grows with each change of the specification; on a host the agent counts it.
    pub generation: i64,
    /// Who lets a verified candidate go live.
    pub promotion: Promotion,
    /// How long each phase may last.
    pub limits: Limits,
    /// Where it lives.
    pub host: HostTarget,
}

/// A site on a plain machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTarget {
    /// How it gets into the web server.
    pub front: Front,
    /// What somebody uploaded.
    pub release: ReleaseSource,
    /// Everything that belongs to the slot's own release and changes only on an idle slot.
    pub run: Run,
}

/// How a site gets into the web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Front {
    /// We write the server block.
    Own {
        /// The names that it answers to.
        hostnames: Vec<Hostname>,
        /// Where it listens.
        listen: Vec<SocketAddr>,
    },
    /// The user's server block includes our snippet.
    Include,
}

/// What somebody uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReleaseSource {
    /// A folder.
    Path(AbsPath),
    /// A file: `.tar.gz`/`.tgz`, `.zip`, or a single `.jar` or `.war`, told apart by its name.
    Archive {
        /// Where it lies.
        file: AbsPath,
        /// What it must be.
        sha256: Option<Sha256>,
    },
}

/// How a release is run. It is stored with the release (`releases/REVISION.json`) and is part of its revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// What starts it.
    pub runtime: Runtime,
    /// The ports of blue's instances and of green's: as many of one as of the other, none for a site of files alone.
    pub ports: Ports,
    /// Who runs it.
    pub user: UserName,
    /// What the web server answers itself.
    pub statics: Vec<Static>,
    /// Files outside the release that are copied beside it when a rollout starts.
    pub config_files: Vec<AbsPath>,
    /// Folders outside the release that appear inside it, and outlive it.
    pub shared_dirs: Vec<SharedDir>,
    /// Variables for the app.
    pub env: BTreeMap<EnvName, String>,
    /// How readiness is asked.
    pub health: HealthCheck,
    /// From SIGTERM to SIGKILL.
    pub stop_within: Duration,
    /// What a `restart` asked for: another one makes another revision of what is otherwise the same release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Token>,
}

/// What starts a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Runtime {
    /// Any program. `$(PORT)` in an argument becomes the instance's port; the variable `PORT` holds it too.
    Command {
        /// The program, a path inside the release or an absolute one, and its arguments.
        argv: Vec<String>,
    },
    /// Nothing: the web server answers everything.
    Static,
}

/// The ports of each colour's instances, on 127.0.0.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Blue's.
    pub blue: Vec<u16>,
    /// Green's.
    pub green: Vec<u16>,
}

/// A path that the web server answers itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Static {
    /// The paths below this one; ends with `/`.
    pub path: UrlPath,
    /// The folder of the release that holds them.
    pub root: RelPath,
    /// How many earlier revisions' files are still answered.
    pub keep: u8,
}

/// A folder that outlives releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedDir {
    /// Where it appears in the release.
    pub path: RelPath,
    /// Where it is.
    pub source: AbsPath,
}

/// How readiness is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// A GET of this path at each instance must answer 200 to 399.
    pub path: UrlPath,
    /// So many times in a row.
    pub successes: u32,
    /// So many failures in a row make a ready instance unready.
    pub failures: u32,
    /// From one check of a starting instance to the next.
    pub interval: Duration,
    /// An answer must come within this.
    pub timeout: Duration,
}
