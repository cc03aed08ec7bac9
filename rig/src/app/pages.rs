//! What the app answers. Every answer says which version, colour, instance and process gave it, and when its request arrived.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::live;
use super::options::Options;
use super::server::Ended;

/// What an answer carries.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The app: what it was told, and what it counts.
#[derive(Debug)]
pub struct App {
    /// What it was told.
    pub options: Options,
    /// Whether it is to end.
    pub ended: Ended,
    /// Whether it is to end soon, and says so to whoever keeps a connection.
    pub draining: AtomicBool,
    /// Closed when nobody holds the app any more: all its conversations are over.
    _alive: mpsc::Sender<Infallible>,
    port: u16,
    begun: Instant,
    healthy: AtomicBool,
    orders: AtomicU64,
    journal: Option<Mutex<File>>,
    arrivals: Option<Mutex<File>>,
    page: String,
}

impl App {
    /// An app that listens on `port`.
    ///
    /// # Errors
    /// When a file that it is to write can't be opened.
    pub fn new(options: Options, port: u16, ended: Ended, alive: mpsc::Sender<Infallible>) -> io::Result<App> {
        let appended = |path: &Option<PathBuf>| -> io::Result<Option<Mutex<File>>> {
            let file = path.as_ref().map(|path| File::options().create(true).append(true).open(path)).transpose()?;
            Ok(file.map(Mutex::new))
        };
        Ok(App {
            page: page(options.version()),
            port,
            begun: Instant::now(),
            healthy: AtomicBool::new(!options.never_ready),
            orders: AtomicU64::new(0),
            journal: appended(&options.journal)?,
            arrivals: appended(&options.arrivals)?,
            options,
            ended,
            draining: AtomicBool::new(false),
            _alive: alive,
        })
    }

    fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
            && self.begun.elapsed() >= Duration::from_millis(self.options.ready_after_ms)
    }

    /// Notes that a request is here, before anything is done about it.
    fn note(&self, request: &Request<Incoming>) {
        let path = request.uri().path();
        if let Some(arrivals) = self.arrivals.as_ref().filter(|_| path != "/health") {
            let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("-");
            let line = format!("{} {path} {id} {}\n", request.method(), std::process::id());
            // One write, appended: the instances share the file.
            let _ = arrivals.lock().map(|mut file| file.write_all(line.as_bytes()));
        }
    }

    /// Who answers, for people and for tests.
    #[must_use]
    pub fn identity(&self) -> Value {
        json!({
            "version": self.options.version(), "colour": self.options.colour, "instance": self.options.instance,
            "port": self.port, "pid": std::process::id(),
        })
    }
}

/// The wall clock in nanoseconds.
#[must_use]
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Answers a request that arrived then.
pub async fn answer(app: &Arc<App>, request: Request<Incoming>, arrived: (u64, Instant)) -> Response<Body> {
    app.note(&request);
    let id = request.headers().get("x-request-id").cloned();
    let mut response = route(app, request).await;
    let headers = response.headers_mut();
    let mut say = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    say("x-version", app.options.version());
    say("x-colour", &app.options.colour);
    say("x-instance", &app.options.instance);
    say("x-port", &app.port.to_string());
    say("x-pid", &std::process::id().to_string());
    say("x-arrived-ns", &arrived.0.to_string());
    say("x-took-us", &arrived.1.elapsed().as_micros().to_string());
    if app.draining.load(Ordering::Relaxed) {
        say("connection", "close");
    }
    if let Some(id) = id {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

async fn route(app: &Arc<App>, mut request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let query = query(request.uri().query().unwrap_or_default());
    let number = |key: &str, otherwise: u64| query.get(key).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    match (request.method().clone(), path.as_str()) {
        (_, path) if app.options.fails.as_deref() == Some(path) => {
            json_of(StatusCode::INTERNAL_SERVER_ERROR, &app.identity())
        }
        (Method::GET | Method::HEAD, "/") => full(StatusCode::OK, "text/html; charset=utf-8", app.page.clone()),
        (Method::GET, "/health") => {
            tokio::time::sleep(Duration::from_millis(app.options.health_ms)).await;
            let status = if app.is_healthy() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            json_of(status, &app.identity())
        }
        (Method::POST, "/order") => order(app, request).await,
        (Method::POST | Method::PUT, "/upload") => upload(app, request).await,
        (Method::GET | Method::POST, "/slow") => live::slow(app, number("ms", 1000)),
        (Method::GET | Method::POST, "/silent") => {
            tokio::time::sleep(Duration::from_millis(number("ms", 1000))).await;
            json_of(StatusCode::OK, &app.identity())
        }
        (Method::GET, "/events") => live::events(app, query.get("ms").and_then(|text| text.parse().ok())),
        (Method::GET, "/ws") => live::echo(app, &mut request),
        (Method::GET | Method::POST, "/crash") => std::process::exit(3),
        (Method::GET | Method::POST, "/fail-health") => {
            app.healthy.store(number("on", 1) == 0, Ordering::Relaxed);
            json_of(StatusCode::OK, &app.identity())
        }
        (Method::GET, "/status") => {
            let code = u16::try_from(number("code", 200)).ok();
            let code = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::OK);
            json_of(code, &app.identity())
        }
        (Method::GET, "/environment") => {
            let variables: BTreeMap<String, String> = std::env::vars().collect();
            json_of(StatusCode::OK, &json!(variables))
        }
        (Method::GET, "/headers") => {
            let header = |(name, value): (&HeaderName, &HeaderValue)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let headers: Vec<(String, String)> = request.headers().iter().map(header).collect();
            json_of(StatusCode::OK, &json!({ "uri": request.uri().to_string(), "headers": headers }))
        }
        (Method::GET, "/file") => {
            let path = query.get("path").cloned().unwrap_or_default();
            match std::fs::read(path) {
                Ok(bytes) => full(StatusCode::OK, "application/octet-stream", bytes),
                Err(error) => full(StatusCode::NOT_FOUND, "text/plain", error.to_string()),
            }
        }
        _ => full(StatusCode::NOT_FOUND, "text/plain", format!("{} has no {path}\n", app.options.version())),
    }
}

async fn order(app: &App, request: Request<Incoming>) -> Response<Body> {
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("-").to_owned();
    let Ok(body) = request.into_body().collect().await else {
        return full(StatusCode::BAD_REQUEST, "text/plain", "the order broke off\n");
    };
    let bytes = body.to_bytes().len();
    if let Some(journal) = &app.journal {
        // One write, appended: two colours may share the file.
        let line = format!("{id} {} {}\n", app.options.version(), std::process::id());
        let written = journal.lock().map(|mut file| file.write_all(line.as_bytes()).is_ok());
        if !written.unwrap_or(false) {
            return full(StatusCode::INSUFFICIENT_STORAGE, "text/plain", "the journal can't be written\n");
        }
    }
    let mut said = app.identity();
    said["order"] = json!(app.orders.fetch_add(1, Ordering::Relaxed) + 1);
    said["bytes"] = json!(bytes);
    json_of(StatusCode::OK, &said)
}

async fn upload(app: &App, request: Request<Incoming>) -> Response<Body> {
    let mut body = request.into_body();
    let (mut bytes, mut sum) = (0u64, Sha256::new());
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => {
                bytes += data.len() as u64;
                sum.update(&data);
            }
            Ok(Err(_trailers)) => {}
            Err(_) => return full(StatusCode::BAD_REQUEST, "text/plain", "the upload broke off\n"),
        }
    }
    let mut said = app.identity();
    said["bytes"] = json!(bytes);
    said["sha256"] = json!(hex::encode(sum.finalize()));
    json_of(StatusCode::OK, &said)
}

/// A page as a small real site's start page: it names the hashed asset that the release carries.
fn page(version: &str) -> String {
    let asset = std::fs::read_dir("public/assets").into_iter().flatten().flatten();
    let mut asset: Vec<String> = asset.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    asset.retain(|name| name.starts_with("app.") && name.ends_with(".js"));
    asset.sort();
    let script = asset.first().map_or(String::new(), |name| format!("<script src=\"/assets/{name}\"></script>"));
    let template = std::fs::read_to_string("templates/index.html").unwrap_or_else(|_| PLAIN.to_owned());
    template.replace("{{version}}", version).replace("{{script}}", &script)
}

const PLAIN: &str = "<!doctype html>\n<html lang=\"en\"><head><title>shop {{version}}</title>{{script}}</head>\n\
    <body><h1>shop {{version}}</h1><form method=\"post\" action=\"/order\"><button>order</button></form></body></html>\n";

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.replace("%2F", "/"))).collect()
}

/// A whole answer.
pub fn full(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn json_of(status: StatusCode, value: &Value) -> Response<Body> {
    full(status, "application/json", format!("{value}\n"))
}
