//! What is said over the control socket.
//!
//! | request | answer | who may |
//! |---|---|---|
//! | `GET /v1/sites` | [`SiteList`] | group |
//! | `GET /v1/sites/NAME` | [`SiteView`] | group |
//! | `GET /v1/watch[?site=NAME]` | lines of [`Change`], one JSON object each: first what is there, then what changes | group |
//! | `GET /v1/sites/NAME/history` | [`History`] | group |
//! | `GET /v1/sites/NAME/logs?colour=blue&instance=0&lines=100` | [`Logs`] | group |
//! | `POST /v1/sites/NAME/commands` with a [`CommandRequest`] | [`CommandAnswer`] | group |
//! | `POST /v1/sites[?dryRun=true]` with a manifest (YAML) | [`Applied`] | root |
//! | `DELETE /v1/sites/NAME` | [`Deleted`] | root |
//!
//! What goes wrong is answered with a [`Failure`] and the HTTP status that it names.

use serde::{Deserialize, Serialize};

use crate::rollout::{Attempt, Colour, Revision, Verb};

/// Where the socket is unless the agent's configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/bluegreen/control.sock";

/// Members of this group may look at sites and command rollouts, if the group exists on the machine.
pub const GROUP: &str = "bluegreen";

/// The largest manifest that is taken, in bytes.
pub const MANIFEST_LIMIT: usize = 256 * 1024;

/// All sites, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteList {
    /// In the order of their names.
    pub items: Vec<SiteView>,
    /// What is to be known of the host as a whole: that its hub is not reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One site: the object, and what only a host can tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SiteView {
    /// The `BlueGreenSite`: `metadata`, `spec` as it was last accepted, and `status`.
    pub object: serde_json::Value,
    /// Both colours, blue first.
    pub slots: Vec<SlotView>,
    /// What [`CommandRequest::about`] of each command has to name now.
    pub attempts: Attempts,
    /// Of the releases that arrived the one that is wanted, where the specification names a folder of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadView>,
    /// The last [`Applied::look`] that the rest of this knows the result of.
    #[serde(default)]
    pub looked: u64,
}

/// A release that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadView {
    /// Its name in the folder.
    pub name: String,
    /// The SHA-256 of its bytes, or of its tree if it is a folder.
    pub sha256: String,
    /// The revision that it makes.
    pub revision: Revision,
}

/// The attempts that a command may be about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempts {
    /// The candidate's: for `approve` and `abort`.
    pub candidate: Option<Attempt>,
    /// What the specification wants: for `retry`.
    pub wanted: Option<Attempt>,
    /// The live colour's: for `rollback` and `restart`.
    pub live: Option<Attempt>,
}

/// What a retry is about while nobody can tell which release it would be of: what was uploaded is looked at again, and nothing else.
pub const UNTOLD: Attempt = Attempt { revision: Revision::new(0), number: 0 };

impl Attempts {
    /// The attempt that an order is about; `None`: there is nothing that it could be about.
    #[must_use]
    pub fn of(&self, order: &Order) -> Option<Attempt> {
        match order {
            Order::Approve => self.candidate,
            Order::Abort => self.candidate.or(self.live),
            Order::Retry => self.wanted.or(Some(UNTOLD)),
            Order::Rollback { .. } | Order::Restart => self.live,
            // What is wanted may be rejected, and then nothing can be said of it; what is live can always be held.
            Order::Pause | Order::Resume => self.candidate.or(self.live).or(self.wanted),
        }
    }
}

/// One colour, as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotView {
    /// Which.
    pub colour: Colour,
    /// Whether the route names it.
    pub live: bool,
    /// What it runs; `None`: the slot is empty.
    pub revision: Option<Revision>,
    /// How it is.
    pub health: SlotHealth,
    /// Whether requests that were routed to it may still be in flight.
    pub draining: bool,
    /// What is awaited, in words.
    pub detail: String,
    /// Its instances, by index.
    pub instances: Vec<InstanceView>,
    /// How many instances it is to have, where that may be another number than there are: on a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u32>,
    /// What leads to it, where several things may: the Services of a cluster, as `shop:80`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serves: Vec<String>,
}

/// How a colour is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlotHealth {
    /// Nothing runs there.
    Empty,
    /// All instances are ready.
    Ready,
    /// Some are.
    Degraded,
    /// None is.
    Down,
}

/// One instance, as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    /// Counted from 0.
    pub index: u16,
    /// Where it runs.
    #[serde(flatten)]
    pub place: Place,
    /// Whether it answered its health check as often in a row as was asked.
    pub ready: bool,
    /// How often it was started again after it ended by itself.
    pub restarts: u32,
    /// What is awaited, or how it ended, in words.
    pub detail: String,
}

/// Where an instance runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// A process of this machine.
    Process {
        /// Where it listens, on 127.0.0.1.
        port: u16,
        /// Its first process; `None` while none runs.
        pid: Option<u32>,
    },
    /// A pod of a cluster.
    Pod {
        /// Its name.
        pod: String,
        /// Its node; `None` until it has one.
        node: Option<String>,
    },
}

/// A change of one site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What happened to it.
    #[serde(rename = "type")]
    pub kind: ChangeKind,
    /// The site now; when it is gone: as it was last.
    pub site: SiteView,
}

/// What happened to a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ChangeKind {
    /// It is there: said of each site at the start, and of a new one.
    Added,
    /// Something of it changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandRequest {
    /// What is asked.
    #[serde(flatten)]
    pub order: Order,
    /// The attempt that the person saw (see [`SiteView::attempts`]): it does nothing on any other.
    pub about: Attempt,
    /// Chosen by the caller, so that the same request sent twice is one command: letters, digits and `-`, at most 64.
    pub id: String,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Order {
    /// Let the candidate go live.
    Approve,
    /// Give up the candidate, or leave it again while it is baking.
    Abort,
    /// Forget the rejection of the wanted revision and try it again.
    Retry,
    /// Leave the live revision and go back to this one.
    Rollback {
        /// Where to.
        to: Revision,
    },
    /// Start nothing more and let no deadline pass.
    Pause,
    /// Go on.
    Resume,
    /// Roll the same release out once more, on the other colour.
    Restart,
}

impl Order {
    /// What the logic is told; `None`: a restart, which is no command to it but another revision.
    #[must_use]
    pub fn verb(&self) -> Option<Verb> {
        match *self {
            Order::Approve => Some(Verb::Approve),
            Order::Abort => Some(Verb::Abort),
            Order::Retry => Some(Verb::Retry),
            Order::Rollback { to } => Some(Verb::Rollback(to)),
            Order::Pause => Some(Verb::Pause),
            Order::Resume => Some(Verb::Resume),
            Order::Restart => None,
        }
    }

    /// The word that a person types.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Order::Approve => "approve",
            Order::Abort => "abort",
            Order::Retry => "retry",
            Order::Rollback { .. } => "rollback",
            Order::Pause => "pause",
            Order::Resume => "resume",
            Order::Restart => "restart",
        }
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandAnswer {
    /// The command's id.
    pub id: String,
    /// What became of it by the time of the answer.
    pub outcome: Outcome,
    /// In words.
    pub message: String,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was taken and had its effect.
    Obeyed,
    /// It was taken and did nothing: it named another attempt, or asked for what can't be.
    Ignored,
    /// It is written down, and will be taken when the site is next looked at.
    Waiting,
}

/// What an applied manifest did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The site.
    pub name: String,
    /// What became of it.
    pub outcome: ApplyOutcome,
    /// The generation that the specification has now: a wait ends when `status.observedGeneration` has reached it.
    pub generation: i64,
    /// How often somebody gave this agent a reason to look at the site's release and configuration, which may have changed although the
    /// manifest has not: a wait ends when [`SiteView::looked`] has reached it. 0 where nobody looks (a cluster).
    #[serde(default)]
    pub look: u64,
    /// What is allowed, and perhaps not meant.
    pub warnings: Vec<String>,
}

/// What became of an applied manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApplyOutcome {
    /// The site is new.
    Created,
    /// Its manifest changed.
    Configured,
    /// It was like this already.
    Unchanged,
}

/// A site's deletion has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The site. It is gone when `GET` answers 404.
    pub name: String,
}

/// What happened to a site, oldest first; a bounded number of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The events.
    pub items: Vec<HistoryEntry>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// When.
    pub time: jiff::Timestamp,
    /// What kind, in CamelCase: `PhaseEntered`, `Rejected`, `Settled`, `FailedOver`, …
    pub reason: String,
    /// In words.
    pub message: String,
    /// The revision that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
}

/// What instances printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// One for each instance that was asked for.
    pub items: Vec<InstanceLog>,
}

/// What one instance printed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLog {
    /// Of this colour.
    pub colour: Colour,
    /// Counted from 0.
    pub instance: u16,
    /// Newest last.
    pub lines: Vec<String>,
}

/// Which logs are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsQuery {
    /// Of this colour; `None`: the live one.
    pub colour: Option<Colour>,
    /// Of this instance; `None`: of each.
    pub instance: Option<u16>,
    /// At most so many lines of each.
    pub lines: Option<usize>,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The HTTP status.
    pub code: u16,
    /// In CamelCase, as Kubernetes names them: `NotFound`, `Forbidden`, `Invalid`, `Conflict`, `InternalError`, …
    pub reason: String,
    /// What is wrong and what to do, for people.
    pub message: String,
}

impl Failure {
    /// There is no such thing.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(404, "NotFound", message)
    }

    /// The caller may not do this.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Failure {
        Failure::new(403, "Forbidden", message)
    }

    /// What was sent is wrong.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(422, "Invalid", message)
    }

    /// It doesn't fit what is there now.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Failure {
        Failure::new(409, "Conflict", message)
    }

    /// The agent could not do it.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Failure {
        Failure::new(500, "InternalError", message)
    }

    fn new(code: u16, reason: &str, message: impl Into<String>) -> Failure {
        Failure { code, reason: reason.to_owned(), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_of_a_machine_reads_as_it_always_did() {
        let text = r#"{"index":0,"port":8081,"pid":7,"ready":true,"restarts":0,"detail":""}"#;
        let instance: InstanceView = serde_json::from_str(text).expect("an instance");
        assert_eq!(instance.place, Place::Process { port: 8081, pid: Some(7) });
        assert_eq!(serde_json::to_string(&instance).expect("plain data"), text);
    }

    #[test]
    fn a_command_is_one_flat_object() {
        let request = CommandRequest {
            order: Order::Rollback { to: Revision::new(7) },
            about: Attempt { revision: Revision::new(9), number: 2 },
            id: "a-1".into(),
        };
        let text = serde_json::to_string(&request).expect("it is plain data");
        assert!(text.starts_with(r#"{"verb":"rollback","to":"00000000000000000000000000000007","about":"#), "{text}");
        assert_eq!(serde_json::from_str::<CommandRequest>(&text).expect("it was just written"), request);
    }
}
