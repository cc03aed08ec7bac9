//! Holds the lease: looks at it, does what [`lease::decide`](super::lease::decide) says, and tells the [`Reign`].

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;

use super::lease::{Candidate, Choice, Moment, Record, Sight, Timing, decide};
use super::reign::{Reign, now};

/// Why the lease could not be asked or written.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error("the lease can't be read or written: {0}")]
    Api(#[from] kube::Error),
    #[error("the lease can't be read or written: no answer in time")]
    Silent,
}

/// One candidate for the lead.
pub struct Election {
    api: Api<Lease>,
    name: String,
    me: String,
    timing: Timing,
    reign: Arc<Reign>,
    /// Whether an operator was at work here before us, as far as the sites tell.
    led_before: Box<dyn Fn() -> bool + Send + Sync>,
    /// The lease as it was seen last, whole, since a write must keep what others put into it.
    seen: Option<Lease>,
    sight: Option<Sight>,
    /// What was last logged, so that it is logged once.
    logged: Option<String>,
}

impl Election {
    /// A candidate with this name, which no other process ever had.
    pub fn new(
        api: Api<Lease>,
        name: String,
        me: String,
        timing: Timing,
        reign: Arc<Reign>,
        led_before: Box<dyn Fn() -> bool + Send + Sync>,
    ) -> Election {
        Election { api, name, me, timing, reign, led_before, seen: None, sight: None, logged: None }
    }

    /// Looks at the lease, makes, takes or renews it. Returns how long to wait before the next look.
    pub async fn step(&mut self) -> Duration {
        self.reign.lapse();
        let asked = now();
        match self.turn(asked).await {
            Ok(wait) => {
                self.logged = None;
                wait
            }
            Err(error) => {
                let text = error.to_string();
                if self.logged.as_ref() != Some(&text) {
                    tracing::warn!(lease = %self.name, leading = self.reign.term().is_some(), "{text}");
                    self.logged = Some(text);
                }
                // Whoever leads must know soon whether it still does.
                self.seen = None;
                self.timing.period / 2
            }
        }
    }

    /// Gives the lease back, so that another one need not wait for its end. Whoever calls this has stopped acting.
    pub async fn release(mut self) {
        let held = self.reign.term().is_some();
        self.reign.end();
        let Some(mut lease) = self.seen.take().filter(|_| held) else { return };
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        match self.within(self.api.replace(&self.name, &PostParams::default(), &lease)).await {
            Ok(_) => tracing::info!(lease = %self.name, "the lead was given back"),
            Err(error) => tracing::info!(lease = %self.name, "the lead was not given back, and runs out: {error}"),
        }
    }

    async fn turn(&mut self, asked: Moment) -> Result<Duration, Unsettled> {
        let sight = self.look().await?;
        let candidate = Candidate {
            me: &self.me,
            leads_until: self.reign.term().and(self.reign.until()),
            led_before: (self.led_before)(),
            timing: self.timing,
        };
        let choice = decide(&sight, &candidate, now());
        self.sight = Some(sight);
        let written = match choice {
            Choice::Wait(at) => {
                // Somebody else has it: a lead that is over must not be waited out.
                if candidate.leads_until.is_some() && self.sight.as_ref().is_some_and(|sight| sight.record.is_some()) {
                    tracing::warn!(lease = %self.name, "another replica holds the lease; this one stops leading");
                    self.reign.end();
                }
                return Ok(at.since(now()).clamp(Duration::from_millis(50), self.timing.period));
            }
            Choice::Create => {
                let lease = self.mine(None);
                self.within(self.api.create(&PostParams::default(), &lease)).await
            }
            Choice::Take(_) | Choice::Renew(_) => {
                let lease = self.mine(self.seen.clone());
                self.within(self.api.replace(&self.name, &PostParams::default(), &lease)).await
            }
        };
        match written {
            Ok(lease) => {
                let began = self.reign.term().is_none();
                self.sight = Some(Sight::again(self.sight.take(), record(&lease), now()));
                self.seen = Some(lease);
                self.reign.hold(asked + self.timing.leads);
                if began && self.reign.term().is_some() {
                    tracing::info!(lease = %self.name, me = %self.me, "this replica leads");
                }
                Ok(self.timing.period)
            }
            // Somebody was quicker, or deleted it: look again at once. Whether we still lead, that look says.
            Err(Unsettled::Api(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                self.seen = None;
                Ok(Duration::ZERO)
            }
            Err(error) => Err(error),
        }
    }

    /// The lease as it is. Our own one needs no look: its renewal fails if somebody else wrote it.
    async fn look(&mut self) -> Result<Sight, Unsettled> {
        let ours = self.reign.term().is_some() && self.seen.is_some();
        if let Some(sight) = self.sight.clone().filter(|_| ours) {
            return Ok(sight);
        }
        let lease = self.within(self.api.get_opt(&self.name)).await?;
        let sight = Sight::again(self.sight.take(), lease.as_ref().and_then(record), now());
        self.seen = lease;
        Ok(sight)
    }

    /// The lease as we want to write it.
    fn mine(&self, before: Option<Lease>) -> Lease {
        let name = || ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        let mut lease = before.unwrap_or_else(|| Lease { metadata: name(), spec: None });
        let time = MicroTime(Timestamp::now());
        let spec: &mut LeaseSpec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.me) {
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |times| times.saturating_add(1)));
            spec.holder_identity = Some(self.me.clone());
            spec.acquire_time = Some(time.clone());
        }
        spec.lease_duration_seconds = Some(i32::try_from(self.timing.lasts.as_secs()).unwrap_or(i32::MAX).max(1));
        // For people: nobody judges by it.
        spec.renew_time = Some(time);
        lease
    }

    /// Two periods: one answer that never comes must not cost the lead.
    async fn within<T>(&self, answer: impl Future<Output = kube::Result<T>>) -> Result<T, Unsettled> {
        match tokio::time::timeout(self.timing.period * 2, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Unsettled::Silent),
        }
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
