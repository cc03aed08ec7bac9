//! Accepts, answers, and ends as a good app does: at SIGTERM it accepts no more, answers what is in flight with `Connection: close`, and
//! goes. An app that others keep connections to says `Connection: close` for a while before that, if it is told to (`--drain-ms`).

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::options::Options;
use super::pages::{self, App};

/// How long an idle connection is kept: longer than any front door pools it, or POSTs are lost on connections that just closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Serves until SIGTERM, or until it was told to crash.
///
/// # Errors
/// When the port can't be listened on.
pub async fn serve(options: Options) -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let ballast = vec![1u8; options.memory_mib << 20];
    tokio::time::sleep(Duration::from_millis(options.start_ms)).await;
    let address: IpAddr = match (options.exposed6, options.exposed) {
        (true, _) => Ipv6Addr::UNSPECIFIED.into(),
        (false, true) => Ipv4Addr::UNSPECIFIED.into(),
        (false, false) => Ipv4Addr::LOCALHOST.into(),
    };
    let _further = match options.further_port {
        Some(port) => Some(TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await?),
        None => None,
    };
    let port = options.wrong_port.unwrap_or(options.port);
    let listener = TcpListener::bind(SocketAddr::from((address, port))).await?;
    let (ending, ended) = watch::channel(false);
    let ended = Ended(ended);
    let (alive, mut all_gone) = mpsc::channel(1);
    let app = Arc::new(App::new(options, listener.local_addr()?.port(), ended.clone(), alive)?);
    if let Some(after) = app.options.crash_after_ms {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            std::process::exit(3);
        });
    }

    let mut connections = JoinSet::new();
    let drain = Duration::from_millis(app.options.drain_ms);
    let mut drained = std::pin::pin!(tokio::time::sleep(Duration::MAX));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of descriptors, or a client that gave up: the next one may do better.
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                connections.spawn(connection(app.clone(), stream, ended.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = term.recv() => if !app.options.ignore_term && !app.draining.swap(true, Ordering::Relaxed) {
                drained.as_mut().reset(tokio::time::Instant::now() + drain);
            },
            () = drained.as_mut(), if app.draining.load(Ordering::Relaxed) => break,
        }
    }
    drop(listener);
    ending.send_replace(true);
    drop(app);
    while connections.join_next().await.is_some() {}
    // Connections that became something else (websockets) hold the app too.
    let _ = all_gone.recv().await;
    drop(ballast);
    Ok(())
}

/// Whether the app is to end.
#[derive(Clone, Debug)]
pub struct Ended(watch::Receiver<bool>);

impl Ended {
    /// Waits for it.
    pub async fn wait(&self) {
        let _ = self.0.clone().wait_for(|ended| *ended).await;
    }

    /// Says it.
    #[must_use]
    pub fn now(&self) -> bool {
        *self.0.borrow()
    }
}

async fn connection(app: Arc<App>, stream: tokio::net::TcpStream, ended: Ended) {
    let service = service_fn(move |request| {
        let arrived = (pages::now_ns(), Instant::now());
        let app = app.clone();
        async move { Ok::<_, Infallible>(pages::answer(&app, request, arrived).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(KEEP_ALIVE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => {}
        () = ended.wait() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}
