//! Asks a server over TLS, follows where it sends us to, and never waits for ever. HTTPS alone, by certificates that are checked, without
//! a proxy, one connection for each question; credentials go to the host that they are for and no further.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::files;
use super::{FETCH_FAILED, refused, transient};
use crate::api::types::AbsPath;
use crate::platform::Fault;

/// To a server and through TLS.
const CONNECT: Duration = Duration::from_secs(10);
/// Until a server answers, and until the next bytes of its answer.
pub(super) const QUIET: Duration = Duration::from_secs(20);
const REDIRECTS: usize = 5;

/// Marks an answer of another host than the one that was asked, which sent us on to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentOn;

/// Asks servers.
pub(super) struct Client {
    tls: TlsConnector,
}

/// A place that can be asked: https alone, without a user in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    host: String,
    port: u16,
    rest: String,
}

impl Place {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Place, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "is no URL")?;
        if uri.scheme_str() != Some("https") {
            return Err("is not https");
        }
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("holds a user");
        }
        Ok(Place {
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(443),
            rest: uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
        })
    }

    /// The host, with its port if that is not the usual one.
    pub fn authority(&self) -> String {
        if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// For messages: without the query, which may hold a signature.
    pub fn shown(&self) -> String {
        format!("https://{}{}", self.authority(), self.rest.split('?').next().unwrap_or_default())
    }

    /// Where this one leads to from here.
    fn join(&self, to: &str) -> Result<Place, &'static str> {
        if to.contains("://") {
            return Place::parse(to);
        }
        let base = format!("https://{}", self.authority());
        match to {
            to if to.starts_with("//") => Place::parse(&format!("https:{to}")),
            to if to.starts_with('/') => Place::parse(&format!("{base}{to}")),
            to => {
                let path = self.rest.split('?').next().unwrap_or_default();
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                Place::parse(&format!("{base}{folder}/{to}"))
            }
        }
    }
}

impl Client {
    /// A client that trusts whom this machine trusts, and those in this file.
    pub fn new(ca_file: Option<&AbsPath>) -> Result<Client, Fault> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = ca_file {
            let text = files::read(file, files::Who::Unwritable, "spec.target.host.release.caFile")?;
            let unusable = |why: String| {
                refused(
                    "CertificateUnusable",
                    format!("spec.target.host.release.caFile: {file} holds no certificate that can be used: {why}"),
                )
            };
            let certs: Vec<_> = CertificateDer::pem_slice_iter(&text)
                .collect::<Result<_, _>>()
                .map_err(|error| unusable(error.to_string()))?;
            if certs.is_empty() {
                return Err(unusable("it has no BEGIN CERTIFICATE".to_owned()));
            }
            for cert in certs {
                roots.add(cert).map_err(|error| unusable(error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| transient(format!("TLS can't be used: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Client { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Asks, and asks on where it is sent to. The answer is whatever the last server said.
    pub async fn get(&self, from: &Place, headers: &HeaderMap) -> Result<Response<Incoming>, Fault> {
        let mut at = from.clone();
        let mut headers = headers.clone();
        for _ in 0..=REDIRECTS {
            let mut answer = self.ask(&at, &headers).await?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                if at.authority() != from.authority() {
                    answer.extensions_mut().insert(SentOn);
                }
                return Ok(answer);
            }
            let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
            let next = at.join(to).map_err(|why| {
                refused(
                    FETCH_FAILED,
                    format!(
                        "{} sends us on to a place that {why}: only https is followed; name the right URL",
                        at.shown()
                    ),
                )
            })?;
            if next.authority() != from.authority() {
                headers.remove(AUTHORIZATION);
            }
            at = next;
        }
        let why = format!("{} sends us on and on: more than {REDIRECTS} times; name the right URL", from.shown());
        Err(refused(FETCH_FAILED, why))
    }

    async fn ask(&self, at: &Place, headers: &HeaderMap) -> Result<Response<Incoming>, Fault> {
        let failed = |what: &str, error: &dyn std::fmt::Display| transient(format!("{}: {what}: {error}", at.shown()));
        let late = |what: &str| transient(format!("{}: {what} took too long", at.shown()));
        let name = match at.host.parse::<IpAddr>() {
            Ok(ip) => ServerName::from(ip),
            Err(_) => ServerName::try_from(at.host.clone()).map_err(|error| failed("its name", &error))?,
        };
        let connect = async {
            let tcp =
                TcpStream::connect((at.host.as_str(), at.port)).await.map_err(|error| failed("connecting", &error))?;
            self.tls.connect(name, tcp).await.map_err(|error| failed("TLS", &error))
        };
        let stream = timeout(CONNECT, connect).await.map_err(|_| late("connecting"))??;
        let (mut sender, connection) = timeout(CONNECT, hyper::client::conn::http1::handshake(TokioIo::new(stream)))
            .await
            .map_err(|_| late("connecting"))?
            .map_err(|error| failed("connecting", &error))?;
        // Ends with the answer, or when nobody wants that any more.
        tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::builder().method(Method::GET).uri(at.rest.as_str());
        if let Some(all) = request.headers_mut() {
            all.extend(headers.clone());
            let host = HeaderValue::from_str(&at.authority()).map_err(|error| failed("its name", &error))?;
            all.insert(HOST, host);
            all.insert(USER_AGENT, HeaderValue::from_static(concat!("bluegreen/", env!("CARGO_PKG_VERSION"))));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed("asking", &error))?;
        timeout(QUIET, sender.send_request(request))
            .await
            .map_err(|_| late("its answer"))?
            .map_err(|error| failed("asking", &error))
    }

    /// All of a small answer.
    pub async fn small(&self, at: &Place, headers: &HeaderMap, most: usize) -> Result<(StatusCode, Vec<u8>), Fault> {
        let answer = self.get(at, headers).await?;
        let status = answer.status();
        Ok((status, self.rest(at, answer, most).await?))
    }

    /// All that is still to come of a small answer.
    pub async fn rest(&self, at: &Place, answer: Response<Incoming>, most: usize) -> Result<Vec<u8>, Fault> {
        let mut body = answer.into_body();
        let mut all = Vec::new();
        let read = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| transient(format!("{}: {error}", at.shown())))?;
                if let Some(data) = frame.data_ref() {
                    all.extend_from_slice(data);
                }
                if all.len() > most {
                    return Err(refused(FETCH_FAILED, format!("{} answers with more than {most} bytes", at.shown())));
                }
            }
            Ok(())
        };
        timeout(QUIET, read).await.map_err(|_| transient(format!("{}: its answer took too long", at.shown())))??;
        Ok(all)
    }
}

/// What an answer that is none of what was asked for means.
pub(super) fn unwanted(status: StatusCode, at: &Place, known: bool) -> Fault {
    let shown = at.shown();
    match status.as_u16() {
        401 | 403 if known => refused(
            "CredentialsRefused",
            format!("{shown} answers {status}: it does not take the credentials; correct them, then `bluegreen retry`"),
        ),
        401 | 403 => refused(
            "CredentialsRefused",
            format!("{shown} answers {status}: it wants to know who asks; give credentials: {{ file: … }}"),
        ),
        404 | 410 => refused(
            "ReleaseMissing",
            format!(
                "{shown} answers {status}: it is not there; publish it, or correct the manifest, then `bluegreen retry`"
            ),
        ),
        408 | 425 | 429 | 500..=599 => transient(format!("{shown} answers {status}; it is tried again")),
        400..=499 => refused(FETCH_FAILED, format!("{shown} answers {status}: correct the manifest")),
        _ => transient(format!("{shown} answers {status}, which is no answer to the question; it is tried again")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_to_https_and_nowhere_else() {
        let at = Place::parse("https://a.example:8443/x/y?z=1").unwrap();
        assert_eq!(at.join("/b").unwrap().shown(), "https://a.example:8443/b");
        assert_eq!(at.join("b").unwrap().shown(), "https://a.example:8443/x/b");
        assert_eq!(at.join("//c.example/b").unwrap().shown(), "https://c.example/b");
        assert_eq!(at.join("https://c.example/b?sig=1").unwrap().shown(), "https://c.example/b");
        for bad in ["http://a.example/", "ftp://a/", "https://u:p@a.example/", "file:///etc/passwd", "https://"] {
            assert!(at.join(bad).is_err(), "{bad}");
        }
    }
}
