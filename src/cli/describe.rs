//! `bluegreen describe`: everything about a site.

use jiff::Timestamp;

use super::output::print;
use super::source::Source;
use super::view::{self, Site};
use super::{bare, explain, render};

/// Show everything about sites.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these.
    names: Vec<String>,
}

pub(super) async fn run(source: Source, args: Args) -> anyhow::Result<()> {
    let mut names: Vec<String> = args.names.iter().map(|name| bare(name).to_owned()).collect();
    if names.is_empty() {
        // A list tells less of each than a look at it does.
        names = source.list().await?.iter().map(view::name).collect();
    }
    let mut views = Vec::new();
    for name in &names {
        match source.site(name).await {
            Ok(view) => views.push(view),
            Err(error) => return Err(explain(&source, name, error).await),
        }
    }
    let mut pages = Vec::new();
    for view in views {
        let site = Site::try_from(view)?;
        let history = source.history(&site.name).await?;
        pages.push(render::describe::describe(&site, &history, &source.hint("history"), Timestamp::now()));
    }
    print(&pages.join("\n\n"))?;
    Ok(())
}
