//! `bluegreen logs`: what the instances of a colour print.

use std::time::Duration;

use tokio::time::sleep;

use super::cluster;
use super::output::print;
use super::source::Source;
use super::{bare, explain};
use crate::control::api::LogsQuery;
use crate::control::client::Client;
use crate::rollout::Colour;

/// Show what the instances of a colour printed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site.
    name: String,

    /// Of this colour; default: the live one.
    #[arg(long, alias = "color", value_parser = colour, value_name = "blue|green")]
    colour: Option<Colour>,

    /// Of this instance: on a machine counted from 0, on a cluster a pod's name or the end of it; default: of each.
    #[arg(long, alias = "pod", value_name = "N|POD")]
    instance: Option<String>,

    /// On a cluster: of this container; default: the one that the pod names, or its first.
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,

    /// At most so many of the last lines of each.
    #[arg(long = "tail", value_name = "LINES", default_value_t = 100)]
    lines: usize,

    /// Go on with what they print from now on.
    #[arg(short, long)]
    follow: bool,
}

fn colour(text: &str) -> Result<Colour, String> {
    let colour = Colour::BOTH.into_iter().find(|colour| colour.name() == text);
    colour.ok_or_else(|| "a colour is blue or green".to_owned())
}

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(300);
/// So many lines are asked for while following: more in one look are lost.
const WINDOW: usize = 1000;

pub(super) async fn run(source: Source, args: Args) -> anyhow::Result<()> {
    let name = bare(&args.name);
    let cluster = match &source {
        Source::Host(client) => return of_agent(&source, client, args).await,
        Source::Cluster(cluster) => cluster,
    };
    let wanted = cluster::logs::Wanted {
        colour: args.colour,
        pod: args.instance,
        container: args.container,
        lines: args.lines,
        follow: args.follow,
    };
    match cluster::logs::run(cluster, name, &wanted).await {
        Err(error) => match error.downcast::<cluster::ClusterError>() {
            Ok(error) => Err(explain(&source, name, error.into()).await),
            Err(error) => Err(error),
        },
        done => done,
    }
}

async fn of_agent(source: &Source, client: &Client, args: Args) -> anyhow::Result<()> {
    let name = bare(&args.name);
    if args.container.is_some() {
        anyhow::bail!("an instance of a machine has no containers: leave out --container");
    }
    let instance = args.instance.as_deref().map(|number| number.parse::<u16>());
    let Ok(instance) = instance.transpose() else {
        anyhow::bail!("--instance: on a machine instances are counted from 0: 0, 1, …");
    };
    let mut query =
        LogsQuery { colour: args.colour, instance, lines: Some(if args.follow { WINDOW } else { args.lines }) };
    let first = match client.logs(name, &query).await {
        Ok(logs) => logs,
        Err(error) => return Err(explain(source, name, error.into()).await),
    };
    // Whose lines they are is only a question when there are several.
    let prefixed = first.items.len() > 1;
    let label = |colour: Colour, instance: u16| {
        if prefixed { format!("[{colour}.{instance}] ") } else { String::new() }
    };
    let mut text = String::new();
    for log in &first.items {
        let skipped = log.lines.len().saturating_sub(args.lines);
        for line in &log.lines[skipped..] {
            text += &format!("{}{line}\n", label(log.colour, log.instance));
        }
    }
    print(&text)?;
    if !args.follow {
        return Ok(());
    }
    // A cutover changes which colour is live; who follows stays with the one that they began with.
    query.colour = query.colour.or(first.items.first().map(|log| log.colour));
    let mut before = first;
    loop {
        sleep(LOOK).await;
        let now = client.logs(name, &query).await?;
        let mut text = String::new();
        for log in &now.items {
            let known = before.items.iter().find(|old| old.colour == log.colour && old.instance == log.instance);
            for line in fresh(known.map_or(&[], |known| &known.lines), &log.lines) {
                text += &format!("{}{line}\n", label(log.colour, log.instance));
            }
        }
        print(&text)?;
        before = now;
    }
}

/// The lines that came after those of the last look: two windows of one stream overlap where the end of the first is the beginning of the
/// second.
fn fresh<'a>(before: &[String], now: &'a [String]) -> &'a [String] {
    let most = before.len().min(now.len());
    let overlap = (0..=most).rev().find(|length| before[before.len() - length..] == now[..*length]).unwrap_or(0);
    &now[overlap..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_came_since_is_fresh() {
        for (before, now, expected) in [
            ("", "a b", "a b"),
            ("a b", "a b", ""),
            ("a b", "a b c", "c"),
            ("a b c", "b c d e", "d e"),
            ("a a a", "a a a a", "a"),
            ("a b", "c d", "c d"),
        ] {
            assert_eq!(fresh(&lines(before), &lines(now)), lines(expected), "{before:?} then {now:?}");
        }
    }
}
