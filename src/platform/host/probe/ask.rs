//! The question itself: one GET, never repeated, no redirect followed.

use std::net::Ipv4Addr;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::measure::Measure;
use super::{Target, fastcgi};
use crate::api::types::UrlPath;
use crate::platform::host::sockets::OwnConnections;

/// Asks the instance at this port for its health.
pub(super) async fn ask(target: &Target, port: u16, own: &OwnConnections) -> Measure {
    let path = &target.check.path;
    let within = target.check.timeout;
    match tokio::time::timeout(within, get(target, path, port, own, false)).await {
        Ok(Ok(status)) if status.is_success() || status.is_redirection() => {
            Measure { passed: true, detail: format!("GET {path} answers {status}") }
        }
        Ok(Ok(status)) => Measure {
            passed: false,
            detail: format!("GET {path} on port {port} answers {status}; from 200 to 399 is healthy"),
        },
        Ok(Err(why)) => Measure { passed: false, detail: format!("GET {path} on port {port} {why}") },
        Err(_) => {
            Measure { passed: false, detail: format!("GET {path} on port {port} did not answer within {within:?}") }
        }
    }
}

/// Asks the instance at this port for a path. `whole`: the answer has come when its body has.
pub(super) async fn get(
    target: &Target,
    path: &UrlPath,
    port: u16,
    own: &OwnConnections,
    whole: bool,
) -> Result<StatusCode, String> {
    let stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(|e| format!("could not connect: {e}"))?;
    let mine = stream.local_addr().map_err(|e| format!("lost its connection: {e}"))?;
    let _note = own.note(mine.port());
    if let Some((programs, release)) = &target.programs {
        return fastcgi::ask(stream, target, path, port, programs, release).await;
    }
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| format!("could not be asked: {e}"))?;
    let request = Request::get(path.as_str())
        .header(header::HOST, &target.host)
        .header(header::USER_AGENT, concat!("bluegreen/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|e| format!("can't be asked with the host name {}: {e}", target.host))?;
    let answer = async {
        let mut answer = sender.send_request(request).await?;
        while whole && let Some(piece) = answer.frame().await {
            piece?;
        }
        Ok(answer.status())
    };
    tokio::pin!(answer);
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It may have handed over the answer and ended in one breath.
        _ = connection => answer.await,
    };
    answer.map_err(|error: hyper::Error| in_words(&error))
}

fn in_words(error: &hyper::Error) -> String {
    if error.is_parse() {
        format!("answers something that is no HTTP: {error}")
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "was closed without an answer".to_owned()
    } else {
        format!("failed: {error}")
    }
}
