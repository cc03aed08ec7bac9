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
use kube::Client;

use super::asking::{AskError, look, request};
use super::bearer::{Bearer, NoToken};
use super::membership::Membership;
use crate::api::names::hub;
use crate::platform::host::store::{self, StoreError};

/// How long a host's token lives, if the API server grants it.
pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest time without a look at the API server's clock.
pub const LOOK: Duration = Duration::from_secs(3600);
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
    async fn step(&mut self, client: &Client) -> Result<Due, AskError> {
        let claims = self.token.claims();
        let seen = look(client).await?;
        let due = due(claims.issued, claims.expires, seen.time);
        match due {
            // An API server doesn't know a token that has ended: that is no news.
            Due::Over => {}
            _ if !seen.known => return Err(AskError::Unauthorized),
            Due::Now => self.renew(client).await?,
            Due::In(_) => {}
        }
        Ok(due)
    }

    /// Asks for a new token and writes it in the old one's place.
    ///
    /// # Errors
    /// There is none, or it could not be written. The old one is still there.
    pub async fn renew(&mut self, client: &Client) -> Result<(), AskError> {
        let token = request(client, &self.membership.namespace, hub::ACCOUNT, LIFETIME, None).await?;
        if token.claims().expires <= self.token.claims().expires {
            return Err(AskError::Nonsense("it does not last longer than the one that it was to replace"));
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
}
