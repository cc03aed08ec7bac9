//! Starts the operator, lets it lead when it may, and ends without touching a site: turns that have begun are finished, and the lease is
//! given back.

use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use kube::Api;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector;
use tokio::sync::oneshot;

use super::client::connect;
use super::election::Election;
use super::health::Health;
use super::lease::Timing;
use super::metrics::Metrics;
use super::object::SiteObject;
use super::pace::Pace;
use super::queue::Queue;
use super::reign::Reign;
use super::settings::Settings;
use super::sites::{Common, Sites};
use super::watches::{self, Watches, key};
use super::{events, serve};
use crate::driver::{log, process};
use crate::platform::cluster::children::{Cache, Key};

/// A site whose turn panicked is turned anew after so long.
const AFTER_PANIC: Duration = Duration::from_secs(5);
/// Turns that have begun are waited for, at the end: they are short, and each of their requests has a limit.
const LAST_TURNS: Duration = Duration::from_secs(20);

/// Runs the operator until somebody asks it to end.
///
/// # Errors
/// It could not start.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    process::with_one_heap()?;
    log::to_stderr(settings.log_format);
    let runtime = process::runtime()?;
    let done = runtime.block_on(operate(settings));
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn operate(settings: Settings) -> anyhow::Result<()> {
    // Asked for before anything takes long, so that a signal in the meantime is not lost.
    let end = process::end()?.shared();
    let metrics = Arc::new(Metrics::default());
    let health = Arc::new(Health::awaiting(watches::all()));
    let reign = Arc::new(Reign::default());
    let pace = Arc::new(Pace::new(settings.concurrency.get()));
    let (metrics_door, health_door) = serve::listen(settings.metrics, settings.health).await?;
    let (client, _) = connect(reign.clone(), metrics.clone(), pace.clone()).await?;
    let me = name()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %me,
        namespace = settings.namespace.as_deref().unwrap_or("(all)"),
        metrics = %metrics_door.local_addr()?,
        health = %health_door.local_addr()?,
        "the operator runs"
    );

    let (queue, woken) = Queue::new(reign.clone(), metrics.clone());
    let queue = Arc::new(queue);
    let cache = Arc::new(Cache::default());
    let (store, writer) = reflector::store::<SiteObject>();
    let (told, tell_events) = events::channel(client.clone(), me.clone());
    let sites = Arc::new(Sites::new(Common {
        client: client.clone(),
        cache: cache.clone(),
        queue: queue.clone(),
        events: told,
        metrics: metrics.clone(),
    }));
    let watches = Watches {
        client: client.clone(),
        namespace: settings.namespace.clone(),
        cache,
        sites: sites.clone(),
        queue: queue.clone(),
        metrics: metrics.clone(),
        health: health.clone(),
        said: Arc::default(),
    };
    let background = [
        tokio::spawn(watches.run(writer)),
        tokio::spawn(tell_events),
        tokio::spawn(begin_terms(reign.clone(), queue.clone(), sites.clone(), store.clone(), metrics.clone())),
    ];

    let (stop, stopped) = oneshot::channel();
    let led_before = {
        let store = store.clone();
        Box::new(move || store.state().iter().any(|site| site.was_seen()))
    };
    let lease = &settings.lease;
    let election = Election::new(
        Api::namespaced(client, &lease.namespace),
        lease.name.clone(),
        me,
        Timing::of(lease.lasts),
        reign.clone(),
        led_before,
    );
    let election = tokio::spawn(hold_elections(election, health.clone(), stopped));

    let turner = Arc::new(Turner { reign, pace, queue, sites, metrics: metrics.clone() });
    let turns = Controller::for_stream(futures::stream::pending(), store)
        .with_config(controller::Config::default().concurrency(settings.concurrency.get()))
        .reconcile_on(woken)
        .graceful_shutdown_on(end.clone())
        .run(turn, |_, error: &Infallible, _| match *error {}, turner.clone())
        .for_each(|done| {
            // A site that is gone, and something that it left behind.
            if let Err(controller::Error::ObjectNotFound(gone)) = done {
                let key = Key::new(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
                turner.queue.begins(&key);
            }
            futures::future::ready(())
        });
    let finished = async {
        tokio::select! {
            () = turns => {}
            () = async { end.clone().await; tokio::time::sleep(LAST_TURNS).await } => {
                tracing::warn!("some turns did not end in time; whoever leads next goes on");
            }
        }
    };
    tokio::select! {
        () = finished => {}
        done = serve::metrics(metrics_door, metrics) => failed("metrics", done)?,
        done = serve::health(health_door, health) => failed("health", done)?,
    }
    tracing::info!("the operator ends; the sites go on");
    // Only now: nothing acts any more.
    let _ = stop.send(());
    let _ = tokio::time::timeout(Duration::from_secs(5), election).await;
    for task in background {
        task.abort();
    }
    Ok(())
}

fn failed(what: &str, done: io::Result<()>) -> anyhow::Result<()> {
    done.map_err(|error| anyhow::anyhow!("cannot serve {what}: {error}"))
}

/// The name of this process: no other one ever had it, so that a lease that names it can only be ours.
fn name() -> io::Result<String> {
    let host = std::env::var("POD_NAME").or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"));
    let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(format!("{}_{}", host.as_deref().unwrap_or("operator").trim(), id.trim()))
}

/// Looks at the lease again and again, once everything was seen; gives it back at the end.
async fn hold_elections(mut election: Election, health: Arc<Health>, mut stopped: oneshot::Receiver<()>) {
    let mut seen = false;
    loop {
        health.beat();
        let wait = if seen {
            election.step().await
        } else {
            // Whoever can't act must not lead.
            seen = tokio::time::timeout(Duration::from_secs(5), health.all_seen()).await.is_ok();
            Duration::ZERO
        };
        tokio::select! {
            _ = &mut stopped => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    election.release().await;
}

/// When this replica begins to lead, every site gets a turn; when it ends, what it remembered of them is dropped.
async fn begin_terms(
    reign: Arc<Reign>,
    queue: Arc<Queue>,
    sites: Arc<Sites>,
    store: reflector::Store<SiteObject>,
    metrics: Arc<Metrics>,
) {
    let mut terms = reign.terms();
    loop {
        let term = *terms.borrow_and_update();
        metrics.leads(term.is_some());
        match term {
            Some(_) => store.state().iter().for_each(|site| queue.wake(&key(site))),
            None => sites.keep(|_| false),
        }
        if terms.changed().await.is_err() {
            return;
        }
    }
}

/// What a turn needs.
struct Turner {
    reign: Arc<Reign>,
    pace: Arc<Pace>,
    queue: Arc<Queue>,
    sites: Arc<Sites>,
    metrics: Arc<Metrics>,
}

/// One turn of one site. A panic in it is its own.
async fn turn(site: Arc<SiteObject>, turner: Arc<Turner>) -> Result<Action, Infallible> {
    let key = key(&site);
    let _begun = turner.pace.begin().await;
    turner.queue.begins(&key);
    let Some(term) = turner.reign.term() else { return Ok(Action::await_change()) };
    let began = Instant::now();
    let turned = AssertUnwindSafe(turner.sites.turn(&key, site, term)).catch_unwind().await;
    let (result, wait) = turned.unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().map(String::as_str);
        let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
        tracing::error!(site = %key, "a turn panicked: {why}; please report this");
        turner.sites.gone(&key);
        ("panic", Some(AFTER_PANIC))
    });
    turner.metrics.turned(result, began.elapsed());
    Ok(wait.map_or_else(Action::await_change, Action::requeue))
}
