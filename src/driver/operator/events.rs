//! Events about a site, for `kubectl describe` and `kubectl get events`. Told in the background: no turn waits for one, and when there are
//! too many at once the rest is only logged.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc;

use crate::api::status::phase_name;
use crate::driver::news::words;
use crate::rollout::{News, Phase};

/// So many wait to be written; a queue without an end is how an operator's memory grows while the API server is away.
const WAITING: usize = 4096;
/// What `events.k8s.io` takes of a note, in bytes.
const NOTE: usize = 1024;
/// Who tells.
const CONTROLLER: &str = "bluegreen.dev/operator";

/// Something to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// About which site.
    pub site: ObjectReference,
    /// Whether somebody should look.
    pub warning: bool,
    /// In one word, another one for each kind of news: readers fold events that differ only in their notes.
    pub reason: &'static str,
    /// In a sentence.
    pub note: String,
}

/// The event of a piece of news, if it is worth one: `(warning, reason, note)`.
#[must_use]
pub fn of(news: &News, detail: &str) -> Option<(bool, &'static str, String)> {
    let (word, _, note) = words(news, detail);
    let (warning, reason) = match news {
        // One each where a person looks at a rollout; the short ones between are in the log and in the metrics.
        News::Entered(phase, _) => match phase {
            Phase::Stalled => (true, phase_name(*phase)),
            Phase::RollingBack => (true, phase_name(*phase)),
            Phase::Starting | Phase::AwaitingApproval | Phase::CuttingOver => (false, phase_name(*phase)),
            _ => return None,
        },
        News::Rejected(..) | News::SettledDegraded(_) | News::FailedOver(_) | News::PutBack(_) | News::Ignored(_) => {
            (true, word)
        }
        News::Settled(_) | News::WentBack(_) | News::Obeyed(_) | News::Adopted(_) | News::TakenBack(_) => (false, word),
    };
    Some((warning, reason, note))
}

/// Takes what is to be told.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<Telling>);

impl Events {
    /// Tells it soon, or never.
    pub fn tell(&self, telling: Telling) {
        if let Err(error) = self.0.try_send(telling) {
            tracing::debug!(%error, "an event is not told");
        }
    }
}

/// The two ends: where events are put in, and what writes them, which is to be polled until the process ends.
pub fn channel(client: Client, me: String) -> (Events, impl Future<Output = ()> + Send) {
    let (sender, mut receiver) = mpsc::channel::<Telling>(WAITING);
    let write = async move {
        while let Some(telling) = receiver.recv().await {
            let namespace = telling.site.namespace.clone().unwrap_or_default();
            let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
            let event = event(telling, CONTROLLER, &me);
            if let Err(error) = api.create(&PostParams::default(), &event).await {
                tracing::debug!(site = ?event.regarding.and_then(|site| site.name), %error, "an event could not be told");
            }
        }
    };
    (Events(sender), write)
}

/// The object that tells it. `controller`: what kind of program tells; `me`: which one.
#[must_use]
pub fn event(telling: Telling, controller: &str, me: &str) -> Event {
    let mut note = telling.note;
    if note.len() > NOTE {
        note.truncate(note.floor_char_boundary(NOTE - 3));
        note.push('…');
    }
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", telling.site.name.as_deref().unwrap_or("site"))),
            namespace: telling.site.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::now())),
        action: Some("Reconcile".to_owned()),
        reason: Some(telling.reason.to_owned()),
        type_: Some(if telling.warning { "Warning" } else { "Normal" }.to_owned()),
        note: Some(note),
        regarding: Some(telling.site),
        reporting_controller: Some(controller.to_owned()),
        reporting_instance: Some(me.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rollout::{Colour, Held, Reason, Revision};

    #[test]
    fn each_kind_of_news_has_a_reason_of_its_own() {
        let revision = Revision::new(1);
        let held = Held { colour: Colour::Blue, revision };
        let all = [
            News::Entered(Phase::Starting, None),
            News::Entered(Phase::AwaitingApproval, None),
            News::Entered(Phase::CuttingOver, None),
            News::Entered(Phase::RollingBack, None),
            News::Entered(Phase::Stalled, None),
            News::Rejected(revision, Reason::Aborted),
            News::Settled(held),
            News::SettledDegraded(held),
            News::FailedOver(held),
            News::PutBack(held),
            News::Adopted(held),
            News::TakenBack(held),
        ];
        let reasons: BTreeSet<&str> = all.iter().filter_map(|news| of(news, "")).map(|(_, reason, _)| reason).collect();
        assert_eq!(reasons.len(), all.len(), "{reasons:?}");
    }

    #[test]
    fn a_note_that_is_too_long_is_cut_where_a_letter_ends() {
        let site =
            ObjectReference { name: Some("shop".into()), namespace: Some("web".into()), ..ObjectReference::default() };
        let telling = Telling { site, warning: true, reason: "Rejected", note: "ä".repeat(2000) };
        let note = event(telling, CONTROLLER, "me").note.expect("a note");
        assert!(note.len() <= NOTE && note.ends_with("ä…"), "{} bytes", note.len());
    }
}
