//! Two replicas, of which the one that leads dies, freezes, or loses its lease at any moment.

use std::time::{Duration, Instant};

use bluegreen_rig::cluster::Namespace;
use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::history::History;
use crate::kit::{LEASE_SECONDS, Operator, PATIENCE, merge, object, plane, ready, site, told};

/// Rolled out at once: each kill hits them at different points of their rollouts.
const SITES: [&str; 4] = ["one", "two", "three", "four"];

/// So many kills; `make test-kills-cluster` asks for more.
fn kills() -> u32 {
    std::env::var("BLUEGREEN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// So long a leader stays frozen; `make test-kills-cluster` asks for a minute.
pub fn frozen() -> Duration {
    let seconds = std::env::var("BLUEGREEN_FREEZE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2 * LEASE_SECONDS))
}

fn apply_all(namespace: &Namespace<'_>, version: u32) {
    for name in SITES {
        namespace.apply(&site(name, version).to_string()).unwrap();
    }
}

/// Numbers that can be had again: a run that fails says its seed.
struct Dice(u64);

impl Dice {
    fn seeded() -> Dice {
        let seed = std::env::var("BLUEGREEN_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            u64::from(std::process::id()) << 20 | u64::from(jiff::Timestamp::now().subsec_nanosecond().unsigned_abs())
        });
        println!("BLUEGREEN_SEED={seed}");
        Dice(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn a_first_deployment_goes_on_when_its_leader_is_killed_as_soon_as_it_has_begun() {
    let plane = plane();
    let namespace = plane.namespace("begun").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    for name in SITES {
        let mut begins = site(name, 1);
        let later = json!({"metadata": {"annotations": {"rig.bluegreen.dev/after": "3s"}}});
        merge(&mut begins["spec"]["target"]["cluster"]["template"], &later);
        namespace.apply(&begins.to_string()).unwrap();
    }
    // No live Service is there yet, on which a ledger could stand.
    wait::until("a Deployment was there", PATIENCE, || {
        let all = namespace.json(&["get", "deployments"]).ok()?;
        all["items"].as_array().is_some_and(|all| !all.is_empty()).then_some(())
    })
    .unwrap();
    operator.kill();
    let next = Operator::start(plane, namespace.name()).led();
    for name in SITES {
        ready(&namespace, name, &[&next]);
    }
}

#[test]
fn a_leader_that_is_killed_at_any_moment_loses_nothing() {
    let plane = plane();
    let namespace = plane.namespace("killed").unwrap();
    let mut dice = Dice::seeded();
    let mut replicas = vec![Operator::start(plane, namespace.name()).led(), Operator::start(plane, namespace.name())];
    let history = History::record(plane, namespace.name());
    apply_all(&namespace, 1);
    for name in SITES {
        ready(&namespace, name, &[&replicas[0], &replicas[1]]);
    }
    let mut version = 1;
    for kill in 0..kills() {
        version += 1;
        apply_all(&namespace, version);
        // A rollout of this site takes some seven seconds; the moment is random within it, and nobody waits for anything by it.
        std::thread::sleep(Duration::from_millis(dice.below(8_000)));
        let leader = wait::until("somebody led", PATIENCE, || replicas.iter().position(Operator::leads)).unwrap();
        replicas.remove(leader).kill();
        replicas.push(Operator::start(plane, namespace.name()));
        if dice.below(3) == 0 {
            // Another specification while nobody leads.
            version += 1;
            apply_all(&namespace, version);
        }
        println!("kill {} of {}", kill + 1, kills());
        for name in SITES {
            ready(&namespace, name, &[&replicas[0], &replicas[1]]);
            runs(&namespace, name, version);
        }
    }
    history.judge(&SITES);
}

/// What serves is this version, and nothing else runs.
pub fn runs(namespace: &Namespace<'_>, name: &str, version: u32) {
    let live = || {
        let object = object(namespace, name)?;
        let colour = object["status"]["live"]["colour"].as_str()?.to_owned();
        let selector = format!("bluegreen.dev/site={name}");
        let pods =
            namespace.json(&["get", "pods", "--selector", &selector, "--field-selector=status.phase=Running"]).ok()?;
        let pods: Vec<&Value> =
            pods["items"].as_array()?.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect();
        let image = format!("registry.local/app:{version}");
        let right = |pod: &&Value| {
            pod["spec"]["containers"][0]["image"] == image.as_str()
                && pod["metadata"]["labels"]["bluegreen.dev/colour"] == colour.as_str()
        };
        (pods.len() == 1 && pods.iter().all(right)).then_some(())
    };
    wait::until("the newest version alone ran", PATIENCE, live)
        .unwrap_or_else(|error| panic!("{name}, version {version}: {error}\n{}", told(namespace, name, &[])));
}

#[test]
fn a_leader_that_was_frozen_beyond_its_lease_does_no_harm_when_it_wakes() {
    let plane = plane();
    let namespace = plane.namespace("frozen").unwrap();
    let mut replicas = [Operator::start(plane, namespace.name()).led(), Operator::start(plane, namespace.name())];
    let history = History::record(plane, namespace.name());
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&replicas[0], &replicas[1]]);
    let mut version = 1;
    for phase in ["Starting", "CuttingOver", "Draining", "Baking", "Retiring", "Idle"] {
        version += 1;
        let leader = wait::until("somebody led", PATIENCE, || replicas.iter().position(Operator::leads)).unwrap();
        // Seen in its log, which is quicker than the status: a phase that passes at once is never written.
        let entered = |line: &Value| {
            let text = line["message"].as_str().unwrap_or_default();
            line["event"] == "PhaseEntered" && text.starts_with(phase)
        };
        let before = replicas[leader].lines().iter().filter(|line| entered(line)).count();
        namespace.apply(&site("shop", version).to_string()).unwrap();
        if phase != "Idle" {
            wait::until("the phase began", PATIENCE, || {
                (replicas[leader].lines().iter().filter(|line| entered(line)).count() > before).then_some(())
            })
            .unwrap_or_else(|error| {
                panic!("{phase}: {error}\n{}", told(&namespace, "shop", &[&replicas[0], &replicas[1]]))
            });
        }
        replicas[leader].freeze();
        let began = Instant::now();
        // The other one finishes it, and begins something new.
        ready(&namespace, "shop", &[&replicas[1 - leader]]);
        version += 1;
        namespace.apply(&site("shop", version).to_string()).unwrap();
        while began.elapsed() < frozen() {
            std::thread::sleep(Duration::from_millis(50));
        }
        replicas[leader].thaw();
        wait::until("it noticed", PATIENCE, || (!replicas[leader].leads()).then_some(())).unwrap();
        ready(&namespace, "shop", &[&replicas[0], &replicas[1]]);
        runs(&namespace, "shop", version);
        println!("{phase}: frozen for {:.0?}", began.elapsed());
    }
    history.judge(&["shop"]);
}

#[test]
fn a_lease_that_somebody_deletes_makes_no_second_leader() {
    let plane = plane();
    let namespace = plane.namespace("lease").unwrap();
    let replicas = [Operator::start(plane, namespace.name()).led(), Operator::start(plane, namespace.name())];
    let history = History::record(plane, namespace.name());
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&replicas[0], &replicas[1]]);
    for version in 2..5 {
        namespace.apply(&site("shop", version).to_string()).unwrap();
        namespace.kubectl(&["delete", "lease", "bluegreen-operator"]).unwrap();
        wait::until("there was a lease again", PATIENCE, || holder(&namespace)).unwrap();
        assert!(replicas.iter().filter(|replica| replica.leads()).count() <= 1);
        ready(&namespace, "shop", &[&replicas[0], &replicas[1]]);
    }
    assert!(replicas[0].leads(), "who held it made it again: {}", replicas[0].said());
    history.judge(&["shop"]);
}

#[test]
fn a_leader_that_is_asked_to_end_hands_over_at_once() {
    let plane = plane();
    let namespace = plane.namespace("handover").unwrap();
    let first = Operator::start(plane, namespace.name()).led();
    let second = Operator::start(plane, namespace.name());
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&first, &second]);
    namespace.apply(&site("shop", 2).to_string()).unwrap();
    assert!(first.stop(), "it ends by itself");
    let second = second.led();
    assert!(second.said().contains("this replica leads"));
    let spec = namespace.json(&["get", "lease", "bluegreen-operator"]).unwrap()["spec"].clone();
    assert_eq!(spec["leaseTransitions"], 1, "given back, then taken: nobody waited until it ran out: {spec}");
    ready(&namespace, "shop", &[&second]);
    assert!(second.stop());
    assert_eq!(holder(&namespace), None, "given back");
}

fn holder(namespace: &Namespace<'_>) -> Option<String> {
    let lease = namespace.json(&["get", "lease", "bluegreen-operator"]).ok()?;
    lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty()).map(str::to_owned)
}
