//! A site as the control socket shows it.

use super::entry::State;
use crate::api::names::{API_VERSION, KIND, annotations};
use crate::api::status::SiteStatus;
use crate::api::types::SiteName;
use crate::control::api::{Attempts, SiteView, SlotView, UploadView};
use crate::rollout::{Attempt, Decision, Observed, Phase, Plan, Status};

/// The view of a site.
#[must_use]
pub fn site(
    name: &SiteName,
    state: &State,
    status: Option<&SiteStatus>,
    slots: Vec<SlotView>,
    attempts: Attempts,
    looked: u64,
) -> SiteView {
    let mut object = match &state.accepted {
        Some(accepted) => serde_json::to_value(&accepted.object).unwrap_or_default(),
        None => serde_json::json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}}),
    };
    if let Some(accepted) = state.accepted.as_ref().filter(|accepted| !accepted.origin.is_folder()) {
        object["metadata"]["annotations"][annotations::ORIGIN] = accepted.origin.words().into();
    }
    if let Some(status) = status {
        object["status"] = serde_json::to_value(status).unwrap_or_default();
    }
    let told = state.accepted.as_ref().and_then(|accepted| accepted.told.as_ref());
    let upload = told.and_then(|told| {
        let name = told.upload.as_ref()?.name.clone();
        Some(UploadView { name, sha256: told.identity.fingerprint.digest.clone(), revision: told.revision })
    });
    SiteView { object, slots, attempts, upload, looked }
}

/// What a command would have to be about now.
#[must_use]
pub fn attempts(plan: &Plan, observed: &Observed, decision: &Decision) -> Attempts {
    let ledger = &decision.ledger;
    let live = match observed {
        Observed::World(world) => {
            world.route.named().and_then(|colour| world.slot(colour)).map(|occupant| occupant.revision)
        }
        Observed::Unknown(_) => ledger.stable.map(|held| held.revision),
    };
    Attempts {
        candidate: under_way(&decision.status),
        wanted: plan.wanted.map(|revision| ledger.attempt(revision)),
        live: live.map(|revision| ledger.attempt(revision)),
    }
}

/// The attempt that is being rolled out.
#[must_use]
pub fn under_way(status: &Status) -> Option<Attempt> {
    status.about.filter(|_| {
        matches!(
            status.phase,
            Phase::Preparing
                | Phase::Starting
                | Phase::Verifying
                | Phase::AwaitingApproval
                | Phase::CuttingOver
                | Phase::Draining
                | Phase::Baking
        )
    })
}
