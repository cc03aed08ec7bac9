//! Single requests, for tests that ask one thing. Never repeated either.

use std::net::SocketAddr;
use std::time::Duration;

use super::line::Trust;
use super::wire::{Answer, Loss, Wire};

/// A single request, on a connection of its own.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Where.
    pub address: SocketAddr,
    /// What the `Host` header says.
    pub host: String,
    /// Whom to believe over TLS; `None` is without.
    pub trust: Option<Trust>,
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body; empty means none.
    pub body: Vec<u8>,
    /// How long sending the body takes, in many small pieces; zero sends it whole.
    pub body_over: Duration,
    /// How long the whole may take.
    pub within: Duration,
}

impl Fetch {
    /// A GET of that path.
    #[must_use]
    pub fn get(address: SocketAddr, host: &str, path: &str) -> Fetch {
        Fetch {
            address,
            host: host.to_owned(),
            trust: None,
            method: "GET".to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            body_over: Duration::ZERO,
            within: Duration::from_secs(30),
        }
    }

    pub(super) async fn connect(&self) -> Result<Wire, Loss> {
        Wire::connect(self.address, &self.host, self.trust.as_ref(), self.within).await
    }
}

/// Sends it and reads the answer, whatever its status.
///
/// # Errors
/// How it was lost.
pub async fn fetch_async(fetch: &Fetch) -> Result<Answer, Loss> {
    let exchange = async {
        let mut wire = fetch.connect().await?;
        wire.send(head_of(fetch).as_bytes()).await?;
        send_body(&mut wire, fetch).await?;
        wire.receive(&fetch.method).await
    };
    tokio::time::timeout(fetch.within, exchange).await.map_err(|_| Loss::Timeout)?
}

/// [`fetch`], for a body that the server is asked for (`Expect: 100-continue`): `begun` is called when the server has taken the request and
/// waits for its body.
///
/// # Errors
/// How it was lost.
pub fn upload(fetch: &Fetch, begun: impl FnOnce()) -> Result<Answer, Loss> {
    let mut asking = fetch.clone();
    asking.headers.push(("Expect".to_owned(), "100-continue".to_owned()));
    blocking(async {
        let exchange = async {
            let mut wire = asking.connect().await?;
            wire.send(head_of(&asking).as_bytes()).await?;
            let asked = wire.head().await?;
            if asked.status != 100 {
                return Err(Loss::OtherStatus);
            }
            begun();
            send_body(&mut wire, &asking).await?;
            wire.receive(&asking.method).await
        };
        tokio::time::timeout(asking.within, exchange).await.map_err(|_| Loss::Timeout)?
    })
}

async fn send_body(wire: &mut Wire, fetch: &Fetch) -> Result<(), Loss> {
    let pieces = if fetch.body_over.is_zero() { 1 } else { 100 };
    let pause = fetch.body_over / pieces;
    for piece in fetch.body.chunks(fetch.body.len().div_ceil(pieces as usize).max(1)) {
        wire.send(piece).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// [`fetch_async`] where nothing is awaited. Not to be called from within a runtime.
///
/// # Errors
/// How it was lost.
pub fn fetch(fetch: &Fetch) -> Result<Answer, Loss> {
    blocking(fetch_async(fetch))
}

fn blocking(exchange: impl Future<Output = Result<Answer, Loss>>) -> Result<Answer, Loss> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|_| Loss::Connect)?;
    runtime.block_on(exchange)
}

/// A GET.
///
/// # Errors
/// How it was lost.
pub fn get(address: SocketAddr, host: &str, path: &str) -> Result<Answer, Loss> {
    fetch(&Fetch::get(address, host, path))
}

/// A POST.
///
/// # Errors
/// How it was lost.
pub fn post(address: SocketAddr, host: &str, path: &str, body: impl Into<Vec<u8>>) -> Result<Answer, Loss> {
    fetch(&Fetch { method: "POST".to_owned(), body: body.into(), ..Fetch::get(address, host, path) })
}

pub(super) fn head_of(fetch: &Fetch) -> String {
    let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", fetch.method, fetch.path, fetch.host);
    for (name, value) in &fetch.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !fetch.body.is_empty() || fetch.method == "POST" {
        text.push_str(&format!("Content-Length: {}\r\n", fetch.body.len()));
    }
    text.push_str("\r\n");
    text
}
