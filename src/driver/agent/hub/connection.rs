//! The way to the hub: outgoing HTTPS with this host's token, limits of time on everything, and why something was not answered.

use std::path::Path;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use jiff::Timestamp;
use kube::client::ClientBuilder;
use kube::config::{AuthInfo, Config};
use kube::{Client, core::Status};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::membership::Membership;

/// An answer comes within this, or there is none. A watch lasts longer, and has a limit of its own.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// What the hub sees us as.
const USER: &str = concat!("bluegreen-host/", env!("CARGO_PKG_VERSION"));

/// Why the hub did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It can't be reached, or is in no state to answer: the same may be answered later.
    #[error("the hub does not answer: {0}")]
    Away(String),
    /// It doesn't know this host's token any more.
    #[error(
        "the hub refuses this host's token: it has expired or was taken back; join anew with `bluegreen host join`"
    )]
    Unknown,
    /// This host may not do that there.
    #[error("the hub forbids it: {0}; the host's role is made by `bluegreen host token`")]
    Forbidden(String),
    /// It is another hub than the one that was joined.
    #[error(
        "the hub is not the one that this host joined: {0}. Nothing is deleted because of it. If that hub is the right one, join anew with \
         `bluegreen host join`"
    )]
    Replaced(String),
    /// What was sent was made for another version of the object.
    #[error("the object was changed meanwhile")]
    Conflict,
    /// There is no such object.
    #[error("there is no such object")]
    NotFound,
    /// Its place in the stream of changes is forgotten: everything has to be listed anew.
    #[error("the watch fell behind")]
    Behind,
    /// It can't be what was sent.
    #[error("the hub refuses what was sent: {0}")]
    Refused(String),
    /// What this host has joined can't be used.
    #[error("{0}")]
    Unusable(String),
}

impl Trouble {
    /// Whether nothing can be asked of the hub for now.
    #[must_use]
    pub fn ends_all(&self) -> bool {
        matches!(self, Trouble::Away(_) | Trouble::Unknown | Trouble::Replaced(_) | Trouble::Unusable(_))
    }
}

impl From<&Status> for Trouble {
    fn from(status: &Status) -> Trouble {
        match status.code {
            401 => Trouble::Unknown,
            403 => Trouble::Forbidden(status.message.clone()),
            404 => Trouble::NotFound,
            409 => Trouble::Conflict,
            410 => Trouble::Behind,
            408 | 429 | 500.. => Trouble::Away(format!("{} ({})", status.message, status.code)),
            _ => Trouble::Refused(format!("{} ({})", status.message, status.code)),
        }
    }
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Trouble {
        match &error {
            kube::Error::Api(status) => Trouble::from(&**status),
            kube::Error::Auth(_) => Trouble::Unusable(format!("the token can't be read: {error}")),
            // What ends in the middle is cut off, and nobody's mistake.
            _ => Trouble::Away(innermost(&error)),
        }
    }
}

/// The last cause says what happened; those around it who noticed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    dates(&text).unwrap_or(text)
}

/// What is wrong with the dates of a certificate, for whoever may have a wrong clock; in words that stay the same from one try to the next.
#[must_use]
pub fn dates(why: &str) -> Option<String> {
    let known = [("certificate not valid yet", "is not valid yet"), ("certificate expired", "has expired")];
    let (_, what) = known.iter().find(|(words, _)| why.contains(words))?;
    let today = Timestamp::now().strftime("%Y-%m-%d");
    Some(format!(
        "its certificate {what} by this machine's clock, which shows {today}; if that is wrong, set the clock"
    ))
}

/// Makes a client. Nothing is sent yet.
///
/// # Errors
/// [`Trouble::Unusable`].
pub fn connect(membership: &Membership, token: &Path) -> Result<Client, Trouble> {
    // A second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let unusable = |what: &str, why: String| Trouble::Unusable(format!("this host's hub.yaml: {what}: {why}"));
    let server = membership.server.parse().map_err(|error| unusable("server", format!("{error}")))?;
    let mut config = Config::new(server);
    let bundle = CertificateDer::pem_slice_iter(membership.certificate_authority.as_bytes());
    let bundle: Result<Vec<Vec<u8>>, _> = bundle.map(|one| one.map(|one| one.to_vec())).collect();
    let bundle = bundle.map_err(|error| unusable("certificateAuthority", format!("{error:?}")))?;
    if bundle.is_empty() {
        return Err(unusable("certificateAuthority", "holds no certificate in PEM form".to_owned()));
    }
    config.root_cert = Some(bundle);
    config.default_namespace = membership.namespace.clone();
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.write_timeout = Some(ANSWER_WITHIN);
    // Trying again is ours, with everything looked at anew.
    config.default_retry = false;
    config.headers.push((USER_AGENT, HeaderValue::from_static(USER)));
    config.auth_info = AuthInfo { token_file: Some(token.display().to_string()), ..AuthInfo::default() };
    Ok(ClientBuilder::try_from(config)?.build())
}

/// An answer, if it comes in time.
///
/// # Errors
/// What the hub said, or that it said nothing.
pub async fn within<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::Away(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn membership(server: &str, ca: &str) -> Membership {
        Membership {
            server: server.to_owned(),
            certificate_authority: ca.to_owned(),
            host: "vps-1".parse().unwrap(),
            namespace: "bluegreen-host-vps-1".to_owned(),
            hub: "u".to_owned(),
            since: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_membership_without_a_certificate_or_an_address_says_which_field_is_wrong() {
        for (server, ca, says) in [
            ("https://a b", "", "server"),
            ("https://hub", "", "certificateAuthority"),
            ("https://hub", "nonsense", "certificateAuthority"),
        ] {
            let Err(trouble) = connect(&membership(server, ca), Path::new("/nowhere")) else { panic!("{server} {ca}") };
            assert!(trouble.to_string().contains(says), "{trouble}");
        }
    }

    #[test]
    fn a_certificate_whose_dates_are_wrong_points_to_the_clock_and_any_other_does_not() {
        let early = "invalid peer certificate: certificate not valid yet: verification time 1764363 (UNIX), but certificate is not valid before 1795363";
        let said = dates(early).unwrap();
        assert!(said.contains("not valid yet by this machine's clock") && !said.contains("1764363"), "{said}");
        assert!(dates("invalid peer certificate: certificate expired: verification time 1 (UNIX)").is_some());
        assert_eq!(dates("invalid peer certificate: UnknownIssuer"), None);
    }

    #[test]
    fn what_the_hub_answers_says_whether_anything_can_be_asked_of_it() {
        let of = |code| Trouble::from(&Status { code, ..Status::default() });
        for (code, ends) in
            [(401, true), (403, false), (404, false), (409, false), (422, false), (429, true), (503, true)]
        {
            assert_eq!(of(code).ends_all(), ends, "{code}");
        }
    }
}
