//! Tables as kubectl draws them: no borders, upper-case headers, three spaces between.

use comfy_table::{ColumnConstraint, Table, Width, presets};
use jiff::Timestamp;

use super::{NONE, age, instances};
use crate::api::names::conditions;
use crate::api::spec::{BlueGreenSiteSpec, Cluster, Front, RouteSpec, Target};
use crate::api::status::phase_name;
use crate::cli::view::Site;
use crate::control::api::{History, SlotView};

/// A table whose rows may come later than its header, at the same widths.
#[derive(Debug)]
pub struct Rows {
    header: Vec<&'static str>,
    widths: Vec<usize>,
}

impl Rows {
    /// A table with these columns.
    #[must_use]
    pub fn new(header: &[&'static str]) -> Rows {
        Rows { header: header.to_vec(), widths: header.iter().map(|name| name.len()).collect() }
    }

    /// Makes room for what may come later: a cell of this many characters in each column.
    pub fn make_room(&mut self, widths: &[usize]) {
        for (width, room) in self.widths.iter_mut().zip(widths) {
            *width = (*width).max(*room);
        }
    }

    /// The rows, with the header above them if it is wanted.
    #[must_use]
    pub fn text(&mut self, rows: &[Vec<String>], with_header: bool) -> String {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if with_header {
            table.set_header(self.header.clone());
        }
        for row in rows {
            table.add_row(row.clone());
        }
        for (column, width) in table.column_iter_mut().zip(&self.widths) {
            column.set_padding((0, 3));
            let width = u16::try_from(*width + 3).unwrap_or(u16::MAX);
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n") + "\n"
    }
}

/// A whole table.
#[must_use]
pub fn table(header: &[&'static str], rows: &[Vec<String>]) -> String {
    Rows::new(header).text(rows, true)
}

/// The columns of `get`.
#[must_use]
pub fn site_columns(wide: bool) -> Vec<&'static str> {
    let mut columns = vec!["NAME", "READY", "PHASE", "LIVE", "INSTANCES", "REVISION", "CANDIDATE", "AGE"];
    if wide {
        columns.extend(["HOSTNAMES", "STANDBY", "MESSAGE"]);
    }
    columns
}

/// Which of them is the age.
pub const AGE: usize = 7;

/// How wide the columns of [`site_columns`] may get as a rollout goes on; the name is known.
pub const SITE_ROOM: [usize; 7] = [0, 7, 16, 6, 9, 10, 12];

/// One line of `get`.
#[must_use]
pub fn site_row(site: &Site, now: Timestamp, wide: bool) -> Vec<String> {
    let none = || NONE.to_owned();
    let status = &site.status;
    let slot = site.live().and_then(|colour| site.slot(colour));
    let candidate = status.candidate.as_ref().map(|candidate| match candidate.attempt {
        1 => candidate.revision.short(),
        number => format!("{}/{number}", candidate.revision.short()),
    });
    let mut row = vec![
        site.name.clone(),
        site.condition(conditions::READY).map_or("Unknown", |ready| ready.status.as_str()).to_owned(),
        status.phase.map_or_else(none, |phase| phase_name(phase).to_owned()),
        site.live().map_or_else(none, |colour| colour.to_string()),
        slot.map_or_else(none, instances),
        slot.and_then(|slot: &SlotView| slot.revision).map_or_else(none, |revision| revision.short()),
        candidate.unwrap_or_else(none),
        site.created.map_or_else(none, |created| age(created, now)),
    ];
    if wide {
        let standby = status.standby.as_ref();
        let serves = slot.map(|slot| slot.serves.join(", ")).filter(|serves| !serves.is_empty());
        row.push(serves.or_else(|| site.spec.as_ref().map(hostnames)).unwrap_or_else(none));
        row.push(standby.map_or_else(none, |standby| format!("{} {}", standby.colour, standby.revision.short())));
        row.push(site.message().lines().next().unwrap_or_default().to_owned());
    }
    row
}

fn hostnames(spec: &BlueGreenSiteSpec) -> String {
    let host = match &spec.target {
        Target::Host(host) => host,
        Target::Cluster(cluster) => return front(cluster),
    };
    match host.front {
        Front::Include => "(your own server block)".to_owned(),
        Front::Own => match host.hostnames.as_slice() {
            [] => NONE.to_owned(),
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} + {} more", rest.len()),
        },
    }
}

/// What clients of a site on Kubernetes ask.
fn front(cluster: &Cluster) -> String {
    match &cluster.route {
        RouteSpec::Service(_) => "(its Service)".to_owned(),
        RouteSpec::HttpRoute(route) if route.hostnames.is_empty() => "(its HTTPRoute)".to_owned(),
        RouteSpec::HttpRoute(route) => route.hostnames.join(", "),
    }
}

/// The events of a site, oldest first.
#[must_use]
pub fn history(history: &History, now: Timestamp) -> String {
    if history.items.is_empty() {
        return "Nothing has happened yet.\n".to_owned();
    }
    let rows: Vec<Vec<String>> = history
        .items
        .iter()
        .map(|event| {
            vec![
                format!("{:.0}", event.time),
                age(event.time, now),
                event.reason.clone(),
                event.revision.map_or_else(|| NONE.to_owned(), |revision| revision.short()),
                event.message.replace('\n', "; "),
            ]
        })
        .collect();
    table(&["TIME", "AGE", "REASON", "REVISION", "MESSAGE"], &rows)
}
