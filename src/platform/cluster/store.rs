//! A site's two memories: the ledger on the front object, the status on the site. Each write carries the version that was seen, so that of two
//! leaders only one writes.

use serde_json::json;

use super::ask::Failure;
use super::memory::Memory;
use super::{ClusterPlatform, lock};
use crate::api::names::{API_VERSION, KIND, reasons};
use crate::api::spec::BlueGreenSite;
use crate::api::status::SiteStatus;
use crate::driver::Store;
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
        self.ask.cache.complete().map_err(|message| Fault {
            class: Class::Transient,
            reason: reasons::UNKNOWN,
            message,
        })?;
        let Some(wanted) = self.wanted() else {
            return Err(Fault {
                class: Class::Transient,
                reason: reasons::UNKNOWN,
                message: "the site was not seen yet".to_owned(),
            });
        };
        let written = self.front_ledger(&wanted).await?.and_then(|(_, ledger)| ledger);
        let mut memory = lock(&self.memory);
        Ok(rollout::Memory { ledger: newest(&mut memory, written), status: memory.status() })
    }

    async fn record_ledger(&self, before: Option<&Ledger>, after: &Ledger) -> Result<(), Fault> {
        let Some(wanted) = self.wanted() else { return Err(somebody("the site")) };
        let front = self.front_ledger(&wanted).await?;
        let written = front.as_ref().and_then(|(_, ledger)| ledger.clone());
        let waits = {
            let mut memory = lock(&self.memory);
            if newest(&mut memory, written.clone()).as_ref() != before {
                return Err(somebody("the ledger"));
            }
            // It goes with the write that makes it true; and where there is no front object yet, with the one that makes that.
            let waits = front.is_none() || written.as_ref().is_some_and(|written| only_intends(written, after));
            if waits {
                memory.ledger = Some(after.clone());
            }
            waits
        };
        if let Some((version, _)) = front.filter(|_| !waits) {
            self.write_ledger(&wanted, version, after).await?;
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
        let version = self.ask.replace_status(SITES, &self.sites(), &body).await?;
        lock(&self.memory).wrote(version, report.clone());
        Ok(())
    }

    fn sites(&self) -> String {
        use kube::Resource;
        BlueGreenSite::url_path(&(), Some(self.key().namespace()))
    }
}

const SITES: &str = "bluegreensites.bluegreen.dev";

/// The ledger on record, or the one that waits to be written.
fn newest(memory: &mut Memory, written: Option<Ledger>) -> Option<Ledger> {
    let newer = |pending: &Ledger| written.as_ref().is_none_or(|written| pending.version > written.version);
    match memory.ledger.take().filter(newer) {
        Some(pending) => {
            memory.ledger = Some(pending.clone());
            Some(pending)
        }
        None => written,
    }
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
