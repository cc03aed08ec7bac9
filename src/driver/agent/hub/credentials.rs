//! The token of this host: read from its file, renewed when four fifths of its life are over, written anew by renaming. It says when to join again,
//! while everything on the host runs on.
//!
//! No clock of this machine is believed. A token's life is counted on the API server's clock, which stands in the `Date` of each of its answers; between two
//! answers what passes here is counted, and never for longer than [`LOOK`]: a machine that slept asks again.
//!
//! Called by the agent's connection to its hub, which hands in the client, and by `bluegreen host join`.

use std::path::{Path, PathBuf};
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

use super::bearer::{Bearer, NoToken};
use super::membership::Membership;
use crate::api::names::hub;
use crate::platform::host::store::{self, StoreError};

/// How long a host's token lives, if the API server grants it.
pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest time without a look at the API server's clock.
pub const LOOK: Duration = Duration::from_secs(3600);
/// An answer comes within this, or the request failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// To reach the API server.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The shortest and the longest time from one failed renewal to the next.
const AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// A token that was refused so often in a row is dead: an API server that has just started may refuse one that is good.
const REFUSALS: u32 = 3;
/// No token is longer.
const LIMIT: u64 = 64 << 10;
/// Root's alone.
const PRIVATE: u32 = 0o600;

/// Why there is no token to show, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// There is no file, or one that can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is not there.
    #[error("{}: this host has joined {server}, and its token is gone; {}", path.display(), rejoin(host))]
    Missing {
        /// Where it was expected.
        path: PathBuf,
        /// The hub.
        server: String,
        /// This host.
        host: String,
    },
    /// The file holds something else.
    #[error("{}: {why}; {}", path.display(), rejoin(host))]
    NoToken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: NoToken,
        /// This host.
        host: String,
    },
    /// It ended before it was renewed: the host was off, or its hub, for too long.
    #[error(
        "this host's token ended at {ended}, and only a living one can be renewed: all sites run on as they are; {}",
        rejoin(host)
    )]
    Ended {
        /// When.
        ended: Timestamp,
        /// This host.
        host: String,
    },
    /// The API server knows it no more.
    #[error(
        "{server} knows this host's token no more, although it would last until {expires}: somebody has taken it back, or this is another cluster now. \
         All sites run on as they are; {}",
        rejoin(host)
    )]
    Refused {
        /// The hub.
        server: String,
        /// Until when it would have lasted.
        expires: Timestamp,
        /// This host.
        host: String,
    },
}

/// What to do when a token is of no use any more.
fn rejoin(host: &str) -> String {
    format!(
        "to join again, an admin of the hub runs: bluegreen host token {host}, and you here, as root, what that prints"
    )
}

/// Why a token was not renewed this time.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
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

impl RenewError {
    /// Whether the API server does not know the token.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        match self {
            RenewError::Unauthorized => true,
            RenewError::Api(error) => matches!(error.as_ref(), kube::Error::Api(status) if status.code == 401),
            _ => false,
        }
    }
}

/// What there is to do about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Renew it.
    Now,
    /// Look again after so long.
    In(Duration),
    /// It has ended, and can't be renewed.
    Over,
}

/// What there is to do about a token that was issued and ends then, when the API server's clock shows `now`. Pure.
#[must_use]
pub fn due(issued: Timestamp, expires: Timestamp, now: Timestamp) -> Due {
    let life = expires.duration_since(issued);
    let at = issued.saturating_add(life * 4 / 5).unwrap_or(expires);
    if now >= expires {
        return Due::Over;
    }
    match Duration::try_from(at.duration_since(now)) {
        Ok(left) if !left.is_zero() => Due::In(left),
        _ => Due::Now,
    }
}

/// The token of this host, and where it lies.
#[derive(Debug)]
pub struct Credentials {
    membership: Membership,
    file: PathBuf,
    token: Bearer,
}

impl Credentials {
    /// Reads the token of a host that has joined.
    ///
    /// # Errors
    /// It is not there, or is none.
    pub fn open(state: &Path, membership: &Membership) -> Result<Credentials, CredentialsError> {
        let path = Membership::token_file(state);
        let host = membership.host.to_string();
        let Some(text) = store::read_text(&path, LIMIT)? else {
            return Err(CredentialsError::Missing { path, server: membership.server.clone(), host });
        };
        match Bearer::parse(&text) {
            Ok(token) => Ok(Credentials { membership: membership.clone(), file: path, token }),
            Err(why) => Err(CredentialsError::NoToken { path, why, host }),
        }
    }

    /// The token as it is now.
    #[must_use]
    pub fn token(&self) -> &Bearer {
        &self.token
    }

    /// Renews the token whenever it is due, for as long as it lives. The client is one that shows it; which one it shows is read anew from the file within
    /// a minute of a renewal.
    ///
    /// Returns when the token can't be renewed any more.
    pub async fn keep(&mut self, client: &Client) -> CredentialsError {
        let (mut pause, mut refusals) = (AGAIN.0, 0);
        loop {
            let step = self.step(client).await;
            let wait = match step {
                Ok(Due::Over) => return self.ended(),
                Ok(Due::In(left)) => left.min(LOOK),
                // A renewal was just made: there is something to wait for.
                Ok(Due::Now) => Duration::ZERO,
                Err(_) => pause,
            };
            match step {
                Ok(_) => (pause, refusals) = (AGAIN.0, 0),
                Err(error) => {
                    refusals = if error.is_unauthorized() { refusals + 1 } else { 0 };
                    if refusals >= REFUSALS {
                        return self.refused();
                    }
                    if pause == AGAIN.0 {
                        tracing::warn!(
                            server = %self.membership.server, expires = %self.token.claims().expires,
                            "this host's token could not be renewed, which is tried again: {error}"
                        );
                    }
                    pause = (pause * 2).min(AGAIN.1);
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// One look: what is due, by the API server's clock, and done if it is a renewal.
    async fn step(&mut self, client: &Client) -> Result<Due, RenewError> {
        let claims = self.token.claims();
        let seen = look(client).await?;
        let due = due(claims.issued, claims.expires, seen.time);
        match due {
            // An API server doesn't know a token that has ended: that is no news.
            Due::Over => {}
            _ if !seen.known => return Err(RenewError::Unauthorized),
            Due::Now => self.renew(client).await?,
            Due::In(_) => {}
        }
        Ok(due)
    }

    /// Asks for a new token and writes it in the old one's place.
    ///
    /// # Errors
    /// There is none, or it could not be written. The old one is still there.
    pub async fn renew(&mut self, client: &Client) -> Result<(), RenewError> {
        let token = request(client, &self.membership.namespace, hub::ACCOUNT, LIFETIME, None).await?;
        if token.claims().expires <= self.token.claims().expires {
            return Err(RenewError::Nonsense("it does not last longer than the one that it was to replace"));
        }
        write(&self.file, &token)?;
        self.token = token;
        tracing::info!(server = %self.membership.server, expires = %self.token.claims().expires, "this host's token was renewed");
        Ok(())
    }

    /// Why an API server does not know the token: because its time is over, or because it was taken back.
    pub async fn unknown(&self, client: &Client) -> CredentialsError {
        match look(client).await {
            Ok(seen) if seen.time >= self.token.claims().expires => self.ended(),
            _ => self.refused(),
        }
    }

    fn ended(&self) -> CredentialsError {
        CredentialsError::Ended { ended: self.token.claims().expires, host: self.membership.host.to_string() }
    }

    fn refused(&self) -> CredentialsError {
        CredentialsError::Refused {
            server: self.membership.server.clone(),
            expires: self.token.claims().expires,
            host: self.membership.host.to_string(),
        }
    }
}

/// Writes a token, for root alone, whole or not at all.
///
/// # Errors
/// It could not be written; what was there before is whole.
pub fn write(file: &Path, token: &Bearer) -> Result<(), StoreError> {
    store::write_bytes(file, token.expose().as_bytes(), PRIVATE)
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
) -> Result<Bearer, RenewError> {
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
    let token = Bearer::parse(&text).map_err(|_| RenewError::Nonsense("it is no token"))?;
    let claims = token.claims();
    if claims.namespace != namespace || claims.account.name != account {
        return Err(RenewError::Nonsense("it is somebody else's"));
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
pub async fn look(client: &Client) -> Result<Seen, RenewError> {
    let request = http::Request::get("/version").body(Body::empty()).map_err(kube::Error::HttpError);
    let request = request.map_err(|error| RenewError::Api(Box::new(error)))?;
    let answer = within(client.send(request)).await?;
    let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
    let time = date.ok_or(RenewError::Nonsense("it does not say what time it is"))?;
    Ok(Seen { time, known: answer.status() != http::StatusCode::UNAUTHORIZED })
}

/// The way to an API server whose certificate is judged by nothing but these authorities. No way through a proxy, no other authority of this machine.
///
/// # Errors
/// The address or the authorities can't be used.
pub fn config(server: &str, authority: &str) -> Result<Config, RenewError> {
    let unusable = |why: String| RenewError::Unusable(why);
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

async fn within<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, RenewError> {
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(answer) => answer.map_err(|error| RenewError::Api(Box::new(error))),
        Err(_) => Err(RenewError::Silent),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::bearer::tests::{claims, signed_by_nobody};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_is_renewed_when_four_fifths_of_its_life_are_over() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let week = 7 * 24 * 3600;
        // Issued, ends, the API server's clock.
        for (issued, expires, now, what) in [
            (0, 600, 0, Due::In(Duration::from_secs(480))),
            (0, 600, 479, Due::In(Duration::from_secs(1))),
            (0, 600, 480, Due::Now),
            (0, 600, 599, Due::Now),
            (0, 600, 600, Due::Over),
            (0, week, 0, Due::In(hours(134) + Duration::from_secs(1440))),
            // The API server's clock was put back: what was issued in its future is waited for.
            (1_000, 1_600, 400, Due::In(Duration::from_secs(1_080))),
            // A month later.
            (0, week, 30 * 24 * 3600, Due::Over),
            // The API server granted less than was asked for.
            (0, 10, 7, Due::In(Duration::from_secs(1))),
        ] {
            assert_eq!(due(at(issued), at(expires), at(now)), what, "{issued} to {expires} at {now}");
        }
    }

    fn joined(state: &Path) -> Membership {
        let membership = Membership {
            server: "https://hub.example:6443".to_owned(),
            certificate_authority: String::new(),
            host: "vps-1".parse().unwrap(),
            namespace: "bluegreen-host-vps-1".to_owned(),
            hub: "7f0c".to_owned(),
            since: at(0),
        };
        membership.save(state).unwrap();
        membership
    }

    #[test]
    fn a_token_is_read_back_and_one_that_is_missing_or_broken_leads_to_joining_again() {
        let state = tempfile::tempdir().unwrap();
        let membership = joined(state.path());
        let file = Membership::token_file(state.path());
        let missing = Credentials::open(state.path(), &membership).unwrap_err().to_string();
        assert!(missing.contains("bluegreen host token vps-1"), "{missing}");
        let token = Bearer::parse(&signed_by_nobody(&claims(1_000, 2_000))).unwrap();
        write(&file, &token).unwrap();
        assert_eq!(Credentials::open(state.path(), &membership).unwrap().token(), &token);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o7777, 0o600);
        std::fs::write(&file, &token.expose()[..40]).unwrap();
        let broken = Credentials::open(state.path(), &membership).unwrap_err().to_string();
        assert!(broken.contains("three parts") && broken.contains("bluegreen host token vps-1"), "{broken}");
        assert!(!broken.contains(&token.expose()[..20]), "{broken}");
    }

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
