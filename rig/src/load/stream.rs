//! An answer that comes piece by piece, as server-sent events do. Blocking; not to be used from within a runtime.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::once::{Fetch, head_of};
use super::wire::{Answer, Loss, Wire};

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
            let mut wire = request.connect().await?;
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
