//! What happens in the demo.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::report::{Act, Report};
use super::screen::Screen;
use crate::agent::Agent;
use crate::load::{Ask, Load, Running};
use crate::manifest::Manifest;
use crate::nginx::Nginx;
use crate::ports::Port;
use crate::users::User;
use crate::{binaries, interrupt, process, wait};

const SITE: &str = "shop";
const LOOK: Duration = Duration::from_millis(100);

/// Plays the demo, and returns what it came to.
///
/// # Errors
/// When something doesn't come up, or doesn't happen in time.
pub fn run() -> Result<Report> {
    interrupt::heed()?;
    let user = User::temporary("bluegreen-demo")?;
    let report = play(&user);
    let removed = user.remove();
    let report = report?;
    removed.context("the user of the demo's apps was not removed")?;
    Ok(report)
}

fn play(user: &User) -> Result<Report> {
    let mut screen = Screen::new();
    let nginx = Nginx::start()?;
    let agent = Agent::start(&nginx)?;
    let ports = Port::take_many(4)?;
    let port = |index: usize| ports[index].number();
    screen.say(&format!(
        "a real nginx on {}, an agent, a site of two instances and static files; 32 clients that GET and POST",
        nginx.address()
    ));
    let site = Manifest::app(SITE, nginx.address(), user.name(), &[port(0), port(1)], &[port(2), port(3)])
        .with_static("/assets/", "public/assets", 3)
        .set("/spec/health/successes", json!(3))
        .strategy("bake", "3s")
        .strategy("standby", "5m")
        .strategy("readyWithin", "4s");
    let mut play = Play { agent: &agent, load: None, acts: Vec::new(), screen: &mut screen };

    play.deploy("deploy v1", &site.clone().release(&release(&agent, "v1")?), settled_on("v1"))?;
    // The pages of v1 name this file. Some browser has one open, and asks for it until the end.
    let asset = asset_of(&agent.uploads().join("v1"))?;
    let asks = vec![
        Ask::get("/"),
        Ask::post("/order", "{\"item\":\"a book\",\"count\":1}"),
        Ask::file(&format!("/assets/{asset}")),
        Ask::post("/order", "{\"item\":\"two books\",\"count\":2}"),
    ];
    play.load = Some(Load::to(nginx.address(), &site.host()).asks(asks).keep_samples().start()?);
    play.watch_traffic(Duration::from_secs(2))?;
    play.deploy("deploy v2", &site.clone().release(&release(&agent, "v2")?), settled_on("v2"))?;
    play.watch_traffic(Duration::from_secs(1))?;
    play.roll_back("roll back to v1")?;
    play.watch_traffic(Duration::from_secs(1))?;
    let before = agent.site(SITE)?;
    play.deploy("deploy v3, which never gets ready", &site.release(&release(&agent, "v3")?), rejected(before))?;
    play.watch_traffic(Duration::from_secs(1))?;

    let Play { load, acts, .. } = play;
    let totals = load.context("there was no load")?.stop();
    screen.end();
    agent.bluegreen(&["delete", SITE])?;
    wait::until("the site was gone", wait::PATIENCE, || agent.apps().is_empty().then_some(()))?;
    Ok(Report { acts, totals })
}

/// Where the demo stands.
struct Play<'a> {
    agent: &'a Agent,
    load: Option<Running>,
    acts: Vec<Act>,
    screen: &'a mut Screen,
}

/// Whether an act is over: `None` as long as it isn't.
type Over = Box<dyn Fn(&Value, Option<&Running>) -> Option<String>>;

impl Play<'_> {
    fn deploy(&mut self, title: &str, manifest: &Manifest, over: Over) -> Result<()> {
        self.act(title, over, |agent| agent.apply(manifest))
    }

    fn roll_back(&mut self, title: &str) -> Result<()> {
        let from = colour_of(&self.agent.site(SITE)?).unwrap_or_default();
        let back = move |site: &Value, _: Option<&Running>| {
            (at_rest(site) && colour_of(site)? != from).then(|| "v1 is live again, from its warm standby".to_owned())
        };
        self.act(title, Box::new(back), |agent| agent.bluegreen(&["rollback", SITE]).map(drop))
    }

    /// Begins something and shows the site until it is over.
    fn act(&mut self, title: &str, over: Over, begin: impl FnOnce(&Agent) -> Result<()>) -> Result<()> {
        self.screen.act(title);
        drop(self.load.as_ref().map(Running::take));
        let events = self.agent.history(SITE).map_or(0, |events| events.len());
        let moved = self.agent.moved_ns(SITE);
        let begun = Instant::now();
        begin(self.agent)?;
        let outcome = loop {
            // A site that was applied a moment ago may not be known yet.
            let site = self.agent.site(SITE).unwrap_or_default();
            let phase = site.pointer("/status/phase").and_then(Value::as_str).unwrap_or("…").to_owned();
            self.screen.show(&phase, self.load.as_ref());
            if let Some(outcome) = over(&site, self.load.as_ref()) {
                break outcome;
            }
            if interrupt::pending() {
                bail!("interrupted");
            }
            if begun.elapsed() > wait::PATIENCE {
                bail!("'{title}' does not end: {:#}\nthe agent's log:\n{}", site["status"], self.agent.log());
            }
            thread::sleep(LOOK);
        };
        let took = begun.elapsed();
        self.screen.outcome(&outcome, took);
        let now = self.agent.moved_ns(SITE);
        let samples = self.load.as_ref().map(Running::take).unwrap_or_default();
        let events = self.agent.history(SITE)?.split_off(events);
        let moved = now.filter(|now| Some(*now) != moved);
        self.acts.push(Act::new(title, &outcome, took, &events, moved, &samples));
        Ok(())
    }

    /// Nothing is done: requests go where they go.
    fn watch_traffic(&mut self, lasting: Duration) -> Result<()> {
        let begun = Instant::now();
        if let Some(load) = &self.load {
            load.wait_for_more(100)?;
        }
        while begun.elapsed() < lasting && !interrupt::pending() {
            self.screen.show("Idle", self.load.as_ref());
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// The version is live and nothing is under way.
fn settled_on(version: &'static str) -> Over {
    Box::new(move |site, load| {
        let answers = load.is_none_or(|load| load.totals().versions.contains_key(version));
        (at_rest(site) && answers && is_true(site, "Ready")).then(|| format!("{version} is live"))
    })
}

/// Another revision than the one that was rejected before was given up, and what was live still is.
fn rejected(before: Value) -> Over {
    Box::new(move |site, _| {
        let revision = site.pointer("/status/rejected/revision")?;
        if before.pointer("/status/rejected/revision") == Some(revision) {
            return None;
        }
        let reason = site.pointer("/status/rejected/reason")?.as_str()?;
        let serves = is_true(site, "Available");
        (at_rest(site) && serves).then(|| format!("rejected ({reason}); v1 goes on serving"))
    })
}

fn at_rest(site: &Value) -> bool {
    let generation = site.pointer("/metadata/generation");
    site.pointer("/status/phase") == Some(&json!("Idle"))
        && generation.is_none_or(|generation| site.pointer("/status/observedGeneration") == Some(generation))
}

fn is_true(site: &Value, kind: &str) -> bool {
    let conditions = site.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == kind && one["status"] == "True")
}

fn colour_of(site: &Value) -> Option<String> {
    Some(site.pointer("/status/live/colour")?.as_str()?.to_owned())
}

/// A version of the example, with the app copied in as somebody who uploads it would.
fn release(agent: &Agent, version: &str) -> Result<PathBuf> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop").join(version);
    let upload = agent.uploads().join(version);
    process::run(std::process::Command::new("cp").arg("-R").arg(&example).arg(&upload))?;
    fs::copy(binaries::rig_app()?, upload.join("app")).context("cannot copy the app")?;
    Ok(upload)
}

fn asset_of(release: &Path) -> Result<String> {
    let entries = fs::read_dir(release.join("public/assets"))?.flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(|name| name.ends_with(".js")).context("the example has no script")
}
