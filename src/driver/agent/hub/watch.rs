//! What the hub has: listed once a session, watched from there on. One watch a host, of its own namespace.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Api;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use tokio::sync::mpsc;

use super::connection::{Trouble, within};

/// A watch is asked for anew this often, so that one whose connection died is noticed soon. It goes on where it was.
const LASTS: Duration = Duration::from_secs(60);
/// A watch that said nothing at all for longer than it may last is dead.
const SILENT: Duration = Duration::from_secs(75);
/// From one watch to the next at least.
const BRIEF: Duration = Duration::from_secs(1);
/// So many objects a page.
const PAGE: u32 = 50;

/// What was seen of the hub's sites.
#[derive(Debug)]
pub enum Seen {
    /// These are all, as of this `resourceVersion`.
    All(Vec<DynamicObject>, String),
    /// This one came, or changed.
    One(Box<DynamicObject>),
    /// This one is gone.
    Gone(Box<DynamicObject>),
}

/// Lists, and watches until the hub can't be reached.
///
/// # Errors
/// Always: why it ended.
pub async fn watch(api: Api<DynamicObject>, tell: mpsc::Sender<Seen>) -> Result<std::convert::Infallible, Trouble> {
    loop {
        let (all, version) = list(&api).await?;
        told(&tell, Seen::All(all, version.clone())).await?;
        match follow(&api, version, &tell).await {
            Err(Trouble::Behind) => tracing::info!("the watch on the hub fell behind; its sites are listed anew"),
            Err(trouble) => return Err(trouble),
            Ok(never) => match never {},
        }
    }
}

async fn list(api: &Api<DynamicObject>) -> Result<(Vec<DynamicObject>, String), Trouble> {
    let mut params = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = within(api.list(&params)).await?;
        let version = page.metadata.resource_version.clone().unwrap_or_default();
        all.extend(page.items);
        match page.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) => params = params.continue_token(&more),
            None => return Ok((all, version)),
        }
    }
}

async fn follow(
    api: &Api<DynamicObject>,
    mut version: String,
    tell: &mpsc::Sender<Seen>,
) -> Result<std::convert::Infallible, Trouble> {
    let params = WatchParams::default().timeout(u32::try_from(LASTS.as_secs()).unwrap_or(60));
    loop {
        let began = Instant::now();
        let mut events = pin!(within(api.watch(&params, &version)).await?);
        loop {
            let event = tokio::time::timeout(SILENT, events.next()).await;
            let event = event.map_err(|_| Trouble::Away("the watch is silent".to_owned()))?;
            let seen = match event {
                // It has lasted as long as was asked.
                None => break,
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(WatchEvent::Error(status))) => return Err(Trouble::from(&*status)),
                Some(Ok(WatchEvent::Bookmark(mark))) => {
                    version = mark.metadata.resource_version;
                    continue;
                }
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => Seen::One(Box::new(object)),
                Some(Ok(WatchEvent::Deleted(object))) => Seen::Gone(Box::new(object)),
            };
            let (Seen::One(object) | Seen::Gone(object)) = &seen else { continue };
            if let Some(newer) = &object.metadata.resource_version {
                version.clone_from(newer);
            }
            told(tell, seen).await?;
        }
        // Whoever ends each watch at once must not be asked as fast as that.
        tokio::time::sleep_until((began + BRIEF).into()).await;
    }
}

async fn told(tell: &mpsc::Sender<Seen>, seen: Seen) -> Result<(), Trouble> {
    tell.send(seen).await.map_err(|_| Trouble::Away("the session has ended".to_owned()))
}
