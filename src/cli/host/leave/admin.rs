//! `bluegreen host leave NAME`: an admin of the hub ends what a host has there, because it is no more or is to be shut out.
//!
//! First its rights, which count at once, then its accounts, with which its tokens die, and only then the finalizers: a host that is still alive must not put
//! them back.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Resource;
use kube::api::{Api, DeleteParams};
use serde::de::DeserializeOwned;

use super::super::hub::{Admin, Presence, SITES, held, release};
use super::Args;
use crate::api::names::hub;
use crate::cli::cluster::{ClusterError, Wish};
use crate::cli::output::print;
use crate::driver::agent::hub::credentials;
use crate::driver::agent::hub::membership::Membership;

pub(in crate::cli::host) async fn run(wish: Wish, args: Args) -> anyhow::Result<()> {
    let Some(name) = args.name else { anyhow::bail!("name the host that is to leave") };
    let admin = Admin::of(&wish).await?;
    let namespace = Membership::namespace_of(&name);
    let namespaces: Api<Namespace> = Api::all(admin.client.clone());
    let found = namespaces.get_opt(&namespace);
    if admin.answer(("get", "namespaces", Some(&namespace), None), found).await?.is_none() {
        anyhow::bail!(
            "there is no host {name} on {}: it has no namespace {namespace}; see: bluegreen host get",
            admin.server()
        );
    }
    let sites = admin.answer(("list", SITES, None, Some(&namespace)), held(&admin.client, &namespace)).await?;
    if !args.force {
        let presence = presence(&admin, &namespace).await?;
        let alive = presence.is_alive(credentials::look(&admin.client).await?.time);
        if alive || !sites.is_empty() {
            let alive = if alive { "is there and alive" } else { "is not there" };
            let has = if sites.is_empty() { "no sites".to_owned() } else { format!("the sites {}", sites.join(", ")) };
            anyhow::bail!(
                "{name} {alive}, and has {has}. To let it go in order, delete its sites, wait until they are gone, and run `bluegreen host leave` on it. With \
                 --force its tokens die and its sites can be deleted; what runs on it runs on"
            );
        }
    }
    for account in [hub::ACCOUNT, hub::JOIN] {
        delete::<RoleBinding>(&admin, "rolebindings.rbac.authorization.k8s.io", &namespace, account).await?;
    }
    delete::<Secret>(&admin, "secrets", &namespace, hub::JOIN).await?;
    for account in [hub::ACCOUNT, hub::JOIN] {
        delete::<ServiceAccount>(&admin, "serviceaccounts", &namespace, account).await?;
    }
    // One that was on its way when the rights went may have come since.
    let sites = admin.answer(("list", SITES, None, Some(&namespace)), held(&admin.client, &namespace)).await?;
    for site in &sites {
        let asked = ("patch", SITES, Some(site.as_str()), Some(namespace.as_str()));
        admin.answer(asked, release(&admin.client, &namespace, site)).await?;
    }
    let let_go = if sites.is_empty() {
        String::new()
    } else {
        format!(", and it holds these sites no more: {}", sites.join(", "))
    };
    print(&format!(
        "{name} is shut out: its tokens die within some ten seconds{let_go}\nits sites stay in {namespace}; to remove everything: kubectl delete namespace \
         {namespace}\nto let it join again: bluegreen host token {name}"
    ))?;
    Ok(())
}

async fn presence(admin: &Admin, namespace: &str) -> Result<Presence, ClusterError> {
    let leases: Api<Lease> = Api::namespaced(admin.client.clone(), namespace);
    let asked = ("get", "leases.coordination.k8s.io", Some(hub::LEASE), Some(namespace));
    let lease = admin.answer(asked, leases.get_opt(hub::LEASE)).await?;
    Ok(lease.as_ref().map(Presence::of).unwrap_or_default())
}

/// Deletes an object; nothing happens if there is none.
async fn delete<K>(admin: &Admin, resource: &str, namespace: &str, name: &str) -> Result<(), ClusterError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(admin.client.clone(), namespace);
    let gone = async {
        match api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(|_| ()),
        }
    };
    admin.answer(("delete", resource, Some(name), Some(namespace)), gone).await
}
