//! HTTP/2, one request after the other on a connection: whatever the server ends meanwhile is seen, and nothing is repeated.

use std::net::SocketAddr;
use std::time::Duration;

use h2::client::SendRequest;
use http::Request;
use hyper::body::Bytes;
use tokio::task::JoinHandle;

use super::Ask;
use super::line::{Line, Trust};
use super::wire::{Answer, Idle, Loss};

/// A connection over which HTTP/2 is spoken.
#[derive(Debug)]
pub struct Two {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Two {
    /// Connects; `trust` is one that wants HTTP/2.
    ///
    /// # Errors
    /// [`Loss::Connect`], also when the server doesn't speak it.
    pub async fn connect(address: SocketAddr, host: &str, trust: &Trust, within: Duration) -> Result<Two, Loss> {
        let line = Line::connect(address, host, Some(trust), within).await?;
        if !matches!(&line, Line::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2")) {
            return Err(Loss::Connect);
        }
        let (sender, connection) = h2::client::handshake(line).await.map_err(|_| Loss::Connect)?;
        let driver = tokio::spawn(async {
            let _ = connection.await;
        });
        Ok(Two { sender, driver })
    }

    /// Whether it takes another request.
    pub async fn idle(&self) -> Idle {
        if self.sender.clone().ready().await.is_ok() { Idle::Open } else { Idle::Closed }
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// How it was lost.
    pub async fn exchange(&mut self, ask: &Ask, host: &str, id: &str) -> Result<Answer, Loss> {
        let request = Request::builder().method(ask.method).uri(format!("https://{host}{}", ask.path));
        let request = request.header("x-request-id", id).header("content-type", "application/json");
        let request = request.header("content-length", ask.body.len()).body(()).map_err(|_| Loss::WrongAnswer)?;
        let lost = |_: h2::Error| Loss::ResetBeforeAnswer;
        let (response, mut body) = self.sender.send_request(request, ask.body.is_empty()).map_err(lost)?;
        if !ask.body.is_empty() {
            body.send_data(Bytes::from(ask.body.clone()), true).map_err(lost)?;
        }
        let (head, mut pieces) = response.await.map_err(lost)?.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = pieces.data().await {
            let piece = piece.map_err(|_| Loss::BrokenAnswer)?;
            pieces.flow_control().release_capacity(piece.len()).map_err(|_| Loss::BrokenAnswer)?;
            body.extend_from_slice(&piece);
        }
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Answer { status: head.status.as_u16(), headers, body, keep_alive: true })
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
