//! `bluegreen history`: what happened to a site.

use jiff::Timestamp;

use super::output::print;
use super::source::Source;
use super::{bare, explain, render};

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

pub(super) async fn run(source: Source, args: Args) -> anyhow::Result<()> {
    let name = bare(&args.name);
    let history = match source.history(name).await {
        Ok(history) => history,
        Err(error) => return Err(explain(&source, name, error).await),
    };
    let text = match args.output {
        None => render::table::history(&history, Timestamp::now()),
        Some(Output::Json) => serde_json::to_string_pretty(&history)?,
        Some(Output::Yaml) => serde_saphyr::to_string(&history)?,
    };
    print(&text)?;
    Ok(())
}
