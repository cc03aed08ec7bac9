//! What happened to a site: the Events that the operator made of it. A cluster keeps them for an hour unless it is told otherwise.

use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::{Cluster, ClusterError};
use crate::api::names;
use crate::api::status::SiteStatus;
use crate::control::api::{History, HistoryEntry};
use crate::rollout::Revision;

impl Cluster {
    /// What happened to a site, oldest first.
    ///
    /// # Errors
    /// There is none of this name, no answer, or Events may not be listed.
    pub async fn history(&self, name: &str) -> Result<History, ClusterError> {
        let site = self.object(name).await?;
        let status = serde_json::from_value::<SiteStatus>(site.data["status"].clone()).unwrap_or_default();
        let fields = format!("involvedObject.kind={},involvedObject.name={name}", names::KIND);
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = self.all_of(&events, "events", &ListParams::default().fields(&fields)).await?;
        let uid = site.uid();
        // An earlier site of the same name is another's past.
        let own = all.iter().filter(|event| event.involved_object.uid.is_none() || event.involved_object.uid == uid);
        let known = revisions(&status);
        let mut items: Vec<HistoryEntry> = own.filter_map(|event| entry(event, &known)).collect();
        items.sort_by_key(|event| event.time);
        Ok(History { items })
    }
}

fn entry(event: &Event, known: &[Revision]) -> Option<HistoryEntry> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let time = series
        .or_else(|| event.last_timestamp.as_ref().map(|time| time.0))
        .or_else(|| event.event_time.as_ref().map(|time| time.0))
        .or_else(|| event.first_timestamp.as_ref().map(|time| time.0))
        .or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))?;
    let count = event.series.as_ref().and_then(|series| series.count).or(event.count).unwrap_or(1);
    let mut message = event.message.clone().unwrap_or_default();
    let revision = named(&message, known);
    if count > 1 {
        message = format!("{message} ({count} times)");
    }
    Some(HistoryEntry { time, reason: event.reason.clone().unwrap_or_default(), message, revision })
}

/// The revision that a message names by its first digits.
fn named(message: &str, known: &[Revision]) -> Option<Revision> {
    let words = message.split(|letter: char| !letter.is_ascii_hexdigit()).filter(|word| word.len() >= 10);
    words.into_iter().find_map(|word| known.iter().find(|revision| revision.to_string().starts_with(word)).copied())
}

fn revisions(status: &SiteStatus) -> Vec<Revision> {
    let mut all: Vec<Revision> = status.live.iter().filter_map(|live| live.revision).collect();
    all.extend(status.candidate.iter().map(|candidate| candidate.revision));
    if let Some(rollout) = &status.rollout {
        all.extend(rollout.ledger.cleared.iter().copied());
        all.extend(rollout.ledger.rejected.keys().copied());
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_tells_when_it_was_last_and_of_which_revision() {
        let known = [Revision::new(0xfeed_beef_0000_0000_0000_0000_0000_0002)];
        let event = |more: serde_json::Value| -> Event {
            let mut event = json!({"involvedObject": {}, "metadata": {"creationTimestamp": "2026-11-22T18:00:00Z"},
                "reason": "PhaseEntered", "message": "Starting feedbeef00 (attempt 2)"});
            event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            serde_json::from_value(event).expect("an event")
        };
        let new = entry(&event(json!({"eventTime": "2026-11-22T18:00:01.123456Z"})), &known).expect("it has a time");
        assert_eq!(format!("{:.3}", new.time), "2026-11-22T18:00:01.123Z");
        assert_eq!((new.revision, new.message.as_str()), (Some(known[0]), "Starting feedbeef00 (attempt 2)"));
        let again = event(json!({"eventTime": "2026-11-22T18:00:01.123456Z",
            "series": {"count": 3, "lastObservedTime": "2026-11-22T18:05:00.000000Z"}}));
        let again = entry(&again, &[]).expect("it has a time");
        assert_eq!((again.time.to_string().as_str(), again.revision), ("2026-11-22T18:05:00Z", None));
        assert!(again.message.ends_with("(3 times)"), "{}", again.message);
    }
}
