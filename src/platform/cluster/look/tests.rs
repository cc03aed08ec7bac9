//! Facts as they come, and the world that is made of them.

use serde_json::{Value, json};

use super::*;
use crate::api::site::Site;
use crate::platform::cluster::children::{Cache, Fact, Key, Release, Slice, Watched};
use crate::rollout::{Attempt, Revision};

const UID: &str = "11111111-2222-3333-4444-555555555555";
const ONE: &str = "00000000000000000000000000000001";
const TWO: &str = "00000000000000000000000000000002";

struct Bench {
    cache: Cache,
    eyes: Eyes,
    site: SiteOnCluster,
    version: u64,
}

impl Bench {
    fn new() -> Bench {
        Bench::of(json!({"service": {}}))
    }

    fn of(route: Value) -> Bench {
        let manifest = json!({
            "apiVersion": "bluegreen.dev/v1alpha1",
            "kind": "BlueGreenSite",
            "metadata": {"name": "shop"},
            "spec": {"target": {"cluster": {
                "service": {"ports": [{"port": 80}]},
                "route": route,
                "template": {"spec": {"containers": [{"name": "app", "image": "app"}]}},
            }}},
        });
        let site: Site = crate::api::parse::manifest(&manifest.to_string()).expect("it is right").1;
        let site = site.on_cluster().expect("it is one of a cluster");
        Bench { cache: Cache::default(), eyes: Eyes::default(), site, version: 1 }
    }

    fn put<F: Fact>(&mut self, mut object: Value) {
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!("web");
        metadata["resourceVersion"] = json!(self.version.to_string());
        metadata["labels"]["bluegreen.dev/site"] = json!("shop");
        if metadata.get("ownerReferences").is_none() {
            metadata["ownerReferences"] = json!([{"uid": UID, "controller": true}]);
        }
        let seen: Watched<F> = serde_json::from_value(object).expect("it can be read");
        self.cache.note(&seen);
    }

    /// A started colour, sealed, with so many pods of which so many are ready.
    fn colour(&mut self, colour: &str, revision: &str, pods: usize, ready: usize) {
        self.deployment(colour, revision, &json!({"replicas": pods, "paused": true}), &json!({}));
        self.colour_service(colour);
        self.slice(&format!("shop-{colour}"), colour, pods, ready);
    }

    fn deployment(&mut self, colour: &str, revision: &str, spec: &Value, more: &Value) {
        let pods = spec["replicas"].clone();
        let mut object = json!({
            "metadata": {
                "name": format!("shop-{colour}"),
                "generation": 3,
                "annotations": {
                    "bluegreen.dev/revision": revision,
                    "bluegreen.dev/generation": "3",
                    "bluegreen.dev/replicas": "1",
                    "bluegreen.dev/started-at": "1970-01-01T00:00:01.000Z",
                },
            },
            "spec": spec,
            "status": {"observedGeneration": 3, "replicas": pods, "updatedReplicas": pods},
        });
        merge(&mut object, more);
        self.put::<Deployment>(object);
    }

    fn colour_service(&mut self, colour: &str) {
        self.service(
            &format!("shop-{colour}"),
            &json!({"bluegreen.dev/site": "shop", "bluegreen.dev/colour": colour}),
            &json!({}),
        );
    }

    fn service(&mut self, name: &str, selector: &Value, annotations: &Value) {
        self.put::<Service>(json!({
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"selector": selector, "ports": [{"port": 80}], "clusterIP": "10.0.0.1"},
        }));
    }

    fn live(&mut self, colour: &str, revision: &str) {
        let selector =
            json!({"bluegreen.dev/site": "shop", "bluegreen.dev/colour": colour, "bluegreen.dev/revision": revision});
        self.service("shop", &selector, &json!({"bluegreen.dev/switched-at": "1970-01-01T00:00:10.000Z"}));
    }

    fn slice(&mut self, service: &str, pods_of: &str, pods: usize, ready: usize) {
        let endpoints: Vec<Value> = (0..pods)
            .map(|index| {
                json!({
                    "addresses": [format!("10.1.0.{index}")],
                    "conditions": {"ready": index < ready},
                    "targetRef": {"kind": "Pod", "uid": format!("{pods_of}-{index}")},
                })
            })
            .collect();
        self.put::<Slice>(json!({
            "metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}, "ownerReferences": []},
            "endpoints": endpoints,
        }));
    }

    fn at(&mut self, seconds: i64) -> World {
        self.look(seconds).expect("it can be seen")
    }

    fn look(&mut self, seconds: i64) -> Result<World, String> {
        let children = self.cache.view(&Key::new("web", "shop"));
        let owner = crate::platform::cluster::children::uid(UID);
        let scene = Scene { site: &self.site, owner, children: &children, now: Time(seconds * 1000) };
        scene.world(&mut self.eyes)
    }
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            more.iter().for_each(|(key, value)| merge(into.entry(key.clone()).or_insert(Value::Null), value));
        }
        (into, more) => *into = more.clone(),
    }
}

fn revision(text: &str) -> Revision {
    text.parse().expect("a revision")
}

fn health(world: &World, colour: Colour) -> Health {
    world.slot(colour).expect("it runs").health
}

#[test]
fn where_nothing_is_nothing_is_seen() {
    let world = Bench::new().at(20);
    assert_eq!((world.blue, world.green, world.route), (None, None, Route::Nowhere));
}

#[test]
fn a_live_colour_is_seen_to_serve_once_the_slices_agree() {
    let mut bench = Bench::new();
    bench.colour("blue", ONE, 2, 2);
    bench.live("blue", ONE);
    assert_eq!(bench.at(20).route, Route::To { colour: Colour::Blue, seen: false });
    bench.slice("shop", "blue", 2, 2);
    let world = bench.at(21);
    assert_eq!(world.route, Route::To { colour: Colour::Blue, seen: true });
    let blue = world.blue.expect("it runs");
    assert_eq!((blue.revision, blue.health, blue.draining), (revision(ONE), Health::Ready, None));
    assert_eq!(blue.detail, "2 of 2 pods ready");
}

#[test]
fn while_the_slices_still_hold_pods_of_the_other_colour_the_route_is_not_seen() {
    let mut bench = Bench::new();
    bench.colour("blue", ONE, 1, 1);
    bench.colour("green", TWO, 1, 1);
    bench.live("green", TWO);
    bench.slice("shop", "blue", 1, 1);
    let world = bench.at(20);
    assert_eq!(world.route, Route::To { colour: Colour::Green, seen: false });
    assert_eq!(world.blue.and_then(|blue| blue.draining), Some(Time(20_000)), "it goes on having traffic");
    let world = bench.at(25);
    assert_eq!(world.blue.and_then(|blue| blue.draining), Some(Time(25_000)));
    bench.slice("shop", "green", 1, 1);
    for seconds in [26, 40] {
        let world = bench.at(seconds);
        assert_eq!(world.route, Route::To { colour: Colour::Green, seen: true });
        assert_eq!(
            world.blue.and_then(|blue| blue.draining),
            Some(Time(26_000)),
            "from when the slices agreed, and stable"
        );
    }
}

#[test]
fn a_candidate_that_never_had_traffic_does_not_drain() {
    let mut bench = Bench::new();
    bench.colour("blue", ONE, 1, 1);
    bench.live("blue", ONE);
    bench.slice("shop", "blue", 1, 1);
    let later = json!({"metadata": {"annotations": {"bluegreen.dev/started-at": "1970-01-01T00:00:15.000Z"}}});
    bench.deployment("green", TWO, &json!({"replicas": 1, "paused": true}), &later);
    bench.colour_service("green");
    bench.slice("shop-green", "green", 1, 1);
    assert_eq!(bench.at(20).green.expect("it runs").draining, None);
    // Somebody sends it traffic, and takes that back without us.
    bench.live("green", TWO);
    bench.at(21);
    bench.live("blue", ONE);
    assert_eq!(bench.at(22).green.expect("it runs").draining, Some(Time(22_000)));
}

#[test]
fn a_selector_that_is_not_exactly_ours_routes_nowhere() {
    for selector in [
        json!({"bluegreen.dev/site": "shop", "bluegreen.dev/colour": "blue"}),
        json!({"bluegreen.dev/site": "shop", "bluegreen.dev/colour": "blue", "bluegreen.dev/revision": TWO}),
        json!({"bluegreen.dev/site": "other", "bluegreen.dev/colour": "blue", "bluegreen.dev/revision": ONE}),
        json!({"bluegreen.dev/site": "shop", "bluegreen.dev/colour": "blue", "bluegreen.dev/revision": ONE, "a": "b"}),
        json!({"app": "shop"}),
        json!({}),
    ] {
        let mut bench = Bench::new();
        bench.colour("blue", ONE, 1, 1);
        bench.service("shop", &selector, &json!({}));
        assert_eq!(bench.at(20).route, Route::Nowhere, "{selector}");
    }
}

#[test]
fn only_a_sealed_and_unchanged_candidate_is_ready() {
    let sealed = json!({"replicas": 1, "paused": true});
    let changed = json!({"metadata": {"generation": 4}, "status": {"observedGeneration": 4}});
    let foreign = json!({"status": {"updatedReplicas": 0}});
    for (spec, more, wanted) in [
        (&sealed, &json!({}), Health::Ready),
        (&json!({"replicas": 1}), &json!({}), Health::Degraded),
        (&sealed, &changed, Health::Degraded),
        (&sealed, &foreign, Health::Degraded),
        (&json!({"replicas": 2, "paused": true}), &json!({}), Health::Degraded),
    ] {
        let mut bench = Bench::new();
        bench.deployment("blue", ONE, spec, more);
        bench.colour_service("blue");
        bench.slice("shop-blue", "blue", 1, 1);
        assert_eq!(health(&bench.at(20), Colour::Blue), wanted, "{spec} {more}");
    }
    // What is live serves, however it came to that.
    let mut bench = Bench::new();
    bench.deployment("blue", ONE, &json!({"replicas": 1}), &changed);
    bench.colour_service("blue");
    bench.slice("shop-blue", "blue", 1, 1);
    bench.live("blue", ONE);
    assert_eq!(health(&bench.at(20), Colour::Blue), Health::Ready);
}

#[test]
fn a_colour_is_down_since_it_was_first_seen_so() {
    let mut bench = Bench::new();
    bench.colour("blue", ONE, 2, 0);
    assert_eq!(health(&bench.at(20), Colour::Blue), Health::Down(Time(20_000)));
    assert_eq!(health(&bench.at(30), Colour::Blue), Health::Down(Time(20_000)));
    bench.slice("shop-blue", "blue", 2, 1);
    assert_eq!(health(&bench.at(31), Colour::Blue), Health::Degraded);
    bench.slice("shop-blue", "blue", 2, 0);
    assert_eq!(health(&bench.at(32), Colour::Blue), Health::Down(Time(32_000)));
}

#[test]
fn a_pod_with_two_addresses_counts_once_and_one_that_ends_does_not() {
    let mut bench = Bench::new();
    bench.deployment("blue", ONE, &json!({"replicas": 2, "paused": true}), &json!({}));
    bench.colour_service("blue");
    bench.slice("shop-blue", "blue", 1, 1);
    bench.put::<Slice>(json!({
        "metadata": {"name": "shop-blue-v6", "labels": {"kubernetes.io/service-name": "shop-blue"}},
        "endpoints": [
            {"addresses": ["fd00::1"], "conditions": {"ready": true}, "targetRef": {"uid": "blue-0"}},
            {"addresses": ["fd00::2"], "conditions": {"ready": true, "terminating": true}, "targetRef": {"uid": "blue-9"}},
        ],
    }));
    assert_eq!(bench.at(20).blue.expect("it runs").detail, "1 of 2 pods ready");
}

#[test]
fn a_stopped_colour_is_there_until_its_last_pod_is_gone() {
    let mut bench = Bench::new();
    bench.colour("green", TWO, 1, 1);
    bench.live("green", TWO);
    bench.deployment("blue", ONE, &json!({"replicas": 0}), &json!({"status": {"replicas": 0}}));
    bench.colour_service("blue");
    bench.slice("shop-blue", "blue", 1, 0);
    let blue = bench.at(20).blue.expect("its pod still ends");
    assert_eq!(blue.draining, None);
    bench.slice("shop-blue", "blue", 0, 0);
    assert_eq!(bench.at(21).blue, None);
    bench.deployment("blue", ONE, &json!({"replicas": 0}), &json!({"metadata": {"generation": 4}}));
    assert!(bench.at(22).blue.is_some(), "its controller has not seen that yet");
}

#[test]
fn a_live_colour_that_somebody_scaled_to_nothing_is_gone_at_once() {
    let mut bench = Bench::new();
    bench.colour("blue", ONE, 1, 1);
    bench.live("blue", ONE);
    bench.deployment("blue", ONE, &json!({"replicas": 0, "paused": true}), &json!({"metadata": {"generation": 4}}));
    let world = bench.at(20);
    assert_eq!(world.blue, None);
    assert_eq!(world.route.named(), Some(Colour::Blue));
}

#[test]
fn a_deleted_live_deployment_leaves_the_route_where_it_was() {
    let mut bench = Bench::new();
    bench.colour("blue", ONE, 1, 1);
    bench.live("blue", ONE);
    bench.cache.forget::<Deployment>(&Key::new("web", "shop"), "shop-blue");
    let world = bench.at(20);
    assert_eq!((world.blue, world.route.named()), (None, Some(Colour::Blue)));
}

#[test]
fn what_belongs_to_somebody_else_is_not_seen() {
    let mut bench = Bench::new();
    let theirs =
        json!({"metadata": {"ownerReferences": [{"uid": "99999999-2222-3333-4444-555555555555", "controller": true}]}});
    bench.deployment("blue", ONE, &json!({"replicas": 1}), &theirs);
    assert_eq!(bench.at(20).blue, None);
    // What outlives its site says by an annotation whose it is.
    let ours = json!({"metadata": {"ownerReferences": [], "annotations": {"bluegreen.dev/owner": UID}}});
    bench.deployment("blue", ONE, &json!({"replicas": 1}), &ours);
    bench.colour_service("blue");
    assert!(bench.at(21).blue.is_some());
}

#[test]
fn without_its_own_service_a_colour_is_judged_by_the_live_one_or_not_at_all() {
    let mut bench = Bench::new();
    bench.deployment("blue", ONE, &json!({"replicas": 1, "paused": true}), &json!({}));
    let what = bench.look(20).expect_err("nobody can tell which pods are ready");
    assert!(what.contains("shop-blue"), "{what}");
    bench.live("blue", ONE);
    bench.slice("shop", "blue", 1, 1);
    assert_eq!(health(&bench.at(21), Colour::Blue), Health::Ready);
}

#[test]
fn a_stored_release_can_be_started_and_a_refused_one_not() {
    let mut bench = Bench::new();
    bench.put::<Release>(json!({"metadata": {"name": "shop-1", "labels": {"bluegreen.dev/revision": ONE}}}));
    bench.eyes.unusable.insert(revision(TWO), "no such field".to_owned());
    let artifacts = bench.at(20).artifacts;
    assert_eq!(artifacts.get(&revision(ONE)), Some(&Artifact::Ready));
    assert_eq!(artifacts.get(&revision(TWO)), Some(&Artifact::Unusable("no such field".to_owned())));
}

#[test]
fn the_checks_pass_on_pods_that_are_ready_and_fail_on_one_that_ended_by_itself() {
    let mut bench = Bench::new();
    bench.colour("blue", ONE, 1, 1);
    let about = Attempt { revision: revision(ONE), number: 1 };
    bench.eyes.check = Some((CheckGoal { colour: Colour::Blue, about, stage: Stage::Bake }, Time(19_000)));
    assert_eq!(bench.at(20).verdict.map(|verdict| verdict.passed), Some(true));
    bench.slice("shop-blue", "blue", 1, 0);
    assert_eq!(bench.at(21).verdict, None, "not measured while nothing is ready");
    bench.slice("shop-blue", "blue", 1, 1);
    assert_eq!(bench.at(22).verdict, None, "and not before it is known why");
    bench.eyes.of(Colour::Blue).suspects = false;
    bench.eyes.of(Colour::Blue).fallen = Some(("it crashed".to_owned(), Time(22_000)));
    let verdict = bench.at(23).verdict.expect("known now");
    assert_eq!((verdict.passed, verdict.detail.as_str()), (false, "it crashed"));
    let other = Attempt { number: 2, ..about };
    bench.eyes.check = Some((CheckGoal { colour: Colour::Blue, about: other, stage: Stage::Bake }, Time(24_000)));
    assert_eq!(bench.at(25).verdict.map(|verdict| verdict.passed), Some(true), "what was before counts for nothing");
}

fn http_route(generation: i64, seen: i64, weights: (i64, i64)) -> Value {
    let answer = |kind: &str| json!({"type": kind, "status": "True", "observedGeneration": seen});
    json!({
        "metadata": {"name": "shop", "generation": generation},
        "spec": {
            "parentRefs": [{"name": "web"}],
            "rules": [{"backendRefs": [
                {"name": "shop-blue", "port": 80, "weight": weights.0},
                {"name": "shop-green", "port": 80, "weight": weights.1},
            ]}],
        },
        "status": {"parents": [{"parentRef": {"name": "web"}, "conditions": [answer("Accepted"), answer("ResolvedRefs")]}]},
    })
}

#[test]
fn an_http_route_is_seen_when_its_gateways_have_had_the_newest_weights_for_a_while() {
    use crate::platform::cluster::children::HttpRoute;
    let mut bench = Bench::of(json!({"httpRoute": {"parentRefs": [{"name": "web"}], "settleSeconds": 5}}));
    bench.colour("blue", ONE, 1, 1);
    bench.put::<HttpRoute>(http_route(2, 1, (100, 0)));
    assert_eq!(bench.at(20).route, Route::To { colour: Colour::Blue, seen: false });
    bench.put::<HttpRoute>(http_route(2, 2, (100, 0)));
    assert_eq!(bench.at(30).route, Route::To { colour: Colour::Blue, seen: false });
    assert_eq!(bench.eyes.settles(Duration::from_secs(5), Time(30_000)), Some(Time(35_000)));
    assert_eq!(bench.at(35).route, Route::To { colour: Colour::Blue, seen: true });
    // So are a candidate's pods known to them, before they are to have any weight.
    bench.colour("green", TWO, 1, 1);
    let about = Attempt { revision: revision(TWO), number: 1 };
    bench.eyes.check = Some((CheckGoal { colour: Colour::Green, about, stage: Stage::Verify }, Time(36_000)));
    assert_eq!(bench.at(40).verdict, None);
    assert_eq!(bench.eyes.settles(Duration::from_secs(5), Time(40_000)), Some(Time(41_000)));
    assert_eq!(bench.at(41).verdict.map(|verdict| verdict.passed), Some(true));
    assert_eq!(bench.eyes.settles(Duration::from_secs(5), Time(41_000)), None, "nothing more is to be waited for");
    bench.eyes.check = Some((CheckGoal { colour: Colour::Green, about, stage: Stage::Bake }, Time(41_000)));
    assert_eq!(bench.at(41).verdict.map(|verdict| verdict.passed), Some(true));
    bench.put::<HttpRoute>(http_route(3, 3, (60, 40)));
    assert_eq!(bench.at(42).route, Route::Nowhere);
    bench.put::<HttpRoute>(http_route(4, 4, (0, 100)));
    assert_eq!(bench.at(43).route, Route::To { colour: Colour::Green, seen: false });
}
