//! `bluegreen host get`: the hosts of a hub, each with its presence and how many sites are meant for it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::hub::{Admin, Presence, SITES};
use crate::api::names::hub;
use crate::api::spec::BlueGreenSite;
use crate::cli::cluster::Wish;
use crate::cli::output::print;
use crate::cli::render::{NONE, age, table};
use crate::driver::agent::hub::asking;

/// List the hosts of a hub: whether each is there, when it was last seen, how many sites are meant for it.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(super) async fn run(wish: Wish, _: Args) -> anyhow::Result<()> {
    let admin = Admin::of(&wish).await?;
    let hosts = ListParams::default().labels(hub::HOST);
    let namespaces: Api<Namespace> = Api::all(admin.client.clone());
    let namespaces = admin.answer(("list", "namespaces", None, None), namespaces.list_metadata(&hosts)).await?;
    if namespaces.items.is_empty() {
        print("No hosts: make one known with `bluegreen host token NAME`.")?;
        return Ok(());
    }
    let leases: Api<Lease> = Api::all(admin.client.clone());
    let leases = admin.answer(("list", "leases.coordination.k8s.io", None, None), leases.list(&hosts)).await?;
    let sites: Api<BlueGreenSite> = Api::all(admin.client.clone());
    let sites = admin.answer(("list", SITES, None, None), sites.list_metadata(&ListParams::default())).await?;
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for site in &sites.items {
        *counted.entry(site.namespace().unwrap_or_default()).or_default() += 1;
    }
    let present: BTreeMap<String, Presence> = leases
        .items
        .iter()
        .filter(|lease| lease.name_any() == hub::LEASE)
        .map(|lease| (lease.namespace().unwrap_or_default(), Presence::of(lease)))
        .collect();
    let now = asking::look(&admin.client).await?.time;
    let rows: Vec<Vec<String>> = namespaces
        .items
        .iter()
        .map(|namespace| {
            let name = namespace.labels().get(hub::HOST).cloned().unwrap_or_default();
            let namespace = namespace.name_any();
            row(name, present.get(&namespace), counted.get(&namespace).copied().unwrap_or_default(), now)
        })
        .collect();
    print(&table::table(&["NAME", "READY", "LAST SEEN", "SITES"], &rows))?;
    Ok(())
}

fn row(name: String, presence: Option<&Presence>, sites: usize, now: Timestamp) -> Vec<String> {
    let seen = presence.and_then(|presence| presence.seen);
    let ready = presence.is_some_and(|presence| presence.is_alive(now));
    let ready = if seen.is_none() {
        "Never"
    } else if ready {
        "True"
    } else {
        "False"
    };
    let seen = seen.map_or_else(|| NONE.to_owned(), |seen| format!("{} ago", age(seen, now)));
    vec![name, ready.to_owned(), seen, sites.to_string()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_host_that_never_joined_is_told_from_one_that_is_gone() {
        let now: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
        let seen = |ago: u64| Presence {
            holder: Some("m".to_owned()),
            seen: now.checked_sub(Duration::from_secs(ago)).ok(),
            lasts: Duration::from_secs(40),
            version: String::new(),
        };
        for (presence, ready, last) in
            [(Some(seen(5)), "True", "5s ago"), (Some(seen(90)), "False", "90s ago"), (None, "Never", NONE)]
        {
            assert_eq!(row("a".to_owned(), presence.as_ref(), 2, now), ["a", ready, last, "2"]);
        }
    }
}
