//! Tells which release a specification describes: reads what was uploaded, all of it, and the configuration files that belong to it. Asked when
//! somebody gave a reason to look (a manifest, an `apply`, a `retry`), and now and then while nothing usable is there.

use sha2::{Digest, Sha256};

use super::entry::{Told, Upload};
use super::uploads::unseen;
use crate::api::site::{Release, SiteOnHost};
use crate::platform::host::release::{Config, Identity, Limits, check_user, read_fingerprint};
use crate::platform::host::site::WantedRelease;
use crate::platform::host::uploads::{Looked, source};
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
pub fn tell(site: &SiteOnHost, arrived: Option<&Looked>, limits: &Limits) -> Result<Told, Fault> {
    let run = &site.target.run;
    let account = check_user(&run.user)?;
    let (fingerprint, upload) = match &site.target.release {
        Release::Given(source) => {
            let read = read_fingerprint(source, &account, limits).map_err(|error| match Fault::from(error) {
                // Nothing was decided on it yet: somebody is at work there, and will be done.
                fault @ Fault { class: Class::Conflict, .. } => Fault { class: Class::Transient, ..fault },
                fault => fault,
            })?;
            (read, None)
        }
        // It was read when it became whole; what was taken away since is on this machine already, or is missed when it is taken.
        Release::Uploads { uploads } => {
            let looked = arrived.filter(|looked| looked.folder == *uploads).ok_or_else(|| unseen(uploads))?;
            match (&looked.chosen, &looked.fault) {
                (Some(chosen), _) => {
                    let upload = Upload { folder: uploads.clone(), name: chosen.name.clone() };
                    (chosen.fingerprint.clone(), Some(upload))
                }
                (None, fault) => return Err(fault.clone().unwrap_or_else(|| unseen(uploads))),
            }
        }
    };
    let config = Config::of(run, &account)?.digest();
    let identity = Identity {
        fingerprint,
        config,
        // The incarnation is a part of `run`.
        incarnation: String::new(),
    };
    Ok(Told { of: key(site), revision: identity.revision(run)?, identity, upload })
}

/// The release that a site wants, if what was told is still about its specification.
#[must_use]
pub fn release(site: &SiteOnHost, told: Option<&Told>) -> Option<WantedRelease> {
    let told = told.filter(|told| told.of == key(site))?;
    let source = match (&site.target.release, &told.upload) {
        (Release::Given(source), _) => source.clone(),
        (Release::Uploads { .. }, Some(upload)) => {
            source(&upload.folder, &upload.name, &told.identity.fingerprint.kind)?
        }
        (Release::Uploads { .. }, None) => return None,
    };
    Some(WantedRelease {
        revision: told.revision,
        identity: told.identity.clone(),
        run: site.target.run.clone(),
        source,
    })
}
