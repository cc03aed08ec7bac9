//! The warm-up: what each instance of a colour is asked before traffic goes to it. Pages whose first answer is slow, or fails, are asked for by us
//! then and not by somebody's customer.

use std::sync::Arc;

use futures::future::try_join_all;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::{Target, ask};
use crate::api::site::WarmUp;
use crate::api::span;
use crate::platform::host::sockets::OwnConnections;

/// A warm-up that was begun; dropping it ends it.
pub struct Warming {
    outcome: watch::Receiver<Option<Result<(), String>>>,
    task: AbortHandle,
}

impl Warming {
    /// Asks every instance of the target, all at once and each one request after the other. `wake` is notified at the end.
    pub(super) fn begin(target: Arc<Target>, warm_up: WarmUp, own: Arc<OwnConnections>, wake: Arc<Notify>) -> Warming {
        let (told, outcome) = watch::channel(None);
        let task = tokio::spawn(async move {
            let end = Instant::now() + warm_up.within;
            let instances = target.ports.iter().map(|port| instance(&target, &warm_up, *port, end, &own));
            let done = try_join_all(instances).await.map(drop);
            told.send_replace(Some(done));
            wake.notify_one();
        });
        Warming { outcome, task: task.abort_handle() }
    }

    /// How it ended: what is wrong, if something is. `None`: it goes on.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<(), String>> {
        self.outcome.borrow().clone()
    }
}

impl Drop for Warming {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn instance(
    target: &Target,
    warm_up: &WarmUp,
    port: u16,
    end: Instant,
    own: &OwnConnections,
) -> Result<(), String> {
    for (answered, path) in warm_up.asks().enumerate() {
        match timeout_at(end, ask::get(target, path, port, own, true)).await {
            Ok(Ok(status)) if status.is_server_error() => {
                return Err(format!("while it was warmed up, GET {path} on port {port} answers {status}"));
            }
            Ok(Ok(_)) => {}
            Ok(Err(why)) => return Err(format!("while it was warmed up, GET {path} on port {port} {why}")),
            Err(_) => {
                return Err(format!(
                    "it was not warmed up within {}: {answered} of {} requests were answered when GET {path} on port {port} was not \
                     (spec.health.warmUp)",
                    span::format(warm_up.within),
                    warm_up.count(),
                ));
            }
        }
    }
    Ok(())
}
