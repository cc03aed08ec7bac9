//! The answers that take long: dribbled bodies, server-sent events, websockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::pages::{App, Body, full};

const BEAT: Duration = Duration::from_millis(200);

/// An answer whose headers come at once and whose body takes so long. Its last line is `end`.
pub fn slow(app: &App, ms: u64) -> Response<Body> {
    let version = app.options.version().to_owned();
    let until = Instant::now() + Duration::from_millis(ms);
    stream("text/plain", move |mut sender| async move {
        while Instant::now() < until {
            let line = Bytes::from(format!("{version} is slow\n"));
            if sender.send_data(line).await.is_err() {
                return;
            }
            tokio::time::sleep(BEAT.min(until.saturating_duration_since(Instant::now()))).await;
        }
        let _ = sender.send_data(Bytes::from_static(b"end\n")).await;
    })
}

/// Server-sent events, five a second, for so long or until the app is to end. The last one is of type `end`.
pub fn events(app: &App, ms: Option<u64>) -> Response<Body> {
    let version = app.options.version().to_owned();
    let until = ms.map(|ms| Instant::now() + Duration::from_millis(ms));
    let ended = app.ended.clone();
    stream("text/event-stream", move |mut sender| async move {
        let mut number = 0u64;
        loop {
            let over = until.map_or_else(|| ended.now(), |until| Instant::now() >= until);
            let event = if over { "event: end\n" } else { "" };
            let text = format!("{event}id: {number}\ndata: {{\"n\":{number},\"version\":\"{version}\"}}\n\n");
            if sender.send_data(Bytes::from(text)).await.is_err() || over {
                return;
            }
            number += 1;
            tokio::time::sleep(BEAT).await;
        }
    })
}

/// A websocket that says each message back, with the version in front of a text. At the app's end it says goodbye (1001).
pub fn echo(app: &Arc<App>, request: &mut Request<Incoming>) -> Response<Body> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return full(StatusCode::BAD_REQUEST, "text/plain", "this is a websocket: say Upgrade\n");
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgraded = hyper::upgrade::on(request);
    let app = app.clone();
    tokio::spawn(async move {
        if let Ok(socket) = upgraded.await {
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(socket), Role::Server, None).await;
            converse(socket, &app).await;
        }
    });
    let mut response = full(StatusCode::SWITCHING_PROTOCOLS, "text/plain", "");
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

async fn converse<S>(mut socket: WebSocketStream<S>, app: &App)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            () = app.ended.wait() => {
                let _ = socket.close(None).await;
                return;
            }
        };
        let answer = match message {
            Some(Ok(Message::Text(text))) => Message::text(format!("{} {text}", app.options.version())),
            Some(Ok(Message::Binary(bytes))) => Message::Binary(bytes),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(_)) => continue,
        };
        if socket.send(answer).await.is_err() {
            return;
        }
    }
}

fn stream<F, W>(kind: &'static str, write: W) -> Response<Body>
where
    W: FnOnce(Sender<Bytes>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(write(sender));
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
