//! What a host joins with: where the hub is, how its certificate is judged, under which name, and the token; as one word that survives any terminal and
//! any shell. `bluegreen host token` writes it, `bluegreen host join` reads it, from a file or its standard input, never from its command line.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::api::names::hub;
use crate::api::types::HostName;
use crate::driver::agent::hub::bearer::Bearer;
use crate::driver::agent::hub::membership::Membership;

/// What the word begins with: people and scanners for secrets know it by that.
pub const PREFIX: &str = "bluegreen-join.";
/// None is longer: a bundle of certificates is the most of it.
pub const LIMIT: usize = 256 << 10;

/// What a host joins with. Its `Debug` leaves the token out.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The hub's URL.
    pub server: String,
    /// What its certificate is judged by, in PEM form.
    pub certificate_authority: String,
    /// The host's name.
    pub host: HostName,
    /// Which namespace of that name it is: tells this hub from another one at the same address.
    pub hub: String,
    /// The token.
    pub token: Bearer,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("server", &self.server).field("host", &self.host).finish_non_exhaustive()
    }
}

/// Why a word is nothing to join with. Says nothing of the word itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTicket {
    /// Nothing was given.
    #[error(
        "nothing was given to join with: hand in what `bluegreen host token NAME` printed, as in: echo … | bluegreen host join --token-file -"
    )]
    Empty,
    /// It is something else.
    #[error(
        "what was given is not what `bluegreen host token NAME` prints, which is one word that begins with {PREFIX}"
    )]
    Other,
    /// It was cut off, or damaged on its way.
    #[error(
        "what was given begins right and does not go on so ({0}): it was cut off on its way; take all of it, or ask for another one with `bluegreen host token NAME`"
    )]
    Damaged(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Plain {
    server: String,
    certificate_authority: String,
    host: HostName,
    hub: String,
    token: String,
}

impl Ticket {
    /// The word.
    ///
    /// # Errors
    /// Never, with what a `Ticket` holds.
    pub fn write(&self) -> serde_json::Result<String> {
        let json = serde_json::to_vec(&Plain {
            server: self.server.clone(),
            certificate_authority: self.certificate_authority.clone(),
            host: self.host.clone(),
            hub: self.hub.clone(),
            token: self.token.expose().to_owned(),
        })?;
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json)))
    }

    /// Reads the word. White space around and within it, as a terminal that breaks lines leaves there, is passed over.
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &str) -> Result<Ticket, NoTicket> {
        let word: String = text.split_whitespace().collect();
        if word.is_empty() {
            return Err(NoTicket::Empty);
        }
        let encoded = word.strip_prefix(PREFIX).ok_or(NoTicket::Other)?;
        let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| NoTicket::Damaged("its letters"))?;
        let plain: Plain = serde_json::from_slice(&json).map_err(|_| NoTicket::Damaged("its content"))?;
        let token = Bearer::parse(&plain.token).map_err(|_| NoTicket::Damaged("its token"))?;
        let claims = token.claims();
        if claims.namespace != Membership::namespace_of(&plain.host) || claims.account.name != hub::JOIN {
            return Err(NoTicket::Damaged("its token is for something else"));
        }
        if claims.secret.as_ref().is_none_or(|secret| secret.name != hub::JOIN) {
            return Err(NoTicket::Damaged("its token is bound to nothing"));
        }
        let Plain { server, certificate_authority, host, hub, .. } = plain;
        Ok(Ticket { server, certificate_authority, host, hub, token })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn token(namespace: &str, account: &str, secret: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({
            "iat": 1_000, "exp": 2_000,
            "kubernetes.io": {
                "namespace": namespace, "serviceaccount": { "name": account, "uid": "a" }, "secret": secret,
            },
        });
        format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(&claims))
    }

    fn ticket(token: &str) -> Ticket {
        Ticket {
            server: "https://hub.example:6443".to_owned(),
            certificate_authority: "-----BEGIN CERTIFICATE-----\n".to_owned(),
            host: "vps-1".parse().unwrap(),
            hub: "7f0c".to_owned(),
            token: Bearer::parse(token).unwrap(),
        }
    }

    fn secret() -> Value {
        json!({ "name": "bluegreen-join", "uid": "s" })
    }

    #[test]
    fn what_was_written_is_read_also_when_a_terminal_broke_the_line() {
        let ticket = ticket(&token("bluegreen-host-vps-1", "bluegreen-join", &secret()));
        let word = ticket.write().unwrap();
        assert!(word.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter)), "{word}");
        assert_eq!(Ticket::read(&word).unwrap(), ticket);
        let (first, rest) = word.split_at(100);
        assert_eq!(Ticket::read(&format!("  {first}\r\n  {rest}\n")).unwrap(), ticket);
        assert!(!format!("{ticket:?}").contains(ticket.token.expose()));
    }

    #[test]
    fn what_is_no_ticket_is_refused_and_not_repeated() {
        let word = ticket(&token("bluegreen-host-vps-1", "bluegreen-join", &secret())).write().unwrap();
        assert_eq!(Ticket::read(" \n"), Err(NoTicket::Empty));
        assert_eq!(Ticket::read("eyJhbGciOi"), Err(NoTicket::Other));
        for cut in [PREFIX.len() + 9, 60, word.len() - 1] {
            let error = Ticket::read(&word[..cut]).unwrap_err();
            assert!(matches!(error, NoTicket::Damaged(_)), "{error:?}");
            assert!(!error.to_string().contains(&word[PREFIX.len()..cut]), "{error}");
        }
        for other in [
            token("bluegreen-host-vps-2", "bluegreen-join", &secret()),
            token("bluegreen-host-vps-1", "bluegreen-host", &secret()),
            token("bluegreen-host-vps-1", "bluegreen-join", &Value::Null),
            token("bluegreen-host-vps-1", "bluegreen-join", &json!({ "name": "other", "uid": "s" })),
        ] {
            let word = ticket(&other).write().unwrap();
            assert!(matches!(Ticket::read(&word), Err(NoTicket::Damaged(_))));
        }
    }
}
