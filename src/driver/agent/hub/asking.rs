//! What is asked of a hub's API server besides its objects: its clock, and tokens. And the way there, which trusts nobody but the hub.
//!
//! Called by `credentials`, and by `bluegreen host join`, `leave` and `token`.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::client::Body;
use kube::core::ObjectMeta;
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::bearer::Bearer;
use crate::platform::host::store::StoreError;

/// An answer comes within this, or the request failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// To reach the API server.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Why an API server was asked in vain.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The API server did not answer in time.
    #[error("no answer within {} s", ANSWER_WITHIN.as_secs())]
    Silent,
    /// It refused, or can't be reached.
    #[error("{0}")]
    Api(#[source] Box<kube::Error>),
    /// It answered with something else than a token for this host.
    #[error("the answer holds no token of this host: {0}")]
    Nonsense(&'static str),
    /// The new one could not be written; the old one goes on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its address, or what its certificate is judged by, can't be used.
    #[error("{0}")]
    Unusable(String),
    /// The API server does not know the token.
    #[error("the API server does not know this token (Unauthorized)")]
    Unauthorized,
}

impl AskError {
    /// Whether the API server does not know the token.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        match self {
            AskError::Unauthorized => true,
            AskError::Api(error) => matches!(error.as_ref(), kube::Error::Api(status) if status.code == 401),
            _ => false,
        }
    }
}

/// Asks for a token of a service account, bound to a Secret if one is named.
///
/// # Errors
/// There is none, or one of somebody else.
pub async fn request(
    client: &Client,
    namespace: &str,
    account: &str,
    lifetime: Duration,
    bound_to: Option<(&str, &str)>,
) -> Result<Bearer, AskError> {
    let bound_object_ref = bound_to.map(|(name, uid)| BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Secret".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
    });
    let request = TokenRequest {
        metadata: ObjectMeta::default(),
        spec: TokenRequestSpec {
            audiences: Vec::new(),
            bound_object_ref,
            expiration_seconds: i64::try_from(lifetime.as_secs()).ok(),
        },
        status: None,
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let parameters = PostParams::default();
    let answer = within(accounts.create_token_request(account, &parameters, &request)).await?;
    let text = answer.status.map(|status| status.token).unwrap_or_default();
    let token = Bearer::parse(&text).map_err(|_| AskError::Nonsense("it is no token"))?;
    let claims = token.claims();
    if claims.namespace != namespace || claims.account.name != account {
        return Err(AskError::Nonsense("it is somebody else's"));
    }
    Ok(token)
}

/// What an API server shows of itself in any answer.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its clock.
    pub time: Timestamp,
    /// Whether it knows the token that it was shown.
    pub known: bool,
}

/// Looks at the API server's clock, and whether it knows the client's token.
///
/// # Errors
/// It does not answer, or does not say.
pub async fn look(client: &Client) -> Result<Seen, AskError> {
    let request = http::Request::get("/version").body(Body::empty()).map_err(kube::Error::HttpError);
    let request = request.map_err(|error| AskError::Api(Box::new(error)))?;
    let answer = within(client.send(request)).await?;
    let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
    let time = date.ok_or(AskError::Nonsense("it does not say what time it is"))?;
    Ok(Seen { time, known: answer.status() != http::StatusCode::UNAUTHORIZED })
}

/// The way to an API server whose certificate is judged by nothing but these authorities. No way through a proxy, no other authority of this machine.
///
/// # Errors
/// The address or the authorities can't be used.
pub fn config(server: &str, authority: &str) -> Result<Config, AskError> {
    let unusable = |why: String| AskError::Unusable(why);
    let url: http::Uri = server.parse().map_err(|_| unusable(format!("{server:?} is no URL")))?;
    if url.scheme() != Some(&http::uri::Scheme::HTTPS) || url.host().is_none_or(str::is_empty) {
        return Err(unusable(format!("{server:?} does not begin with https:// and a host's name")));
    }
    let authorities: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(authority.as_bytes()).collect();
    let authorities: Vec<Vec<u8>> = match authorities {
        Ok(all) if !all.is_empty() => all.iter().map(|one| one.as_ref().to_vec()).collect(),
        _ => return Err(unusable("the certificate authority of the hub is no certificate in PEM form".to_owned())),
    };
    let mut config = Config::new(url);
    config.root_cert = Some(authorities);
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.write_timeout = Some(ANSWER_WITHIN);
    config.default_retry = false;
    config.proxy_url = None;
    Ok(config)
}

async fn within<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, AskError> {
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(answer) => answer.map_err(|error| AskError::Api(Box::new(error))),
        Err(_) => Err(AskError::Silent),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_only_a_certificate_authority_lead_to_a_hub() {
        let pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let config = config("https://hub.example:6443", &pem.repeat(2)).unwrap();
        assert_eq!(config.root_cert.unwrap().len(), 2);
        assert!(!config.accept_invalid_certs && config.proxy_url.is_none());
        for (server, authority) in [
            ("http://hub.example", pem),
            ("hub.example:6443", pem),
            ("https://", pem),
            ("https://hub.example", ""),
            ("https://hub.example", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
        ] {
            assert!(super::config(server, authority).is_err(), "{server} {authority:?}");
        }
    }
}
