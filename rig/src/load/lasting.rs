//! Connections that a test holds while other things happen: an answer that comes piece by piece, a websocket, a request that takes its time.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::once::{Fetch, fetch, head_of};
use super::wire::{Answer, Loss, Wire};

/// A request that goes on in a thread of its own.
#[derive(Debug)]
pub struct Background(JoinHandle<Result<Answer, Loss>>);

impl Background {
    /// Sends it.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(request: Fetch) -> Result<Background> {
        let thread = std::thread::Builder::new().name("request".to_owned()).spawn(move || fetch(&request));
        Ok(Background(thread.context("cannot start a thread for the request")?))
    }

    /// Whether the answer is there, or lost.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// How it was lost.
    pub fn finish(self) -> Result<Answer> {
        let result = self.0.join().map_err(|_| anyhow!("the request's thread panicked"))?;
        result.map_err(|loss| anyhow!("the request was lost: {loss:?}"))
    }
}

/// An answer that comes piece by piece, as server-sent events do.
#[derive(Debug)]
pub struct Stream {
    runtime: Runtime,
    wire: Wire,
    within: Duration,
    /// The answer's head.
    pub head: Answer,
}

impl Stream {
    /// Sends the request and reads the head of its answer, which must come in chunks.
    ///
    /// # Errors
    /// How it was lost.
    pub fn open(request: &Fetch) -> Result<Stream> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let opening = async {
            let mut wire = Wire::connect(request.address, request.within).await?;
            wire.send(head_of(request).as_bytes()).await?;
            let head = wire.head().await?;
            Ok::<_, Loss>((wire, head))
        };
        let within = request.within;
        let opened = runtime.block_on(async { timeout(within, opening).await });
        let (wire, head) =
            opened.context("no answer came")?.map_err(|loss| anyhow!("the request was lost: {loss:?}"))?;
        if head.header("transfer-encoding") != Some("chunked") {
            bail!("the answer doesn't come in chunks: {head:?}");
        }
        Ok(Stream { runtime, wire, within, head })
    }

    /// Waits for the next piece; `None`: the answer has come to its end.
    ///
    /// # Errors
    /// How it was lost.
    pub fn next_piece(&mut self) -> Result<Option<String>> {
        let piece = self.runtime.block_on(async { timeout(self.within, self.wire.chunk()).await });
        let piece = piece.context("the next piece doesn't come")?;
        let piece = piece.map_err(|loss| anyhow!("the stream broke: {loss:?}"))?;
        Ok(piece.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Reads it to its end, and returns what came.
    ///
    /// # Errors
    /// How it was lost.
    pub fn rest(mut self) -> Result<String> {
        let mut all = String::new();
        while let Some(piece) = self.next_piece()? {
            all.push_str(&piece);
        }
        Ok(all)
    }
}

/// A websocket whose other end answers each message.
#[derive(Debug)]
pub struct Conversation {
    runtime: Runtime,
    socket: WebSocketStream<TcpStream>,
    within: Duration,
}

impl Conversation {
    /// Opens it.
    ///
    /// # Errors
    /// When it can't be.
    pub fn open(address: SocketAddr, host: &str, path: &str) -> Result<Conversation> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let within = Duration::from_secs(30);
        let url = format!("ws://{host}{path}");
        let opening = async {
            let stream = TcpStream::connect(address).await?;
            Ok::<_, anyhow::Error>(client_async(url, stream).await?.0)
        };
        let socket = runtime.block_on(async { timeout(within, opening).await }).context("nobody shook hands")??;
        Ok(Conversation { runtime, socket, within })
    }

    /// Says something, and returns what is answered.
    ///
    /// # Errors
    /// When the connection is gone, or nothing is answered.
    pub fn say(&mut self, text: &str) -> Result<String> {
        let exchange = async {
            self.socket.send(Message::text(text)).await.context("it can't be said")?;
            loop {
                match self.socket.next().await.context("the websocket was closed")?? {
                    Message::Text(answer) => return Ok(answer.to_string()),
                    Message::Close(_) => bail!("the other end said goodbye"),
                    _ => {}
                }
            }
        };
        self.runtime.block_on(async { timeout(self.within, exchange).await }).context("nothing is answered")?
    }

    /// Says goodbye and waits for the other end to do the same.
    ///
    /// # Errors
    /// When the other end just went away.
    pub fn close(mut self) -> Result<()> {
        let goodbye = async {
            self.socket.close(None).await?;
            while let Some(message) = self.socket.next().await {
                message?;
            }
            Ok(())
        };
        self.runtime.block_on(async { timeout(self.within, goodbye).await }).context("nobody says goodbye")?
    }
}
