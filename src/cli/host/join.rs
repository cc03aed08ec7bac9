//! `bluegreen host join`: trades the token to join with for the host's own, and ends it.
//!
//! What makes a token good for once is one delete: whoever deletes the Secret that it is bound to, by its uid, has joined, and everybody else throws away what
//! was traded. Only then is anything written that counts. A crash in between leaves nothing that is used: ask for another token.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DeleteParams, Preconditions};
use tokio::time::{Instant, sleep};

use super::hub::{Presence, client};
use super::leave::sites_of_hub;
use super::ticket::{self, Ticket};
use crate::api::names::hub;
use crate::cli::apply::shown;
use crate::cli::cluster::chain;
use crate::cli::output::{complain, print};
use crate::driver::agent::config::{AgentConfig, DEFAULT_FILE};
use crate::driver::agent::hub::asking::{self, AskError};
use crate::driver::agent::hub::bearer::Bearer;
use crate::driver::agent::hub::connection;
use crate::driver::agent::hub::credentials::{self, LIFETIME};
use crate::driver::agent::hub::machine;
use crate::driver::agent::hub::membership::{Membership, private_folder};
use crate::platform::host::store;

/// A host renews its Lease every ten seconds: one that is silent for so long is not there.
const SILENT: Duration = Duration::from_secs(25);
/// Roles that were made a moment ago count after so long at the latest.
const SETTLED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Join a hub: this host's agent takes sites from there, besides those of its own folder. Run it as root.
///
/// The agent need not be restarted. What sites from a hub may do on this host stands under `allow:` in the agent's configuration; without it none is
/// accepted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What `bluegreen host token` printed: a file, or '-' for the standard input.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,

    /// Join although this host has joined under another name or another hub, or another machine is there under this name.
    #[arg(long)]
    force: bool,

    /// The agent's configuration, which says where its state lies.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let named = Some(args.config.as_path()).filter(|file| *file != Path::new(DEFAULT_FILE));
    let state = AgentConfig::load(named)?.state_dir;
    let ticket = Ticket::read(&read(&args.token_file)?)?;
    if !args.force {
        let before = Membership::load(&state)?;
        let sites = before.as_ref().map(|before| sites_of_hub(&state, &before.hub)).transpose()?;
        may_join(before.as_ref(), &ticket, &sites.unwrap_or_default())?;
    }
    let machine = machine::boot()?;
    let joining = prepare(&state)?;

    let namespace = Membership::namespace_of(&ticket.host);
    let joiner = client(&ticket.server, &ticket.certificate_authority, &ticket.token)?;
    let own = trade(&joiner, &ticket, &namespace).await?;
    let host = client(&ticket.server, &ticket.certificate_authority, &own)?;
    if !args.force {
        alone(&host, &ticket, &namespace, &machine).await?;
    }
    credentials::write(&joining, &own)?;
    if let Err(error) = redeem(&joiner, &ticket, &namespace).await {
        store::remove(&joining)?;
        return Err(error);
    }
    let membership = Membership {
        server: ticket.server.clone(),
        certificate_authority: ticket.certificate_authority.clone(),
        host: ticket.host.clone(),
        namespace: namespace.clone(),
        hub: ticket.hub.clone(),
        since: Timestamp::now(),
    };
    settle(&joining, &state, &membership).with_context(|| {
        format!("this host has joined, but that could not be written down, and the token is used up: make room, and ask for another one with `bluegreen host token {}`", ticket.host)
    })?;
    print(&format!("joined {} as {}: sites of the namespace {namespace} are this host's", ticket.server, ticket.host))?;
    complain(&format!(
        "# This host's token lasts until {:.0} and is renewed by the agent. What sites from there may do here stands under `allow:` in {}.",
        own.claims().expires,
        args.config.display()
    ));
    Ok(())
}

/// The word, from a file or the standard input.
fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let limit = ticket::LIMIT as u64;
    let done = if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(limit).read_to_string(&mut text))
    };
    done.with_context(|| format!("{} can't be read", shown(file)))?;
    Ok(text)
}

/// Whether a host that may have joined before may join so.
fn may_join(before: Option<&Membership>, ticket: &Ticket, sites: &[String]) -> anyhow::Result<()> {
    let Some(before) = before else { return Ok(()) };
    if before.host == ticket.host && before.hub == ticket.hub {
        return Ok(());
    }
    let what = if before.host == ticket.host { "another hub under that name" } else { "a hub under another name" };
    let sites = match sites {
        [] => String::new(),
        sites => format!(", and these sites of it are here: {}", sites.join(", ")),
    };
    anyhow::bail!(
        "this host has joined {what}, since {:.0}: {} as {}{sites}. Leave it first with `bluegreen host leave`, or join with --force: its sites run on here, \
         and nobody there hears of this host again. The token that you have is not used up",
        before.since,
        before.server,
        before.host
    )
}

/// Makes sure that a token can be written before one is traded. Returns where it is written until it counts.
fn prepare(state: &Path) -> anyhow::Result<PathBuf> {
    let folder = Membership::folder(state);
    let ready = || -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(state)?;
        private_folder(&folder)?;
        let joining = folder.join("token.joining");
        store::write_bytes(&joining, b"", 0o600)?;
        Ok(joining)
    };
    ready().with_context(|| format!("this host's token can't be kept in {}: run this as root", folder.display()))
}

/// Trades the token to join with for one of the host.
async fn trade(joiner: &Client, ticket: &Ticket, namespace: &str) -> anyhow::Result<Bearer> {
    let deadline = Instant::now() + SETTLED;
    loop {
        match asking::request(joiner, namespace, hub::ACCOUNT, LIFETIME, None).await {
            Ok(token) => return Ok(token),
            Err(AskError::Api(error)) if code(&error) == Some(403) && Instant::now() < deadline => sleep(LOOK).await,
            Err(error) if error.is_unauthorized() => return Err(used(joiner, ticket).await),
            Err(AskError::Api(error)) if code(&error).is_none() => {
                let why = chain(error.as_ref());
                anyhow::bail!(
                    "the hub at {} does not answer as itself: {}. The token is not used up: mend the way there (only outgoing HTTPS is needed), and run this again",
                    ticket.server,
                    connection::dates(&why).unwrap_or(why)
                )
            }
            Err(error) => anyhow::bail!("the hub at {} gives this host no token: {error}", ticket.server),
        }
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    if let kube::Error::Api(status) = error { Some(status.code) } else { None }
}

/// Why the hub knows the token no more.
async fn used(joiner: &Client, ticket: &Ticket) -> anyhow::Error {
    let again = format!("ask for another one with `bluegreen host token {}`", ticket.host);
    let now = asking::look(joiner).await.map_or_else(|_| Timestamp::now(), |seen| seen.time);
    let expires = ticket.token.claims().expires;
    if now >= expires {
        return anyhow::anyhow!(
            "this token could be used until {expires:.0}, and the hub's clock shows {now:.0}: {again}"
        );
    }
    anyhow::anyhow!(
        "this token was used already, or replaced by a newer one: {again}. If it was not you who used it, somebody else has joined in this host's place: end \
         whatever they hold with `bluegreen host leave {} --force --context …`, then {again}",
        ticket.host
    )
}

/// Whether no other machine is there under this name.
async fn alone(host: &Client, ticket: &Ticket, namespace: &str, machine: &str) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(host.clone(), namespace);
    let look = async || -> anyhow::Result<Option<Presence>> {
        let answer = tokio::time::timeout(ANSWER_WITHIN, leases.get_opt(hub::LEASE)).await;
        let lease = answer.context("the hub does not answer")?.context("the hub does not show this host's Lease")?;
        Ok(lease.as_ref().map(Presence::of))
    };
    let Some(first) = look().await? else { return Ok(()) };
    let Some(holder) = first.holder.clone().filter(|holder| !holder.starts_with(machine)) else { return Ok(()) };
    if !first.is_alive(asking::look(host).await?.time) {
        return Ok(());
    }
    complain(&format!(
        "# Another machine ({holder}) was there as {} a moment ago: waiting whether it still is.",
        ticket.host
    ));
    let deadline = Instant::now() + SILENT;
    while Instant::now() < deadline {
        sleep(LOOK).await;
        let Some(now) = look().await? else { return Ok(()) };
        if now.holder.as_deref() == Some(&holder) && now.version != first.version {
            anyhow::bail!(
                "another machine ({holder}) is there as {} and alive. Give this host another name, or stop that one (`bluegreen host leave` there) and run \
                 this again; the token is not used up. With --force this machine joins all the same, and takes over once the other one is silent",
                ticket.host
            );
        }
    }
    Ok(())
}

/// Deletes the Secret that the token to join with is bound to. Only one machine can, once.
async fn redeem(joiner: &Client, ticket: &Ticket, namespace: &str) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(joiner.clone(), namespace);
    let uid = ticket.token.claims().secret.as_ref().map(|secret| secret.uid.clone());
    let this_one =
        DeleteParams { preconditions: Some(Preconditions { uid, resource_version: None }), ..DeleteParams::default() };
    let answer = tokio::time::timeout(ANSWER_WITHIN, secrets.delete(hub::JOIN, &this_one)).await;
    match answer.context("the hub does not answer; this host has not joined: run this again")? {
        Ok(_) => Ok(()),
        Err(error) => match code(&error) {
            // Gone, another one, or a token that died with it.
            Some(401 | 404 | 409) => Err(used(joiner, ticket).await),
            _ => Err(anyhow::anyhow!(
                "the token could not be ended, so this host has not joined: {}; run this again",
                chain(&error)
            )),
        },
    }
}

/// Lets the token count, and says so last of all: the agent looks when `hub.yaml` appears.
fn settle(joining: &Path, state: &Path, membership: &Membership) -> anyhow::Result<()> {
    let token = Membership::token_file(state);
    std::fs::rename(joining, &token).with_context(|| format!("{} could not be written", token.display()))?;
    Ok(membership.save(state)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::driver::agent::hub::bearer::Bearer;

    fn ticket(host: &str, hub: &str) -> Ticket {
        let claims = "eyJpYXQiOjEsImV4cCI6Miwia3ViZXJuZXRlcy5pbyI6eyJuYW1lc3BhY2UiOiJuIiwic2VydmljZWFjY291bnQiOnsibmFtZSI6ImEiLCJ1aWQiOiJ1In19fQ";
        Ticket {
            server: "https://hub.example".to_owned(),
            certificate_authority: String::new(),
            host: host.parse().unwrap(),
            hub: hub.to_owned(),
            token: Bearer::parse(&format!("e30.{claims}.e30")).unwrap(),
        }
    }

    fn member(host: &str, hub: &str) -> Membership {
        Membership {
            server: "https://hub.example".to_owned(),
            certificate_authority: String::new(),
            host: host.parse().unwrap(),
            namespace: format!("bluegreen-host-{host}"),
            hub: hub.to_owned(),
            since: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_host_joins_anew_under_its_name_and_not_under_another_or_elsewhere() {
        let sites = ["shop".to_owned()];
        may_join(None, &ticket("a", "1"), &sites).unwrap();
        may_join(Some(&member("a", "1")), &ticket("a", "1"), &sites).unwrap();
        for (host, hub) in [("b", "1"), ("a", "2")] {
            let said = may_join(Some(&member("a", "1")), &ticket(host, hub), &sites).unwrap_err().to_string();
            assert!(said.contains("shop") && said.contains("host leave") && said.contains("--force"), "{said}");
        }
    }

    #[test]
    fn what_a_join_needs_is_there_for_root_alone_before_anything_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let joining = prepare(&state).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&Membership::folder(&state)), mode(&joining)), (0o700, 0o600));
        settle(&joining, &state, &member("a", "1")).unwrap();
        assert!(!joining.exists() && Membership::load(&state).unwrap().is_some());
        assert_eq!(mode(&Membership::token_file(&state)), 0o600);
    }
}
