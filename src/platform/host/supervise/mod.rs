//! Who keeps the instances of a colour running: `systemd`, or `direct` where there is none. Neither ties an app's life to
//! the agent's.

mod account;
pub mod direct;
mod files;
pub mod oom;
pub(crate) mod process;
pub mod systemd;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

pub use self::account::{Account, Accounts, NoAccount};
use crate::api::types::{EnvName, SiteName, UserName};
use crate::platform::Fault;
use crate::rollout::Colour;

/// One instance of one colour of one site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// Of this site.
    pub site: SiteName,
    /// Of this colour.
    pub colour: Colour,
    /// Counted from 0.
    pub index: u16,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.site, self.colour, self.index)
    }
}

/// How to run an instance: everything resolved, nothing to expand, no shell anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments; the program is absolute, or a path inside `dir` that was resolved to an absolute one.
    pub argv: Vec<String>,
    /// The whole environment: nothing is inherited from the agent.
    pub env: BTreeMap<EnvName, String>,
    /// The working folder: the release.
    pub dir: PathBuf,
    /// Who runs it; never root and never a system user.
    pub user: UserName,
    /// Folders outside the release in which it may write.
    pub writable: Vec<PathBuf>,
    /// From SIGTERM to SIGKILL.
    pub stop_within: Duration,
}

/// What became of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Never started, or stopped by us.
    Stopped,
    /// Its processes: who may hold its port.
    Running {
        /// All of them, the children's children too; the first is the one that was started.
        pids: Vec<u32>,
        /// How often it was started again after it ended by itself.
        restarts: u32,
    },
    /// It ended by itself and will be started again.
    Failed {
        /// How it ended, for people: `exit code 1`, `signal 9`.
        how: String,
        /// How often it was started again.
        restarts: u32,
    },
}

/// A supervisor.
pub trait Supervisor: Send + Sync {
    /// Starts all instances of a colour and keeps them running from now on, across their crashes and (for the live colour, as the link says)
    /// a reboot. Does nothing to instances that run already.
    fn start(
        &self,
        site: &SiteName,
        colour: Colour,
        instances: &[Launch],
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Stops all instances of a colour and returns when none of their processes is left.
    fn stop(&self, site: &SiteName, colour: Colour) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The instances of a colour, by index. Empty: nothing of the colour is known to the supervisor.
    fn states(&self, site: &SiteName, colour: Colour)
    -> impl Future<Output = Result<Vec<InstanceState>, Fault>> + Send;

    /// A count that grows whenever an instance of the colour was seen to start or to end, so that nobody need ask again and again.
    fn changes(&self, site: &SiteName, colour: Colour) -> watch::Receiver<u64>;

    /// Forgets a site that goes away, when both its colours are stopped: nothing of it is left but the folder of the site.
    fn forget(&self, site: &SiteName) -> impl Future<Output = Result<(), Fault>> + Send;

    /// What an instance printed last, newest line last.
    fn logs(&self, instance: &InstanceId, lines: usize) -> impl Future<Output = Result<Vec<String>, Fault>> + Send;
}
