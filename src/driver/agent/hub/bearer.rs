//! A token of a service account: what it says of itself, and never what it is. It is not verified here, which only the API server can; what is read
//! from it is when to renew it and which Secret it lives and dies with.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;

/// No token of an API server comes near it.
const LIMIT: usize = 16 << 10;

/// A bearer token. It has no `Display`, and its `Debug` leaves the token out: no log and no error ever holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer {
    text: String,
    claims: Claims,
}

/// What a token says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// When it was issued, on the API server's clock.
    pub issued: Timestamp,
    /// When it ends, on the same clock.
    pub expires: Timestamp,
    /// The namespace of its service account.
    pub namespace: String,
    /// The service account.
    pub account: Named,
    /// The Secret that it is bound to: gone with it.
    pub secret: Option<Named>,
}

/// An object, and which one of that name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Why a text is no such token. Says nothing of the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// It is cut off, or something else altogether.
    #[error("it is no service account's token: three parts joined by dots were expected")]
    Form,
    /// Its middle part is not what an API server writes there.
    #[error(
        "it is no token that a Kubernetes API server issues today: it does not say whose it is, since when and until when"
    )]
    Claims,
}

#[derive(Deserialize)]
struct Raw {
    iat: i64,
    exp: i64,
    #[serde(rename = "kubernetes.io")]
    kubernetes: RawKubernetes,
}

#[derive(Deserialize)]
struct RawKubernetes {
    namespace: String,
    serviceaccount: Named,
    secret: Option<Named>,
}

impl Bearer {
    /// Reads a token.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Bearer, NoToken> {
        let text = text.trim();
        let plain = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_');
        let parts: Vec<&str> = text.split('.').collect();
        let [_, claims, _] = parts.as_slice() else { return Err(NoToken::Form) };
        if text.len() > LIMIT || parts.iter().any(|part| part.is_empty() || !part.bytes().all(plain)) {
            return Err(NoToken::Form);
        }
        let json = URL_SAFE_NO_PAD.decode(claims).map_err(|_| NoToken::Form)?;
        let raw: Raw = serde_json::from_slice(&json).map_err(|_| NoToken::Claims)?;
        let moment = |seconds| Timestamp::from_second(seconds).map_err(|_| NoToken::Claims);
        let claims = Claims {
            issued: moment(raw.iat)?,
            expires: moment(raw.exp)?,
            namespace: raw.kubernetes.namespace,
            account: raw.kubernetes.serviceaccount,
            secret: raw.kubernetes.secret,
        };
        if claims.expires <= claims.issued {
            return Err(NoToken::Claims);
        }
        Ok(Bearer { text: text.to_owned(), claims })
    }

    /// The token itself, for the one who is shown it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What it says of itself.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("claims", &self.claims).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A token with these claims, signed by nobody.
    pub(crate) fn signed_by_nobody(claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "RS256"})), part(claims))
    }

    /// What an API server writes.
    pub(crate) fn claims(issued: i64, expires: i64) -> Value {
        json!({
            "aud": ["https://kubernetes.default.svc"], "iss": "https://kubernetes.default.svc",
            "iat": issued, "nbf": issued, "exp": expires, "jti": "1",
            "kubernetes.io": {
                "namespace": "bluegreen-host-vps-1",
                "serviceaccount": {"name": "bluegreen-host", "uid": "a"},
                "secret": {"name": "bluegreen-join", "uid": "s"},
            },
            "sub": "system:serviceaccount:bluegreen-host-vps-1:bluegreen-host",
        })
    }

    #[test]
    fn what_a_token_says_of_itself_is_read_and_the_token_is_shown_to_nobody() {
        let text = signed_by_nobody(&claims(1_000, 2_000));
        let token = Bearer::parse(&format!("{text}\n")).expect("a token");
        assert_eq!(token.expose(), text);
        let claims = token.claims();
        assert_eq!((claims.issued.as_second(), claims.expires.as_second()), (1_000, 2_000));
        assert_eq!(
            (claims.namespace.as_str(), claims.account.name.as_str()),
            ("bluegreen-host-vps-1", "bluegreen-host")
        );
        assert_eq!(claims.secret.as_ref().map(|secret| secret.uid.as_str()), Some("s"));
        let shown = format!("{token:?}");
        assert!(shown.contains("bluegreen-join") && text.split('.').all(|part| !shown.contains(part)), "{shown}");
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        let whole = signed_by_nobody(&claims(1_000, 2_000));
        let cut = &whole[..whole.len() / 2];
        let forever = signed_by_nobody(&claims(2_000, 2_000));
        let old = signed_by_nobody(&json!({"sub": "system:serviceaccount:a:b"}));
        let long = format!("{whole}{}", "a".repeat(LIMIT));
        let spaced = whole.replace('.', ". ");
        for text in ["", "secret", "a.b.c", "..", cut, &forever, &old, &long, &spaced, "a.b.c.d"] {
            let error = Bearer::parse(text).expect_err("no token").to_string();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
