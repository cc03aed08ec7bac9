//! A site as an agent or a cluster shows it, with its parts typed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;

use crate::api::names::conditions;
use crate::api::spec::BlueGreenSiteSpec;
use crate::api::status::SiteStatus;
use crate::control::api::{Attempts, SiteView, SlotView, UploadView};
use crate::rollout::{Attempt, Colour, Revision};

/// A site as an agent or a cluster shows it.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Its namespace; `None`: it is one of a machine.
    pub namespace: Option<String>,
    /// What tells it from a later one of the same name, where there is such a thing.
    pub uid: Option<String>,
    /// How often its specification changed.
    pub generation: i64,
    /// Since when it is there.
    pub created: Option<Timestamp>,
    /// What is wanted; `None` while no specification was ever accepted.
    pub spec: Option<BlueGreenSiteSpec>,
    /// Where it stands.
    pub status: SiteStatus,
    /// Both colours, blue first.
    pub slots: Vec<SlotView>,
    /// What commands would be about.
    pub attempts: Attempts,
    /// Of the releases that arrived the one that is wanted, where the specification names a folder of them.
    pub upload: Option<UploadView>,
    /// The last look at its release and configuration that this knows the result of.
    pub looked: u64,
    /// The object itself, for `-o json` and `-o yaml`.
    pub object: Value,
}

/// The name of a site, whatever else is to be said of it.
#[must_use]
pub fn name(view: &SiteView) -> String {
    view.object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// What was answered is no site as this program knows them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the site {name} is not understood: {why}; is this program as new as what answers it? (bluegreen version)")]
pub struct NotASite {
    name: String,
    why: String,
}

/// Its namespace; empty where there are none.
#[must_use]
pub fn namespace(view: &SiteView) -> String {
    view.object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned()
}

impl TryFrom<SiteView> for Site {
    type Error = NotASite;

    fn try_from(view: SiteView) -> Result<Site, NotASite> {
        let nonsense = |error: serde_json::Error| NotASite { name: name(&view), why: error.to_string() };
        let text = |field: &Value| field.as_str().map(str::to_owned);
        let metadata = &view.object["metadata"];
        let mut status: SiteStatus = match &view.object["status"] {
            Value::Null => SiteStatus::default(),
            status => serde_json::from_value(status.clone()).map_err(nonsense)?,
        };
        for condition in &mut status.conditions {
            condition.message = tame(&condition.message);
        }
        if let Some(rejected) = &mut status.rejected {
            rejected.message = tame(&rejected.message);
        }
        let mut slots = view.slots.clone();
        for slot in &mut slots {
            slot.detail = tame(&slot.detail);
            for instance in &mut slot.instances {
                instance.detail = tame(&instance.detail);
            }
        }
        let spec = match &view.object["spec"] {
            Value::Null => None,
            spec => Some(serde_json::from_value(spec.clone()).map_err(nonsense)?),
        };
        Ok(Site {
            name: name(&view),
            namespace: text(&metadata["namespace"]).filter(|_| metadata["uid"].is_string()),
            uid: text(&metadata["uid"]),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            created: metadata["creationTimestamp"].as_str().and_then(|time| time.parse().ok()),
            spec,
            status,
            slots,
            attempts: view.attempts,
            upload: view.upload,
            looked: view.looked,
            object: view.object,
        })
    }
}

/// What an app printed may stand in a message; it does not get to command the terminal.
#[must_use]
pub fn tame(text: &str) -> String {
    let harmless = |letter: char| {
        if letter.is_control() && letter != '\n' && letter != '\t' { '\u{fffd}' } else { letter }
    };
    text.chars().map(harmless).collect()
}

impl Site {
    /// The condition of this type.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.type_ == kind)
    }

    /// Whether the condition of this type is true.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.condition(kind).is_some_and(|condition| condition.status == "True")
    }

    /// What is awaited, or why it does not go on, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        let nobody = if self.namespace.is_some() {
            "no operator has looked at it yet"
        } else {
            "the agent has not looked at it yet"
        };
        self.condition(conditions::READY).map_or(nobody, |ready| ready.message.as_str())
    }

    /// The slot of a colour.
    #[must_use]
    pub fn slot(&self, colour: Colour) -> Option<&SlotView> {
        self.slots.iter().find(|slot| slot.colour == colour)
    }

    /// The colour that serves.
    #[must_use]
    pub fn live(&self) -> Option<Colour> {
        self.slots
            .iter()
            .find(|slot| slot.live)
            .map(|slot| slot.colour)
            .or_else(|| self.status.live.as_ref().map(|live| live.colour))
    }

    /// Every revision that is known of the site: what a prefix may mean.
    #[must_use]
    pub fn revisions(&self) -> Vec<Revision> {
        let status = &self.status;
        let ledger = status.rollout.as_ref().map(|rollout| &rollout.ledger);
        let attempts = [self.attempts.candidate, self.attempts.wanted, self.attempts.live];
        let mut all: Vec<Revision> = self.slots.iter().filter_map(|slot| slot.revision).collect();
        all.extend(attempts.into_iter().flatten().map(|attempt: Attempt| attempt.revision));
        all.extend(ledger.into_iter().flat_map(|ledger| ledger.cleared.iter().copied()));
        all.extend(ledger.into_iter().flat_map(|ledger| ledger.rejected.keys().copied()));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The revisions that a rollback goes to unless another is named: live once, not rejected since, not live now.
    #[must_use]
    pub fn ways_back(&self) -> Vec<Revision> {
        let Some(rollout) = &self.status.rollout else { return Vec::new() };
        self.were_live().into_iter().filter(|revision| rollout.ledger.trusts(*revision)).collect()
    }

    /// The revisions that a rollback may name: live once, not live now.
    #[must_use]
    pub fn were_live(&self) -> Vec<Revision> {
        let Some(rollout) = &self.status.rollout else { return Vec::new() };
        let live = self.attempts.live.map(|attempt| attempt.revision);
        rollout.ledger.cleared.iter().copied().filter(|revision| Some(*revision) != live).collect()
    }
}

/// The one revision of these that a person means by the beginning of it.
///
/// # Errors
/// None begins so, or several do; the message lists what there is.
pub fn by_prefix(prefix: &str, known: &[Revision]) -> anyhow::Result<Revision> {
    let lower = prefix.to_ascii_lowercase();
    let fitting: Vec<Revision> = known
        .iter()
        .copied()
        .filter(|revision| !lower.is_empty() && revision.to_string().starts_with(&lower))
        .collect();
    let list = |all: &[Revision]| all.iter().map(|revision| revision.short()).collect::<Vec<_>>().join(", ");
    match fitting.as_slice() {
        [one] => Ok(*one),
        [] if known.is_empty() => {
            anyhow::bail!("there is no revision {prefix:?}, nor any other that this can be done with")
        }
        [] => anyhow::bail!("there is no revision {prefix:?} that this can be done with; there is {}", list(known)),
        several => anyhow::bail!("{prefix:?} is the beginning of {}: write more of it", list(several)),
    }
}
