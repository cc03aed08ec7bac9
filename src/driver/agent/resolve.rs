//! Tells which release a specification describes: reads what was uploaded, all of it, and the configuration files that belong to it. Asked when
//! somebody gave a reason to look (a manifest, an `apply`, a `retry`), and now and then while nothing usable is there.

use sha2::{Digest, Sha256};

use super::entry::Told;
use crate::api::site::SiteOnHost;
use crate::platform::host::release::{Config, Identity, Limits, check_user, read_fingerprint};
use crate::platform::host::site::WantedRelease;
use crate::platform::{Class, Fault};

/// The identity of the part of a specification that decides its release.
#[must_use]
pub fn key(site: &SiteOnHost) -> String {
    let host = &site.target;
    let text = serde_json::to_vec(&(&host.release, &host.run)).unwrap_or_default();
    hex::encode(Sha256::digest(&text))
}

/// Tells the release. Blocks, as long as it takes to read it all.
///
/// # Errors
/// It is missing, or can't be used; to be looked at again.
pub fn tell(site: &SiteOnHost, limits: &Limits) -> Result<Told, Fault> {
    let run = &site.target.run;
    let account = check_user(&run.user)?;
    let fingerprint =
        read_fingerprint(&site.target.release, &account, limits).map_err(|error| match Fault::from(error) {
            // Nothing was decided on it yet: somebody is at work there, and will be done.
            fault @ Fault { class: Class::Conflict, .. } => Fault { class: Class::Transient, ..fault },
            fault => fault,
        })?;
    let config = Config::of(run, &account)?.digest();
    let identity = Identity {
        fingerprint,
        config,
        // The incarnation is a part of `run`.
        incarnation: String::new(),
    };
    Ok(Told { of: key(site), revision: identity.revision(run)?, identity })
}

/// The release that a site wants, if what was told is still about its specification.
#[must_use]
pub fn release(site: &SiteOnHost, told: Option<&Told>) -> Option<WantedRelease> {
    let told = told.filter(|told| told.of == key(site))?;
    Some(WantedRelease { revision: told.revision, identity: told.identity.clone(), run: site.target.run.clone() })
}
