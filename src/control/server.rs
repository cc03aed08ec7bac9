//! The answering side of the control socket: who may ask what, and how it is asked. What the answers are is the [`Backend`]'s.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path as UrlPath, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::body::Frame;
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};

use super::api::{
    Applied, Change, CommandAnswer, CommandRequest, Deleted, Failure, GROUP, History, Logs, LogsQuery, MANIFEST_LIMIT,
    SiteList, SiteView,
};
use super::peer::{Need, Peer, group_id};
use super::watching::Differ;
use crate::api::types::SiteName;

/// Who knows the answers.
pub trait Backend: Send + Sync + 'static {
    /// All sites, by name.
    fn list(&self) -> SiteList;

    /// One site.
    fn site(&self, name: &SiteName) -> Option<SiteView>;

    /// Marked as changed whenever the answer of `list` may have.
    fn changes(&self) -> watch::Receiver<()>;

    /// What happened to a site.
    fn history(&self, name: &SiteName) -> impl Future<Output = Result<History, Failure>> + Send;

    /// What its instances printed.
    fn logs(&self, name: &SiteName, query: LogsQuery) -> impl Future<Output = Result<Logs, Failure>> + Send;

    /// Takes a manifest over.
    fn apply(&self, manifest: &str, dry_run: bool) -> impl Future<Output = Result<Applied, Failure>> + Send;

    /// Makes a site go away.
    fn delete(&self, name: &SiteName) -> impl Future<Output = Result<Deleted, Failure>> + Send;

    /// Takes a command.
    fn command(
        &self,
        name: &SiteName,
        command: CommandRequest,
    ) -> impl Future<Output = Result<CommandAnswer, Failure>> + Send;

    /// A request was answered: for the metrics.
    fn answered(&self, what: &'static str, code: u16);
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The folder is somebody else's: who may write there could put a socket of their own in its place.
    #[error("{}: {why}; make it root's with `chown root: DIR && chmod go-w DIR`, or choose another with `socket:` in the agent's configuration", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The system refused.
    #[error("cannot make the control socket {}: {source}", path.display())]
    Io {
        /// The socket or its folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the socket: mode 0660, root's and the group's, in a folder that only we can write. A socket that an earlier agent left is replaced in
/// one step; that no other agent is still behind it is the lock's to know.
pub fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let io = |source| SocketError::Io { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(io)?;
    let meta = std::fs::symlink_metadata(folder).map_err(io)?;
    let wrong = |why| Err(SocketError::Folder { folder: folder.to_owned(), why });
    if !meta.is_dir() {
        return wrong("it is not a folder");
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return wrong("it is not owned by the user that the agent runs as");
    }
    if meta.mode() & 0o022 != 0 {
        return wrong("others may write in it");
    }
    let fresh = folder.join(format!(".control.{}", std::process::id()));
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(io)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    if let Some(gid) = group_id(GROUP) {
        std::os::unix::fs::chown(&fresh, None, Some(gid)).map_err(io)?;
    }
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o660)).map_err(io)?;
    std::fs::rename(&fresh, path).map_err(io)?;
    Ok(listener)
}

/// Answers until the future is dropped.
pub async fn serve<B: Backend>(listener: UnixListener, backend: Arc<B>) -> io::Result<()> {
    axum::serve(listener, router(backend).into_make_service_with_connect_info::<Peer>()).await
}

fn router<B: Backend>(backend: Arc<B>) -> Router {
    Router::new()
        .route("/v1/sites", get(list::<B>).post(apply::<B>))
        .route("/v1/sites/{name}", get(site::<B>).delete(delete::<B>))
        .route("/v1/sites/{name}/history", get(history::<B>))
        .route("/v1/sites/{name}/logs", get(logs::<B>))
        .route("/v1/sites/{name}/commands", post(command::<B>))
        .route("/v1/watch", get(watch_sites::<B>))
        .fallback(async || {
            Failure::not_found("there is no such path; are the agent and this program of the same version?")
        })
        .layer(DefaultBodyLimit::max(MANIFEST_LIMIT))
        .with_state(backend)
}

type Caller = ConnectInfo<Peer>;
type At<B> = State<Arc<B>>;

async fn list<B: Backend>(State(backend): At<B>, ConnectInfo(peer): Caller) -> Response {
    let answer = peer.may(Need::Group, "get sites").map(|()| backend.list());
    finish(&*backend, "list", answer)
}

async fn site<B: Backend>(
    State(backend): At<B>,
    ConnectInfo(peer): Caller,
    UrlPath(name): UrlPath<String>,
) -> Response {
    let answer = peer.may(Need::Group, "get a site").and_then(|()| {
        let name = parse(&name)?;
        backend.site(&name).ok_or_else(|| no_such(&name))
    });
    finish(&*backend, "get", answer)
}

async fn history<B: Backend>(
    State(backend): At<B>,
    ConnectInfo(peer): Caller,
    UrlPath(name): UrlPath<String>,
) -> Response {
    let answer = async {
        peer.may(Need::Group, "read a site's history")?;
        backend.history(&parse(&name)?).await
    };
    finish(&*backend, "history", answer.await)
}

async fn logs<B: Backend>(
    State(backend): At<B>,
    ConnectInfo(peer): Caller,
    UrlPath(name): UrlPath<String>,
    query: Result<Query<LogsQuery>, QueryRejection>,
) -> Response {
    let answer = async {
        peer.may(Need::Group, "read a site's logs")?;
        let Query(query) = query.map_err(|e| Failure::invalid(e.body_text()))?;
        backend.logs(&parse(&name)?, query).await
    };
    finish(&*backend, "logs", answer.await)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ApplyQuery {
    dry_run: bool,
}

async fn apply<B: Backend>(
    State(backend): At<B>,
    ConnectInfo(peer): Caller,
    query: Result<Query<ApplyQuery>, QueryRejection>,
    body: Result<String, axum::extract::rejection::StringRejection>,
) -> Response {
    let answer = async {
        peer.may(Need::Root, "apply a manifest")?;
        let Query(query) = query.map_err(|e| Failure::invalid(e.body_text()))?;
        let manifest = body.map_err(|e| Failure::invalid(format!("the manifest can't be read: {}", e.body_text())))?;
        backend.apply(&manifest, query.dry_run).await
    };
    finish(&*backend, "apply", answer.await)
}

async fn delete<B: Backend>(
    State(backend): At<B>,
    ConnectInfo(peer): Caller,
    UrlPath(name): UrlPath<String>,
) -> Response {
    let answer = async {
        peer.may(Need::Root, "delete a site")?;
        backend.delete(&parse(&name)?).await
    };
    finish(&*backend, "delete", answer.await)
}

async fn command<B: Backend>(
    State(backend): At<B>,
    ConnectInfo(peer): Caller,
    UrlPath(name): UrlPath<String>,
    body: Bytes,
) -> Response {
    let answer = async {
        peer.may(Need::Group, "command a rollout")?;
        let name = parse(&name)?;
        let Json(command) = Json::<CommandRequest>::from_bytes(&body)
            .map_err(|e: JsonRejection| Failure::invalid(format!("the command can't be read: {}", e.body_text())))?;
        backend.command(&name, command).await
    };
    finish(&*backend, "command", answer.await)
}

#[derive(Debug, Deserialize)]
struct WatchQuery {
    site: Option<SiteName>,
}

async fn watch_sites<B: Backend>(
    State(backend): At<B>,
    ConnectInfo(peer): Caller,
    query: Result<Query<WatchQuery>, QueryRejection>,
) -> Response {
    let answer = peer
        .may(Need::Group, "watch sites")
        .and_then(|()| query.map_err(|e| Failure::invalid(e.body_text())))
        .and_then(|Query(WatchQuery { site })| match site {
            Some(name) if backend.site(&name).is_none() => Err(no_such(&name)),
            site => Ok(site),
        });
    let only = match answer {
        Ok(only) => only,
        Err(failure) => return finish::<(), B>(&*backend, "watch", Err(failure)),
    };
    backend.answered("watch", 200);
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(tell_changes(backend, only, sender));
    ([("content-type", "application/x-ndjson")], Body::new(Lines { receiver })).into_response()
}

/// Tells a watcher what changes until it goes away. Each look compares whole views, so a slow reader misses steps, never the end of them.
async fn tell_changes<B: Backend>(backend: Arc<B>, only: Option<SiteName>, sender: mpsc::Sender<Bytes>) {
    let mut differ = Differ::default();
    let mut changes = backend.changes();
    loop {
        changes.borrow_and_update();
        let now = match &only {
            Some(name) => backend.site(name).map(|site| vec![site]).unwrap_or_default(),
            None => backend.list().items,
        };
        for change in differ.changes(now) {
            let Some(line) = line(&change) else { return };
            if sender.send(line).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
        }
    }
}

fn line(change: &Change) -> Option<Bytes> {
    let mut line = serde_json::to_vec(change).ok()?;
    line.push(b'\n');
    Some(Bytes::from(line))
}

/// A body of lines that are sent as they come.
struct Lines {
    receiver: mpsc::Receiver<Bytes>,
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.receiver.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

fn finish<T: serde::Serialize, B: Backend>(backend: &B, what: &'static str, answer: Result<T, Failure>) -> Response {
    let response = match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(failure) => failure.into_response(),
    };
    backend.answered(what, response.status().as_u16());
    response
}

fn parse(name: &str) -> Result<SiteName, Failure> {
    name.parse().map_err(|e: crate::api::types::Invalid| Failure::invalid(e.to_string()))
}

fn no_such(name: &SiteName) -> Failure {
    Failure::not_found(format!("there is no site {name}; `bluegreen get` lists those that there are"))
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (code, Json(self)).into_response()
    }
}
