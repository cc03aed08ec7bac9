//! Everything about one site, for a person: reads like `kubectl describe`.

use std::fmt::Write;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::table::table;
use super::{NONE, age};
use crate::api::names::annotations;
use crate::api::spec::{
    BlueGreenSiteSpec, Cluster, DeletionPolicy, Front, Health, Host, RouteSpec, RuntimeSpec, Target,
};
use crate::api::status::phase_name;
use crate::cli::view::Site;
use crate::control::api::{History, Place, SlotHealth, SlotView};

/// How many of the last events are shown.
const EVENTS: usize = 12;

/// Everything about one site. `more`: the command that shows the whole history of a site.
#[must_use]
pub fn describe(site: &Site, history: &History, more: &str, now: Timestamp) -> String {
    let mut page = Page::default();
    let status = &site.status;
    page.line("Name", &site.name);
    if let Some(namespace) = &site.namespace {
        page.line("Namespace", namespace);
    }
    if let Some(origin) = site.object["metadata"]["annotations"][annotations::ORIGIN].as_str() {
        page.line("Comes from", origin);
    }
    page.line("Phase", status.phase.map_or(NONE, phase_name));
    let observed = status.observed_generation.map_or_else(|| "not yet".to_owned(), |observed| observed.to_string());
    page.line("Generation", &format!("{} (observed: {observed})", site.generation));
    if let Some(created) = site.created {
        page.line("Created", &format!("{created:.0} ({} ago)", age(created, now)));
    }
    page.line("Message", site.message().lines().next().unwrap_or_default());
    page.text.push('\n');
    if let Some(spec) = &site.spec {
        page.spec(spec);
    }
    page.revisions(site, now);
    page.text.push('\n');
    page.conditions(site, now);
    page.instances(site);
    page.events(history, &format!("{more} {}", site.name), now);
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// One line: the name of a thing, and what it is.
    fn line(&mut self, name: &str, value: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.text, "{:<17}{value}", format!("{name}:"));
    }

    fn part(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, "  {:<15}{value}", format!("{name}:"));
    }

    fn head(&mut self, name: &str) {
        let _ = writeln!(self.text, "{name}:");
    }

    fn table(&mut self, name: &str, header: &[&'static str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            self.line(name, NONE);
            return;
        }
        self.head(name);
        let dashes: Vec<String> = header.iter().map(|title| "-".repeat(title.len())).collect();
        let mut all = vec![dashes];
        all.extend_from_slice(rows);
        for line in table(header, &all).lines() {
            let _ = writeln!(self.text, "  {line}");
        }
    }

    fn host(&mut self, host: &Host, health: Option<&Health>) {
        match host.front {
            Front::Own => {
                self.part("Hostnames", &host.hostnames.join(", "));
                let listen = host.listen.as_ref().map_or_else(|| "*:80".to_owned(), |all| all.join(", "));
                self.part("Listen", &listen);
                if !host.preview_hostnames.is_empty() {
                    self.part("Preview", &format!("{}: the idle colour", host.preview_hostnames.join(", ")));
                }
                if let Some(tls) = &host.tls {
                    let at = tls.listen.as_ref().map_or_else(|| "*:443".to_owned(), |all| all.join(", "));
                    self.part("HTTPS", &format!("{at}, with the certificate {}", tls.certificate));
                }
            }
            Front::Include => self.part("Front", "your own server block includes ours"),
        }
        if let Some(requests) = &host.requests {
            self.part("Requests", &super::requests::requests(requests));
        }
        self.part("Release", &release(host));
        self.part("Runtime", &runtime(&host.runtime));
        self.part("User", &host.user);
        for entry in &host.statics {
            let keep = match entry.keep {
                0 => String::new(),
                keep => format!(", and of {keep} earlier revisions"),
            };
            let fallback = entry.fallback.as_ref().map(|file| format!("; else {file}")).unwrap_or_default();
            let cache = entry.cache_control.as_ref().map(|cache| format!("; {cache}")).unwrap_or_default();
            let gzip = if entry.precompressed { "; precompressed" } else { "" };
            let root = &entry.root;
            self.part("Static", &format!("{} from {root} of the release{keep}{fallback}{cache}{gzip}", entry.path));
        }
        for file in &host.config_files {
            self.part("Config file", &file.path);
        }
        if let Some(file) = &host.env_file {
            self.part("Env file", file);
        }
        for dir in &host.shared_dirs {
            self.part("Shared dir", &format!("{} -> {}", dir.path, dir.source));
        }
        let health = health.cloned().unwrap_or_default();
        self.part(
            "Health",
            &format!(
                "GET {} every {} (timeout {}), {} in a row to be ready, {} to be unready",
                health.path.as_deref().unwrap_or(host.runtime.health_path()),
                health.interval,
                health.timeout,
                health.successes,
                health.failures
            ),
        );
    }

    fn cluster(&mut self, cluster: &Cluster) {
        self.part("Replicas", &cluster.replicas.to_string());
        if let Some(name) = &cluster.service.name {
            self.part("Service", name);
        }
        for port in &cluster.service.ports {
            let target = match &port.target_port {
                None => port.port.to_string(),
                Some(IntOrString::Int(number)) => number.to_string(),
                Some(IntOrString::String(name)) => name.clone(),
            };
            let name = port.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            self.part("Port", &format!("{} to {target} of the pods{name}", port.port));
        }
        match &cluster.route {
            RouteSpec::Service(_) => self.part(
                "Route",
                "the selector of the Service: new connections move at once; one that is kept alive stays until its old pod closes it",
            ),
            RouteSpec::HttpRoute(route) => {
                self.part("Route", "the weights of the HTTPRoute");
                if !route.hostnames.is_empty() {
                    self.part("Hostnames", &route.hostnames.join(", "));
                }
            }
        }
        let containers = cluster.template.value()["spec"]["containers"].as_array().cloned().unwrap_or_default();
        for container in containers {
            let text = |key: &str| container[key].as_str().unwrap_or(NONE).to_owned();
            self.part("Container", &format!("{}: {}", text("name"), text("image")));
        }
        self.part(
            "On deletion",
            match cluster.deletion_policy {
                DeletionPolicy::Delete => "its objects go with it",
                DeletionPolicy::Orphan => "its objects stay and go on serving",
            },
        );
    }

    fn spec(&mut self, spec: &BlueGreenSiteSpec) {
        self.head("Site");
        match &spec.target {
            Target::Host(host) => self.host(host, spec.health.as_ref()),
            Target::Cluster(cluster) => self.cluster(cluster),
        }
        let strategy = &spec.strategy;
        let promotion = match (&strategy.promotion, &strategy.approve_within) {
            (promotion, Some(within)) => format!("{promotion:?}, rejected if not approved within {within}"),
            (promotion, None) => format!("{promotion:?}"),
        };
        self.part("Promotion", &promotion);
        self.part(
            "Limits",
            &format!(
                "prepare {}, ready {}, verify {}, cutover {}, drain {}",
                strategy.prepare_within,
                strategy.ready_within,
                strategy.verify_within,
                strategy.cutover_within,
                strategy.drain_within
            ),
        );
        self.part(
            "Afterwards",
            &format!(
                "watched for {}, standby kept for {}, failover after {}",
                strategy.bake, strategy.standby, strategy.failover_after
            ),
        );
    }

    fn revisions(&mut self, site: &Site, now: Timestamp) {
        let status = &site.status;
        let ago = |time: Timestamp| format!("{time:.0} ({} ago)", age(time, now));
        match &status.live {
            None => self.line("Live", NONE),
            Some(live) => {
                self.head("Live");
                self.part("Colour", live.colour.name());
                self.part("Revision", &live.revision.map_or_else(|| NONE.to_owned(), |revision| revision.to_string()));
                if let Some(since) = &live.since {
                    self.part("Since", &ago(since.0));
                }
            }
        }
        match &status.candidate {
            None => self.line("Candidate", NONE),
            Some(candidate) => {
                self.head("Candidate");
                self.part("Colour", candidate.colour.name());
                self.part("Revision", &candidate.revision.to_string());
                self.part("Attempt", &candidate.attempt.to_string());
                if let Some(deadline) = &candidate.deadline {
                    let left = super::span(deadline.0.duration_since(now).as_secs());
                    self.part("Phase ends", &format!("{:.0} (in {left})", deadline.0));
                }
            }
        }
        if let Some(standby) = &status.standby {
            self.head("Standby");
            self.part("Colour", standby.colour.name());
            self.part("Revision", &standby.revision.to_string());
            if let Some(until) = &standby.until {
                let left = super::span(until.0.duration_since(now).as_secs());
                self.part("Kept until", &format!("{:.0} ({left} more)", until.0));
            }
        }
        if let Some(rejected) = &status.rejected {
            self.head("Rejected");
            self.part("Revision", &rejected.revision.to_string());
            self.part("Reason", crate::api::report::reason_name(rejected.reason));
            if !rejected.message.is_empty() {
                self.part("Because", &rejected.message.replace('\n', "; "));
            }
            self.part("At", &ago(rejected.at.0));
        }
        let back: Vec<String> = site.ways_back().iter().map(|revision| revision.short()).collect();
        if !back.is_empty() {
            self.line("Ways back", &back.join(", "));
        }
    }

    fn conditions(&mut self, site: &Site, now: Timestamp) {
        let rows: Vec<Vec<String>> = site
            .status
            .conditions
            .iter()
            .map(|condition| {
                vec![
                    condition.type_.clone(),
                    condition.status.clone(),
                    condition.reason.clone(),
                    age(condition.last_transition_time.0, now),
                    condition.message.replace('\n', "; "),
                ]
            })
            .collect();
        self.table("Conditions", &["Type", "Status", "Reason", "Age", "Message"], &rows);
    }

    /// What leads to each colour, where several things may.
    fn serves(&mut self, site: &Site) {
        let leading: Vec<&SlotView> = site.slots.iter().filter(|slot| !slot.serves.is_empty()).collect();
        if leading.is_empty() {
            return;
        }
        self.head("Serves");
        for slot in leading {
            self.part(&slot.colour.to_string(), &slot.serves.join(", "));
        }
    }

    fn pods(&mut self, site: &Site) {
        let mut rows = Vec::new();
        for slot in &site.slots {
            let role = if slot.live { " (live)" } else { "" };
            for instance in &slot.instances {
                let Place::Pod { pod, node } = &instance.place else { continue };
                rows.push(vec![
                    format!("{}{role}", slot.colour),
                    pod.clone(),
                    node.clone().unwrap_or_else(|| NONE.to_owned()),
                    if instance.ready { "yes" } else { "no" }.to_owned(),
                    instance.restarts.to_string(),
                    slot.revision.map_or_else(|| NONE.to_owned(), |revision| revision.short()),
                    instance.detail.replace('\n', "; "),
                ]);
            }
            if !slot.detail.is_empty() {
                let none = || NONE.to_owned();
                let revision = slot.revision.map_or_else(none, |revision| revision.short());
                let detail = slot.detail.replace('\n', "; ");
                rows.push(vec![
                    format!("{}{role}", slot.colour),
                    none(),
                    none(),
                    "no".to_owned(),
                    none(),
                    revision,
                    detail,
                ]);
            }
        }
        self.table("Pods", &["Colour", "Pod", "Node", "Ready", "Restarts", "Revision", "Detail"], &rows);
    }

    fn instances(&mut self, site: &Site) {
        if site.slots.iter().any(|slot| slot.wanted.is_some()) {
            self.serves(site);
            return self.pods(site);
        }
        let mut rows = Vec::new();
        for slot in &site.slots {
            let role = if slot.live { " (live)" } else { "" };
            for instance in &slot.instances {
                let Place::Process { port, pid } = &instance.place else { continue };
                rows.push(vec![
                    format!("{}.{}{role}", slot.colour, instance.index),
                    port.to_string(),
                    pid.map_or_else(|| NONE.to_owned(), |pid| pid.to_string()),
                    if instance.ready { "yes" } else { "no" }.to_owned(),
                    instance.restarts.to_string(),
                    slot.revision.map_or_else(|| NONE.to_owned(), |revision| revision.short()),
                    instance.detail.replace('\n', "; "),
                ]);
            }
            if slot.instances.is_empty() && slot.health != SlotHealth::Empty {
                let none = || NONE.to_owned();
                rows.push(vec![
                    format!("{}{role}", slot.colour),
                    none(),
                    none(),
                    if slot.health == SlotHealth::Ready { "yes" } else { "no" }.to_owned(),
                    none(),
                    slot.revision.map_or_else(none, |revision| revision.short()),
                    slot.detail.replace('\n', "; "),
                ]);
            }
        }
        self.table("Instances", &["Instance", "Port", "Pid", "Ready", "Restarts", "Revision", "Detail"], &rows);
    }

    fn events(&mut self, history: &History, more: &str, now: Timestamp) {
        let skipped = history.items.len().saturating_sub(EVENTS);
        let rows: Vec<Vec<String>> = history.items[skipped..]
            .iter()
            .map(|event| vec![age(event.time, now), event.reason.clone(), event.message.replace('\n', "; ")])
            .collect();
        self.table("Events", &["Age", "Reason", "Message"], &rows);
        if skipped > 0 {
            let _ = writeln!(self.text, "  ({skipped} earlier ones: {more})");
        }
    }
}

fn release(host: &Host) -> String {
    let release = &host.release;
    match (&release.path, &release.archive, &release.sha256) {
        (Some(folder), ..) => folder.clone(),
        (None, Some(file), Some(sum)) => format!("{file} (sha256 {}…)", sum.get(..12).unwrap_or(sum)),
        (None, Some(file), None) => file.clone(),
        (None, None, _) => NONE.to_owned(),
    }
}

fn runtime(runtime: &RuntimeSpec) -> String {
    match runtime {
        RuntimeSpec::Command(command) => command.argv.join(" "),
        RuntimeSpec::Wsgi(wsgi) => {
            format!("gunicorn {} (workers {}, threads {})", wsgi.app, wsgi.workers, wsgi.threads)
        }
        RuntimeSpec::Asgi(asgi) => format!("uvicorn {} (workers {})", asgi.app, asgi.workers),
        RuntimeSpec::Cgi(cgi) => match (&cgi.script, &cgi.folder) {
            (Some(script), _) => format!("CGI, {script} of the release for every path"),
            (None, folder) => format!("CGI, the programs in {} of the release", folder.as_deref().unwrap_or(NONE)),
        },
        RuntimeSpec::Static(_) => "static (the web server answers everything)".to_owned(),
        RuntimeSpec::SpringBoot(app) => {
            let jar = app.jar.as_deref().unwrap_or("the only jar");
            let profile = app.profile.as_ref().map_or_else(String::new, |profile| format!(", profile {profile}"));
            format!("Spring Boot: {jar} of the release{profile}")
        }
        RuntimeSpec::Tomcat(app) => {
            format!(
                "Tomcat in {}: {} of the release at {}",
                app.home,
                app.war.as_deref().unwrap_or("the only war"),
                app.path
            )
        }
    }
}
