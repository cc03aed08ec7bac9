//! Keep-alive clients that count every lost request.
//!
//! HTTP libraries repeat a request whose connection was closed, silently, and so hide what a deployment loses. These clients write HTTP to
//! a socket themselves and never repeat anything. A connection that the server has closed *before* the next request is replaced, as any
//! client does (`idle_closed`, no failure); one that it closes while a request is on its way is a failure, and so is everything else
//! that isn't a whole, right answer with status 200.
//!
//! `line` is a socket or TLS on one, `wire` reads and writes HTTP/1.1 and `two` HTTP/2, `client` is one client, `totals` counts, `once` is for
//! single requests, `stream` for answers that come piece by piece, `socket` for websockets.

mod client;
mod line;
mod once;
mod socket;
mod stream;
mod totals;
mod two;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use line::{Line, Trust};
pub use once::{Fetch, fetch, fetch_async, get, post, upload};
pub use socket::Conversation;
pub use stream::Stream;
pub use totals::{Histogram, Sample, Totals, VersionTotals};
pub use wire::{Answer, Loss, Wire};

use crate::wait::{self, TooLate};

/// One kind of request that the clients send in turn.
#[derive(Clone, Debug)]
pub struct Ask {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path, with its query.
    pub path: String,
    /// The body of a POST.
    pub body: Vec<u8>,
    /// Whether rig-app answers it, so that the answer must carry its marks.
    pub from_app: bool,
}

impl Ask {
    /// A GET.
    #[must_use]
    pub fn get(path: &str) -> Ask {
        Ask { method: "GET", path: path.to_owned(), body: Vec::new(), from_app: true }
    }

    /// A GET of a file that the web server answers itself.
    #[must_use]
    pub fn file(path: &str) -> Ask {
        Ask { from_app: false, ..Ask::get(path) }
    }

    /// A POST.
    #[must_use]
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Ask {
        Ask { method: "POST", path: path.to_owned(), body: body.into(), from_app: true }
    }
}

/// What load to make.
#[derive(Clone, Debug)]
pub struct Load {
    address: SocketAddr,
    host: String,
    trust: Option<Trust>,
    http2: bool,
    clients: usize,
    think: Duration,
    timeout: Duration,
    asks: Vec<Ask>,
    count: Option<u64>,
    lasting: Option<Duration>,
    strict: bool,
    keep_samples: bool,
    fresh: bool,
}

impl Load {
    /// 32 clients that GET `/` and POST `/order` in turn and think 5 ms in between, until they are stopped.
    #[must_use]
    pub fn to(address: SocketAddr, host: &str) -> Load {
        Load {
            address,
            host: host.to_owned(),
            trust: None,
            http2: false,
            clients: 32,
            think: Duration::from_millis(5),
            timeout: Duration::from_secs(30),
            asks: vec![Ask::get("/"), Ask::post("/order", "{\"item\":\"a book\",\"count\":1}")],
            count: None,
            lasting: None,
            strict: true,
            keep_samples: false,
            fresh: false,
        }
    }

    /// Over TLS.
    #[must_use]
    pub fn over_tls(self, trust: &Trust) -> Load {
        Load { trust: Some(trust.clone()), ..self }
    }

    /// Over TLS, in HTTP/2, one request after the other on a connection.
    #[must_use]
    pub fn over_http2(self, trust: &Trust) -> Load {
        Load { trust: Some(trust.of_http2()), http2: true, ..self }
    }

    /// So many clients, each with a connection of its own.
    #[must_use]
    pub fn clients(self, clients: usize) -> Load {
        Load { clients, ..self }
    }

    /// How long a client waits from an answer to its next request.
    #[must_use]
    pub fn think(self, think: Duration) -> Load {
        Load { think, ..self }
    }

    /// How long a request may take before it counts as lost.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Load {
        Load { timeout, ..self }
    }

    /// What is asked, in turn.
    #[must_use]
    pub fn asks(self, asks: Vec<Ask>) -> Load {
        Load { asks, ..self }
    }

    /// Stop after so many requests.
    #[must_use]
    pub fn count(self, count: u64) -> Load {
        Load { count: Some(count), ..self }
    }

    /// Stop after so long.
    #[must_use]
    pub fn lasting(self, lasting: Duration) -> Load {
        Load { lasting: Some(lasting), ..self }
    }

    /// Accept answers of any app: only whole ones with status 200, but without the marks that `rig-app` puts into them.
    #[must_use]
    pub fn of_any_app(self) -> Load {
        Load { strict: false, ..self }
    }

    /// A new connection for each request: what a balancer of connections, such as a Service, chooses anew each time.
    #[must_use]
    pub fn fresh(self) -> Load {
        Load { fresh: true, ..self }
    }

    /// Keep every request, for [`Running::take`].
    #[must_use]
    pub fn keep_samples(self) -> Load {
        Load { keep_samples: true, ..self }
    }

    /// Starts it, in a thread of its own.
    ///
    /// # Errors
    /// When no thread or no runtime can be had.
    pub fn start(self) -> Result<Running> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            clock: Clock::now(),
            state: Mutex::new(State::default()),
            load: self,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot make a runtime for the load")?;
        let inside = shared.clone();
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let clients = (0..inside.load.clients).map(|number| tokio::spawn(client::run(inside.clone(), number)));
                for client in clients.collect::<Vec<_>>() {
                    // A client that panicked must not look like one that lost nothing.
                    if client.await.is_err() {
                        inside.state().totals.broken_clients += 1;
                    }
                }
            });
        });
        Ok(Running { shared, thread: Some(thread.context("cannot start the load's thread")?) })
    }
}

/// Load that is being made. Dropped, it stops.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// What was counted so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.state().totals.clone()
    }

    /// The requests since the last call, if they are kept.
    #[must_use]
    pub fn take(&self) -> Vec<Sample> {
        std::mem::take(&mut self.shared.state().samples)
    }

    /// Waits until so many more requests have been answered.
    ///
    /// # Errors
    /// When they aren't within [`wait::PATIENCE`].
    pub fn wait_for_more(&self, requests: u64) -> Result<(), TooLate> {
        let target = self.totals().requests + requests;
        wait::until(&format!("{requests} more requests were answered"), wait::PATIENCE, || {
            (self.totals().requests >= target).then_some(())
        })
    }

    /// Waits until a version has answered.
    ///
    /// # Errors
    /// When it doesn't within [`wait::PATIENCE`].
    pub fn wait_for_version(&self, version: &str) -> Result<(), TooLate> {
        wait::until(&format!("{version} answered"), wait::PATIENCE, || {
            self.totals().versions.contains_key(version).then_some(())
        })
    }

    /// Lets every client finish its request, and says what was counted.
    #[must_use]
    pub fn stop(mut self) -> Totals {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join();
        self.totals()
    }

    /// Waits until its count or its time is reached, and says what was counted.
    #[must_use]
    pub fn finish(mut self) -> Totals {
        self.join();
        self.totals()
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.shared.state().totals.broken_clients += 1;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join();
    }
}

#[derive(Debug)]
struct Shared {
    load: Load,
    stop: AtomicBool,
    sent: AtomicU64,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    totals: Totals,
    samples: Vec<Sample>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more request is to be sent; counts it.
    fn next(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
            && self.load.lasting.is_none_or(|lasting| self.clock.instant.elapsed() < lasting)
            && self.load.count.is_none_or(|count| self.sent.fetch_add(1, Ordering::Relaxed) < count)
    }
}

/// The wall clock, as steady as the monotonic one: comparable with what apps and agents say, and never stepping back in between.
#[derive(Clone, Copy, Debug)]
struct Clock {
    instant: Instant,
    wall_ns: u64,
}

impl Clock {
    fn now() -> Clock {
        Clock { instant: Instant::now(), wall_ns: crate::app::now_ns() }
    }

    fn at(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.instant);
        self.wall_ns + u64::try_from(since.as_nanos()).unwrap_or(0)
    }
}
