//! `bluegreen history`: what happened to a site.

use jiff::Timestamp;

use super::output::print;
use super::{bare, explain, render};
use crate::control::client::Client;

/// Show what happened to a site, oldest first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site.
    name: String,

    /// As data.
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

/// As data.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Output {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

pub(super) async fn run(client: Client, args: Args) -> anyhow::Result<()> {
    let name = bare(&args.name);
    let history = match client.history(name).await {
        Ok(history) => history,
        Err(error) => return Err(explain(&client, name, error).await),
    };
    let text = match args.output {
        None => render::table::history(&history, Timestamp::now()),
        Some(Output::Json) => serde_json::to_string_pretty(&history)?,
        Some(Output::Yaml) => serde_saphyr::to_string(&history)?,
    };
    print(&text)?;
    Ok(())
}
