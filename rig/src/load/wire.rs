//! HTTP/1.1 on a socket, read strictly: what isn't exactly an answer is a failure, with the point at which it failed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::line::{Line, Trust};

const MAX_HEAD: usize = 64 << 10;

/// How a request was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Loss {
    /// No connection could be made.
    Connect,
    /// The connection was reset before the first byte of an answer.
    ResetBeforeAnswer,
    /// The connection was closed before the first byte of an answer.
    EofBeforeAnswer,
    /// The connection ended within an answer.
    BrokenAnswer,
    /// No whole answer came in time.
    Timeout,
    /// Status 500 or more.
    ServerError,
    /// A status that is neither 200 nor 500 or more.
    OtherStatus,
    /// Not HTTP, or the answer to another request, or not what was asked.
    WrongAnswer,
}

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
}

impl Answer {
    /// The first header of that name (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The version that `rig-app` says it is.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.header("x-version")
    }

    /// The body, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Wire {
    line: Line,
    buffer: Vec<u8>,
    used: usize,
}

impl Wire {
    /// Connects to the server of that name, over TLS if it is told whom to believe.
    ///
    /// # Errors
    /// [`Loss::Connect`].
    pub async fn connect(
        address: SocketAddr,
        host: &str,
        trust: Option<&Trust>,
        within: Duration,
    ) -> Result<Wire, Loss> {
        let line = Line::connect(address, host, trust, within).await?;
        Ok(Wire { line, buffer: Vec::with_capacity(4096), used: 0 })
    }

    /// Ends the connection after a whole answer, at once and for both: thousands that linger in TIME_WAIT would make later ones wait for a
    /// second where their ports are chosen anew on the way.
    pub fn reset(self) {
        self.line.reset();
    }

    /// What the server did to the idle connection meanwhile.
    #[must_use]
    pub fn idle(&mut self) -> Idle {
        if self.used == self.buffer.len() { self.line.idle() } else { Idle::Speaks }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// [`Loss::ResetBeforeAnswer`].
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Loss> {
        let sent = async {
            self.line.write_all(bytes).await?;
            self.line.flush().await
        };
        sent.await.map_err(|_| Loss::ResetBeforeAnswer)
    }

    /// Reads one answer to a request of that method.
    ///
    /// # Errors
    /// How it was lost.
    pub async fn receive(&mut self, method: &str) -> Result<Answer, Loss> {
        let mut answer = loop {
            let answer = self.head().await?;
            if answer.status / 100 != 1 || answer.status == 101 {
                break answer;
            }
        };
        answer.body = self.body(method, &answer).await?;
        Ok(answer)
    }

    /// Reads the head of an answer.
    ///
    /// # Errors
    /// How it was lost.
    pub async fn head(&mut self) -> Result<Answer, Loss> {
        let end = loop {
            if let Some(at) = find(&self.buffer[self.used..], b"\r\n\r\n") {
                break self.used + at;
            }
            if self.buffer.len() - self.used > MAX_HEAD {
                return Err(Loss::WrongAnswer);
            }
            let nothing_yet = self.buffer.len() == self.used;
            self.more(nothing_yet).await?;
        };
        let head = std::str::from_utf8(&self.buffer[self.used..end]).map_err(|_| Loss::WrongAnswer)?;
        let answer = parse_head(head).ok_or(Loss::WrongAnswer)?;
        self.used = end + 4;
        Ok(answer)
    }

    async fn body(&mut self, method: &str, head: &Answer) -> Result<Vec<u8>, Loss> {
        if method == "HEAD" || matches!(head.status, 101 | 204 | 304) {
            return Ok(Vec::new());
        }
        match (head.header("content-length"), head.header("transfer-encoding")) {
            (Some(length), None) => {
                let length: usize = length.parse().map_err(|_| Loss::WrongAnswer)?;
                self.exactly(length).await
            }
            (None, Some("chunked")) => self.chunks().await,
            // A body that ends with the connection could have been cut anywhere.
            _ => Err(Loss::WrongAnswer),
        }
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, Loss> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend(chunk);
        }
        Ok(body)
    }

    /// Reads the next chunk of a body that comes in chunks; `None`: it has ended.
    ///
    /// # Errors
    /// How it was lost.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Loss> {
        let line = self.line().await?;
        let size = usize::from_str_radix(&line, 16).map_err(|_| Loss::WrongAnswer)?;
        if size == 0 {
            while !self.line().await?.is_empty() {}
            return Ok(None);
        }
        let chunk = self.exactly(size).await?;
        if !self.line().await?.is_empty() {
            return Err(Loss::WrongAnswer);
        }
        Ok(Some(chunk))
    }

    /// Reads up to the next end of a line, which isn't in what is returned.
    ///
    /// # Errors
    /// How it was lost.
    pub async fn line(&mut self) -> Result<String, Loss> {
        let end = loop {
            if let Some(at) = find(&self.buffer[self.used..], b"\r\n") {
                break self.used + at;
            }
            if self.buffer.len() - self.used > MAX_HEAD {
                return Err(Loss::WrongAnswer);
            }
            self.more(false).await?;
        };
        let line = String::from_utf8(self.buffer[self.used..end].to_vec()).map_err(|_| Loss::WrongAnswer)?;
        self.used = end + 2;
        Ok(line)
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Loss> {
        while self.buffer.len() - self.used < length {
            self.more(false).await?;
        }
        let bytes = self.buffer[self.used..self.used + length].to_vec();
        self.used += length;
        Ok(bytes)
    }

    async fn more(&mut self, before_answer: bool) -> Result<(), Loss> {
        if self.used > 0 {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        match self.line.read_buf(&mut self.buffer).await {
            Ok(0) if before_answer => Err(Loss::EofBeforeAnswer),
            Ok(0) => Err(Loss::BrokenAnswer),
            Ok(_) => Ok(()),
            Err(error) if before_answer && error.kind() == io::ErrorKind::ConnectionReset => {
                Err(Loss::ResetBeforeAnswer)
            }
            Err(_) => Err(Loss::BrokenAnswer),
        }
    }
}

/// The state of an idle connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It can be used.
    Open,
    /// The server has closed it.
    Closed,
    /// The server has sent something that nobody asked for.
    Speaks,
}

fn parse_head(text: &str) -> Option<Answer> {
    let mut lines = text.split("\r\n");
    let first = lines.next()?;
    let (version, rest) = first.split_once(' ')?;
    let status = rest.get(..3)?;
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !matches!(rest.as_bytes().get(3), None | Some(b' ')) {
        return None;
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.is_empty() || name.contains(' ') {
            return None;
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer { status: status.parse().ok()?, headers, body: Vec::new(), keep_alive: false };
    let says = |word: &str| answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case(word));
    answer.keep_alive = if version == "HTTP/1.1" { !says("close") } else { says("keep-alive") };
    Some(answer)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(bytes: &'static [u8]) -> Result<Answer, Loss> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            stream.write_all(bytes).await.expect("it reads");
        };
        let client = async {
            let mut wire = Wire::connect(address, "localhost", None, Duration::from_secs(5)).await?;
            wire.receive("GET").await
        };
        tokio::join!(server, client).1
    }

    #[tokio::test]
    async fn whole_answers_are_read_whole() {
        let fixed =
            answered(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Version: v1\r\n\r\nabc")
                .await;
        let fixed = fixed.expect("it is whole");
        assert_eq!((fixed.status, fixed.body.as_slice(), fixed.version()), (200, &b"abc"[..], Some("v1")));
        assert!(fixed.keep_alive);
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        let chunked = answered(chunked).await.expect("it is whole");
        assert_eq!((chunked.body.as_slice(), chunked.keep_alive), (&b"abc"[..], false));
    }

    #[tokio::test]
    async fn each_way_to_lose_an_answer_has_its_name() {
        assert_eq!(answered(b"").await, Err(Loss::EofBeforeAnswer));
        assert_eq!(answered(b"HTTP/1.1 200 O").await, Err(Loss::BrokenAnswer));
        assert_eq!(answered(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc").await, Err(Loss::BrokenAnswer));
        let cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
        assert_eq!(answered(cut).await, Err(Loss::BrokenAnswer));
        assert_eq!(answered(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await, Err(Loss::WrongAnswer));
        assert_eq!(answered(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc").await, Err(Loss::WrongAnswer));
    }
}
