//! The preview of a candidate that waits for its approval, and settings of requests that are no new revision: the agent, a real web server, load.

use bluegreen_rig::load::{Load, get};
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use bluegreen_rig::wait::{self, PATIENCE};
use bluegreen_rig::{agent::Agent, apache::Apache, nginx::Nginx};
use serde_json::{Value, json};

use crate::fronts::{Front, told_to_reload};
use crate::kit::{nothing_lost, why};

const PREVIEW: &str = "next.shop.test";

struct Place<F: Front> {
    // Dropped in this order: the agent and its apps before the web server in front of them.
    agent: Agent,
    front: F,
    ports: Vec<Port>,
    user: User,
}

impl<F: Front> Place<F> {
    fn start() -> Place<F> {
        let front = F::begin();
        let agent = Agent::start(&front).unwrap();
        Place { agent, front, ports: Port::take_many(4).unwrap(), user: User::ordinary().unwrap() }
    }

    fn site(&self) -> Manifest {
        let ports: Vec<u16> = self.ports.iter().map(Port::number).collect();
        let site = Manifest::app("shop", self.front.address(), self.user.name(), &ports[..2], &ports[2..]);
        site.set("/spec/target/host/previewHostnames", json!([PREVIEW]))
    }

    fn release(&self, version: &str) -> std::path::PathBuf {
        release(&self.agent.uploads(), version, "").unwrap()
    }

    /// The version that the preview shows; `None`: it says that there is nothing to be seen.
    fn shown(&self) -> Option<String> {
        let answer = get(self.front.address(), PREVIEW, "/").unwrap();
        if answer.status == 503 {
            assert!(answer.text().contains("nothing to be seen here now: the site shop"), "{}", answer.text());
            assert_eq!(answer.header("x-bluegreen-colour"), Some("none"));
            return None;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-bluegreen-colour"), answer.header("x-colour"), "it is the colour that it says");
        answer.version().map(str::to_owned)
    }

    fn wait_until_shown(&self, version: Option<&str>) {
        let is = || (self.shown().as_deref() == version).then_some(());
        wait::until(&format!("the preview shows {version:?}"), PATIENCE, is).unwrap();
    }
}

fn settled(site: &Value) -> bool {
    why(site, "Ready") == "Live"
}

fn a_candidate_is_shown_until_it_is_live<F: Front>() {
    let place = Place::<F>::start();
    let agent = &place.agent;
    let site = place.site().strategy("promotion", "Manual");
    let approve = || {
        agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
        agent.bluegreen(&["approve", "shop"]).unwrap();
    };
    agent.apply(&site.clone().release(&place.release("v1"))).unwrap();
    agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    place.wait_until_shown(Some("v1"));
    assert_eq!(get(place.front.address(), "shop.test", "/").unwrap().status, 503, "nothing is live yet");
    approve();
    agent.wait_for("shop", "is live", settled).unwrap();
    assert_eq!(place.shown(), None, "what is live is no preview");

    let load = Load::to(place.front.address(), "shop.test").clients(8).start().unwrap();
    let reloads = told_to_reload(agent);
    for (before, next) in [("v1", "v2"), ("v2", "v3")] {
        agent.apply(&site.clone().release(&place.release(next))).unwrap();
        agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
        place.wait_until_shown(Some(next));
        assert_eq!(get(place.front.address(), "shop.test", "/").unwrap().version(), Some(before));
        load.wait_for_more(50).unwrap();
        approve();
        load.wait_for_version(next).unwrap();
        assert_ne!(place.shown().as_deref(), Some(next), "it is live by now");
        agent.wait_for("shop", "is live", |site| settled(site) && phase(site) == "Idle").unwrap();
        place.wait_until_shown(None);
    }
    assert_eq!(told_to_reload(agent), reloads);

    // What is aborted is not to be seen any more.
    agent.apply(&site.clone().release(&place.release("v4"))).unwrap();
    agent.wait_for_phase("shop", "AwaitingApproval").unwrap();
    place.wait_until_shown(Some("v4"));
    agent.bluegreen(&["abort", "shop"]).unwrap();
    agent.wait_for_phase("shop", "Idle").unwrap();
    place.wait_until_shown(None);
    let totals = load.stop();
    nothing_lost(&totals);
    assert!(!totals.versions.contains_key("v4"), "only who asked for the preview saw it");
}

fn phase(site: &Value) -> &str {
    site.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn behind_nginx_a_candidate_is_shown_until_it_is_live() {
    a_candidate_is_shown_until_it_is_live::<Nginx>();
}

#[test]
fn behind_apache_a_candidate_is_shown_until_it_is_live() {
    a_candidate_is_shown_until_it_is_live::<Apache>();
}

#[test]
fn a_standby_is_shown_while_it_is_kept() {
    let place = Place::<Nginx>::start();
    let site = place.site().strategy("standby", "1h");
    for version in ["v1", "v2"] {
        place.agent.apply_and_wait(&site.clone().release(&place.release(version))).unwrap();
    }
    place.wait_until_shown(Some("v1"));
    assert_eq!(get(place.front.address(), "shop.test", "/").unwrap().version(), Some("v2"));
}

#[test]
fn a_change_of_the_limits_of_requests_is_one_reload_and_no_new_revision() {
    let place = Place::<Nginx>::start();
    let agent = &place.agent;
    let site = place.site().release(&place.release("v1"));
    agent.apply_and_wait(&site).unwrap();
    let revision = || agent.site("shop").unwrap().pointer("/status/live/revision").cloned();
    let (before, reloads) = (revision(), told_to_reload(agent));
    // What is written out and is the default is no change at all.
    let usual = json!({ "maxBodySize": "1Gi", "timeout": "1h", "streamTimeout": "1h", "connectTimeout": "5s" });
    agent.apply_and_wait(&site.clone().set("/spec/target/host/requests", usual)).unwrap();
    assert_eq!((revision(), told_to_reload(agent)), (before.clone(), reloads.clone()));
    let told = |number: &str| number.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    agent.apply_and_wait(&site.clone().set("/spec/target/host/requests", json!({ "maxBodySize": "1Ki" }))).unwrap();
    wait::until("the limit is in force", PATIENCE, || {
        let answer = bluegreen_rig::load::post(place.front.address(), "shop.test", "/order", vec![b'x'; 2000]).unwrap();
        (answer.status == 413).then_some(())
    })
    .unwrap();
    assert_eq!(told(&told_to_reload(agent)), told(&reloads) + 1);
    assert_eq!(revision(), before);
    let described = agent.bluegreen(&["describe", "shop"]).unwrap();
    let described = String::from_utf8_lossy(&described.stdout).into_owned();
    for words in ["bodies up to 1Ki", "next.shop.test: the idle colour"] {
        assert!(described.contains(words), "{words}: {described}");
    }
}
