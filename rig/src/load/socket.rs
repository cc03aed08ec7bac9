//! A websocket, for tests that talk over one. Blocking; not to be used from within a runtime.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::runtime::Runtime;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::line::{Line, Trust};

const WITHIN: Duration = Duration::from_secs(30);

/// An open websocket.
#[derive(Debug)]
pub struct Conversation {
    runtime: Runtime,
    socket: WebSocketStream<Line>,
}

impl Conversation {
    /// Opens one.
    ///
    /// # Errors
    /// When nobody is there, or doesn't switch protocols.
    pub fn open(address: SocketAddr, host: &str, path: &str) -> Result<Conversation> {
        Conversation::open_on(address, host, path, None)
    }

    /// Opens one over TLS.
    ///
    /// # Errors
    /// When nobody is there who is to be believed, or doesn't switch protocols.
    pub fn open_over_tls(address: SocketAddr, host: &str, path: &str, trust: &Trust) -> Result<Conversation> {
        Conversation::open_on(address, host, path, Some(trust))
    }

    fn open_on(address: SocketAddr, host: &str, path: &str, trust: Option<&Trust>) -> Result<Conversation> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = runtime.block_on(async {
            let opening = async {
                let line = Line::connect(address, host, trust, WITHIN).await;
                let line = line.map_err(|loss| anyhow!("no connection: {loss:?}"))?;
                let scheme = if trust.is_some() { "wss" } else { "ws" };
                let (socket, _) = tokio_tungstenite::client_async(format!("{scheme}://{host}{path}"), line).await?;
                anyhow::Ok(socket)
            };
            tokio::time::timeout(WITHIN, opening).await.context("no websocket was opened in time")?
        })?;
        Ok(Conversation { runtime, socket })
    }

    /// Says something and returns what is said back.
    ///
    /// # Errors
    /// When the connection is gone, or nothing comes back.
    pub fn say(&mut self, text: &str) -> Result<String> {
        self.runtime.block_on(async {
            self.socket.send(Message::text(text)).await?;
            loop {
                let heard = tokio::time::timeout(WITHIN, self.socket.next()).await.context("no answer in time")?;
                match heard.context("the websocket has ended")?? {
                    Message::Text(answer) => return Ok(answer.to_string()),
                    Message::Close(why) => bail!("the other side closes the websocket: {why:?}"),
                    _ => {}
                }
            }
        })
    }

    /// Says goodbye and waits until the other side has, too.
    ///
    /// # Errors
    /// When the connection is gone before.
    pub fn close(mut self) -> Result<()> {
        self.runtime.block_on(async {
            self.socket.close(None).await?;
            let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
            tokio::time::timeout(WITHIN, rest).await.context("the other side does not say goodbye")
        })
    }
}
