//! Questions to the API server of a hub that several of these commands ask, as an admin with a kubeconfig or as a host with a token.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::config::AuthInfo;
use kube::core::ObjectMeta;
use kube::{Client, Config, ResourceExt};
use serde_json::json;

use crate::api::names::hub;
use crate::api::spec::BlueGreenSite;
use crate::cli::cluster::{self, Asked, ClusterError, Wish, explain};
use crate::driver::agent::hub::asking::{self, AskError};
use crate::driver::agent::hub::bearer::Bearer;

/// A person waits for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// What `resource` is called in messages about rights.
pub(super) const SITES: &str = "bluegreensites.bluegreen.dev";

/// A hub, as an admin reaches it.
pub(super) struct Admin {
    pub(super) client: Client,
    /// How the kubeconfig says that it is reached.
    pub(super) way: Config,
    program: &'static str,
}

impl Admin {
    /// The hub that is meant. Nothing is asked of it yet.
    pub(super) async fn of(wish: &Wish) -> Result<Admin, ClusterError> {
        install_provider();
        let mut way = cluster::way(wish).await?;
        way.connect_timeout = Some(CONNECT_WITHIN);
        way.default_retry = false;
        let client = Client::try_from(way.clone())
            .map_err(|error| ClusterError::NoCluster(format!("the kubeconfig can't be used: {error}")))?;
        Ok(Admin { client, way, program: wish.program })
    }

    /// Its address.
    pub(super) fn server(&self) -> String {
        self.way.cluster_url.to_string().trim_end_matches('/').to_owned()
    }

    /// An answer, or why there is none.
    pub(super) async fn answer<T>(
        &self,
        asked: (&'static str, &str, Option<&str>, Option<&str>),
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ClusterError> {
        let server = self.server();
        let (verb, resource, name, namespace) = asked;
        let asked = Asked { verb, resource, name, namespace, server: &server, called: self.program };
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(answer) => answer.map_err(|error| explain(error, &asked)),
            Err(_) => Err(ClusterError::Away {
                server: server.clone(),
                why: format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
            }),
        }
    }
}

/// Of two calls the second finds it installed.
pub(super) fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client that shows this token, and takes nobody for the hub whose certificate these authorities didn't sign.
pub(super) fn client(server: &str, authority: &str, token: &Bearer) -> Result<Client, AskError> {
    install_provider();
    let mut config = asking::config(server, authority)?;
    config.auth_info = AuthInfo { token: Some(token.expose().to_owned().into()), ..AuthInfo::default() };
    Client::try_from(config).map_err(|error| AskError::Unusable(error.to_string()))
}

/// Certificates in PEM form.
pub(super) fn pem(certificates: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        let (mut rest, width) = (encoded.as_str(), 64);
        while !rest.is_empty() {
            // Base64 is ASCII: it may be cut anywhere.
            let (line, more) = rest.split_at(width.min(rest.len()));
            // Writing to a string can't fail.
            let _ = writeln!(text, "{line}");
            rest = more;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// Whether a host is there, as its Lease tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Presence {
    /// Which machine it is. `None`: none ever was, or it said that it goes.
    pub(super) holder: Option<String>,
    /// When it was last written, on the API server's clock.
    pub(super) seen: Option<Timestamp>,
    /// How long that lasts.
    pub(super) lasts: Duration,
    /// Another one at each write.
    pub(super) version: String,
}

impl Presence {
    pub(super) fn of(lease: &Lease) -> Presence {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        // The API server stamps each write by its own clock; what the holder wrote of the time may be an hour off.
        let stamps = |meta: &ObjectMeta| {
            meta.managed_fields.iter().flatten().filter_map(|field| field.time.as_ref().map(|time| time.0)).max()
        };
        let seen = stamps(&lease.metadata).or(spec.renew_time.map(|time| time.0)).filter(|_| holder.is_some());
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(40);
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        Presence { holder, seen, lasts: Duration::from_secs(seconds), version }
    }

    /// Whether it is there, when the API server's clock shows `now`.
    pub(super) fn is_alive(&self, now: Timestamp) -> bool {
        self.seen.is_some_and(|seen| Duration::try_from(now.duration_since(seen)).unwrap_or_default() <= self.lasts)
    }
}

/// The sites of a namespace that carry a host's finalizer.
pub(super) async fn held(client: &Client, namespace: &str) -> kube::Result<Vec<String>> {
    let sites: Api<BlueGreenSite> = Api::namespaced(client.clone(), namespace);
    let all = sites.list_metadata(&ListParams::default()).await?;
    let held = all.items.iter().filter(|site| site.finalizers().iter().any(|one| one == hub::FINALIZER));
    Ok(held.map(ResourceExt::name_any).collect())
}

/// Takes a host's finalizer off a site; nothing happens if it carries none, or is gone.
pub(super) async fn release(client: &Client, namespace: &str, name: &str) -> kube::Result<()> {
    let sites: Api<BlueGreenSite> = Api::namespaced(client.clone(), namespace);
    loop {
        let Some(site) = sites.get_metadata_opt(name).await? else { return Ok(()) };
        if !site.finalizers().iter().any(|one| one == hub::FINALIZER) {
            return Ok(());
        }
        let left: Vec<&String> = site.finalizers().iter().filter(|one| *one != hub::FINALIZER).collect();
        // A list is replaced whole, so nobody may have written another one meanwhile.
        let patch = json!({ "metadata": { "finalizers": left, "resourceVersion": site.metadata.resource_version } });
        match sites.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_written_as_it_is_read() {
        let certificates = vec![vec![7; 100], vec![0, 1, 2]];
        let read = asking::config("https://hub", &pem(&certificates)).unwrap();
        assert_eq!(read.root_cert, Some(certificates));
    }

    #[test]
    fn a_host_is_there_by_the_api_servers_clock_whatever_its_own_says() {
        let lease: Lease = serde_json::from_value(json!({
            "metadata": { "resourceVersion": "7", "managedFields": [
                { "time": "2026-01-01T10:00:00Z" }, { "time": "2026-01-01T09:00:00Z" },
            ]},
            "spec": { "holderIdentity": "m", "leaseDurationSeconds": 40, "renewTime": "2026-01-01T11:00:00.000000Z" },
        }))
        .unwrap();
        let presence = Presence::of(&lease);
        assert_eq!(presence.holder.as_deref(), Some("m"));
        for (now, alive) in [("10:00:40", true), ("10:00:41", false), ("09:59:00", true)] {
            assert_eq!(presence.is_alive(format!("2026-01-01T{now}Z").parse().unwrap()), alive, "{now}");
        }
        let empty = Lease { spec: None, ..lease };
        assert!(Presence::of(&empty).holder.is_none() && Presence::of(&empty).seen.is_none());
    }
}
