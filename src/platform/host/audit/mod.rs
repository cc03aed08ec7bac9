//! What is wrong with a machine that serves sites: who can be reached that should not be, what can be read that should not be, what will fail at the
//! next rollout. Only looks: nothing is written, started or stopped. Called by `bluegreen doctor`.
//!
//! | part | what it looks at |
//! |---|---|
//! | `sites` | what the sites on disk say: ports, files, releases |
//! | `processes` | which process holds a socket, as whom, in which unit, of which site |
//! | `listeners` | every listener, and whether it should be reachable |
//! | `walls` | nftables, ufw, iptables: what is closed by whom |
//! | `secrets` | files that others may read or write |
//! | `production` | production settings inside a release, a jar or a Git checkout |
//! | `front` | configuration of the web server that exposes an app or goes past us |
//! | `room` | memory for two colours, disk, clock, limits |

mod front;
mod listeners;
mod processes;
mod production;
mod room;
mod secrets;
mod sites;
mod walls;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::web::apache::ApacheSettings;
use super::web::nginx::NginxSettings;

pub use self::listeners::{Listener, Protocol, Verdict};
pub use self::walls::Wall;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Places {
    /// The agent's state folder.
    pub state: PathBuf,
    /// The folder of manifests.
    pub manifests: PathBuf,
    /// Whether the agent is to close the ports of apps.
    pub firewall: bool,
    /// The nginx to look at, if it is there.
    pub nginx: NginxSettings,
    /// The Apache to look at, if it is there.
    pub apache: ApacheSettings,
    /// Ports that somebody says are meant to be reached.
    pub expected: BTreeSet<u16>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody can use it against the machine, or a site fails by it.
    High,
    /// It makes another mistake worse, or fails later.
    Medium,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What kind, in CamelCase: for machines.
    pub reason: &'static str,
    /// What is wrong.
    pub what: String,
    /// Where: an address, a file with its line, a site.
    #[serde(rename = "where")]
    pub place: String,
    /// One command or one edit that mends it.
    pub fix: String,
}

/// All that was seen.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Every listener.
    pub listeners: Vec<Listener>,
    /// What closes ports.
    pub firewalls: Vec<Wall>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
}

/// Collects what is found, and what could not be looked at.
#[derive(Debug, Default)]
struct Notes {
    findings: Vec<Finding>,
    unseen: Vec<String>,
}

impl Notes {
    fn find(
        &mut self,
        severity: Severity,
        reason: &'static str,
        what: impl Into<String>,
        place: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let finding = Finding { severity, reason, what: what.into(), place: place.into(), fix: fix.into() };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn unseen(&mut self, what: impl Into<String>) {
        self.unseen.push(what.into());
    }
}

/// Looks at everything.
pub async fn audit(places: &Places) -> Report {
    let mut notes = Notes::default();
    if !rustix::process::geteuid().is_root() {
        notes.unseen("the processes and files of other users: run it as root");
    }
    let sites = sites::read(places, &mut notes);
    let walls = walls::look(places, &sites, &mut notes).await;
    let mut listeners = listeners::look(&mut notes);
    let front = front::look(places, &sites, &listeners, &mut notes);
    listeners::judge(&mut listeners, &sites, &walls, &front, &places.expected, &mut notes);
    secrets::look(places, &sites, &front, &mut notes);
    production::look(&sites, &mut notes);
    room::look(places, &sites, &mut notes);
    notes.findings.sort();
    Report { listeners, firewalls: walls.all, findings: notes.findings, unseen: notes.unseen }
}
