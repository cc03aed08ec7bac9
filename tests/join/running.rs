//! Tokens that are renewed, and that end, under an agent that runs, with a site of the hub that serves all the while; and hosts whose clocks are wrong.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use bluegreen::driver::agent::hub::bearer::Bearer;
use bluegreen::driver::agent::hub::credentials;
use bluegreen::driver::agent::hub::membership::Membership;
use bluegreen_rig::agent::Agent;
use bluegreen_rig::cell::Cell;
use bluegreen_rig::load::{Load, Running, get};
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use bluegreen_rig::{binaries, clock, wait};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::kit::{PATIENCE, Said, admin, at_another_time, dies, now, plane, said, token, unique};

/// A host that has joined, whose agent runs.
struct Host {
    agent: Agent,
    nginx: Nginx,
    ports: Vec<Port>,
    user: User,
    name: String,
}

impl Host {
    fn start(program: &Path) -> Host {
        let (nginx, user) = (Nginx::start().unwrap(), User::ordinary().unwrap());
        let mut agent = Agent::start_program(program, &nginx).unwrap();
        agent.stop();
        let allow = json!({
            "users": [user.name()], "releases": [agent.uploads()], "hostnames": ["*.test"], "runtimes": ["command"],
            "listen": [nginx.address()],
        });
        let config = fs::read_to_string(agent.config_file()).unwrap();
        fs::write(agent.config_file(), format!("{config}allow: {allow}\n")).unwrap();
        agent.run().unwrap();
        Host { agent, nginx, ports: Port::take_many(2).unwrap(), user, name: unique("running") }
    }

    fn join(&self) -> Said {
        self.join_with(&token(&self.name))
    }

    fn join_with(&self, word: &str) -> Said {
        let mut command = self.agent.cli(&["host", "join", "--token-file", "-", "--config"]);
        command.arg(self.agent.config_file()).stdin(Stdio::piped());
        said(command, Some(word))
    }

    fn site(&self) -> Manifest {
        let [blue, green] = [self.ports[0].number(), self.ports[1].number()];
        Manifest::app("shop", self.nginx.address(), self.user.name(), &[blue], &[green])
    }

    /// Writes the site on the hub.
    fn wants(&self, version: &str) {
        let site = self.site().release(&release(&self.agent.uploads(), version, "").unwrap());
        let namespace = format!("bluegreen-host-{}", self.name);
        plane().apply(&site.set("/metadata/namespace", json!(namespace)).yaml().unwrap()).unwrap();
    }

    fn object(&self) -> Value {
        plane()
            .json(&["-n", &format!("bluegreen-host-{}", self.name), "get", "bluegreensite", "shop"])
            .unwrap_or_default()
    }

    /// Waits until the hub is told that the newest specification is live.
    fn live(&self) {
        wait::until("the hub was told that it is live", PATIENCE, || {
            let object = self.object();
            let ready = object["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == "Ready")?.clone();
            let newest = object["metadata"]["generation"] == object["status"]["observedGeneration"];
            (newest && ready["status"] == "True").then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}\n{:#}\n{}", self.object(), self.agent.log()));
    }

    fn load(&self) -> Running {
        Load::to(self.nginx.address(), &self.site().host()).clients(4).start().unwrap()
    }

    /// What the host says of its hub.
    fn stands(&self, reached: bool, words: &[&str]) -> Value {
        let file = Membership::folder(&self.agent.state_dir()).join("standing.json");
        let stands = wait::until(&format!("the hub was reached: {reached}, with {words:?}"), PATIENCE, || {
            let stands: Value = serde_json::from_str(&fs::read_to_string(&file).ok()?).ok()?;
            let why = stands["why"].as_str().unwrap_or_default();
            (stands["reached"] == reached && words.iter().all(|word| why.contains(word))).then_some(stands)
        });
        stands.unwrap_or_else(|error| panic!("{error}\n{:?}\n{}", fs::read_to_string(&file), self.agent.log()))
    }

    /// Since when that is so, as the metrics have it.
    fn since(&self) -> String {
        let address = fs::read_to_string(self.agent.run_dir().join("metrics.addr")).unwrap();
        let answer = get(address.trim().parse().unwrap(), "localhost", "/metrics").unwrap();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        text.lines().find(|line| line.starts_with("bluegreen_hub_since_timestamp_seconds")).unwrap().to_owned()
    }

    fn token(&self) -> String {
        fs::read_to_string(Membership::token_file(&self.agent.state_dir())).unwrap()
    }

    /// Its token becomes one of which so many seconds are over, and so many left.
    fn ages(&self, over: i64, left: i64) {
        let token = Bearer::parse(&self.token()).unwrap();
        let span = SignedDuration::from_secs;
        let aged =
            at_another_time(&token, now().checked_sub(span(over)).unwrap(), now().checked_add(span(left)).unwrap());
        credentials::write(&Membership::token_file(&self.agent.state_dir()), &aged).unwrap();
    }
}

#[test]
fn a_running_agent_renews_its_token_at_four_fifths_of_its_life_and_works_on_with_the_new_one() {
    let host = Host::start(&binaries::bluegreen().unwrap());
    host.join().well();
    host.wants("v1");
    host.live();
    let load = host.load();
    let pid = host.agent.pid();
    // Four fifths of it are over in eight seconds. The API server takes a token for a minute longer than it says.
    host.ages(72, 28);
    let old = host.token();
    let since = host.since();
    let new =
        wait::until("the token was renewed", PATIENCE, || Some(host.token()).filter(|token| *token != old)).unwrap();
    let claims = Bearer::parse(&new).unwrap().claims().clone();
    assert!(claims.expires.duration_since(now()).as_hours() > 6 * 24);
    host.wants("v2");
    load.wait_for_version("v2").unwrap();
    host.live();
    // When the old one is dead, nobody misses it.
    dies(&old);
    host.wants("v3");
    load.wait_for_version("v3").unwrap();
    host.live();
    assert_eq!(host.token(), new, "once is enough");
    assert_eq!((host.since(), host.agent.pid()), (since, pid), "the hub was never away");
    let totals = load.stop();
    assert_eq!((totals.failed, totals.broken_clients), (0, 0), "{:?}", totals.told);
}

#[test]
fn a_token_that_ends_under_a_running_agent_stops_nothing_and_what_was_asked_meanwhile_is_done_after_a_join() {
    let host = Host::start(&binaries::bluegreen().unwrap());
    host.join().well();
    host.wants("v1");
    host.live();
    let load = host.load();
    load.wait_for_version("v1").unwrap();
    let pid = host.agent.pid();
    // As after a month in which the hub was not reached.
    host.ages(30 * 86_400, -23 * 86_400);
    host.stands(false, &["all sites run on", &format!("bluegreen host token {}", host.name)]);
    let said = String::from_utf8(host.agent.bluegreen(&["get"]).unwrap().stderr).unwrap();
    assert!(said.contains("bluegreen host token"), "{said}");
    host.wants("v2");
    load.wait_for_more(300).unwrap();
    assert_eq!(load.totals().versions.keys().collect::<Vec<_>>(), ["v1"]);
    host.join().well();
    load.wait_for_version("v2").unwrap();
    host.live();
    host.stands(true, &[]);
    assert_eq!(host.agent.pid(), pid, "the same agent all the while");
    let totals = load.stop();
    assert_eq!((totals.failed, totals.broken_clients), (0, 0), "{:?}", totals.told);
}

#[test]
fn a_host_whose_network_lets_out_nothing_but_https_to_the_hub_and_lets_nothing_in_joins_and_follows() {
    let cell = Cell::new(plane().url().rsplit(':').next().unwrap().parse().unwrap()).unwrap();
    let host = cell.inside(|| Host::start(&binaries::bluegreen().unwrap())).unwrap();
    let word = admin(&["host", "token", &host.name, "--only-token", "--server", &cell.url()]).well();
    cell.inside(|| host.join_with(word.trim())).unwrap().well();
    host.wants("v1");
    host.live();
    let load = cell.inside(|| host.load()).unwrap();
    load.wait_for_version("v1").unwrap();
    host.wants("v2");
    load.wait_for_version("v2").unwrap();
    host.live();
    let totals = load.stop();
    assert_eq!((totals.failed, totals.broken_clients), (0, 0), "{:?}", totals.told);
}

#[test]
fn a_host_whose_clock_is_an_hour_off_joins_and_follows_as_any_other() {
    for shift in ["+1h", "-1h"] {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::start(&clock::program(folder.path(), &binaries::bluegreen().unwrap(), shift).unwrap());
        host.join().well();
        host.wants("v1");
        host.live();
        let load = host.load();
        host.wants("v2");
        load.wait_for_version("v2").unwrap();
        host.live();
        // It is off, and its token is judged by the hub's clock all the same.
        let lease =
            plane().json(&["-n", &format!("bluegreen-host-{}", host.name), "get", "lease", "bluegreen-host"]).unwrap();
        let renewed: jiff::Timestamp = lease["spec"]["renewTime"].as_str().unwrap().parse().unwrap();
        let minutes = renewed.duration_since(now()).as_mins();
        assert_eq!(minutes.signum() > 0, shift == "+1h", "{minutes} min");
        assert!((50..=65).contains(&minutes.abs()), "{minutes} min");
        host.ages(280, 20);
        let old = host.token();
        wait::until("the token was renewed", PATIENCE, || (host.token() != old).then_some(())).unwrap();
        host.stands(true, &[]);
        let totals = load.stop();
        assert_eq!((totals.failed, totals.broken_clients), (0, 0), "{:?}", totals.told);
    }
}

#[test]
fn a_host_whose_clock_is_a_year_behind_is_told_that_it_is_and_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let program = clock::program(folder.path(), &binaries::bluegreen().unwrap(), "-365d").unwrap();
    // It can't even join, and hears why.
    let late = Host::start(&program);
    let refused = late.join().refused();
    assert!(refused.contains("certificate") && refused.contains("clock"), "{refused}");

    // One that has joined, and starts without a battery.
    let mut host = Host::start(&binaries::bluegreen().unwrap());
    host.join().well();
    host.wants("v1");
    host.live();
    let load = host.load();
    host.agent.stop();
    let (joined, state) = (Membership::load(&host.agent.state_dir()).unwrap().unwrap(), host.agent.state_dir());
    host.agent.run_as(&program).unwrap();
    host.stands(false, &["certificate", "clock"]);
    load.wait_for_more(100).unwrap();
    // Its clock is set.
    host.agent.stop();
    host.agent.run_as(&binaries::bluegreen().unwrap()).unwrap();
    host.wants("v2");
    load.wait_for_version("v2").unwrap();
    host.live();
    assert_eq!(Membership::load(&state).unwrap().unwrap().hub, joined.hub);
    let totals = load.stop();
    assert_eq!((totals.failed, totals.broken_clients), (0, 0), "{:?}", totals.told);
}
