//! Phases that are kept as long as a test wants them: what somebody edits in them is put back while they last, and a leader that freezes in
//! them does no harm when it wakes.

use std::time::Instant;

use bluegreen_rig::cluster::{Namespace, POD};
use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::history::History;
use crate::kit::{Operator, PATIENCE, merge, object, plane, ready, site, told};
use crate::leaders::{frozen, runs};
use crate::meddling::{EDITS, Edit, THEIRS, serving};

/// A phase that lasts until somebody ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// A new specification came while the rejected candidate still drains: its slot has to be free first.
    Preparing,
    /// Somebody paused the rollout before the checks.
    Verifying,
    /// Nobody has approved yet.
    AwaitingApproval,
    /// Somebody aborted what is live and watched: it drains.
    RollingBack,
}

const ALL: [Held; 4] = [Held::Preparing, Held::Verifying, Held::AwaitingApproval, Held::RollingBack];

impl Held {
    fn site(self, name: &str, version: u32) -> Value {
        let mut site = site(name, version);
        let strategy = &mut site["spec"]["strategy"];
        match self {
            // Long enough for an edit and a look, and for a lease to run out.
            Held::Preparing | Held::RollingBack => merge(strategy, &json!({"drainWithin": "20s", "bake": "1h"})),
            Held::AwaitingApproval => merge(strategy, &json!({"promotion": "Manual"})),
            Held::Verifying => {
                let unready = json!({"metadata": {"annotations": {POD: "unready"}}});
                merge(&mut site["spec"]["target"]["cluster"]["template"], &unready);
            }
        }
        site
    }

    /// Begins to roll out this version.
    fn begin(self, namespace: &Namespace<'_>, name: &str, version: u32) {
        namespace.apply(&self.site(name, version).to_string()).unwrap();
    }

    /// Does what there is to do until the phase lasts; to be asked again until it says so.
    fn lasts(self, namespace: &Namespace<'_>, name: &str, version: u32) -> Option<()> {
        let object = object(namespace, name)?;
        let status = &object["status"];
        let phase = status["phase"].as_str()?;
        let current = status["observedGeneration"] == object["metadata"]["generation"];
        if !current {
            return None;
        }
        if phase == format!("{self:?}") {
            return Some(());
        }
        match (self, phase) {
            (Held::Verifying, "Starting") => {
                let candidate = status["candidate"]["revision"].as_str()?;
                let pods = format!("bluegreen.dev/site={name},bluegreen.dev/revision={candidate}");
                let pods = namespace.json(&["get", "pods", "--selector", &pods]).ok()?;
                let pod = pods["items"].as_array()?.iter().find(|pod| pod["status"]["phase"] == "Running")?;
                command(namespace, name, "pause", candidate);
                wait::until("it was paused", PATIENCE, || {
                    self::object(namespace, name)?["status"]["rollout"]["ledger"]["paused"].is_number().then_some(())
                })
                .ok()?;
                namespace.set_ready(pod["metadata"]["name"].as_str()?, true).ok()?;
            }
            (Held::Preparing | Held::RollingBack, "Baking") => {
                command(namespace, name, "abort", status["live"]["revision"].as_str()?);
            }
            (Held::Preparing, "RollingBack") => {
                let mut next = self.site(name, version + 1);
                next["spec"]["strategy"]["bake"] = json!("1s");
                namespace.apply(&next.to_string()).ok()?;
            }
            _ => {}
        }
        None
    }

    /// Lets it go on.
    fn end(self, namespace: &Namespace<'_>, name: &str) {
        let verb = match self {
            Held::Verifying => "resume",
            Held::AwaitingApproval => "approve",
            Held::Preparing | Held::RollingBack => return,
        };
        let status = object(namespace, name).unwrap()["status"].clone();
        command(namespace, name, verb, status["candidate"]["revision"].as_str().unwrap());
    }
}

fn command(namespace: &Namespace<'_>, name: &str, verb: &str, revision: &str) {
    let annotation = format!("bluegreen.dev/{verb}={revision}/1");
    namespace.kubectl(&["annotate", "--overwrite", "bluegreensite", name, &annotation]).unwrap();
}

#[test]
fn what_somebody_edits_while_a_phase_lasts_is_put_back_and_nothing_unapproved_serves() {
    let plane = plane();
    let namespace = plane.namespace("held").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    let plans: Vec<(String, Held, Edit)> = ALL
        .into_iter()
        .flat_map(|held| EDITS.map(|edit| (format!("{held:?}-{edit:?}").to_lowercase(), held, edit)))
        .collect();
    for (name, ..) in &plans {
        namespace.apply(&site(name, 1).to_string()).unwrap();
    }
    for (name, ..) in &plans {
        ready(&namespace, name, &[&operator]);
    }
    for (name, held, _) in &plans {
        held.begin(&namespace, name, 2);
    }
    let mut left: Vec<&(String, Held, Edit)> = plans.iter().collect();
    wait::until("each phase lasted", PATIENCE * 2, || {
        left.retain(|(name, held, edit)| {
            let lasts = held.lasts(&namespace, name, 2).is_some();
            if lasts {
                edit.make(&namespace, name);
            }
            !lasts
        });
        left.is_empty().then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {left:?}\n{}", told(&namespace, &left[0].0, &[&operator])));
    let sets = namespace.kubectl(&["get", "replicasets", "--output=json"]).unwrap();
    assert!(!sets.contains(THEIRS), "something was started that nobody approved:\n{sets}");
    // The others go on by themselves meanwhile.
    let waiting = |held: Held| matches!(held, Held::Verifying | Held::AwaitingApproval);
    for (name, held, edit) in plans.iter().filter(|(_, held, _)| waiting(*held)) {
        wait::until("the first version serves", PATIENCE, || {
            let service = namespace.json(&["get", "service", name]).ok()?;
            let object = object(&namespace, name)?;
            let revision = object["status"]["live"]["revision"].as_str()?;
            let back = service["spec"]["selector"]["bluegreen.dev/revision"] == revision;
            let live = namespace.json(&["get", "deployment", &format!("{name}-blue")]).ok()?;
            let image = &live["spec"]["template"]["spec"]["containers"][0]["image"];
            let serves = live["status"]["readyReplicas"].as_u64()? >= 1 && *image == "registry.local/app:1";
            (back && serves).then_some(())
        })
        .unwrap_or_else(|error| panic!("{held:?} {edit:?}: {error}\n{}", told(&namespace, name, &[&operator])));
        held.end(&namespace, name);
    }
    for (name, held, edit) in &plans {
        let version = wait::until("what shall serve did", PATIENCE, || serving(&namespace, name))
            .unwrap_or_else(|error| panic!("{name}: {error}\n{}", told(&namespace, name, &[&operator])));
        let expected = match held {
            Held::Preparing => 3,
            Held::Verifying | Held::AwaitingApproval => 2,
            Held::RollingBack => 1,
        };
        assert_eq!(version, expected, "{held:?} {edit:?}\n{}", told(&namespace, name, &[&operator]));
    }
}

#[test]
fn of_a_selector_that_somebody_edits_the_next_write_is_ours_and_it_promotes_nothing() {
    let plane = plane();
    let namespace = plane.namespace("next").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let held = Held::AwaitingApproval;
    held.begin(&namespace, "shop", 2);
    wait::until("it awaited approval", PATIENCE, || held.lasts(&namespace, "shop", 2)).unwrap();
    let service = || namespace.json(&["get", "service", "shop"]).unwrap();
    let before = service()["spec"]["selector"].clone();
    let candidate = object(&namespace, "shop").unwrap()["status"]["candidate"]["revision"].clone();
    let mark = plane.mark();
    // Exactly what a cutover of ours would write.
    let theirs = json!({"spec": {"selector": {"bluegreen.dev/colour": "green", "bluegreen.dev/revision": candidate}}});
    namespace.kubectl(&["patch", "service", "shop", "--type=merge", "--patch", &theirs.to_string()]).unwrap();
    wait::until("it was put back", PATIENCE, || (service()["spec"]["selector"] == before).then_some(()))
        .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", &[&operator])));
    let written = || {
        let all = plane.requests_since(mark).unwrap();
        let mut all: Vec<_> = all
            .into_iter()
            .filter(|one| one.namespace == namespace.name() && one.writes() && !one.dry_run && one.code < 300)
            .filter(|one| matches!(one.resource.as_str(), "services" | "deployments") && one.subresource.is_empty())
            .filter(|one| one.user_agent.starts_with("bluegreen/") || one.user_agent.starts_with("kubectl/"))
            .collect();
        all.sort_by_key(|one| one.answered);
        let who = |agent: &str| agent.split('/').next().unwrap_or_default().to_owned();
        all.into_iter().map(|one| (who(&one.user_agent), one.resource, one.name)).collect::<Vec<_>>()
    };
    let expected = ["kubectl", "bluegreen"].map(|who| (who.to_owned(), "services".to_owned(), "shop".to_owned()));
    // The preview may follow the route there and back; it serves nobody.
    let live = || written().into_iter().filter(|(.., name)| name != "shop-preview").collect::<Vec<_>>();
    wait::until("both are in the log", PATIENCE, || (live().len() >= 2).then_some(())).unwrap();
    assert_eq!(live(), expected);
    assert_eq!(object(&namespace, "shop").unwrap()["status"]["phase"], "AwaitingApproval");
    let ledger = service()["metadata"]["annotations"]["bluegreen.dev/ledger"].clone();
    let ledger: Value = serde_json::from_str(ledger.as_str().unwrap()).unwrap();
    assert!(ledger["intent"].is_null(), "no cutover was ever intended: {ledger}");
    assert!(!ledger["cleared"].as_array().unwrap().contains(&candidate), "and it was not cleared by it: {ledger}");
    // It is still nobody's but the person's to let go live.
    held.end(&namespace, "shop");
    ready(&namespace, "shop", &[&operator]);
    runs(&namespace, "shop", 2);
}

#[test]
fn a_leader_that_froze_while_a_phase_lasted_does_no_harm_when_it_wakes() {
    let plane = plane();
    let namespace = plane.namespace("asleep").unwrap();
    let mut replicas = [Operator::start(plane, namespace.name()).led(), Operator::start(plane, namespace.name())];
    let history = History::record(plane, namespace.name());
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&replicas[0], &replicas[1]]);
    let mut version = 1;
    for held in [Held::AwaitingApproval, Held::Verifying, Held::RollingBack] {
        version += 1;
        held.begin(&namespace, "shop", version);
        wait::until("the phase lasted", PATIENCE, || held.lasts(&namespace, "shop", version)).unwrap_or_else(|error| {
            panic!("{held:?}: {error}\n{}", told(&namespace, "shop", &[&replicas[0], &replicas[1]]))
        });
        let leader = wait::until("somebody led", PATIENCE, || replicas.iter().position(Operator::leads)).unwrap();
        replicas[leader].freeze();
        let began = Instant::now();
        wait::until("the other one led", PATIENCE, || replicas[1 - leader].leads().then_some(())).unwrap();
        held.end(&namespace, "shop");
        if held != Held::RollingBack {
            ready(&namespace, "shop", &[&replicas[1 - leader]]);
            runs(&namespace, "shop", version);
        }
        // It wakes in the middle of something that it knows nothing of.
        version += 1;
        namespace.apply(&site("shop", version).to_string()).unwrap();
        wait::until("it slept long enough", PATIENCE, || (began.elapsed() >= frozen()).then_some(())).unwrap();
        replicas[leader].thaw();
        wait::until("it noticed", PATIENCE, || (!replicas[leader].leads()).then_some(())).unwrap();
        ready(&namespace, "shop", &[&replicas[0], &replicas[1]]);
        runs(&namespace, "shop", version);
        println!("{held:?}: frozen for {:.0?}", began.elapsed());
    }
    history.judge(&["shop"]);
}
