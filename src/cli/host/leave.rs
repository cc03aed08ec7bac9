//! `bluegreen host leave`: this host takes nothing from its hub any more.
//!
//! A site is never ended by it. What the host runs serves on as it is; whoever forces the leave only lets go of it on the hub, where the objects then can be
//! deleted without this host. `admin` does the same from the other end, for a host that is no more.

pub(super) mod admin;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use tokio::time::sleep;

use super::hub::{client, held, release};
use crate::api::types::HostName;
use crate::cli::cluster::chain;
use crate::cli::output::print;
use crate::driver::agent::config::{AgentConfig, DEFAULT_FILE};
use crate::driver::agent::hub::credentials::Credentials;
use crate::driver::agent::hub::membership::Membership;
use crate::driver::agent::origin::Origin;
use crate::platform::host::store;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The agent hears at once that this host has left; a finalizer that it was about to write may come within this.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// So often finalizers are looked for after that.
const LOOKS: u32 = 3;

/// Leave a hub: without a name this host leaves the one that it has joined; with a name, an admin of the hub ends what that host has there.
///
/// No site is ended by it. On a host from whose hub sites are still here it is refused; with --force it leaves, those sites run on as they are, and on the hub
/// they are let go of, so that they can be deleted there.
///
/// With a name, for a host that is no more: its tokens die, and its sites can be deleted. The namespace and the sites in it stay.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A host that is no more, or is to be shut out. Needs a kubeconfig of the hub.
    name: Option<HostName>,

    /// Leave although sites of the hub are still here; with a name: although it is alive, or has sites.
    #[arg(long)]
    force: bool,

    /// The agent's configuration, which says where its state lies.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE, conflicts_with = "name")]
    config: PathBuf,
}

impl Args {
    /// Whether it is an admin of the hub who asks, for a host.
    pub(super) fn for_another(&self) -> bool {
        self.name.is_some()
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let named = Some(args.config.as_path()).filter(|file| *file != Path::new(DEFAULT_FILE));
    let state = AgentConfig::load(named)?.state_dir;
    let Some(membership) = Membership::load(&state)? else {
        anyhow::bail!("this host has joined no hub: there is no {}", Membership::file(&state).display());
    };
    let here = sites_of_hub(&state, &membership.hub)?;
    let way = way(&state, &membership);
    let there = match &way {
        Ok(client) => within(held(client, &membership.namespace)).await,
        Err(why) => Err(why.clone()),
    };
    if !args.force {
        refuse_with_sites(&membership, &here, &there)?;
    }
    // The token goes last: without hub.yaml nobody reads it.
    store::remove(&Membership::file(&state))?;
    let let_go = match &way {
        Ok(client) => let_go(client, &membership.namespace).await,
        Err(why) => Err(why.clone()),
    };
    store::remove(&Membership::token_file(&state))?;
    store::remove(&Membership::folder(&state).join("token.joining"))?;
    print(&told(&membership, &here, &let_go))?;
    Ok(())
}

/// The way to the hub, with what is left of this host's credentials.
fn way(state: &Path, membership: &Membership) -> Result<Client, String> {
    let credentials = Credentials::open(state, membership).map_err(|error| error.to_string())?;
    client(&membership.server, &membership.certificate_authority, credentials.token())
        .map_err(|error| error.to_string())
}

fn refuse_with_sites(
    membership: &Membership,
    here: &[String],
    there: &Result<Vec<String>, String>,
) -> anyhow::Result<()> {
    let mut all = here.to_vec();
    all.extend(there.iter().flatten().cloned());
    all.sort();
    all.dedup();
    if all.is_empty() {
        return Ok(());
    }
    anyhow::bail!(
        "these sites of the hub {} are on this host: {}. To end them, delete them there (kubectl -n {} delete bluegreensite NAME) and run this again when \
         `bluegreen get` shows them no more. To leave and let them run on as they are, run this with --force",
        membership.server,
        all.join(", "),
        membership.namespace
    )
}

/// Takes this host's finalizer off all its sites. Returns which.
async fn let_go(client: &Client, namespace: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for look in 0..LOOKS {
        if look > 0 {
            sleep(LAST_WRITES).await;
        }
        for name in within(held(client, namespace)).await? {
            within(release(client, namespace, &name)).await?;
            all.push(name);
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}

async fn within<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(answer) => answer.map_err(|error| chain(&error)),
        Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}

fn told(membership: &Membership, here: &[String], let_go: &Result<Vec<String>, String>) -> String {
    let mut text = format!("left {}, where this host was {}\n", membership.server, membership.host);
    if !here.is_empty() {
        text.push_str(&format!(
            "these sites run on as they are: {}. Whoever wants to change or end one does it on this host: bluegreen apply, bluegreen delete\n",
            here.join(", ")
        ));
    }
    match let_go {
        Ok(sites) if sites.is_empty() => {}
        Ok(sites) => text.push_str(&format!("on the hub these can be deleted without this host: {}\n", sites.join(", "))),
        Err(why) => text.push_str(&format!(
            "the hub could not be told ({why}): what carries this host's finalizer there can't be deleted until an admin runs: \
             bluegreen host leave {} --force\n",
            membership.host
        )),
    }
    text.push_str(&format!(
        "this host's token is deleted here; so that it is worth nothing to whoever has a copy, an admin of the hub runs: bluegreen host leave {} --force\n",
        membership.host
    ));
    text
}

/// The sites on this host that come from this hub, whether or not the agent runs.
pub(super) fn sites_of_hub(state: &Path, hub: &str) -> anyhow::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Accepted {
        #[serde(default)]
        origin: Origin,
    }
    let folders = match std::fs::read_dir(state.join("sites")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        folders => folders?,
    };
    let mut names = Vec::new();
    for folder in folders {
        let folder = folder?;
        let accepted: Option<Accepted> = store::read(&folder.path().join("accepted.json"), store::LIMIT)?;
        if accepted.is_some_and(|accepted| matches!(accepted.origin, Origin::Hub { hub: from, .. } if from == hub)) {
            names.push(folder.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_from_a_hub_holds_a_host_there() {
        let state = tempfile::tempdir().unwrap();
        assert!(sites_of_hub(state.path(), "h").unwrap().is_empty());
        for (site, origin) in [
            ("shop", r#","origin":{"hub":{"hub":"h","uid":"u","generation":3,"version":"7"}}"#),
            ("old", r#","origin":{"hub":{"hub":"another","uid":"u","generation":3,"version":"7"}}"#),
            ("blog", ""),
            ("wiki", r#","origin":{"git":{"commit":"c"}}"#),
        ] {
            let folder = state.path().join("sites").join(site);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("accepted.json"), format!(r#"{{"manifest":"m"{origin}}}"#)).unwrap();
        }
        std::fs::create_dir_all(state.path().join("sites/empty")).unwrap();
        assert_eq!(sites_of_hub(state.path(), "h").unwrap(), ["shop"]);
    }
}
