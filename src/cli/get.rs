//! `bluegreen get`: the sites, as a table or as data.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::follow::Follower;
use super::output::{Terminal, complain, print};
use super::render::table::{AGE, Rows, SITE_ROOM, site_columns, site_row};
use super::source::Source;
use super::view::{self, Site};
use super::{bare, explain};
use crate::control::api::{ChangeKind, SiteView};

/// Show sites.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these.
    names: Vec<String>,

    /// Those of every namespace of a cluster.
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Go on: one site is drawn as it goes if a terminal shows it; otherwise a line for each change.
    #[arg(short, long)]
    watch: bool,

    /// Another form than the table.
    #[arg(short, long, value_enum)]
    output: Option<Output>,

    /// Leave out the line of headers.
    #[arg(long)]
    no_headers: bool,
}

impl Args {
    /// Whether the sites of every namespace are meant.
    pub(super) fn everywhere(&self) -> bool {
        self.all_namespaces
    }
}

/// Other forms than the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// The objects, as JSON.
    Json,
    /// The objects, as YAML: what can be applied again.
    Yaml,
    /// The table, with more columns.
    Wide,
    /// The names, for another command.
    Name,
}

/// What leads to a site is a hostname on a machine, and a Service on a cluster.
fn columns(source: &Source, args: &Args) -> Vec<&'static str> {
    let mut columns = site_columns(args.output == Some(Output::Wide));
    if let (Source::Cluster(_), Some(column)) = (source, columns.iter_mut().find(|column| **column == "HOSTNAMES")) {
        *column = "SERVES";
    }
    if args.all_namespaces {
        columns.insert(0, "NAMESPACE");
    }
    columns
}

pub(super) async fn run(source: Source, args: Args) -> anyhow::Result<()> {
    let names: Vec<&str> = args.names.iter().map(|name| bare(name)).collect();
    if args.all_namespaces && !names.is_empty() {
        anyhow::bail!("a name is looked up in one namespace: give it with -n, or leave out -A");
    }
    if args.watch && names.len() > 1 {
        anyhow::bail!("-w follows one site or all of them: name one, or none");
    }
    let views = match names.as_slice() {
        [] => source.list().await?,
        names => {
            let mut views = Vec::new();
            for name in names {
                match source.site(name).await {
                    Ok(view) => views.push(view),
                    Err(error) => return Err(explain(&source, name, error).await),
                }
            }
            views
        }
    };
    let mut printer = Printer::new(&args, &columns(&source, &args));
    if args.watch {
        if let ([name], None, Some(_)) = (names.as_slice(), args.output, Terminal::now()) {
            return Follower::for_ever(name).follow(&source).await;
        }
        // What is there is told first by the watch itself, so that nothing falls between the two.
        printer.make_room(&views);
        return follow(&source, names.first().copied(), printer).await;
    }
    if views.is_empty() && printer.is_table() {
        complain(&format!("There are no sites {}: apply one with {}", source.place(), source.hint("apply -f FILE")));
        return Ok(());
    }
    let one = names.len() == 1;
    print(&printer.all(views, one)?)?;
    Ok(())
}

async fn follow(source: &Source, name: Option<&str>, mut printer: Printer) -> anyhow::Result<()> {
    let mut changes = source.watch(name).await?;
    while let Some(change) = changes.next().await? {
        let gone = change.kind == ChangeKind::Deleted;
        print(&printer.one(change.site, gone)?.unwrap_or_default())?;
    }
    anyhow::bail!("the agent has ended; see why with: journalctl -u bluegreen")
}

struct Printer {
    output: Option<Output>,
    /// Whether each row begins with its namespace.
    namespaces: bool,
    rows: Rows,
    header: bool,
    /// The row of each site that was printed last: a change of what no column shows needs no line.
    last: BTreeMap<String, Vec<String>>,
}

impl Printer {
    fn new(args: &Args, columns: &[&'static str]) -> Printer {
        Printer {
            output: args.output,
            namespaces: args.all_namespaces,
            rows: Rows::new(columns),
            header: !args.no_headers,
            last: BTreeMap::new(),
        }
    }

    fn make_room(&mut self, views: &[SiteView]) {
        let longest = |name: fn(&SiteView) -> String| views.iter().map(|view| name(view).len()).max().unwrap_or(0);
        let mut room = SITE_ROOM.to_vec();
        room[0] = longest(view::name);
        if self.namespaces {
            room.insert(0, longest(view::namespace));
        }
        self.rows.make_room(&room);
    }

    fn is_table(&self) -> bool {
        matches!(self.output, None | Some(Output::Wide))
    }

    fn all(&mut self, views: Vec<SiteView>, one: bool) -> anyhow::Result<String> {
        let objects = |views: Vec<SiteView>| -> Value {
            let mut items: Vec<Value> = views.into_iter().map(|view| view.object).collect();
            match items.pop() {
                Some(only) if one => only,
                last => {
                    items.extend(last);
                    json!({"apiVersion": "v1", "kind": "List", "items": items})
                }
            }
        };
        match self.output {
            Some(Output::Json) => Ok(serde_json::to_string_pretty(&objects(views))?),
            Some(Output::Yaml) => Ok(serde_saphyr::to_string(&objects(views))?),
            Some(Output::Name) => Ok(views.iter().map(|view| super::full(&view::name(view)) + "\n").collect()),
            None | Some(Output::Wide) => {
                let now = Timestamp::now();
                let mut rows = Vec::new();
                for view in views {
                    rows.push(self.row(&Site::try_from(view)?, now));
                }
                Ok(self.rows.text(&rows, std::mem::take(&mut self.header)))
            }
        }
    }

    fn row(&self, site: &Site, now: Timestamp) -> Vec<String> {
        let mut row = site_row(site, now, self.output.is_some());
        if self.namespaces {
            row.insert(0, site.namespace.clone().unwrap_or_default());
        }
        row
    }

    /// One change: a row, or an object. `None`: nothing that is shown has changed.
    fn one(&mut self, view: SiteView, gone: bool) -> anyhow::Result<Option<String>> {
        if !self.is_table() {
            let text = self.all(vec![view], true)?;
            let yaml = self.output == Some(Output::Yaml);
            return Ok(Some(if yaml { format!("---\n{text}") } else { text }));
        }
        let name = if self.namespaces {
            format!("{}/{}", view::namespace(&view), view::name(&view))
        } else {
            view::name(&view)
        };
        if gone {
            self.last.remove(&name);
            return Ok(Some(format!("{name}   deleted\n")));
        }
        let row = self.row(&Site::try_from(view)?, Timestamp::now());
        // Time alone is no change.
        let age = AGE + usize::from(self.namespaces);
        let shown = [&row[..age], &row[age + 1..]].concat();
        if self.last.get(&name) == Some(&shown) {
            return Ok(None);
        }
        self.last.insert(name, shown);
        Ok(Some(self.rows.text(&[row], std::mem::take(&mut self.header))))
    }
}
