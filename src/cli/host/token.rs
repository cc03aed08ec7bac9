//! `bluegreen host token`: makes what a host has on its hub, and a token to join with.
//!
//! The token is bound to a Secret that holds nothing and that joining deletes: the API server then knows the token no more, within some ten seconds. There is
//! one such Secret at a time, so that a newer token ends an older one, and the right to delete it can be given by name.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::Value;

use super::hub::{Admin, SITES, pem};
use super::objects;
use super::ticket::Ticket;
use crate::api::names::{cluster, hub};
use crate::api::span;
use crate::api::spec::BlueGreenSite;
use crate::api::types::HostName;
use crate::cli::cluster::{ClusterError, Wish, chain};
use crate::cli::output::{complain, print};
use crate::driver::agent::hub::asking::{self, AskError};
use crate::driver::agent::hub::bearer::Bearer;
use crate::driver::agent::hub::membership::Membership;

/// The API server grants no shorter one, and a longer one is not what a token is that somebody carries from one window into another.
const VALID: std::ops::RangeInclusive<Duration> = Duration::from_secs(600)..=Duration::from_secs(24 * 3600);

/// Make what a host has on its hub, and a token that it joins with once.
///
/// It makes the namespace bluegreen-host-NAME and in it two service accounts with their roles, and prints a line to run on the host. An earlier token for the
/// same host is of no use from then on. A host that has joined goes on: run it again to let it join anew.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host's name: of your choice, and different from any other host's.
    name: HostName,

    /// How long the token may be used, from 10m to 24h.
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = valid)]
    valid: Duration,

    /// Where the host reaches the API server, if not where the kubeconfig says.
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    /// What the API server's certificate is judged by there, if not by what the kubeconfig says: a file in PEM form.
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,

    /// Print the token alone, for a pipe: … | ssh root@HOST bluegreen host join --token-file -
    #[arg(long)]
    only_token: bool,
}

fn valid(text: &str) -> Result<Duration, String> {
    let valid = span::parse(text).map_err(|error| error.to_string())?;
    if VALID.contains(&valid) {
        return Ok(valid);
    }
    Err(format!("{text} is not from {} to {}", span::format(*VALID.start()), span::format(*VALID.end())))
}

pub(super) async fn run(wish: Wish, args: Args) -> anyhow::Result<()> {
    let admin = Admin::of(&wish).await?;
    let (server, certificate_authority) = place(&admin, &args)?;
    // Before anything is made.
    asking::config(&server, &certificate_authority)?;
    let namespace = Membership::namespace_of(&args.name);
    for object in objects::all(&args.name) {
        apply(&admin, &object).await?;
    }
    knows_sites(&admin, &namespace).await?;
    let namespaces: Api<Namespace> = Api::all(admin.client.clone());
    let made = admin.answer(("get", "namespaces", Some(&namespace), None), namespaces.get(&namespace)).await?;
    let token = token(&admin, &args.name, args.valid).await?;
    let hub = made.metadata.uid.context("the API server gave the namespace no uid")?;
    let expires = token.claims().expires;
    let ticket = Ticket { server, certificate_authority, host: args.name.clone(), hub, token };
    let word = ticket.write()?;
    if args.only_token {
        print(&word)?;
        return Ok(());
    }
    if is_loopback(&ticket.server) {
        complain(&format!(
            "warning: {} is this machine's own address: if the host is another one, name where it reaches the API server with --server",
            ticket.server
        ));
    }
    complain(&format!(
        "# Run this as root on the host, once, until {}. Who has this line can join in its place: show it to nobody.",
        shown(expires)
    ));
    // A shell's own `echo` is no process, so the token stands in no list of processes.
    print(&format!("echo {word} | bluegreen host join --token-file -"))?;
    Ok(())
}

fn shown(time: Timestamp) -> String {
    format!("{time:.0}")
}

fn is_loopback(server: &str) -> bool {
    let host = server.parse::<http::Uri>().ok().and_then(|url| url.host().map(ToOwned::to_owned)).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Where the host reaches the hub, and how it judges its certificate.
fn place(admin: &Admin, args: &Args) -> anyhow::Result<(String, String)> {
    let server = args.server.clone().unwrap_or_else(|| admin.server());
    let server = server.trim_end_matches('/').to_owned();
    if let Some(file) = &args.certificate_authority {
        let text = std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
        return Ok((server, text));
    }
    let way = &admin.way;
    if way.accept_invalid_certs {
        anyhow::bail!(
            "the kubeconfig accepts any certificate (insecure-skip-tls-verify), which a host never does: name what the API server's certificate is \
             judged by with --certificate-authority FILE"
        );
    }
    let file = way.root_cert_file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    match (&way.root_cert, file) {
        (Some(certificates), _) if !certificates.is_empty() => Ok((server, pem(certificates))),
        (_, Some(text)) => Ok((server, text)),
        _ => anyhow::bail!(
            "the kubeconfig does not say what the API server's certificate is judged by (certificate-authority-data), and a host trusts no other: name it \
             with --certificate-authority FILE; for a certificate of a public authority, that authority's own, as in /etc/ssl/certs/ISRG_Root_X1.pem"
        ),
    }
}

/// Server-side apply: what is there already stays, and is put right.
async fn apply(admin: &Admin, object: &Value) -> Result<(), ClusterError> {
    let object: DynamicObject =
        serde_json::from_value(object.clone()).map_err(|error| ClusterError::Nonsense(error.to_string()))?;
    let types = object.types.clone().unwrap_or_default();
    let kind = GroupVersionKind::try_from(&types).map_err(|error| ClusterError::Nonsense(error.to_string()))?;
    let resource = ApiResource::from_gvk(&kind);
    let name = object.metadata.name.clone().unwrap_or_default();
    let namespace = object.metadata.namespace.clone();
    let api: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(admin.client.clone(), namespace, &resource),
        None => Api::all_with(admin.client.clone(), &resource),
    };
    let called =
        if kind.group.is_empty() { resource.plural.clone() } else { format!("{}.{}", resource.plural, kind.group) };
    let parameters = PatchParams::apply(cluster::MANAGER).force();
    let patch = Patch::Apply(&object);
    let asked = ("patch", called.as_str(), Some(name.as_str()), namespace.as_deref());
    admin.answer(asked, api.patch(&name, &parameters, &patch)).await?;
    Ok(())
}

/// A hub that does not know what a site is is none yet.
async fn knows_sites(admin: &Admin, namespace: &str) -> Result<(), ClusterError> {
    let sites: Api<BlueGreenSite> = Api::namespaced(admin.client.clone(), namespace);
    let one = ListParams::default().limit(1);
    admin.answer(("list", SITES, None, Some(namespace)), sites.list_metadata(&one)).await?;
    Ok(())
}

/// A token to join with, in the place of any earlier one.
async fn token(admin: &Admin, host: &HostName, valid: Duration) -> anyhow::Result<Bearer> {
    let namespace = Membership::namespace_of(host);
    let secrets: Api<Secret> = Api::namespaced(admin.client.clone(), &namespace);
    let wanted: Secret = serde_json::from_value(objects::secret(host))?;
    let asked = |verb| (verb, "secrets", Some(hub::JOIN), Some(namespace.as_str()));
    let gone = async {
        match secrets.delete(hub::JOIN, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(|_| ()),
        }
    };
    admin.answer(asked("delete"), gone).await?;
    let made = admin.answer(asked("create"), secrets.create(&PostParams::default(), &wanted)).await?;
    let uid = made.metadata.uid.context("the API server gave the Secret no uid")?;
    let bound = Some((hub::JOIN, uid.as_str()));
    asking::request(&admin.client, &namespace, hub::JOIN, valid, bound).await.map_err(|error| match error {
        AskError::Api(error) => anyhow::anyhow!(
            "no token to join with could be made: {}; that needs the right to create serviceaccounts/token in {namespace}",
            chain(error.as_ref())
        ),
        other => anyhow::anyhow!("no token to join with could be made: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_to_join_with_is_valid_from_ten_minutes_to_a_day() {
        for (text, right) in
            [("10m", true), ("1h", true), ("24h", true), ("9m59s", false), ("25h", false), ("soon", false)]
        {
            assert_eq!(valid(text).is_ok(), right, "{text}");
        }
    }

    #[test]
    fn an_address_that_only_this_machine_reaches_is_told() {
        for (server, own) in [
            ("https://127.0.0.1:6443", true),
            ("https://localhost:6443", true),
            ("https://[::1]:6443", true),
            ("https://hub.example", false),
            ("https://192.0.2.1", false),
        ] {
            assert_eq!(is_loopback(server), own, "{server}");
        }
    }
}
