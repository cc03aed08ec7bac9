//! How this host stands with its hub: whether it is reached, since when, and what of it the host doesn't believe. For the log, the metrics, `bluegreen get`
//! and `bluegreen doctor`; that the hub is away is no site's fault and no site's condition.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use super::membership::Membership;
use crate::api::types::SiteName;
use crate::driver::agent::metrics::Metrics;
use crate::driver::agent::origin::Origin;
use crate::driver::expiry;
use crate::platform::host::audit::{Finding, Severity};
use crate::platform::host::store;

/// How a host stands with its hub. It stands in `STATE/hub/standing.json` too, for who looks while no agent runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The hub's URL.
    pub server: String,
    /// Which hub it is.
    pub hub: String,
    /// This host's name there.
    pub host: String,
    /// Whether it is reached, and this host acts for it.
    pub reached: bool,
    /// Since when that is so.
    pub since: Timestamp,
    /// Why it isn't; empty: it is.
    pub why: String,
    /// The sites that the hub has forgotten without anybody having deleted them: they run on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub missing: BTreeSet<SiteName>,
}

impl View {
    /// What a person should know; `None`: all is well.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        if !self.reached {
            return Some(format!(
                "the hub {} is not reached since {:.0}: {}. Its sites run on here as they were last accepted",
                self.server, self.since, self.why
            ));
        }
        let mut names = self.missing.iter().map(SiteName::as_str);
        let first = names.next()?;
        let all = names.fold(first.to_owned(), |all, name| format!("{all}, {name}"));
        Some(format!(
            "the hub {} does not have {all} any more, and nobody was seen to delete it: a hub that was restored or made anew looks like that, so it runs on. \
             Apply it there again, or take it away with `bluegreen delete`",
            self.server
        ))
    }
}

/// What is wrong between the host of this state folder and its hub, for `bluegreen doctor`, which asks no agent.
#[must_use]
pub fn finding(state: &Path) -> Option<Finding> {
    let joined = match Membership::load(state) {
        Ok(joined) => joined?,
        Err(error) => {
            return Some(Finding {
                severity: Severity::Medium,
                reason: "HubUnknown",
                what: error.to_string(),
                place: Membership::file(state).display().to_string(),
                fix: "join anew with `bluegreen host join`".to_owned(),
            });
        }
    };
    let file = Membership::folder(state).join("standing.json");
    let view: Option<View> = store::read(&file, store::LIMIT).ok().flatten();
    let view = view.filter(|view| view.hub == joined.hub)?;
    let (reason, fix) = if view.reached {
        ("HubForgotSites", "apply the sites on the hub again, or `bluegreen delete` them here")
    } else {
        ("HubNotReached", "mend what is said, or leave the hub with `bluegreen host leave`")
    };
    let (what, place) = (view.words()?, format!("hub {}", view.server));
    Some(Finding { severity: Severity::Medium, reason, what, place, fix: fix.to_owned() })
}

/// Whether the authority by which this host judges its hub ends soon, for `bluegreen doctor`.
#[must_use]
pub fn authority(state: &Path, now: Timestamp) -> Option<Finding> {
    let joined = Membership::load(state).ok().flatten()?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(joined.certificate_authority.as_bytes()).flatten().collect();
    let what = format!("the certificate authority by which this host judges its hub {}", joined.server);
    let what = expiry::alone(&what, all.iter().map(AsRef::as_ref), now)?;
    Some(Finding {
        severity: Severity::Medium,
        reason: "HubAuthorityEnds",
        what: format!("{what}; after that the hub is not reached, and the sites run on"),
        place: Membership::file(state).display().to_string(),
        fix: "put the hub's new authority beside the old one, as docs/joining.md says".to_owned(),
    })
}

/// How this host stands with its hub.
pub struct Standing {
    file: PathBuf,
    metrics: Arc<Metrics>,
    view: Mutex<Option<View>>,
}

impl Standing {
    /// As it was left by an earlier run.
    pub fn new(state: &Path, metrics: Arc<Metrics>) -> Standing {
        let file = Membership::folder(state).join("standing.json");
        let joined = Membership::load(state).ok().flatten();
        let before: Option<View> = store::read(&file, store::LIMIT).ok().flatten();
        let view = before.filter(|view| joined.is_some_and(|joined| joined.hub == view.hub));
        Standing { file, metrics, view: Mutex::new(view) }
    }

    /// As it is now; `None`: this host has joined no hub.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        self.lock().clone()
    }

    /// Whether this host acts for its hub.
    #[must_use]
    pub fn acts(&self) -> bool {
        self.lock().as_ref().is_some_and(|view| view.reached)
    }

    /// Whether a site of the hub may be taken over or away on this host: where it comes from nobody can change it any more.
    #[must_use]
    pub fn lets_go(&self, origin: &Origin, name: &SiteName) -> bool {
        let Origin::Hub { hub, .. } = origin else { return false };
        self.lock().as_ref().is_none_or(|view| view.hub != *hub || view.missing.contains(name))
    }

    /// This host has joined no hub, or none any more.
    pub fn none(&self) {
        if self.lock().take().is_some() {
            tracing::info!("this host has left its hub; the sites that came from there go on as they are");
        }
        self.metrics.hub(None);
    }

    /// The hub is reached, and this host acts for it.
    pub fn reached(&self, joined: &Membership) {
        self.is(joined, String::new());
    }

    /// The hub is not reached, or this host must not act for it.
    pub fn away(&self, joined: &Membership, why: &str) {
        self.is(joined, why.to_owned());
    }

    /// What the hub has forgotten.
    pub fn missing(&self, joined: &Membership, missing: BTreeSet<SiteName>) {
        let mut lock = self.lock();
        let Some(view) = lock.as_mut().filter(|view| view.hub == joined.hub && view.missing != missing) else { return };
        view.missing = missing;
        if let Some(words) = view.words() {
            tracing::error!("{words}");
        }
        self.keep(view);
    }

    fn is(&self, joined: &Membership, why: String) {
        let mut lock = self.lock();
        let reached = why.is_empty();
        let before = lock.as_ref().filter(|view| view.hub == joined.hub && view.server == joined.server);
        let same = before.is_some_and(|view| view.reached == reached);
        let since = before.filter(|_| same).map_or_else(Timestamp::now, |view| view.since);
        let view = View {
            server: joined.server.clone(),
            hub: joined.hub.clone(),
            host: joined.host.to_string(),
            reached,
            since,
            why,
            missing: before.map(|view| view.missing.clone()).unwrap_or_default(),
        };
        self.metrics.hub(Some((reached, since)));
        if lock.as_ref() == Some(&view) {
            return;
        }
        match (reached, same) {
            (true, _) => tracing::info!(server = %view.server, host = %view.host, "the hub is reached"),
            (false, _) => {
                tracing::warn!(server = %view.server, host = %view.host, "{}", view.words().unwrap_or_default())
            }
        }
        self.keep(&view);
        *lock = Some(view);
    }

    fn keep(&self, view: &View) {
        // For people only: lost, it is told anew.
        if let Err(error) = store::write(&self.file, view, 0o600) {
            tracing::debug!(%error, "how this host stands with its hub was not written down");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<View>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use bluegreen_rig::certificate::SELF_SIGNED;

    use super::*;

    #[test]
    fn an_authority_that_ends_soon_is_found_by_doctor_unless_another_one_stands_beside_it() {
        let state = tempfile::tempdir().unwrap();
        let authority = |days: &str| {
            let made = Command::new("openssl")
                .args(SELF_SIGNED)
                .args(["-subj", "/CN=hub"])
                .args(["-days", days, "-keyout"])
                .arg(state.path().join("key"))
                .output()
                .unwrap();
            assert!(made.status.success(), "{made:?}");
            String::from_utf8(made.stdout).unwrap()
        };
        let joined = |certificate_authority: String| Membership {
            server: "https://hub.example:6443".to_owned(),
            certificate_authority,
            host: "vps-1".parse().unwrap(),
            namespace: "bluegreen-host-vps-1".to_owned(),
            hub: "u".to_owned(),
            since: Timestamp::UNIX_EPOCH,
        };
        let now = Timestamp::now();
        assert_eq!(super::authority(state.path(), now), None);
        let soon = authority("3");
        joined(soon.clone()).save(state.path()).unwrap();
        let finding = super::authority(state.path(), now).unwrap();
        assert!(
            finding.reason == "HubAuthorityEnds" && finding.what.contains("https://hub.example:6443"),
            "{finding:?}"
        );
        joined(soon + &authority("30")).save(state.path()).unwrap();
        assert_eq!(super::authority(state.path(), now), None);
    }
}
