//! Every site of a cluster as it stands, and the hosts that are there: what one row of a fleet's table is made of. Children are not asked for; with a
//! host's sites there are none, and a table of thousands needs none.
//!
//! Whether a host is there is told by its Lease. A host's clock may be an hour off, so what it wrote about *when* is not believed: for one look, the
//! API server's own clock counts on both sides (when it took the last write, and the date of its answer); a watch counts from what it saw itself.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DynamicObject, ListParams};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde::Deserialize;

use super::{Cluster, ClusterError, resource};
use crate::api::names::hub;

/// What a host's lease lasts, where it does not say so itself.
const LASTS: Duration = Duration::from_secs(40);

/// The Lease of a host, as one look shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Which write of it was seen.
    pub version: String,
    /// Who holds it; `None`: it was given back.
    pub holder: Option<String>,
    /// Without a write for so long, its host is away.
    pub lasts: Duration,
    /// The time since the last write, by the API server's clock; zero where that can't be told.
    pub age: Duration,
}

impl Presence {
    fn of(lease: &Lease, asked: Option<Timestamp>) -> Presence {
        let spec = lease.spec.clone().unwrap_or_default();
        let lasts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        // The API server stamps each manager's last change by its own clock.
        let stamps = lease.metadata.managed_fields.iter().flatten().filter_map(|entry| entry.time.as_ref());
        let written = stamps.map(|time| time.0).max().or(spec.renew_time.map(|time| time.0));
        let age = match (asked, written) {
            (Some(asked), Some(written)) => Duration::try_from(asked.duration_since(written)).unwrap_or_default(),
            _ => Duration::ZERO,
        };
        Presence {
            version: lease.resource_version().unwrap_or_default(),
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            lasts: lasts.map_or(LASTS, Duration::from_secs),
            age,
        }
    }

    /// As a watch shows it: it was written just now.
    #[must_use]
    pub fn now(lease: &Lease) -> Presence {
        Presence::of(lease, None)
    }

    /// Whether the host is there, so long after the look.
    #[must_use]
    pub fn is_there(&self, since: Duration) -> bool {
        self.holder.is_some() && self.age + since < self.lasts
    }
}

/// The name of the host whose namespace this is.
#[must_use]
pub fn host_of(namespace: &str) -> Option<&str> {
    namespace.strip_prefix(hub::NAMESPACE).filter(|name| !name.is_empty())
}

impl Cluster {
    /// Every site, as it stands at the API server; with `labels`, those that they select.
    ///
    /// # Errors
    /// There is no answer, or sites may not be listed.
    pub async fn objects(&self, labels: Option<&str>) -> Result<Vec<DynamicObject>, ClusterError> {
        let params = labels.map_or_else(ListParams::default, |labels| ListParams::default().labels(labels));
        self.all_of(&self.sites(), &resource(), &params).await
    }

    /// The hosts that this cluster leads, by their namespace. `None`: Leases may not be read, which is said.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn hosts(&self) -> Result<Option<BTreeMap<String, Presence>>, ClusterError> {
        let uri = format!("{}?fieldSelector=metadata.name%3D{}", self.leases_path(), hub::LEASE);
        let asked = async {
            let request = http::Request::get(uri).body(kube::client::Body::empty()).map_err(kube::Error::HttpError)?;
            let answer = self.client.send(request).await?;
            let date = answer.headers().get(http::header::DATE).and_then(|value| value.to_str().ok());
            let date = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|zoned| zoned.timestamp());
            let good = answer.status().is_success();
            let body = answer.into_body().collect_bytes().await?;
            if !good {
                let status = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
                return Err(kube::Error::Api(Box::new(status)));
            }
            let list: List = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
            Ok((date, list))
        };
        match self.answer("list", LEASES, None, asked).await {
            Ok((date, list)) => {
                let known = |lease: &Lease| Some((lease.namespace()?, Presence::of(lease, date)));
                Ok(Some(list.items.iter().filter_map(known).collect()))
            }
            Err(ClusterError::Forbidden(message)) => {
                self.warn(&format!("{message}; so nobody can tell which hosts are there"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The sites, and what a watch of them is to ask for.
    pub(in crate::cli) fn watched_sites(&self, labels: Option<&str>) -> (Api<DynamicObject>, watcher::Config) {
        let config = watcher::Config::default();
        (self.sites(), labels.map_or_else(|| config.clone(), |labels| config.clone().labels(labels)))
    }

    /// The hosts' Leases, and what a watch of them is to ask for.
    pub(in crate::cli) fn watched_hosts(&self) -> (Api<Lease>, watcher::Config) {
        let api = if self.all {
            Api::all(self.client.clone())
        } else {
            Api::namespaced(self.client.clone(), &self.namespace)
        };
        (api, watcher::Config::default().fields(&format!("metadata.name={}", hub::LEASE)))
    }

    /// Where it is.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    fn leases_path(&self) -> String {
        Lease::url_path(&(), (!self.all).then_some(&*self.namespace))
    }
}

const LEASES: &str = "leases.coordination.k8s.io";

#[derive(Deserialize)]
struct List {
    items: Vec<Lease>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(more: serde_json::Value) -> Lease {
        let mut lease = json!({"metadata": {"name": hub::LEASE, "namespace": "bluegreen-host-web1", "resourceVersion": "7"},
            "spec": {"holderIdentity": "machine", "leaseDurationSeconds": 40, "renewTime": "2026-11-22T18:00:00.000000Z"}});
        if let (Some(into), Some(more)) = (lease["metadata"].as_object_mut(), more.as_object()) {
            into.extend(more.clone());
        }
        serde_json::from_value(lease).expect("a lease")
    }

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().expect("a time"))
    }

    #[test]
    fn a_host_whose_clock_is_an_hour_off_is_there_as_long_as_it_writes() {
        for clock in ["2026-11-22T17:00:30Z", "2026-11-22T19:00:30Z"] {
            let written = json!({"managedFields": [{"manager": "bluegreen", "operation": "Update", "time": clock}]});
            let seen = |date: &str| Presence::of(&lease(written.clone()), at(date));
            let soon = clock.replace("00:30", "00:50");
            assert!(seen(&soon).is_there(Duration::ZERO), "{clock}");
            assert!(!seen(&soon).is_there(Duration::from_secs(20)), "{clock}");
            let late = clock.replace("00:30", "01:10");
            assert!(!seen(&late).is_there(Duration::ZERO), "{clock}");
        }
    }

    #[test]
    fn a_lease_that_was_given_back_is_nobodys_and_one_that_was_just_seen_is_new() {
        let mut given = lease(json!({}));
        given.spec.as_mut().expect("it has one").holder_identity = Some(String::new());
        assert!(!Presence::now(&given).is_there(Duration::ZERO));
        let new = Presence::now(&lease(json!({})));
        assert!(new.is_there(Duration::from_secs(39)) && !new.is_there(Duration::from_secs(40)));
    }

    #[test]
    fn the_namespace_of_a_host_says_its_name() {
        assert_eq!(host_of("bluegreen-host-web1"), Some("web1"));
        assert_eq!((host_of("bluegreen-host-"), host_of("prod")), (None, None));
    }
}
