//! The Lease of this host on its hub: presence for whoever looks there, and the judge between two machines that go by one name. What to do is decided by
//! the operator's own pure logic; here a boot of a machine, not a process, holds it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};

use super::connection::{Trouble, within};
use super::machine::Identity;
use crate::api::names::hub;
use crate::driver::operator::lease::{Candidate, Choice, Moment, Record, Sight, Timing, decide};
use crate::driver::operator::reign::now;

/// Renewed every 10 s, and taken to be abandoned after 40 s.
const TIMING: Timing =
    Timing { lasts: Duration::from_secs(40), leads: Duration::from_secs(30), period: Duration::from_secs(10) };

/// Whose name it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody has looked yet.
    Unsettled,
    /// Ours, until then.
    Ours(Moment),
    /// Another machine's, which is alive.
    Theirs(String),
}

impl Claim {
    /// Whether this machine may act for the host right now.
    #[must_use]
    pub fn acts(&self) -> bool {
        matches!(self, Claim::Ours(until) if now() < *until)
    }
}

/// The Lease.
pub struct Presence {
    api: Api<Lease>,
    identity: Arc<Identity>,
    me: String,
    /// When we said that we renewed it last: whoever says something else under our name is somebody else.
    said: Option<MicroTime>,
    claim: Claim,
    /// As it was seen last, whole, since a write must keep what others put into it.
    seen: Option<Lease>,
    sight: Option<Sight>,
}

impl Presence {
    /// Of this machine.
    ///
    /// # Errors
    /// It can't be told which one it is.
    pub fn new(client: Client, namespace: &str, identity: Arc<Identity>) -> io::Result<Presence> {
        let me = identity.get()?;
        let api = Api::namespaced(client, namespace);
        Ok(Presence { api, identity, me, said: None, claim: Claim::Unsettled, seen: None, sight: None })
    }

    /// Whose the name is, as far as the last step told.
    #[must_use]
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Looks at the lease, makes, takes or renews it. Says when to do that again.
    ///
    /// # Errors
    /// It can't be read or written.
    pub async fn step(&mut self) -> Result<Duration, Trouble> {
        let asked = now();
        let ours = matches!(self.claim, Claim::Ours(_)) && self.seen.is_some();
        if !ours {
            let lease = within(self.api.get_opt(hub::LEASE)).await?;
            self.sight = Some(Sight::again(self.sight.take(), lease.as_ref().and_then(record), now()));
            self.seen = lease;
            self.notice_a_twin();
        }
        let Some(sight) = &self.sight else { return Ok(Duration::ZERO) };
        let leads_until = if let Claim::Ours(until) = self.claim { Some(until) } else { None };
        // Whoever made the namespace made no lease: where there is none, nobody is there.
        let candidate = Candidate { me: &self.me, leads_until, led_before: false, timing: TIMING };
        let holder = sight.record.as_ref().and_then(|record| record.holder.clone());
        let written = match decide(sight, &candidate, now()) {
            Choice::Wait(at) => {
                self.claim = Claim::Theirs(holder.unwrap_or_default());
                return Ok(at.since(now()).clamp(Duration::from_millis(50), TIMING.period));
            }
            Choice::Create => {
                // To write to its name needs the right to make that one Lease; to post it would need the right to make any.
                let lease = self.mine(None);
                match within(self.api.replace(hub::LEASE, &PostParams::default(), &lease)).await {
                    // Somebody made it meanwhile, and what is there is not written without a version.
                    Err(Trouble::Refused(_)) => Err(Trouble::Conflict),
                    written => written,
                }
            }
            Choice::Take(_) | Choice::Renew(_) => {
                let lease = self.mine(self.seen.clone());
                within(self.api.replace(hub::LEASE, &PostParams::default(), &lease)).await
            }
        };
        match written {
            Ok(lease) => {
                self.sight = Some(Sight::again(self.sight.take(), record(&lease), now()));
                self.said = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
                self.seen = Some(lease);
                self.claim = Claim::Ours(asked + TIMING.leads);
                Ok(TIMING.period)
            }
            // Somebody was quicker, or deleted it: whose it is, the next look says.
            Err(Trouble::Conflict | Trouble::NotFound) => {
                self.seen = None;
                Ok(Duration::from_millis(50))
            }
            Err(trouble) => {
                self.seen = None;
                Err(trouble)
            }
        }
    }

    /// A copy of this machine that was made while it ran has its name and its boot. It is noticed by what it wrote, and waits for nobody: so we do.
    fn notice_a_twin(&mut self) {
        let Some(spec) = self.seen.as_ref().and_then(|lease| lease.spec.as_ref()) else { return };
        let is_ours = spec.holder_identity.as_deref() == Some(&self.me);
        if !is_ours || self.said.is_none() || spec.renew_time == self.said {
            return;
        }
        tracing::warn!(
            "a copy of this machine holds this host's Lease under the same machine-id, in the same boot; this one waits until it is silent"
        );
        self.identity.part();
        // It was told a moment ago, so it is known.
        self.me = self.identity.get().unwrap_or_default();
        self.said = None;
        self.claim = Claim::Unsettled;
    }

    /// The lease as we want to write it.
    fn mine(&self, before: Option<Lease>) -> Lease {
        let name = || ObjectMeta { name: Some(hub::LEASE.to_owned()), ..ObjectMeta::default() };
        let mut lease = before.unwrap_or_else(|| Lease { metadata: name(), spec: None });
        let time = MicroTime(Timestamp::now());
        let spec: &mut LeaseSpec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.me) {
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |times| times.saturating_add(1)));
            spec.holder_identity = Some(self.me.clone());
            spec.acquire_time = Some(time.clone());
        }
        spec.lease_duration_seconds = Some(i32::try_from(TIMING.lasts.as_secs()).unwrap_or(i32::MAX));
        // For people: no machine judges by another one's clock.
        spec.renew_time = Some(time);
        lease
    }
}

fn record(lease: &Lease) -> Option<Record> {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    Some(Record {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        lasts: Duration::from_secs(seconds),
        version: lease.metadata.resource_version.clone()?,
    })
}
