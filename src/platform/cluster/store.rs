//! A site's two memories: the ledger on the front object, the status on the site. Each write carries the version that was seen, so that of two
//! leaders only one writes.

use serde_json::json;

use super::ask::Failure;
use super::memory::Memory;
use super::{ClusterPlatform, lock};
use crate::api::names::{API_VERSION, KIND, reasons};
use crate::api::spec::BlueGreenSite;
use crate::api::status::SiteStatus;
use crate::platform::Store;
use crate::platform::{Class, Fault};
use crate::rollout::{self, Ledger, Status};
use std::sync::Arc;

/// The memories of one site of a cluster.
#[derive(Clone)]
pub struct ClusterStore(Arc<ClusterPlatform>);

impl ClusterStore {
    /// Those of the site that `platform` shows.
    #[must_use]
    pub fn new(platform: Arc<ClusterPlatform>) -> ClusterStore {
        ClusterStore(platform)
    }
}

impl Store for ClusterStore {
    async fn load(&self) -> Result<rollout::Memory, Fault> {
        self.0.load().await
    }

    async fn record_ledger(&self, before: Option<&Ledger>, after: &Ledger) -> Result<(), Fault> {
        self.0.record_ledger(before, after).await
    }

    /// Keeps it; it is written with the report, once it is worth a write.
    async fn record_status(&self, before: Option<&Status>, after: &Status) -> Result<(), Fault> {
        let mut memory = lock(&self.0.memory);
        if memory.status().as_ref() != before {
            return Err(somebody("the status"));
        }
        memory.decided(after);
        Ok(())
    }
}

impl ClusterPlatform {
    pub(super) async fn load(&self) -> Result<rollout::Memory, Fault> {
        let Some(wanted) = self.wanted() else {
            return Err(Fault {
                class: Class::Transient,
                reason: reasons::UNKNOWN,
                message: "the site was not seen yet".to_owned(),
            });
        };
        let (front, left) = self.front_ledger(&wanted).await?.map_or((None, None), |front| (front.ledger, front.left));
        let mut memory = lock(&self.memory);
        let written = on_record(&memory, front);
        Ok(rollout::Memory { ledger: newest(&mut memory, written), status: memory.status(), left })
    }

    async fn record_ledger(&self, before: Option<&Ledger>, after: &Ledger) -> Result<(), Fault> {
        let Some(wanted) = self.wanted() else { return Err(somebody("the site")) };
        let front = self.front_ledger(&wanted).await?;
        let waits = {
            let mut memory = lock(&self.memory);
            let written = on_record(&memory, front.as_ref().and_then(|front| front.ledger.clone()));
            if newest(&mut memory, written.clone()).as_ref() != before {
                return Err(somebody("the ledger"));
            }
            // It goes with the write that makes it true, or with the status that is about to be written; and where there is no front object yet,
            // with the one that makes that.
            let passes = |written: &Ledger| only_intends(written, after) || only_settles(written, after);
            let waits = front.is_none() || written.as_ref().is_some_and(passes);
            if waits {
                memory.ledger = Some(after.clone());
            }
            waits
        };
        if let Some(front) = front.filter(|_| !waits) {
            self.write_ledger(&wanted, front.version, after).await?;
            lock(&self.memory).ledger = None;
        }
        Ok(())
    }

    /// Writes the report to the site's status.
    pub(super) async fn write_status(&self) -> Result<(), Fault> {
        let (seen, report) = {
            let memory = lock(&self.memory);
            let Some(report) = memory.report.clone() else { return Ok(()) };
            (memory.version, report)
        };
        match self.replace_status(seen, &report).await {
            Err(Failure::Other(fault)) if fault.class == Class::Conflict => {}
            // The site is gone: nobody is left to be told.
            Err(Failure::NotFound) => return Ok(()),
            other => return Ok(other?),
        }
        // Somebody changed the specification or an annotation, which is no matter; or the status, and then they lead.
        let object: Option<BlueGreenSite> = self.ask.read(SITES, &self.sites(), self.key().site()).await?;
        let Some(object) = object else { return Ok(()) };
        let newer = object.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
        {
            let mut memory = lock(&self.memory);
            let rollout = |status: &Option<SiteStatus>| status.as_ref().and_then(|status| status.rollout.clone());
            let theirs = rollout(&object.status);
            if theirs.is_some() && theirs != rollout(&memory.written) {
                memory.saw(newer, object.status.as_ref());
                return Err(somebody("the status"));
            }
            memory.saw(newer, object.status.as_ref());
        }
        Ok(self.replace_status(newer, &report).await?)
    }

    async fn replace_status(&self, seen: u64, report: &SiteStatus) -> Result<(), Failure> {
        let body = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": self.key().site(),
                "namespace": self.key().namespace(),
                "resourceVersion": seen.to_string(),
            },
            "status": report,
        });
        tracing::debug!(site = %self.key(), phase = ?report.phase, conditions = ?report.conditions.iter().map(|one| (&one.reason, &one.message)).collect::<Vec<_>>(), "writing status");
        let version = self.ask.replace_status(SITES, &self.sites(), &body).await?;
        lock(&self.memory).wrote(version, report.clone());
        Ok(())
    }

    pub(super) fn sites(&self) -> String {
        use kube::Resource;
        BlueGreenSite::url_path(&(), Some(self.key().namespace()))
    }
}

pub(super) const SITES: &str = "bluegreensites.bluegreen.dev";

/// The ledger on record, or the one that waits to be written.
fn newest(memory: &mut Memory, written: Option<Ledger>) -> Option<Ledger> {
    // One that the status holds and the front object does not is kept: somebody may wipe the status.
    let newer = |pending: &Ledger| {
        written.as_ref().is_none_or(|written| pending.version > written.version || pending == written)
    };
    match memory.ledger.take().filter(newer) {
        Some(pending) => {
            memory.ledger = Some(pending.clone());
            Some(pending)
        }
        None => written,
    }
}

/// The ledger on the front object; or the copy in the status, where that is the same one, settled. To lose a status and with it that a cutover was
/// judged a success is to judge it again. Nothing else is believed of a copy.
fn on_record(memory: &Memory, front: Option<Ledger>) -> Option<Ledger> {
    let copy = memory.written.as_ref().and_then(|status| status.rollout.as_ref()).map(|status| &status.ledger);
    match (front, copy) {
        (Some(front), Some(copy)) if copy.version > front.version && only_settles(&front, copy) => Some(copy.clone()),
        (front, _) => front,
    }
}

/// Whether all that is new is that a cutover was judged a success.
fn only_settles(written: &Ledger, after: &Ledger) -> bool {
    let Some(intent) = written.intent else { return false };
    let mut settled = Ledger { version: after.version, stable: Some(intent), intent: None, ..written.clone() };
    settled.cleared.insert(intent.revision);
    settled == *after
}

/// Whether all that is new is that a cutover is intended.
fn only_intends(written: &Ledger, after: &Ledger) -> bool {
    let without = |ledger: &Ledger| Ledger { version: 0, intent: None, ..ledger.clone() };
    written.intent.is_none() && after.intent.is_some() && without(written) == without(after)
}

fn somebody(what: &str) -> Fault {
    Fault {
        class: Class::Conflict,
        reason: reasons::WORLD_CHANGED,
        message: format!("{what} was changed by somebody else; it is read again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{Colour, Held, Phase, Reason, Rejection, Revision, Time};

    fn held(colour: Colour, revision: u128) -> Held {
        Held { colour, revision: Revision::new(revision) }
    }

    /// Blue serves 1, and a cutover to green with 2 is intended.
    fn intending() -> Ledger {
        Ledger {
            version: 6,
            stable: Some(held(Colour::Blue, 1)),
            intent: Some(held(Colour::Green, 2)),
            cleared: [Revision::new(1)].into(),
            ..Ledger::default()
        }
    }

    fn settled() -> Ledger {
        Ledger {
            version: 7,
            stable: Some(held(Colour::Green, 2)),
            intent: None,
            cleared: [Revision::new(1), Revision::new(2)].into(),
            ..Ledger::default()
        }
    }

    fn with_status(ledger: Ledger) -> Memory {
        let rollout = Status { phase: Phase::Idle, about: None, since: Time(1), deadline: None, ledger };
        let mut memory = Memory::default();
        memory.saw(5, Some(&SiteStatus { rollout: Some(rollout), ..SiteStatus::default() }));
        memory
    }

    #[test]
    fn only_a_bare_intent_and_a_bare_success_wait_for_another_write() {
        let before = Ledger { version: 5, intent: None, ..intending() };
        assert!(only_intends(&before, &intending()));
        assert!(only_settles(&intending(), &settled()));
        let rejection = Rejection { reason: Reason::Aborted, at: Time(1) };
        let rejecting = |ledger: Ledger| Ledger { rejected: [(Revision::new(3), rejection)].into(), ..ledger };
        assert!(!only_intends(&before, &rejecting(intending())));
        assert!(!only_settles(&intending(), &rejecting(settled())));
        assert!(!only_settles(&before, &settled()), "nothing was intended");
        let elsewhere = Ledger { stable: Some(held(Colour::Green, 9)), ..settled() };
        assert!(!only_settles(&intending(), &elsewhere));
    }

    #[test]
    fn of_a_status_nothing_is_believed_but_that_the_intended_cutover_was_a_success() {
        assert_eq!(on_record(&with_status(settled()), Some(intending())), Some(settled()));
        assert_eq!(on_record(&with_status(settled()), None), None, "a ledger that was wiped is the logic's to restore");
        let forged = Ledger { version: 99, cleared: [Revision::new(3)].into(), ..settled() };
        assert_eq!(on_record(&with_status(forged), Some(intending())), Some(intending()));
        let older = Ledger { version: 3, ..settled() };
        assert_eq!(on_record(&with_status(older), Some(intending())), Some(intending()));
    }

    #[test]
    #[allow(clippy::field_reassign_with_default, reason = "some of its fields are its own")]
    fn a_ledger_that_waits_gives_way_to_a_newer_one_that_somebody_else_wrote() {
        let mut memory = Memory::default();
        memory.ledger = Some(settled());
        assert_eq!(newest(&mut memory, Some(intending())), Some(settled()));
        let theirs = Ledger { version: 8, ..intending() };
        assert_eq!(newest(&mut memory, Some(theirs.clone())), Some(theirs));
        assert_eq!(memory.ledger, None);
    }

    #[test]
    fn a_status_that_is_on_record_is_not_kept_twice() {
        let mut memory = with_status(settled());
        let status = memory.status().expect("it is on record");
        memory.decided(&status);
        memory.report(memory.written.clone().expect("it is on record"));
        memory.saw(6, memory.written.clone().as_ref());
        assert_eq!((memory.status.clone(), memory.report.clone()), (None, None));
        assert_eq!(memory.due(), super::super::memory::Due::Never);
        memory.saw(7, None);
        assert_eq!(memory.status(), None, "somebody wiped it");
    }
}
