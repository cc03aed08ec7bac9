//! `bluegreen host leave NAME`: an admin of the hub ends what a host has there, because it is no more or is to be shut out.
//!
//! First its rights, which count at once, then its accounts, with which its tokens die, and only then the finalizers: a host that is still alive must not put
//! them back.

use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Resource;
use kube::api::{Api, DeleteParams, PostParams};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::super::hub::{Admin, Presence, SITES, held, release};
use super::Args;
use crate::api::names::{GROUP, hub};
use crate::cli::cluster::{ClusterError, Wish};
use crate::cli::output::print;
use crate::driver::agent::hub::asking;
use crate::driver::agent::hub::membership::Membership;

/// An API server remembers who a token is for 10 s.
const TOKENS_DIE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(200);

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
        let alive = presence.is_alive(asking::look(&admin.client).await?.time);
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
    // A host that sees a site go asks whether that is meant before it ends it, so it must have nothing to ask with.
    powerless(&admin, &namespace).await?;
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

/// Waits until the hub denies the host its sites. Where something else than its own role grants them, its token has died by the end.
async fn powerless(admin: &Admin, namespace: &str) -> Result<(), ClusterError> {
    let reviews: Api<SubjectAccessReview> = Api::all(admin.client.clone());
    let user = format!("system:serviceaccount:{namespace}:{}", hub::ACCOUNT);
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    let asked = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user),
            groups: Some(groups.to_vec()),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some("get".to_owned()),
                group: Some(GROUP.to_owned()),
                resource: Some("bluegreensites".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let deadline = Instant::now() + TOKENS_DIE;
    while Instant::now() < deadline {
        let params = PostParams::default();
        let answer = reviews.create(&params, &asked);
        let may = ("create", "subjectaccessreviews.authorization.k8s.io", None, None);
        match admin.answer(may, answer).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| !status.allowed) => return Ok(()),
            // Who may not ask waits for the tokens.
            Ok(_) | Err(ClusterError::Forbidden(_)) => {}
            Err(error) => return Err(error),
        }
        sleep(LOOK).await;
    }
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
