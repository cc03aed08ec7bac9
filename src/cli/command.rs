//! `approve`, `abort`, `retry`, `rollback`, `pause`, `resume`, `restart`: what a person asks of a rollout. A command names the attempt that the
//! person saw, so it never hits another one that took its place in the meantime.

use std::time::{SystemTime, UNIX_EPOCH};

use super::output::print;
use super::source::Source;
use super::view::{Site, by_prefix};
use super::{bare, explain, full};
use crate::control::api::{CommandRequest, Order, Outcome};
use crate::rollout::Revision;

/// What every command but `rollback` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site.
    name: String,

    /// Only if it is about this revision; the first digits are enough.
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
}

/// Leave the live revision and go back to one that was live before.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The site.
    name: String,

    /// Where to; the first digits are enough. Default: the revision that was live before.
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,
}

/// The commands without an argument of their own.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Let the candidate go live.
    Approve,
    /// Give up the candidate.
    Abort,
    /// Try a rejected revision again.
    Retry,
    /// Hold.
    Pause,
    /// Go on.
    Resume,
    /// The same release once more.
    Restart,
}

pub(super) async fn run(source: Source, kind: Kind, args: Args) -> anyhow::Result<()> {
    let site = look(&source, bare(&args.name)).await?;
    let order = match kind {
        Kind::Approve => Order::Approve,
        Kind::Abort => Order::Abort,
        Kind::Retry => Order::Retry,
        Kind::Pause => Order::Pause,
        Kind::Resume => Order::Resume,
        Kind::Restart => Order::Restart,
    };
    give(&source, &site, order, args.revision.as_deref()).await
}

pub(super) async fn rollback(source: Source, args: RollbackArgs) -> anyhow::Result<()> {
    let site = look(&source, bare(&args.name)).await?;
    let to = match &args.to {
        Some(prefix) => by_prefix(prefix, &site.were_live())?,
        None => last_way_back(&source, &site).await?,
    };
    give(&source, &site, Order::Rollback { to }, None).await
}

async fn look(source: &Source, name: &str) -> anyhow::Result<Site> {
    match source.site(name).await {
        Ok(view) => Ok(Site::try_from(view)?),
        Err(error) => Err(explain(source, name, error).await),
    }
}

/// The warm one if there is one; otherwise the one that was live last before this one.
async fn last_way_back(source: &Source, site: &Site) -> anyhow::Result<Revision> {
    let ways = site.ways_back();
    if let Some(standby) = site.status.standby.as_ref().filter(|standby| ways.contains(&standby.revision)) {
        return Ok(standby.revision);
    }
    if let [only] = ways.as_slice() {
        return Ok(*only);
    }
    let history = source.history(&site.name).await?;
    let last = history.items.iter().rev().filter_map(|event| event.revision).find(|revision| ways.contains(revision));
    last.ok_or_else(|| {
        let instead = match site.attempts.candidate {
            Some(candidate) => format!(
                "{} is on its way and can still be given up: {}",
                candidate.revision.short(),
                source.hint(&format!("abort {}", site.name))
            ),
            None => "apply a manifest with an earlier release instead".to_owned(),
        };
        anyhow::anyhow!(
            "{} has nowhere to go back to: no other revision was live and passed its watch; {instead}",
            site.name
        )
    })
}

async fn give(source: &Source, site: &Site, order: Order, only: Option<&str>) -> anyhow::Result<()> {
    let Some(about) = site.attempts.of(&order) else {
        anyhow::bail!("there is nothing to {} at {}: {}", order.name(), site.name, site.message());
    };
    if let Some(prefix) = only {
        let meant = by_prefix(prefix, &site.revisions())?;
        if meant != about.revision {
            anyhow::bail!(
                "{} would be about {} now, not about {}: nothing was done",
                order.name(),
                about.revision.short(),
                meant.short()
            );
        }
    }
    let request = CommandRequest { order, about, id: id() };
    let answer = source.command(site, &request).await?;
    let line = format!("{} {}: {}", full(&site.name), request.order.name(), answer.message);
    match answer.outcome {
        Outcome::Obeyed | Outcome::Waiting => Ok(print(&line)?),
        Outcome::Ignored => anyhow::bail!("{line}; look at {}", source.hint(&format!("describe {}", site.name))),
    }
}

/// Tells this command from every other.
fn id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", now.as_nanos(), std::process::id())
}
