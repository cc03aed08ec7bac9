//! The asking side of the control socket, used by the command line. One connection a request; nothing is repeated by itself.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::api::{
    Applied, Change, CommandAnswer, CommandRequest, Deleted, Failure, History, Logs, LogsQuery, SiteList, SiteView,
};

/// Speaks with the agent behind one socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No agent answers at the socket.
    #[error("no agent answers at {}: {why}", socket.display())]
    NoAgent {
        /// Where it was sought.
        socket: PathBuf,
        /// What that means and what to do.
        why: String,
    },
    /// The agent refused.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The connection broke.
    #[error("the connection to the agent broke: {0}; look with `bluegreen get` whether the request had its effect")]
    Broken(String),
    /// The agent answered something else than this version understands.
    #[error("the agent's answer is not understood: {0}; are the agent and this program of the same version?")]
    Nonsense(String),
}

/// Changes of sites as they happen.
#[derive(Debug)]
pub struct Watch {
    body: Incoming,
    rest: Vec<u8>,
}

impl Client {
    /// The agent behind `socket` (see [`super::api::DEFAULT_SOCKET`]).
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Client {
        Client { socket: socket.into() }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// All sites.
    pub async fn list(&self) -> Result<SiteList, ClientError> {
        self.get("/v1/sites").await
    }

    /// One site.
    pub async fn site(&self, name: &str) -> Result<SiteView, ClientError> {
        self.get(&format!("/v1/sites/{}", segment(name)?)).await
    }

    /// All sites, or one, and what changes of them from now on.
    pub async fn watch(&self, name: Option<&str>) -> Result<Watch, ClientError> {
        let path = match name {
            Some(name) => format!("/v1/watch?site={}", segment(name)?),
            None => "/v1/watch".to_owned(),
        };
        let response = self.send(Method::GET, &path, Bytes::new()).await?;
        Ok(Watch { body: response.into_body(), rest: Vec::new() })
    }

    /// What happened to a site.
    pub async fn history(&self, name: &str) -> Result<History, ClientError> {
        self.get(&format!("/v1/sites/{}/history", segment(name)?)).await
    }

    /// What its instances printed.
    pub async fn logs(&self, name: &str, query: &LogsQuery) -> Result<Logs, ClientError> {
        let mut path = format!("/v1/sites/{}/logs?", segment(name)?);
        if let Some(colour) = query.colour {
            path.push_str(&format!("colour={colour}&"));
        }
        if let Some(instance) = query.instance {
            path.push_str(&format!("instance={instance}&"));
        }
        if let Some(lines) = query.lines {
            path.push_str(&format!("lines={lines}"));
        }
        self.get(&path).await
    }

    /// Hands in one manifest, as YAML. With `dry_run` it is judged and nothing is kept.
    pub async fn apply(&self, manifest: &str, dry_run: bool) -> Result<Applied, ClientError> {
        let path = if dry_run { "/v1/sites?dryRun=true" } else { "/v1/sites" };
        self.ask(Method::POST, path, Bytes::copy_from_slice(manifest.as_bytes())).await
    }

    /// Makes a site go away.
    pub async fn delete(&self, name: &str) -> Result<Deleted, ClientError> {
        self.ask(Method::DELETE, &format!("/v1/sites/{}", segment(name)?), Bytes::new()).await
    }

    /// Gives a command.
    pub async fn command(&self, name: &str, command: &CommandRequest) -> Result<CommandAnswer, ClientError> {
        let path = format!("/v1/sites/{}/commands", segment(name)?);
        self.ask(Method::POST, &path, json(command)?).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let response = self.send(method, path, body).await?;
        let body = collect(response.into_body()).await?;
        serde_json::from_slice(&body).map_err(|e| ClientError::Nonsense(e.to_string()))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| self.no_agent(&e))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| ClientError::Broken(e.to_string()))?;
        // It ends with the connection: when the answer was read, or the body of a watch is dropped.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "bluegreen")
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Full::new(body))
            .map_err(|e| ClientError::Nonsense(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(|e| ClientError::Broken(e.to_string()))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = collect(response.into_body()).await?;
        match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) => Err(ClientError::Refused(failure)),
            Err(_) => Err(ClientError::Nonsense(format!("{status}: {}", String::from_utf8_lossy(&body).trim()))),
        }
    }

    fn no_agent(&self, error: &io::Error) -> ClientError {
        let why = match error.kind() {
            io::ErrorKind::NotFound => {
                "there is no such socket; start the agent with `systemctl start bluegreen` or `bluegreen host run`, \
                 or name its socket with --socket"
                    .to_owned()
            }
            io::ErrorKind::ConnectionRefused => {
                "the agent has ended; see why with `journalctl -u bluegreen`, and start it with `systemctl start bluegreen` or \
                 `bluegreen host run`"
                    .to_owned()
            }
            io::ErrorKind::PermissionDenied => format!(
                "you may not open it; become root, or have root add you to the group {} and log in again",
                super::api::GROUP
            ),
            _ => error.to_string(),
        };
        ClientError::NoAgent { socket: self.socket.clone(), why }
    }
}

impl Watch {
    /// The next change. `None`: the agent has ended.
    pub async fn next(&mut self) -> Result<Option<Change>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.len() == 1 {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(|e| ClientError::Nonsense(e.to_string()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(e)) => return Err(ClientError::Broken(e.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.rest.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

async fn collect(body: Incoming) -> Result<Bytes, ClientError> {
    body.collect().await.map(http_body_util::Collected::to_bytes).map_err(|e| ClientError::Broken(e.to_string()))
}

fn json<T: Serialize>(value: &T) -> Result<Bytes, ClientError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| ClientError::Nonsense(e.to_string()))
}

/// A name goes into a path only if it is a site's: nothing needs to be escaped then.
fn segment(name: &str) -> Result<crate::api::types::SiteName, ClientError> {
    name.parse().map_err(|e: crate::api::types::Invalid| ClientError::Refused(Failure::invalid(e.to_string())))
}
