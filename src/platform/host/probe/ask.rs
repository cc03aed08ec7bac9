//! The question itself: one GET, never repeated, no redirect followed.

use std::net::Ipv4Addr;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::measure::Measure;
use super::{Target, fastcgi};
use crate::platform::host::sockets::OwnConnections;

/// Asks the instance at this port.
pub(super) async fn ask(target: &Target, port: u16, own: &OwnConnections) -> Measure {
    let path = &target.check.path;
    let within = target.check.timeout;
    match tokio::time::timeout(within, get(target, port, own)).await {
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

async fn get(target: &Target, port: u16, own: &OwnConnections) -> Result<hyper::StatusCode, String> {
    let stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(|e| format!("could not connect: {e}"))?;
    let mine = stream.local_addr().map_err(|e| format!("lost its connection: {e}"))?;
    let _note = own.note(mine.port());
    if let Some((programs, release)) = &target.programs {
        return fastcgi::ask(stream, target, port, programs, release).await;
    }
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| format!("could not be asked: {e}"))?;
    let request = Request::get(target.check.path.as_str())
        .header(header::HOST, &target.host)
        .header(header::USER_AGENT, concat!("bluegreen/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|e| format!("can't be asked with the host name {}: {e}", target.host))?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It may have handed over the answer and ended in one breath.
        _ = connection => answer.await,
    };
    answer.map(|answer| answer.status()).map_err(|error| in_words(&error))
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
