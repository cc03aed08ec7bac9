//! `bluegreen describe`: everything about a site.

use jiff::Timestamp;

use super::output::print;
use super::view::Site;
use super::{bare, explain, render};
use crate::control::client::Client;

/// Show everything about sites.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these.
    names: Vec<String>,
}

pub(super) async fn run(client: Client, args: Args) -> anyhow::Result<()> {
    let views = if args.names.is_empty() {
        client.list().await?.items
    } else {
        let mut views = Vec::new();
        for name in &args.names {
            match client.site(bare(name)).await {
                Ok(view) => views.push(view),
                Err(error) => return Err(explain(&client, bare(name), error).await),
            }
        }
        views
    };
    let mut pages = Vec::new();
    for view in views {
        let site = Site::try_from(view)?;
        let history = client.history(&site.name).await?;
        pages.push(render::describe::describe(&site, &history, Timestamp::now()));
    }
    print(&pages.join("\n\n"))?;
    Ok(())
}
