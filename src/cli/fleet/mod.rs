//! `bluegreen fleet`: the sites of many clusters, and of the hosts that those lead, in one table. All of them are asked at once, and one that does not
//! answer hides none of the others.

mod rows;
mod watch;

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::{Value, json};

use super::cluster::fleet::Presence;
use super::cluster::{ClusterError, Wish, connect, contexts};
use super::output::{complain, print};
use super::place::Place;
use super::render::table::Rows;
use super::{Quiet, full};
use rows::{Row, There, columns};

/// Show many clusters and hosts as one.
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    sub: Sub,
}

#[derive(Debug, clap::Subcommand)]
enum Sub {
    /// Show the sites of all clusters and hosts
    Get(GetArgs),
}

/// Show the sites of all clusters and hosts.
#[derive(Debug, clap::Args)]
struct GetArgs {
    /// These contexts of the kubeconfig; default: that of --context, or the current one.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", conflicts_with_all = ["all_contexts", "context"])]
    contexts: Vec<String>,

    /// Every context of the kubeconfig.
    #[arg(long, conflicts_with = "context")]
    all_contexts: bool,

    /// Only sites with these labels.
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,

    /// Go on: a line for each change. A cluster that goes away is reached again by itself.
    #[arg(short, long)]
    watch: bool,

    /// Another form than the table.
    #[arg(short, long, value_enum)]
    output: Option<Output>,

    /// Leave out the line of headers.
    #[arg(long)]
    no_headers: bool,
}

/// Other forms than the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Context, host and object of each site, as JSON.
    Json,
    /// The same, as YAML.
    Yaml,
    /// The table, with more columns.
    Wide,
    /// Context, namespace and name.
    Name,
}

pub(super) async fn run(place: Place, args: Args) -> anyhow::Result<()> {
    let Place::Cluster(wish) = place else {
        anyhow::bail!("a fleet is asked through a kubeconfig: leave out --socket");
    };
    let Sub::Get(args) = args.sub;
    let meant = meant(&wish, &args)?;
    if args.watch { watch::run(meant, &args).await } else { look(meant, &args).await }
}

/// A context that is meant, and how to reach it.
struct Meant {
    context: String,
    wish: Wish,
}

/// The contexts that are meant, each once.
fn meant(wish: &Wish, args: &GetArgs) -> anyhow::Result<Vec<Meant>> {
    let (known, current) = contexts(wish)?;
    let mut names = if args.all_contexts { known } else { args.contexts.clone() };
    names.retain(|name| !name.is_empty());
    if names.is_empty() && args.all_contexts {
        anyhow::bail!("the kubeconfig has no contexts: name another with --kubeconfig");
    }
    if names.is_empty() {
        names.extend(wish.context.clone().or(current));
    }
    if names.is_empty() {
        anyhow::bail!("the kubeconfig has no current context: name some with --contexts, or all with --all-contexts");
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let all = wish.namespace.is_none();
    Ok(names
        .into_iter()
        .map(|context| Meant { wish: Wish { context: Some(context.clone()), all, ..wish.clone() }, context })
        .collect())
}

/// What one context has: its rows, or why it could not be asked.
async fn ask(meant: &Meant, labels: Option<&str>) -> Result<Vec<Row>, ClusterError> {
    let cluster = connect(&meant.wish).await?;
    let (objects, hosts) = tokio::join!(cluster.objects(labels), cluster.hosts());
    let (objects, hosts) = (objects?, hosts?);
    let there =
        |namespace: &str| There::of(namespace, hosts.as_ref(), |presence| presence.is_there(Default::default()));
    let mut rows: Vec<Row> = objects.iter().map(|object| Row::of(&meant.context, object, &there)).collect();
    if labels.is_none() {
        let empty =
            hosts.iter().flat_map(BTreeMap::keys).filter(|namespace| !rows.iter().any(|row| row.is_in(namespace)));
        let empty: Vec<Row> = empty.filter_map(|namespace| Row::empty(&meant.context, namespace, &there)).collect();
        rows.extend(empty);
    }
    rows.sort_by_key(Row::key);
    Ok(rows)
}

/// One look at all of them.
async fn look(meant: Vec<Meant>, args: &GetArgs) -> anyhow::Result<()> {
    let labels = args.selector.as_deref();
    let answers = join_all(meant.iter().map(|one| ask(one, labels))).await;
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for (one, answer) in meant.iter().zip(answers) {
        match answer {
            Ok(more) => rows.extend(more),
            Err(error) => errors.push((one.context.clone(), error.to_string())),
        }
    }
    let found = !rows.is_empty();
    match args.output {
        Some(Output::Json) => print(&serde_json::to_string_pretty(&data(&rows, &errors))?)?,
        Some(Output::Yaml) => print(&serde_saphyr::to_string(&data(&rows, &errors))?)?,
        Some(Output::Name) => print(&rows.iter().filter_map(Row::name).map(|name| name + "\n").collect::<String>())?,
        None | Some(Output::Wide) if found => {
            let wide = args.output.is_some();
            let now = jiff::Timestamp::now();
            let cells: Vec<Vec<String>> = rows.iter().map(|row| row.cells(now, wide)).collect();
            print(&Rows::new(&columns(wide)).text(&cells, !args.no_headers))?;
        }
        None | Some(Output::Wide) => {
            if errors.len() < meant.len() {
                complain(
                    "There are no sites on these clusters, and they lead no hosts: apply one with bluegreen --context NAME apply -f FILE",
                );
            }
        }
    }
    for (context, error) in &errors {
        complain(&format!("error: context {context}: {error}"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Quiet.into()) }
}

fn data(rows: &[Row], errors: &[(String, String)]) -> Value {
    let errors: Vec<Value> =
        errors.iter().map(|(context, message)| json!({"context": context, "message": message})).collect();
    json!({"kind": "Fleet", "items": rows.iter().map(Row::data).collect::<Vec<_>>(), "errors": errors})
}

/// The whole name of a site in a fleet.
fn whole(context: &str, namespace: &str, name: &str) -> String {
    format!("{context}/{namespace}/{}", full(name))
}

/// The hosts of a cluster, as one look or a watch knows them.
type Hosts = BTreeMap<String, Presence>;
