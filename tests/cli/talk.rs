//! The program against a control socket: the agent's own server answers, with sites that a test puts on show.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bluegreen::api::types::SiteName;
use bluegreen::control::api::{
    Applied, ApplyOutcome, CommandAnswer, CommandRequest, Deleted, Failure, History, InstanceLog, Logs, LogsQuery,
    Order, Outcome, SiteList, SiteView,
};
use bluegreen::control::server::{Backend, bind, serve};
use bluegreen::rollout::Colour;
use bluegreen_rig::told::Told;
use serde_json::json;
use tokio::sync::watch;

use crate::samples::{self, baking, new, old, rejected, resting, starting};

/// What an agent would know, put there by a test.
#[derive(Default)]
struct Show {
    sites: Mutex<Vec<SiteView>>,
    commands: Mutex<Vec<CommandRequest>>,
    applied: Mutex<Vec<String>>,
    lines: Mutex<Vec<String>>,
    /// A site that is deleted stays, as one does that drains.
    lingers: AtomicBool,
    changed: watch::Sender<()>,
}

impl Show {
    fn show(&self, view: SiteView) {
        let mut sites = self.sites.lock().expect("nobody panicked");
        let name = view.object["metadata"]["name"].clone();
        sites.retain(|site| site.object["metadata"]["name"] != name);
        sites.push(view);
        self.changed.send_replace(());
    }

    fn clear(&self) {
        self.sites.lock().expect("nobody panicked").clear();
        self.changed.send_replace(());
    }
}

impl Backend for Show {
    fn list(&self) -> SiteList {
        SiteList { items: self.sites.lock().expect("nobody panicked").clone(), notes: Vec::new() }
    }

    fn site(&self, name: &SiteName) -> Option<SiteView> {
        let items = self.list().items;
        items.into_iter().find(|site| site.object["metadata"]["name"] == name.as_str())
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    async fn history(&self, _: &SiteName) -> Result<History, Failure> {
        Ok(samples::history())
    }

    async fn logs(&self, name: &SiteName, query: LogsQuery) -> Result<Logs, Failure> {
        self.site(name).ok_or_else(|| Failure::not_found("no such site"))?;
        let colour = query.colour.unwrap_or(Colour::Blue);
        let lines = self.lines.lock().expect("nobody panicked").clone();
        let all = (0..2).filter(|index| query.instance.is_none_or(|only| only == *index));
        let items = all.map(|instance| InstanceLog { colour, instance, lines: lines.clone() });
        Ok(Logs { items: items.collect() })
    }

    async fn apply(&self, manifest: &str, _: bool) -> Result<Applied, Failure> {
        if manifest.contains("/srv/shop/refused") {
            return Err(Failure::conflict("the site other has port 8081 already: take another one"));
        }
        self.applied.lock().expect("nobody panicked").push(manifest.to_owned());
        Ok(Applied {
            name: "shop".to_owned(),
            outcome: ApplyOutcome::Configured,
            generation: 4,
            look: 0,
            warnings: vec!["health.path / answers for any app".to_owned()],
        })
    }

    async fn delete(&self, name: &SiteName) -> Result<Deleted, Failure> {
        self.site(name).ok_or_else(|| Failure::not_found("no such site"))?;
        if !self.lingers.load(Ordering::SeqCst) {
            self.clear();
        }
        Ok(Deleted { name: name.to_string() })
    }

    async fn command(&self, _: &SiteName, command: CommandRequest) -> Result<CommandAnswer, Failure> {
        let retry = command.order == Order::Retry;
        let id = command.id.clone();
        self.commands.lock().expect("nobody panicked").push(command);
        Ok(CommandAnswer {
            id,
            outcome: if retry { Outcome::Ignored } else { Outcome::Obeyed },
            message: if retry { "it is not rejected" } else { "done" }.to_owned(),
        })
    }

    fn answered(&self, _: &'static str, _: u16) {}
}

/// An agent's socket in a folder of its own; all of it goes away with it.
struct Agent {
    show: Arc<Show>,
    socket: PathBuf,
    runtime: Option<tokio::runtime::Runtime>,
    _folder: tempfile::TempDir,
}

impl Agent {
    fn start(sites: Vec<SiteView>) -> Agent {
        let folder = tempfile::tempdir().expect("a folder");
        let mut agent = Agent {
            show: Arc::new(Show::default()),
            socket: folder.path().join("control.sock"),
            runtime: None,
            _folder: folder,
        };
        for site in sites {
            agent.show.show(site);
        }
        agent.listen();
        agent
    }

    fn listen(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = {
            let _inside = runtime.enter();
            bind(&self.socket).expect("the socket")
        };
        let show = Arc::clone(&self.show);
        runtime.spawn(async move { serve(listener, show).await });
        self.runtime = Some(runtime);
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        std::fs::remove_file(&self.socket).expect("the socket was there");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bluegreen"));
        command.args(words).env("BLUEGREEN_SOCKET", &self.socket).stdin(Stdio::null());
        command
    }

    /// Runs to its end: exit code, standard output, standard error.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let output = self.command(words).output().expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
    }

    fn begin(&self, words: &[&str]) -> Told {
        Told::start(&mut self.command(words)).expect("the program runs")
    }
}

const SHOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.yaml");

#[test]
fn get_prints_tables_names_and_data() {
    let agent = Agent::start(vec![resting("shop"), starting("intranet")]);
    let (code, out, err) = agent.run(&["get"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("NAME") && out.lines().count() == 3, "{out}");
    let (_, out, _) = agent.run(&["get", "-o", "name"]);
    assert_eq!(out, "bluegreensite.bluegreen.dev/shop\nbluegreensite.bluegreen.dev/intranet\n");
    let (_, out, _) = agent.run(&["get", "bgs/shop", "-o", "json"]);
    let object: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(object["kind"], "BlueGreenSite");
    let (_, out, _) = agent.run(&["get", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((list["kind"].as_str(), list["items"].as_array().map(Vec::len)), (Some("List"), Some(2)));
    let (_, out, _) = agent.run(&["get", "shop", "-o", "yaml"]);
    bluegreen::api::parse::manifest(&out).expect("what get prints can be applied again");
}

#[test]
fn a_site_that_is_not_there_is_an_error_that_helps() {
    let agent = Agent::start(vec![resting("shop"), resting("intranet")]);
    let (code, _, err) = agent.run(&["get", "shpo"]);
    assert_eq!((code, err.as_str()), (1, "error: there is no site \"shpo\"; did you mean shop?\n"));
    let (_, _, err) = agent.run(&["describe", "elsewhere"]);
    assert_eq!(err, "error: there is no site \"elsewhere\"; the sites here are shop, intranet\n");
    let (_, _, err) = agent.run(&["get", "No Such"]);
    assert!(err.contains("is not a site's name"), "{err}");
    agent.show.clear();
    let (code, out, err) = agent.run(&["get"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("bluegreen apply -f FILE"), "{err}");
}

#[test]
fn get_follows_what_changes() {
    let agent = Agent::start(vec![resting("shop")]);
    let watch = agent.begin(&["get", "-w"]);
    watch.until("NAME").unwrap();
    watch.until("Idle").unwrap();
    agent.show.show(starting("shop"));
    watch.until("Starting").unwrap();
    agent.show.show(baking("shop"));
    let line = watch.until("Baking").unwrap();
    assert!(line.contains("green"), "{line}");
    agent.show.clear();
    watch.until("deleted").unwrap();
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let agent = Agent::start((0..200).map(|number| resting(&format!("site-{number}"))).collect());
    let mut child =
        agent.command(&["get", "-o", "yaml"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn a_command_names_the_attempt_that_was_seen() {
    let agent = Agent::start(vec![starting("shop"), resting("quiet")]);
    let (code, out, err) = agent.run(&["approve", "shop"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "bluegreensite.bluegreen.dev/shop approve: done\n", ""));
    let (code, _, _) = agent.run(&["abort", "shop", "--revision", "feed"]);
    assert_eq!(code, 0);
    let (code, _, err) = agent.run(&["abort", "shop", "--revision", "0123"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "error: abort would be about feedbeef00 now, not about 0123456789: nothing was done\n")
    );
    let (code, _, err) = agent.run(&["retry", "shop"]);
    assert_eq!(code, 1);
    assert!(err.contains("retry: it is not rejected; look at bluegreen describe shop"), "{err}");
    let (code, _, err) = agent.run(&["approve", "quiet"]);
    assert_eq!(code, 1);
    assert!(err.contains("there is nothing to approve at quiet: blue serves 0123456789"), "{err}");
    let commands = agent.show.commands.lock().expect("nobody panicked");
    let seen: Vec<(&str, String)> = commands.iter().map(|one| (one.order.name(), one.about.to_string())).collect();
    let about = format!("{}/1", new());
    assert_eq!(seen, [("approve", about.clone()), ("abort", about.clone()), ("retry", about)]);
    assert_ne!(commands[0].id, commands[1].id);
}

#[test]
fn a_rollback_goes_to_what_was_live_before() {
    let agent = Agent::start(vec![baking("shop"), resting("quiet"), starting("blog")]);
    let (code, _, err) = agent.run(&["rollback", "shop"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (code, _, _) = agent.run(&["rollback", "shop", "--to", "0123"]);
    assert_eq!(code, 0);
    let (code, _, err) = agent.run(&["rollback", "shop", "--to", "77"]);
    assert_eq!(code, 1);
    assert!(err.contains("there is 0123456789"), "{err}");
    let (code, _, err) = agent.run(&["rollback", "quiet"]);
    assert_eq!(code, 1);
    assert!(err.contains("nowhere to go back to"), "{err}");
    assert!(err.contains("apply a manifest with an earlier release"), "{err}");
    let (code, _, err) = agent.run(&["rollback", "blog"]);
    assert_eq!(code, 1);
    assert!(err.contains("feedbeef00 is on its way and can still be given up: bluegreen abort blog"), "{err}");
    let commands = agent.show.commands.lock().expect("nobody panicked");
    assert_eq!(commands.len(), 2);
    assert!(commands.iter().all(|one| one.order == Order::Rollback { to: old() } && one.about.revision == new()));
}

#[test]
fn apply_judges_before_it_hands_in() {
    let agent = Agent::start(Vec::new());
    let folder = tempfile::tempdir().expect("a folder");
    let bad = folder.path().join("bad.yaml");
    let text = std::fs::read_to_string(SHOP).expect("an example");
    std::fs::write(&bad, text.replace("user: shop", "user: root")).expect("written");
    let (code, out, err) = agent.run(&["apply", "-f", SHOP, "-f", bad.to_str().expect("text")]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("bad.yaml: line 19, column 7: spec.target.host.user: a site never runs as root"), "{err}");
    assert!(err.ends_with("nothing was applied\n"), "{err}");
    assert!(agent.show.applied.lock().expect("nobody panicked").is_empty(), "also the good one was not handed in");
    let (code, out, err) = agent.run(&["apply", "-f", SHOP]);
    assert_eq!((code, out.as_str()), (0, "bluegreensite.bluegreen.dev/shop configured\n"));
    assert_eq!(err, "Warning: health.path / answers for any app\n");
    std::fs::write(&bad, text.replace("/srv/shop/uploads", "/srv/shop/refused")).expect("written");
    let (code, _, err) = agent.run(&["apply", "-f", bad.to_str().expect("text")]);
    assert_eq!(code, 1);
    assert!(err.contains("bad.yaml was not applied: the site other has port 8081 already"), "{err}");
}

#[test]
fn apply_waits_until_the_site_is_live() {
    let mut old_look = resting("shop");
    old_look.object["status"]["observedGeneration"] = json!(3);
    let agent = Agent::start(vec![old_look]);
    let wait = agent.begin(&["apply", "-f", SHOP, "--wait"]);
    wait.until("configured").unwrap();
    wait.until("shop: Idle: blue serves").unwrap();
    agent.show.show(starting("shop"));
    wait.until("shop: Starting: feedbeef00 starts on green").unwrap();
    agent.show.show(baking("shop"));
    wait.until("shop: Baking: green serves feedbeef00").unwrap();
    agent.show.show(resting("shop"));
    let (code, err) = wait.end().unwrap();
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn apply_fails_with_the_reason_when_the_site_is_rejected() {
    let agent = Agent::start(vec![starting("shop")]);
    let wait = agent.begin(&["apply", "-f", SHOP, "--wait"]);
    wait.until("Starting").unwrap();
    agent.show.show(rejected("shop"));
    let (code, err) = wait.end().unwrap();
    assert_eq!(code, Some(1));
    let last = err.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("error: shop did not go live: ReadyDeadlineExceeded: feedbeef00 was not ready in time (instance 1: exit code 1)"),
        "{err}"
    );
    assert!(last.ends_with("bluegreen retry shop"), "{err}");
}

#[test]
fn apply_gives_up_waiting_when_its_time_is_over_and_says_where_it_stood() {
    let agent = Agent::start(vec![starting("shop")]);
    let (code, _, err) = agent.run(&["apply", "-f", SHOP, "--wait", "--timeout", "300ms"]);
    assert_eq!(code, 1);
    let last = err.lines().last().unwrap_or_default();
    assert!(last.contains("shop is not live after 300ms: shop: Starting: feedbeef00 starts on green"), "{err}");
    assert!(last.contains("the rollout goes on without this wait: bluegreen get shop -w"), "{err}");
}

#[test]
fn a_wait_outlives_the_agent() {
    let mut agent = Agent::start(vec![starting("shop")]);
    let wait = agent.begin(&["apply", "-f", SHOP, "--wait"]);
    wait.until("Starting").unwrap();
    agent.stop();
    wait.until("the agent is away, waiting for it").unwrap();
    agent.show.show(resting("shop"));
    agent.listen();
    let (code, err) = wait.end().unwrap();
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn a_site_that_is_deleted_while_it_is_waited_for_is_an_error() {
    let agent = Agent::start(vec![starting("shop")]);
    let wait = agent.begin(&["apply", "-f", SHOP, "--wait"]);
    wait.until("Starting").unwrap();
    agent.show.clear();
    let (code, err) = wait.end().unwrap();
    assert_eq!(code, Some(1));
    assert!(err.contains("was deleted while it was waited for"), "{err}");
}

#[test]
fn delete_stays_until_the_site_is_gone() {
    let agent = Agent::start(vec![resting("shop")]);
    agent.show.lingers.store(true, Ordering::SeqCst);
    let (code, out, _) = agent.run(&["delete", "shop", "--wait=false"]);
    assert_eq!((code, out.as_str()), (0, "bluegreensite.bluegreen.dev/shop deleted\n"));
    let (code, out, err) = agent.run(&["delete", "-f", SHOP, "--timeout", "200ms"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("shop is not gone after 200ms; its deletion goes on"), "{err}");
    agent.show.lingers.store(false, Ordering::SeqCst);
    let (code, out, _) = agent.run(&["delete", "shop"]);
    assert_eq!((code, out.as_str()), (0, "bluegreensite.bluegreen.dev/shop deleted\n"));
    let (code, _, err) = agent.run(&["delete", "shop"]);
    assert_eq!(code, 1);
    assert!(err.contains("there is no site \"shop\""), "{err}");
    let (code, _, _) = agent.run(&["delete", "shop", "--ignore-not-found"]);
    assert_eq!(code, 0);
}

#[test]
fn logs_are_told_apart_and_followed() {
    let agent = Agent::start(vec![resting("shop")]);
    let say = |line: &str| agent.show.lines.lock().expect("nobody panicked").push(line.to_owned());
    for number in 0..5 {
        say(&format!("line {number}"));
    }
    let (code, out, _) = agent.run(&["logs", "shop", "--instance", "1", "--tail", "2"]);
    assert_eq!((code, out.as_str()), (0, "line 3\nline 4\n"));
    let (_, out, _) = agent.run(&["logs", "shop", "--colour", "green", "--tail", "1"]);
    assert_eq!(out, "[green.0] line 4\n[green.1] line 4\n");
    let follow = agent.begin(&["logs", "shop", "--instance", "0", "-f", "--tail", "1"]);
    assert_eq!(follow.until("line").unwrap(), "line 4");
    say("line 5");
    assert_eq!(follow.until("line").unwrap(), "line 5");
    let (code, _, err) = agent.run(&["logs", "shop", "--colour", "red"]);
    assert_eq!(code, 2);
    assert!(err.contains("a colour is blue or green"), "{err}");
}

#[test]
fn describe_and_history_show_the_site() {
    let agent = Agent::start(vec![rejected("shop")]);
    let (code, out, _) = agent.run(&["describe", "shop"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("Name:            shop\n") && out.contains("ReadyDeadlineExceeded"), "{out}");
    let (code, out, _) = agent.run(&["history", "shop"]);
    assert_eq!(code, 0);
    assert!(out.contains("PhaseEntered"), "{out}");
    let (_, out, _) = agent.run(&["history", "shop", "-o", "json"]);
    let data: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(data["items"].as_array().map(Vec::len), Some(3));
}
