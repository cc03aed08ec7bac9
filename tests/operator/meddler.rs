//! Somebody who is always quicker: it stands between the operator and the API server, and writes to an object just before every second
//! write of the operator's to it arrives. The conflict that follows is the API server's own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use bluegreen_rig::cluster::ControlPlane;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::history::client;

/// What is told of a rollout in objects; leases and events are left alone.
const OBJECTS: [&str; 4] = ["bluegreensites", "deployments", "services", "poddisruptionbudgets"];
/// More than any object of a test.
const LIMIT: usize = 4 << 20;

/// Stands there until it is dropped.
pub struct Meddler {
    /// By which a client goes through it.
    pub kubeconfig: PathBuf,
    seen: Arc<Seen>,
    _runtime: Runtime,
}

struct Seen {
    client: Client,
    /// How often each object was written to.
    writes: Mutex<HashMap<String, u32>>,
    meddled: AtomicU32,
    refused: AtomicU32,
}

impl Meddler {
    pub fn start(plane: &ControlPlane) -> Meddler {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (kubeconfig, admin) = (plane.folder().join("meddled.kubeconfig"), plane.kubeconfig());
        let (address, seen) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = client(&admin).await;
            let none = || AtomicU32::new(0);
            let seen = Arc::new(Seen { client, writes: Mutex::default(), meddled: none(), refused: none() });
            let service = Router::new().fallback(pass).with_state(seen.clone());
            tokio::spawn(async move { axum::serve(listener, service).await });
            (address, seen)
        });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "meddled",
            "clusters": [{ "name": "meddled", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "meddled", "user": {} }],
            "contexts": [{ "name": "meddled", "context": { "cluster": "meddled", "user": "meddled" } }],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Meddler { kubeconfig, seen, _runtime: runtime }
    }

    /// How many writes it was quicker than, and how many of these were refused.
    pub fn counts(&self) -> (u32, u32) {
        (self.seen.meddled.load(Ordering::Relaxed), self.seen.refused.load(Ordering::Relaxed))
    }
}

impl Seen {
    /// Counts a write to an object. Counted for each alone: two objects that are written to in turns would meet nothing but conflicts at one.
    fn is_second(&self, object: &str) -> bool {
        let mut writes = self.writes.lock().unwrap();
        let count = writes.entry(object.to_owned()).or_default();
        *count += 1;
        count.is_multiple_of(2)
    }
}

async fn pass(State(seen): State<Arc<Seen>>, request: Request) -> Result<Response, StatusCode> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LIMIT).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let object = written(&parts).filter(|object| seen.is_second(object));
    if let Some(path) = &object {
        let number = seen.meddled.fetch_add(1, Ordering::Relaxed);
        let touch = json!({ "metadata": { "annotations": { "test/touched": number.to_string() } } });
        let request = Request::patch(path).header(header::CONTENT_TYPE, "application/merge-patch+json");
        let request = request.body(Body::from(touch.to_string().into_bytes())).unwrap();
        seen.client.send(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    }
    let mut forward = Request::builder().method(parts.method).uri(parts.uri);
    for (name, value) in &parts.headers {
        if !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::TRANSFER_ENCODING) {
            forward = forward.header(name, value);
        }
    }
    let forward = forward.body(Body::from(body.to_vec())).map_err(|_| StatusCode::BAD_REQUEST)?;
    let answer = seen.client.send(forward).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    // A patch that tests the version is refused as a patch, anything else as a conflict.
    if object.is_some() && matches!(answer.status(), StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY) {
        seen.refused.fetch_add(1, Ordering::Relaxed);
    }
    Ok(answer.map(axum::body::Body::new))
}

/// The path of the object that a request changes, if it changes one of [`OBJECTS`] for good.
fn written(parts: &Parts) -> Option<String> {
    let changes = matches!(parts.method, Method::PUT | Method::PATCH);
    let dry = parts.uri.query().is_some_and(|query| query.contains("dryRun"));
    let path = parts.uri.path();
    let (before, after) = path.split_once("/namespaces/")?;
    let mut words = after.split('/');
    let (namespace, kind, name) = (words.next()?, words.next()?, words.next()?);
    (changes && !dry && OBJECTS.contains(&kind)).then(|| format!("{before}/namespaces/{namespace}/{kind}/{name}"))
}
