//! Lets a server tell of a push. All that is believed of a request is its signature, and all that it does is that the repository is asked for at once.
//!
//! GitHub, Gitea and Forgejo sign the body (`X-Hub-Signature-256`), GitLab shows the secret (`X-Gitlab-Token`). A body is passed through the
//! signature piece by piece and never held.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_LENGTH, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ring::hmac;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

use super::keys::secret;
use crate::driver::agent::metrics::Metrics;

/// The largest body that is looked at.
const BODY: u64 = 1 << 20;
/// So many clients at once; more wait.
const CLIENTS: usize = 16;
/// So long a request may take, from the connection on.
const WITHIN: Duration = Duration::from_secs(10);
/// Whoever doesn't know the secret is answered after so long.
const THINK: Duration = Duration::from_millis(200);
/// A secret that is shorter could be guessed.
const SHORTEST: usize = 16;

/// What answers.
#[derive(Clone)]
pub struct Hook {
    /// The secret's file: read anew for each request, so that it may be replaced.
    pub secret_file: PathBuf,
    /// Notified when somebody who knows the secret told of a push.
    pub pushed: Arc<Notify>,
    /// Where answers are counted.
    pub metrics: Arc<Metrics>,
}

/// Answers until the future is dropped.
pub async fn serve(listener: TcpListener, hook: Hook) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, most likely: it passes.
            tokio::time::sleep(THINK).await;
            continue;
        };
        let hook = hook.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let hook = hook.clone();
                async move { Ok::<_, Infallible>(hook.answer(request).await) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(WITHIN).keep_alive(false).max_buf_size(16 << 10);
            // A client that is slower is none that we wait for; what went wrong with it is its own.
            let _ = tokio::time::timeout(WITHIN, server.serve_connection(TokioIo::new(stream), answer)).await;
            drop(place);
        });
    }
}

impl Hook {
    async fn answer(&self, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let status = self.judge(request).await;
        self.metrics.git.answered(status.as_u16());
        let mut answer = Response::new(Empty::new());
        *answer.status_mut() = status;
        if status == StatusCode::METHOD_NOT_ALLOWED {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        answer
    }

    async fn judge(&self, request: Request<Incoming>) -> StatusCode {
        if request.method() != Method::POST {
            return StatusCode::METHOD_NOT_ALLOWED;
        }
        let said = request.headers().get(CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
        if said.is_some_and(|length| length > BODY) {
            return StatusCode::PAYLOAD_TOO_LARGE;
        }
        let secret = match secret("webhook.secretFile", &self.secret_file) {
            Ok(secret) if secret.len() >= SHORTEST => secret,
            Ok(_) => {
                tracing::warn!(
                    "git.webhook.secretFile: the secret is shorter than {SHORTEST} characters, and nothing is taken: make a longer one"
                );
                return StatusCode::UNAUTHORIZED;
            }
            Err(error) => {
                tracing::warn!("{error}");
                return StatusCode::UNAUTHORIZED;
            }
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let headers = request.headers().clone();
        let mut context = hmac::Context::with_key(&key);
        let mut body = request.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return StatusCode::BAD_REQUEST };
            if let Some(piece) = frame.data_ref() {
                length += piece.len() as u64;
                if length > BODY {
                    return StatusCode::PAYLOAD_TOO_LARGE;
                }
                context.update(piece);
            }
        }
        if !knows(&headers, &key, &secret, context.sign().as_ref()) {
            tokio::time::sleep(THINK).await;
            return StatusCode::UNAUTHORIZED;
        }
        self.pushed.notify_one();
        StatusCode::ACCEPTED
    }
}

/// Whether whoever asks knows the secret. Told in a time that says nothing of how much of it was right.
fn knows(headers: &HeaderMap, key: &hmac::Key, secret: &str, body: &[u8]) -> bool {
    // Compared as signatures of their own, under a key that nobody else has: alike only if both sides are.
    let same = |ours: &[u8], theirs: &[u8]| hmac::verify(key, ours, hmac::sign(key, theirs).as_ref()).is_ok();
    let signed = headers.get("x-hub-signature-256").and_then(|text| text.to_str().ok()?.strip_prefix("sha256="));
    let signed = signed.and_then(|text| hex::decode(text).ok()).is_some_and(|theirs| same(body, &theirs));
    let shown = headers.get("x-gitlab-token").is_some_and(|token| same(secret.as_bytes(), token.as_bytes()));
    signed || shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_signs_the_body_or_shows_the_secret_knows_it() {
        // GitHub's own example.
        let secret = "It's a Secret to Everybody";
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let body = hmac::sign(&key, b"Hello, World!");
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a value"));
            knows(&headers, &key, secret, body.as_ref())
        };
        let right = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(with("x-hub-signature-256", &format!("sha256={right}")));
        assert!(with("x-gitlab-token", secret));
        for wrong in [
            "",
            "sha256=",
            right,
            &format!("sha256={}", right.replace('7', "8")),
            &format!("sha256={}", &right[..62]),
            "sha256=zz",
            "sha1=aa",
        ] {
            assert!(!with("x-hub-signature-256", wrong), "{wrong}");
        }
        for wrong in ["", "It's a Secret to Everybod", right] {
            assert!(!with("x-gitlab-token", wrong), "{wrong}");
        }
        assert!(!knows(&HeaderMap::new(), &key, secret, body.as_ref()));
    }
}
