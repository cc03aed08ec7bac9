//! A fleet as it changes: each context is watched on its own, and a line is printed for each row that looks different. Whoever goes away is reached again by
//! the watch itself, and both are said once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::rows::{AGE, ROOM, Row, There, columns};
use super::{GetArgs, Hosts, Meant, Output};
use crate::cli::Quiet;
use crate::cli::cluster::fleet::{Presence, host_of};
use crate::cli::cluster::{Cluster, connect};
use crate::cli::output::{complain, print};
use crate::cli::render::table::Rows;

/// So many events may wait to be looked at.
const ROOM_FOR: usize = 1024;
/// How often it is asked whether a host has stopped renewing: that is no event.
const LOOK: Duration = Duration::from_secs(1);
/// What comes within this long is told at once, in order.
const GATHER: Duration = Duration::from_millis(30);

/// What a watch of a context has seen.
enum Seen {
    Site(Result<Event<DynamicObject>, watcher::Error>),
    Host(Result<Event<Lease>, watcher::Error>),
}

pub(super) async fn run(meant: Vec<Meant>, args: &GetArgs) -> anyhow::Result<()> {
    let (sender, mut seen) = mpsc::channel(ROOM_FOR);
    let mut tasks = JoinSet::new();
    let mut all = Vec::new();
    for one in meant {
        let cluster = match connect(&one.wish).await {
            Ok(cluster) => cluster,
            Err(error) => {
                complain(&format!("error: context {}: {error}", one.context));
                continue;
            }
        };
        let (api, config) = cluster.watched_sites(args.selector.as_deref());
        follow(&mut tasks, all.len(), api, config, &sender, Seen::Site);
        let (api, config) = cluster.watched_hosts();
        follow(&mut tasks, all.len(), api, config, &sender, Seen::Host);
        all.push(One::new(one.context, cluster, args.selector.is_none()));
    }
    if all.is_empty() {
        return Err(Quiet.into());
    }
    // What a host's last renewal was before this look, only the API server's own clock can tell.
    let known = futures::future::join_all(all.iter().map(|one| one.cluster.hosts())).await;
    for (one, hosts) in all.iter_mut().zip(known) {
        one.first = hosts.ok().flatten().unwrap_or_default();
    }
    let mut printer = Printer::new(args);
    let mut tick = interval(LOOK);
    loop {
        tokio::select! {
            event = seen.recv() => {
                let Some((which, event)) = event else { anyhow::bail!("the watch has ended") };
                all[which].take(event);
                tokio::time::sleep(GATHER).await;
                while let Ok((which, event)) = seen.try_recv() {
                    all[which].take(event);
                }
            }
            _ = tick.tick() => {}
        }
        for one in &mut all {
            one.tell(&mut printer)?;
        }
    }
}

/// Passes on what a watch sees, until nobody listens.
fn follow<K>(
    tasks: &mut JoinSet<()>,
    which: usize,
    api: Api<K>,
    config: watcher::Config,
    sender: &mpsc::Sender<(usize, Seen)>,
    as_seen: fn(Result<Event<K>, watcher::Error>) -> Seen,
) where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let sender = sender.clone();
    tasks.spawn(async move {
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        while let Some(event) = events.next().await {
            if sender.send((which, as_seen(event))).await.is_err() {
                return;
            }
        }
    });
}

type Key = (String, String);

/// One context.
struct One {
    context: String,
    cluster: Cluster,
    /// Whether hosts without sites are shown.
    empty: bool,
    sites: BTreeMap<Key, DynamicObject>,
    coming: BTreeMap<Key, DynamicObject>,
    /// The hosts' leases, and since when we see each as it is.
    hosts: BTreeMap<String, (Presence, Instant)>,
    coming_hosts: BTreeSet<String>,
    /// As they were at the first look.
    first: Hosts,
    /// Leases may not be read.
    blind: bool,
    /// Whether each was seen once.
    complete: (bool, bool),
    shown: BTreeMap<Key, Row>,
    /// Why it does not answer, if it doesn't.
    away: Option<String>,
}

impl One {
    fn new(context: String, cluster: Cluster, empty: bool) -> One {
        One {
            context,
            cluster,
            empty,
            sites: BTreeMap::new(),
            coming: BTreeMap::new(),
            hosts: BTreeMap::new(),
            coming_hosts: BTreeSet::new(),
            first: Hosts::new(),
            blind: false,
            complete: (false, false),
            shown: BTreeMap::new(),
            away: None,
        }
    }

    fn take(&mut self, seen: Seen) {
        match seen {
            Seen::Site(Ok(event)) => {
                if matches!(event, Event::InitDone | Event::Apply(_) | Event::Delete(_)) && self.away.take().is_some() {
                    complain(&format!("context {}: it answers again", self.context));
                }
                self.site(event);
            }
            Seen::Site(Err(error)) => self.broke(&error),
            Seen::Host(Ok(event)) => self.host(event),
            Seen::Host(Err(error)) => {
                // That the API server is away, the sites' own watch says.
                if forbidden(&error) && !self.blind {
                    (self.blind, self.complete.1) = (true, true);
                    complain(&format!(
                        "Warning: context {}: Leases may not be watched, so nobody can tell which hosts are there",
                        self.context
                    ));
                }
            }
        }
    }

    fn site(&mut self, event: Event<DynamicObject>) {
        let key = |object: &DynamicObject| (object.namespace().unwrap_or_default(), object.name_any());
        match event {
            Event::Init => self.coming.clear(),
            Event::InitApply(object) => drop(self.coming.insert(key(&object), object)),
            Event::InitDone => {
                self.sites = std::mem::take(&mut self.coming);
                self.complete.0 = true;
            }
            Event::Apply(object) => drop(self.sites.insert(key(&object), object)),
            Event::Delete(object) => drop(self.sites.remove(&key(&object))),
        }
    }

    fn host(&mut self, event: Event<Lease>) {
        match event {
            Event::Init => self.coming_hosts.clear(),
            Event::InitApply(lease) => {
                self.coming_hosts.insert(lease.namespace().unwrap_or_default());
                self.renewed(&lease);
            }
            Event::InitDone => {
                let there = std::mem::take(&mut self.coming_hosts);
                self.hosts.retain(|namespace, _| there.contains(namespace));
                self.complete.1 = true;
                self.blind = false;
            }
            Event::Apply(lease) => self.renewed(&lease),
            Event::Delete(lease) => drop(self.hosts.remove(&lease.namespace().unwrap_or_default())),
        }
    }

    fn renewed(&mut self, lease: &Lease) {
        let namespace = lease.namespace().unwrap_or_default();
        let mut now = Presence::now(lease);
        if let Some((known, _)) = self.hosts.get(&namespace)
            && known.version == now.version
        {
            return;
        }
        if let Some(first) = self.first.get(&namespace).filter(|first| first.version == now.version) {
            now.age = first.age;
        }
        self.hosts.insert(namespace, (now, Instant::now()));
    }

    fn broke(&mut self, error: &watcher::Error) {
        // A watch that only ends begins anew.
        let error = match error {
            watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => error.to_string(),
            _ => return,
        };
        if self.away.is_none() {
            complain(&format!(
                "context {}: the API server at {} does not answer as it should, and is asked again: {error}",
                self.context,
                self.cluster.server()
            ));
        }
        self.away = Some(error);
    }

    /// Prints each row that looks different.
    fn tell(&mut self, printer: &mut Printer) -> anyhow::Result<()> {
        if !(self.complete.0 && self.complete.1) {
            return Ok(());
        }
        let there = |namespace: &str| match (host_of(namespace), self.blind) {
            (None, _) => There::NoHost,
            (Some(_), true) => There::Unknown,
            (Some(_), false) => match self.hosts.get(namespace) {
                Some((presence, since)) if presence.is_there(since.elapsed()) => There::Yes,
                _ => There::No,
            },
        };
        let mut rows: BTreeMap<Key, Row> =
            self.sites.iter().map(|(key, object)| (key.clone(), Row::of(&self.context, object, &there))).collect();
        if self.empty {
            for namespace in self.hosts.keys().filter(|namespace| !self.sites.keys().any(|key| key.0 == **namespace)) {
                let row = Row::empty(&self.context, namespace, &there);
                rows.extend(row.map(|row| (row.key(), row)));
            }
        }
        for (key, gone) in self.shown.iter().filter(|(key, _)| !rows.contains_key(*key)) {
            printer.gone(gone, !key.1.is_empty())?;
        }
        let new: Vec<&Row> =
            rows.iter().filter(|(key, row)| self.shown.get(*key) != Some(row)).map(|(_, row)| row).collect();
        printer.rows(&new, |key| self.shown.get(key))?;
        self.shown = rows;
        Ok(())
    }
}

fn forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code == 403,
        _ => false,
    }
}

struct Printer {
    output: Option<Output>,
    rows: Rows,
    header: bool,
}

impl Printer {
    fn new(args: &GetArgs) -> Printer {
        let mut rows = Rows::new(&columns(args.output == Some(Output::Wide)));
        rows.make_room(&ROOM);
        Printer { output: args.output, rows, header: !args.no_headers }
    }

    fn gone(&self, row: &Row, site: bool) -> anyhow::Result<()> {
        if matches!(self.output, None | Some(Output::Wide)) {
            let what = if site { "deleted" } else { "no host any more, or one with sites" };
            print(&format!("{}   {what}\n", row.title()))?;
        }
        Ok(())
    }

    fn rows<'a>(&mut self, rows: &[&Row], before: impl Fn(&Key) -> Option<&'a Row>) -> anyhow::Result<()> {
        let now = Timestamp::now();
        match self.output {
            Some(Output::Json) => {
                for row in rows {
                    print(&serde_json::to_string_pretty(&row.data())?)?;
                }
            }
            Some(Output::Yaml) => {
                for row in rows {
                    print(&format!("---\n{}", serde_saphyr::to_string(&row.data())?))?;
                }
            }
            Some(Output::Name) => {
                print(&rows.iter().filter_map(|row| row.name()).map(|name| name + "\n").collect::<String>())?
            }
            None | Some(Output::Wide) => {
                let wide = self.output.is_some();
                // Time alone is no change, nor is what no column shows.
                let shown = |row: &Row| {
                    let mut cells = row.cells(now, wide);
                    cells.remove(AGE);
                    cells
                };
                let news = |row: &&&Row| before(&row.key()).is_none_or(|before| shown(before) != shown(row));
                let cells: Vec<Vec<String>> = rows.iter().filter(news).map(|row| row.cells(now, wide)).collect();
                if !cells.is_empty() {
                    print(&self.rows.text(&cells, std::mem::take(&mut self.header)))?;
                }
            }
        }
        Ok(())
    }
}
