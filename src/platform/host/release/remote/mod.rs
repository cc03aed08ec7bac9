//! What lies elsewhere, fetched before anything of a site is touched: once for all sites of the machine, resumed where it broke off, never larger
//! than a limit, and used only if it is what its digest says.
//!
//! | part | what it does |
//! |---|---|
//! | `store` | the folder of what was fetched: one download of a digest at a time, and what may go |
//! | `download` | gets one file, in as many goes as it takes |
//! | `registry` | an OCI registry: tokens, manifests, what is to be unpacked how |
//! | `client` | HTTPS: connections, redirects, time limits |
//! | `files` | credentials and certificates, from files of root's and Secrets of the hub |
//!
//! The agent is root and the server may be anybody's. So nothing that a server says is put into a path, a shell or a header to somebody else; archives are
//! left to the unpacker; and the digest that the manifest gives decides. What is known of a registry's protocol here is that it can be asked for a
//! manifest, a blob and a token. A crate for that (`oci-client`) brings a second HTTP client (`reqwest`) beside the one that URLs need, with rules of its own for
//! redirects, proxies and time limits; and those rules are the point here: credentials stay with the host that they are for, a blob goes on where it broke off, in
//! whichever run of the agent, and no answer is larger than a limit. So both ways go through `client` and `download`, which are tested once.

mod client;
mod download;
mod files;
mod registry;
mod store;

use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use self::client::{Client, Place};
use self::download::{From, Wanted};
use self::store::Store;
use super::source::{self, Opened};
use super::take::Order;
use crate::api::site::ReleaseSource;
use crate::platform::host::afar::Secrets;
use crate::platform::{Class, Fault};

pub use store::Downloads;

/// What fetching needs.
#[derive(Clone, Copy)]
pub struct Fetching<'a> {
    /// Where it is kept.
    pub downloads: &'a Downloads,
    /// How long it may take; the next try goes on where this one ended.
    pub within: Duration,
    /// Told how far it is, every few seconds at most.
    pub told: &'a dyn Fn(String),
    /// Where Secrets are; `None`: where the site comes from there are none.
    pub secrets: Option<&'a dyn Secrets>,
}

/// The reason of a condition: something could not be fetched.
pub const FETCH_FAILED: &str = "FetchFailed";

/// Fetches what an order names, if that lies elsewhere.
pub(super) fn fetch(order: &Order<'_>) -> Result<Option<Opened>, Fault> {
    if !order.source.is_afar() {
        return Ok(None);
    }
    let within = order.fetching.within;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| transient(format!("fetching can't begin: {error}")))?;
    let fetched = runtime.block_on(async { tokio::time::timeout(within, opened(order)).await });
    // A look-up of a name may still be under way, and is nobody's business any more.
    runtime.shutdown_background();
    match fetched {
        Ok(fetched) => fetched.map(Some),
        Err(_) => Err(transient(format!(
            "{} was not fetched within {} s; the next try goes on where this one ended: see spec.strategy.prepareWithin",
            source::path(order.source).display(),
            within.as_secs()
        ))),
    }
}

async fn opened(order: &Order<'_>) -> Result<Opened, Fault> {
    let store = Store::open(order)?;
    match order.source {
        ReleaseSource::Url { url, sha256, access } => {
            let unusable = |why: &str| refused(FETCH_FAILED, format!("{} {why}", url.shown()));
            let place = Place::parse(url.secret()).map_err(unusable)?;
            let kind = source::kind_of(url.file_name()).ok_or_else(|| unusable("is no archive"))?;
            let wanted = Wanted { digest: sha256.as_str(), size: None, given: true };
            let file = match store.kept(&wanted)? {
                Some(file) => file,
                None => {
                    let mut headers = HeaderMap::new();
                    let known = files::authorization(access, &place.authority(), order.fetching.secrets).await?;
                    let from = From::Url { place: &place, known: known.is_some() };
                    if let Some(known) = known {
                        headers.insert(AUTHORIZATION, known);
                    }
                    let client = Client::new(access.ca_file.as_ref())?;
                    download::get(&store, &client, &from, &headers, &wanted).await?
                }
            };
            let bytes = file.metadata().map_err(|error| transient(format!("{}: {error}", url.shown())))?.len();
            Ok(Opened::Archive(kind, file, bytes))
        }
        ReleaseSource::Oci { image, path, access } => {
            registry::pieces(&store, image, path.as_ref(), access, order.fetching.secrets).await.map(Opened::Pieces)
        }
        ReleaseSource::Path(_) | ReleaseSource::Archive { .. } => {
            Err(refused(FETCH_FAILED, format!("{} is on this machine", source::path(order.source).display())))
        }
    }
}

/// Somebody has to change something.
fn refused(reason: &'static str, message: String) -> Fault {
    Fault { class: Class::User, reason, message }
}

/// It passes.
fn transient(message: String) -> Fault {
    Fault { class: Class::Transient, reason: FETCH_FAILED, message }
}
