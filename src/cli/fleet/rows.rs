//! One line of a fleet's table: a site, or a host without any. Pure. Fields are read one by one, so that a site that a newer operator wrote is shown with
//! whatever can be read of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::whole;
use crate::api::names::conditions;
use crate::cli::cluster::fleet::{Presence, host_of};
use crate::cli::render::{NONE, age};
use crate::cli::view::tame;

/// Whether the host of a namespace is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// It is no host's namespace.
    NoHost,
    /// It renews its lease.
    Yes,
    /// It did not for as long as the lease lasts, or it has none.
    No,
    /// Leases may not be read.
    Unknown,
}

impl There {
    /// What the hosts that are known say of a namespace.
    pub fn of(
        namespace: &str,
        hosts: Option<&BTreeMap<String, Presence>>,
        is_there: impl Fn(&Presence) -> bool,
    ) -> There {
        match (host_of(namespace), hosts) {
            (None, _) => There::NoHost,
            (Some(_), None) => There::Unknown,
            (Some(_), Some(hosts)) => match hosts.get(namespace) {
                Some(presence) if is_there(presence) => There::Yes,
                _ => There::No,
            },
        }
    }

    fn word(self) -> &'static str {
        match self {
            There::NoHost => NONE,
            There::Yes => "yes",
            There::No => "no",
            There::Unknown => "unknown",
        }
    }
}

/// The columns.
#[must_use]
pub fn columns(wide: bool) -> Vec<&'static str> {
    let mut columns = vec!["CONTEXT", "HOST/NAMESPACE", "PRESENT", "NAME", "PHASE", "LIVE", "REVISION", "READY", "AGE"];
    if wide {
        columns.extend(["CANDIDATE", "STANDBY", "MESSAGE"]);
    }
    columns
}

/// Which of them is the age.
pub const AGE: usize = 8;

/// How wide they may get later; those that are known are.
pub const ROOM: [usize; 8] = [0, 0, 7, 0, 16, 6, 10, 7];

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    context: String,
    namespace: String,
    there: There,
    /// `None`: a host without sites.
    site: Option<Value>,
}

impl Row {
    /// A site.
    pub fn of(context: &str, object: &DynamicObject, there: &impl Fn(&str) -> There) -> Row {
        let namespace = object.namespace().unwrap_or_default();
        let mut site = serde_json::to_value(object).unwrap_or_default();
        if let Some(metadata) = site["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        Row { context: context.to_owned(), there: there(&namespace), namespace, site: Some(site) }
    }

    /// A host without sites; `None`: it is no host's namespace.
    pub fn empty(context: &str, namespace: &str, there: &impl Fn(&str) -> There) -> Option<Row> {
        host_of(namespace)?;
        let (context, there) = (context.to_owned(), there(namespace));
        Some(Row { context, there, namespace: namespace.to_owned(), site: None })
    }

    /// Whether it is one of this namespace.
    pub fn is_in(&self, namespace: &str) -> bool {
        self.namespace == namespace
    }

    /// What tells it from others, and orders them within a context.
    pub fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.text("/metadata/name").unwrap_or_default())
    }

    fn text(&self, path: &str) -> Option<String> {
        self.site.as_ref()?.pointer(path)?.as_str().map(tame)
    }

    /// Where it is, as a person says it.
    fn place(&self) -> String {
        host_of(&self.namespace).unwrap_or(&self.namespace).to_owned()
    }

    /// Context, place and name, for a line of its own.
    pub fn title(&self) -> String {
        format!("{}/{}/{}", self.context, self.place(), self.text("/metadata/name").unwrap_or_default())
    }

    fn condition(&self, kind: &str, field: &str) -> Option<String> {
        let all = self.site.as_ref()?.pointer("/status/conditions")?.as_array()?;
        all.iter().find(|condition| condition["type"] == kind)?[field].as_str().map(tame)
    }

    /// Its cells.
    pub fn cells(&self, now: Timestamp, wide: bool) -> Vec<String> {
        let or = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| NONE.to_owned());
        let short = |path: &str| self.text(path).map(|revision| revision.chars().take(10).collect::<String>());
        let created = self.text("/metadata/creationTimestamp").and_then(|text| text.parse::<Timestamp>().ok());
        let ready = self.condition(conditions::READY, "status");
        let mut cells = vec![
            tame(&self.context),
            self.place(),
            self.there.word().to_owned(),
            or(self.text("/metadata/name")),
            or(self.text("/status/phase")),
            or(self.text("/status/live/colour")),
            or(short("/status/live/revision")),
            if self.site.is_some() { ready.unwrap_or_else(|| "Unknown".to_owned()) } else { NONE.to_owned() },
            or(created.map(|created| age(created, now))),
        ];
        if wide {
            let both = |colour: &str, revision: &str| Some(format!("{} {}", self.text(colour)?, short(revision)?));
            let message = self.condition(conditions::READY, "message");
            cells.push(or(both("/status/candidate/colour", "/status/candidate/revision")));
            cells.push(or(both("/status/standby/colour", "/status/standby/revision")));
            cells.push(or(message.and_then(|text| text.lines().next().map(str::to_owned))));
        }
        cells
    }

    /// Its whole name; `None`: a host without sites.
    pub fn name(&self) -> Option<String> {
        Some(whole(&self.context, &self.namespace, &self.text("/metadata/name")?))
    }

    /// As data.
    pub fn data(&self) -> Value {
        let present = match self.there {
            There::Yes => json!(true),
            There::No => json!(false),
            There::NoHost | There::Unknown => Value::Null,
        };
        json!({
            "context": self.context,
            "namespace": self.namespace,
            "host": host_of(&self.namespace),
            "present": present,
            "site": self.site,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(namespace: &str, status: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite",
            "metadata": {"name": "shop", "namespace": namespace, "creationTimestamp": "2026-11-22T18:00:00Z"},
            "spec": {}, "status": status,
        }))
        .expect("an object")
    }

    fn cells(namespace: &str, status: &Value, there: There) -> Vec<String> {
        let now = "2026-11-22T18:05:00Z".parse().expect("a time");
        Row::of("dev", &object(namespace, status), &|_: &str| there).cells(now, true)
    }

    #[test]
    fn a_site_of_a_host_is_shown_under_the_hosts_name() {
        let status = json!({
            "phase": "Idle",
            "live": {"colour": "blue", "revision": "0123456789abcdef0000000000000001"},
            "conditions": [{"type": "Ready", "status": "True", "message": "blue serves\nand more"}],
        });
        let shown = cells("bluegreen-host-web1", &status, There::Yes);
        assert_eq!(shown[..9], ["dev", "web1", "yes", "shop", "Idle", "blue", "0123456789", "True", "5m"]);
        assert_eq!(shown[9..], [NONE, NONE, "blue serves"]);
        assert_eq!(columns(true).len(), shown.len());
    }

    #[test]
    fn a_site_that_nobody_has_seen_or_that_a_newer_program_wrote_is_shown_all_the_same() {
        assert_eq!(
            cells("prod", &Value::Null, There::NoHost)[1..8],
            ["prod", NONE, "shop", NONE, NONE, NONE, "Unknown"]
        );
        let newer = json!({"phase": "Orbiting", "live": 5, "conditions": "none"});
        assert_eq!(cells("prod", &newer, There::NoHost)[4..8], ["Orbiting", NONE, NONE, "Unknown"]);
    }

    #[test]
    fn what_an_app_printed_does_not_command_the_terminal() {
        let status = json!({"conditions": [{"type": "Ready", "status": "False", "message": "\u{1b}[2Jgone"}]});
        assert_eq!(cells("prod", &status, There::NoHost)[11], "\u{fffd}[2Jgone");
    }

    #[test]
    fn a_host_without_a_lease_is_away_and_one_whose_leases_may_not_be_read_is_unknown() {
        let none = BTreeMap::new();
        let there = |hosts| There::of("bluegreen-host-web1", hosts, |_| true);
        assert_eq!((there(Some(&none)), there(None)), (There::No, There::Unknown));
        assert_eq!(There::of("prod", None, |_| true), There::NoHost);
    }
}
