//! `bluegreen delete`: makes sites go away.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::apply::read;
use super::output::print;
use super::source::Source;
use super::{bare, explain, full};
use crate::api::{parse, span};

/// Make sites go away: on a machine the route first, then what is in flight, then what runs; on a cluster all that belongs to them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sites.
    #[arg(required_unless_present = "files")]
    names: Vec<String>,

    /// The sites of these manifests; '-' reads one from the standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Stay until they are gone.
    #[arg(long, default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    wait: bool,

    /// How long to stay at most, as in 90s. 0s: as long as it takes.
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = super::apply::span)]
    timeout: Duration,

    /// A site that isn't there is no error.
    #[arg(long)]
    ignore_not_found: bool,
}

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run(source: Source, args: Args) -> anyhow::Result<()> {
    let mut sites: Vec<(Source, String)> =
        args.names.iter().map(|name| (source.clone(), bare(name).to_owned())).collect();
    for file in &args.files {
        let (object, site) = parse::manifest(&read(file)?)?;
        sites.push((source.within(object.metadata.namespace.as_deref())?, site.name.to_string()));
    }
    let mut begun = Vec::new();
    for (source, name) in &sites {
        match source.delete(name).await {
            Ok(uid) => begun.push((source, name, uid)),
            Err(error) if error.is_not_found() && args.ignore_not_found => {}
            Err(error) => return Err(explain(source, name, error).await),
        }
    }
    let deadline = (!args.timeout.is_zero()).then(|| Instant::now() + args.timeout);
    for (source, name, uid) in begun {
        if args.wait {
            gone(source, name, uid.as_deref(), args.timeout, deadline).await?;
        }
        print(&format!("{} deleted", full(name)))?;
    }
    Ok(())
}

async fn gone(
    source: &Source,
    name: &str,
    uid: Option<&str>,
    limit: Duration,
    deadline: Option<Instant>,
) -> anyhow::Result<()> {
    while source.exists(name, uid).await? {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            anyhow::bail!(
                "{name} is not gone after {}; its deletion goes on: {}",
                span::format(limit),
                source.hint(&format!("get {name} -w"))
            );
        }
        sleep(LOOK).await;
    }
    Ok(())
}
