//! `bluegreen delete`: makes sites go away.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::apply::read;
use super::output::print;
use super::{bare, explain, full};
use crate::api::{parse, span};
use crate::control::client::{Client, ClientError};

/// Make sites go away: the route first, then what is in flight, then what runs.
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

pub(super) async fn run(client: Client, args: Args) -> anyhow::Result<()> {
    let mut names: Vec<String> = args.names.iter().map(|name| bare(name).to_owned()).collect();
    for file in &args.files {
        let (_, site) = parse::manifest(&read(file)?)?;
        names.push(site.name.to_string());
    }
    let mut begun = Vec::new();
    for name in &names {
        match client.delete(name).await {
            Ok(_) => begun.push(name),
            Err(ClientError::Refused(failure)) if failure.code == 404 && args.ignore_not_found => {}
            Err(error) => return Err(explain(&client, name, error).await),
        }
    }
    let deadline = (!args.timeout.is_zero()).then(|| Instant::now() + args.timeout);
    for name in begun {
        if args.wait {
            gone(&client, name, args.timeout, deadline).await?;
        }
        print(&format!("{} deleted", full(name)))?;
    }
    Ok(())
}

async fn gone(client: &Client, name: &str, limit: Duration, deadline: Option<Instant>) -> anyhow::Result<()> {
    loop {
        match client.site(name).await {
            Err(ClientError::Refused(failure)) if failure.code == 404 => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            anyhow::bail!(
                "{name} is not gone after {}; its deletion goes on: bluegreen get {name} -w",
                span::format(limit)
            );
        }
        sleep(LOOK).await;
    }
}
