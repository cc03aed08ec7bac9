//! Events about this host's sites, for whoever looks at them on the hub. Told in the background; what can't be told now waits a while, and no longer than
//! memory that is bounded: the host's own history holds everything.

use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::broadcast;

use super::connection::{Trouble, within};
use super::standing::Standing;
use crate::api::names::{API_VERSION, KIND, hub};
use crate::api::types::SiteName;
use crate::driver::agent::origin::Origin;
use crate::driver::operator::events::{Telling, event};

/// So many are kept for a hub that is away.
pub const KEPT: usize = 256;
/// From one try to the next.
const AGAIN: Duration = Duration::from_secs(5);

/// Something that happened to a site that comes from a hub.
#[derive(Clone, Debug)]
pub struct Happened {
    /// Which site.
    pub site: SiteName,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether somebody should look.
    pub warning: bool,
    /// In one word.
    pub reason: &'static str,
    /// In a sentence.
    pub note: String,
}

/// What happens, and what of it could not be told yet.
#[derive(Debug)]
pub struct Happening {
    receiver: broadcast::Receiver<Happened>,
    waiting: Option<Happened>,
}

impl Happening {
    /// What is heard here from now on.
    #[must_use]
    pub fn new(receiver: broadcast::Receiver<Happened>) -> Happening {
        Happening { receiver, waiting: None }
    }

    /// The oldest that was not told yet.
    async fn next(&mut self) -> Option<Happened> {
        while self.waiting.is_none() {
            match self.receiver.recv().await {
                Ok(one) => self.waiting = Some(one),
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::info!(lost, "some events were not told to the hub; the history of each site holds them");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
        self.waiting.clone()
    }
}

/// Tells what happens, until it is dropped. What was being told then is told by the next session.
pub async fn tell(
    client: Client,
    namespace: String,
    me: String,
    standing: &Standing,
    happening: &tokio::sync::Mutex<Happening>,
) -> Result<Infallible, Trouble> {
    let api: Api<Event> = Api::namespaced(client, &namespace);
    let mut happening = happening.lock().await;
    loop {
        let Some(one) = happening.next().await else { return std::future::pending().await };
        let Origin::Hub { uid, .. } = &one.origin else {
            happening.waiting = None;
            continue;
        };
        let site = ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(KIND.to_owned()),
            name: Some(one.site.to_string()),
            namespace: Some(namespace.clone()),
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        };
        let event =
            event(Telling { site, warning: one.warning, reason: one.reason, note: one.note }, hub::CONTROLLER, &me);
        while !standing.acts() {
            tokio::time::sleep(AGAIN).await;
        }
        while let Err(trouble) = within(api.create(&PostParams::default(), &event)).await {
            if !matches!(trouble, Trouble::Away(_)) {
                tracing::debug!(site = %one.site, %trouble, "an event could not be told");
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        happening.waiting = None;
    }
}
