//! No app is reached but through the web server: the site's ports are closed by the firewall, and a candidate that others than this machine can
//! reach all the same does not go live (`guards.exposure`).
//!
//! What a candidate opened besides its own port (a debugger, JMX, an admin page) is an app's listener as well. With `Deny` it is closed too, as long
//! as nobody else listens on that port: a port of somebody else's is never closed, whatever a manifest says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::{HostSite, Inner};
use crate::api::spec::GuardSpec;
use crate::platform::host::firewall::{self, State};
use crate::platform::host::sockets::{self, Socket};
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::supervise::process::Stat;
use crate::platform::host::web::WebServer;
use crate::platform::{Class, Fault};
use crate::rollout::{Colour, Verdict};

/// So many further ports of a colour are remembered; beyond that, only those that are open now.
const FURTHER: usize = 64;

/// A socket of an instance that is bound to more than loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exposed {
    colour: Colour,
    address: SocketAddr,
    pid: u32,
    /// Somebody who is none of the site's listens on the same port, so that it can't be closed.
    shared: bool,
}

impl<W: WebServer + 'static, S: Supervisor + 'static> HostSite<W, S> {
    /// Tells the firewall which ports are the site's, and finds what its instances expose.
    pub(super) fn close_ports(&self, inner: &mut Inner) -> Result<Vec<Exposed>, String> {
        let wanted = self.wanted();
        let mut close: BTreeSet<u16> = wanted.site.target.run.ports.all().collect();
        let listening = sockets::listeners().map_err(|e| format!("the kernel does not tell who listens: {e}"))?;
        let outside: Vec<Socket> =
            listening.into_iter().filter(|socket| !socket.local.ip().to_canonical().is_loopback()).collect();
        let mut owners: BTreeMap<u64, (Colour, u32)> = BTreeMap::new();
        for colour in Colour::BOTH {
            let Some(watched) = inner.watched(colour).as_ref() else { continue };
            let (revision, pids) = (watched.revision, watched.pids.clone());
            if let Some(record) = self.records(inner).map_err(|fault| fault.message)?.get(&revision) {
                close.extend(record.run.ports.all());
            }
            if !outside.is_empty() {
                owners
                    .extend(pids.iter().flat_map(|&pid| sockets::inodes(pid).map(move |inode| (inode, (colour, pid)))));
            }
        }
        let theirs = |port: u16| outside.iter().any(|s| s.local.port() == port && !owners.contains_key(&s.inode));
        let exposed: Vec<Exposed> = outside
            .iter()
            .filter_map(|socket| {
                let &(colour, pid) = owners.get(&socket.inode)?;
                Some(Exposed { colour, address: socket.local, pid, shared: theirs(socket.local.port()) })
            })
            .collect();
        if wanted.site.target.exposure == GuardSpec::Deny {
            for colour in Colour::BOTH {
                let open = exposed.iter().filter(|one| one.colour == colour).map(|one| one.address.port());
                let open: BTreeSet<u16> = open.filter(|port| !close.contains(port)).collect();
                if let Some(watched) = inner.watched(colour).as_mut() {
                    watched.further.extend(&open);
                    if watched.further.len() > FURTHER {
                        watched.further = open;
                    }
                    close.extend(&watched.further);
                }
            }
        }
        let before = self.host.firewall.of(&self.name);
        close.retain(|port| before.contains(port) || !theirs(*port));
        self.host.firewall.want(&self.name, &close);
        Ok(exposed)
    }

    /// Says what others than this machine can reach, of the instances that run with or without a guard's leave, and why nothing closes it.
    pub(super) fn warn_of_exposure(&self, exposed: &Result<Vec<Exposed>, String>) {
        // What can't be seen now is warned of as it was.
        let Ok(exposed) = exposed else { return };
        let (guard, state, ours) =
            (self.wanted().site.target.exposure, self.host.firewall.state(), self.host.firewall.of(&self.name));
        let closing = |port: u16| {
            state.closes(port) || matches!(state, State::Closed(_) | State::Unknown) && ours.contains(&port)
        };
        let open: Vec<&Exposed> = exposed.iter().filter(|one| !closing(one.address.port())).collect();
        let judged = guard != GuardSpec::Off && state != State::Unknown;
        let fault = |reason, message| Fault { class: Class::User, reason, message };
        self.warn(EXPOSED, (judged && !open.is_empty()).then(|| fault(EXPOSED, words(&open, &state, guard))));
        self.warn(
            firewall::UNAVAILABLE,
            match &state {
                State::Unable(why) if !ours.is_empty() => {
                    Some(fault(firewall::UNAVAILABLE, firewall::unavailable(why)))
                }
                _ => None,
            },
        );
    }

    /// The verdict of checks that passed, with what the guard says of the candidate. `None`: it can't be told yet.
    pub(super) async fn unexposed(
        &self,
        verdict: Verdict,
        exposed: &Result<Vec<Exposed>, String>,
        inner: &mut Inner,
    ) -> Option<Verdict> {
        let colour = inner.check.map(|(goal, _)| goal.colour)?;
        match self.judge(colour, exposed).await {
            Ok(Judged::Closed(open)) if open.is_empty() => Some(verdict),
            Ok(Judged::Closed(open)) => {
                let closed = format!("{}; the firewall closes port {}", verdict.detail, list(&open));
                Some(Verdict { detail: closed, ..verdict })
            }
            Ok(Judged::Warned(what)) => Some(Verdict { detail: format!("{}; but {what}", verdict.detail), ..verdict }),
            Ok(Judged::Denied(what)) => Some(Verdict { passed: false, detail: what, ..verdict }),
            Err(unseen) => {
                tracing::debug!(site = %self.name, error = unseen, "whether the candidate is exposed can't be seen");
                None
            }
        }
    }

    /// The last look before traffic goes to a colour that nobody cleared yet: what it opened since its checks counts as well.
    pub(super) async fn refuse_exposed(&self, colour: Colour, inner: &mut Inner) -> Result<(), Fault> {
        let exposed = self.close_ports(inner);
        match self.judge(colour, &exposed).await {
            Ok(Judged::Denied(what)) => Err(Fault { class: Class::User, reason: EXPOSED, message: what }),
            Ok(Judged::Closed(_) | Judged::Warned(_)) => Ok(()),
            Err(what) => Err(Fault { class: Class::Transient, reason: "WorldUnknown", message: what }),
        }
    }

    async fn judge(&self, colour: Colour, exposed: &Result<Vec<Exposed>, String>) -> Result<Judged, String> {
        let guard = self.wanted().site.target.exposure;
        if guard == GuardSpec::Off {
            return Ok(Judged::Closed(BTreeSet::new()));
        }
        let exposed = exposed.as_ref().map_err(Clone::clone)?.iter().filter(|one| one.colour == colour);
        let exposed: Vec<&Exposed> = exposed.collect();
        if exposed.is_empty() {
            return Ok(Judged::Closed(BTreeSet::new()));
        }
        let state = self.host.firewall.ensure().await;
        let open: Vec<&Exposed> = exposed.iter().copied().filter(|one| !state.closes(one.address.port())).collect();
        Ok(match (open.is_empty(), guard) {
            (true, _) => Judged::Closed(exposed.iter().map(|one| one.address.port()).collect()),
            (false, GuardSpec::Warn) => Judged::Warned(words(&open, &state, guard)),
            (false, _) => Judged::Denied(words(&open, &state, guard)),
        })
    }
}

/// What the guard says.
enum Judged {
    /// These ports are open to more than loopback, and the firewall closes them.
    Closed(BTreeSet<u16>),
    /// Others can reach the candidate, and somebody wants it to go live all the same.
    Warned(String),
    /// Others can reach the candidate.
    Denied(String),
}

/// The reason of the condition.
const EXPOSED: &str = "PortExposed";

fn list(ports: &BTreeSet<u16>) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// What is open, why nothing closes it, and the way out.
fn words(open: &[&Exposed], state: &State, guard: GuardSpec) -> String {
    let mut each: Vec<String> = open
        .iter()
        .map(|one| {
            let program = Stat::read(one.pid).map_or_else(|| "a process".to_owned(), |stat| stat.name);
            format!("{program} (pid {}) listens on {}", one.pid, one.address)
        })
        .collect();
    each.dedup();
    let why = match state {
        _ if open.iter().any(|one| one.shared) => {
            "the port can't be closed, since a process that is none of the site's listens on it too: give the app another one".to_owned()
        }
        State::Off => "the agent's configuration says `firewall: off`: let nftables close it (firewall: { nftables: {} })".to_owned(),
        State::Unable(why) => format!("no firewall closes it: {why}"),
        State::Unknown | State::Closed(_) => {
            "the firewall's table does not close it (guards.exposure: Deny closes what an app opens besides its own port)".to_owned()
        }
    };
    let first = open.first().map_or(0, |one| one.address.port());
    let out = match guard {
        GuardSpec::Warn => "",
        _ => "; or write spec.guards.exposure: Warn, if another firewall closes it",
    };
    let each = each.join(", ");
    format!(
        "{each}, where others than this machine can reach it, and {why}. Or let the app listen on 127.0.0.1:{first} alone{out}"
    )
}
