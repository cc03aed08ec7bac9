//! A site on a cluster, drawn from its children as an API server gives them.

use bluegreen::cli::cluster::view::{Children, view};
use bluegreen::cli::render::describe::describe;
use bluegreen::cli::render::table::{Rows, site_columns, site_row};
use bluegreen::cli::render::tree::{Moment, Style, tree};
use bluegreen::cli::view::Site;
use bluegreen::control::api::{Attempts, Place, SiteView, SlotHealth};
use bluegreen::rollout::{Colour, Revision};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::samples::{self, attempt, new, now, old};

fn typed<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("as an API server writes it")
}

/// What an API server would answer with.
#[derive(Default)]
struct World {
    deployments: Vec<Deployment>,
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
    pods: Vec<Pod>,
}

impl World {
    fn colour(&mut self, colour: Colour, revision: Revision, replicas: u32) {
        self.deployments.push(typed(json!({
            "metadata": {"name": format!("shop-{colour}"), "labels": {"bluegreen.dev/site": "shop", "bluegreen.dev/colour": colour},
                         "annotations": {"bluegreen.dev/revision": revision}},
            "spec": {"replicas": replicas, "selector": {}, "template": {}},
        })));
        self.service(&format!("shop-{colour}"), colour);
    }

    fn service(&mut self, name: &str, colour: Colour) {
        let selector = json!({"bluegreen.dev/site": "shop", "bluegreen.dev/colour": colour});
        self.services
            .push(typed(json!({"metadata": {"name": name}, "spec": {"selector": selector, "ports": [{"port": 80}]}})));
    }

    /// A pod, with the endpoint that it has. `ready`: as its endpoint says.
    fn pod(&mut self, colour: Colour, suffix: &str, ready: bool, status: Value) {
        let name = format!("shop-{colour}-7d9c6b5f4{suffix}");
        self.pods.push(typed(json!({
            "metadata": {"name": name, "labels": {"bluegreen.dev/site": "shop", "bluegreen.dev/colour": colour}},
            "spec": {"containers": [{"name": "app"}], "nodeName": "node-1"},
            "status": status,
        })));
        self.slices.push(typed(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": format!("shop-{colour}")}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "nodeName": "node-1",
                           "targetRef": {"kind": "Pod", "name": name}}],
        })));
    }

    fn children(&self) -> Children<'_> {
        Children {
            deployments: self.deployments.iter().collect(),
            services: self.services.iter().collect(),
            slices: Some(self.slices.iter().collect()),
            pods: Some(self.pods.iter().collect()),
        }
    }
}

fn ready() -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
           "containerStatuses": [{"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 1, "state": {"running": {}}}]})
}

fn probing() -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
           "containerStatuses": [{"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0, "started": true,
                                  "state": {"running": {}}}]})
}

fn unpullable() -> Value {
    json!({"phase": "Pending", "containerStatuses": [{"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0,
           "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"registry.example.com/shop:1.4.3\""}}}]})
}

/// The site, as it stands there while green starts.
fn object() -> DynamicObject {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cluster.yaml")).expect("an example");
    let (site, _) = bluegreen::api::parse::manifest(&text).expect("the example is a site");
    let mut object = serde_json::to_value(site).expect("plain data");
    object["metadata"] = json!({"name": "shop", "namespace": "prod", "uid": "1", "generation": 4,
        "creationTimestamp": "2026-11-20T09:00:00Z", "managedFields": [{"manager": "bluegreen-cli"}]});
    object["status"] = samples::starting("shop").object["status"].clone();
    object["status"]["rollout"]["about"] = json!({"revision": new(), "number": 1});
    object["status"]["rollout"]["phase"] = json!("Starting");
    typed(object)
}

/// Blue serves; green starts, and each of its pods waits for something else.
fn starting() -> SiteView {
    let mut world = World::default();
    world.colour(Colour::Blue, old(), 3);
    world.service("shop", Colour::Blue);
    for suffix in ["-4kqzx", "-8mnbv", "-zx2cv"] {
        world.pod(Colour::Blue, suffix, true, ready());
    }
    world.colour(Colour::Green, new(), 5);
    world.service("shop-preview", Colour::Green);
    world.pod(Colour::Green, "-aaaaa", true, ready());
    world.pod(Colour::Green, "-bbbbb", false, probing());
    world.pod(Colour::Green, "-ccccc", false, unpullable());
    world.pod(Colour::Green, "-ddddd", false, ready());
    view(&object(), &world.children())
}

fn site(view: SiteView) -> Site {
    Site::try_from(view).expect("it is a site")
}

fn drawn(view: SiteView, columns: usize, rows: usize) -> String {
    let moment = Moment { now: now(), waited: None, note: None };
    tree(&site(view), &moment, Style { columns, rows, colours: false }).join("\n")
}

#[test]
fn a_rollout_on_a_cluster_as_it_goes() {
    insta::assert_snapshot!("tree_pods_80", drawn(starting(), 80, 24));
    insta::assert_snapshot!("tree_pods_120", drawn(starting(), 120, 40));
    insta::assert_snapshot!(
        "describe_pods",
        describe(&site(starting()), &samples::history(), "kubectl bluegreen history", now())
    );
    let rows = [site_row(&site(starting()), now(), true)];
    insta::assert_snapshot!("table_pods", Rows::new(&site_columns(true)).text(&rows, true));
}

#[test]
fn of_many_pods_those_that_are_awaited_come_first_and_the_rest_is_counted() {
    let mut world = World::default();
    world.colour(Colour::Blue, old(), 40);
    world.service("shop", Colour::Blue);
    for number in 0..39 {
        world.pod(Colour::Blue, &format!("-{number:05}"), true, ready());
    }
    world.pod(Colour::Blue, "-zzzzz", false, probing());
    let text = drawn(view(&object(), &world.children()), 100, 24);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() < 24, "{text}");
    let first = lines.iter().position(|line| line.contains("39/40 ready")).expect("blue is drawn") + 1;
    assert!(
        lines[first].contains("-zzzzz") && lines[first].contains("its readiness probe has not passed yet"),
        "{text}"
    );
    assert!(text.contains("and 32 more, 32 of them ready"), "{text}");
    assert!(text.contains("green"), "the other colour is not lost below: {text}");
}

#[test]
fn what_serves_is_read_off_the_service_and_its_endpoints() {
    let seen = starting();
    let (blue, green) = (&seen.slots[0], &seen.slots[1]);
    assert!(blue.live && !green.live);
    assert_eq!((blue.health, green.health), (SlotHealth::Ready, SlotHealth::Degraded));
    assert_eq!((blue.revision, green.revision), (Some(old()), Some(new())));
    assert_eq!(
        (blue.serves.clone(), green.serves.clone()),
        (vec!["shop:80".to_owned()], vec!["shop-preview:80".to_owned()])
    );
    assert_eq!(green.detail, "1 pod is not made yet");
    assert_eq!(green.instances[3].detail, "is ready; its endpoint is awaited", "the pod alone serves nobody");
    assert!(
        matches!(&blue.instances[0].place, Place::Pod { pod, node: Some(node) } if pod == "shop-blue-7d9c6b5f4-4kqzx" && node == "node-1")
    );
    assert_eq!(
        seen.attempts,
        Attempts { candidate: Some(attempt(new())), wanted: Some(attempt(new())), live: Some(attempt(old())) }
    );
    assert!(seen.object["metadata"]["managedFields"].is_null());
}

#[test]
fn without_pods_the_slices_tell_of_them_and_without_those_the_deployment() {
    let mut world = World::default();
    world.colour(Colour::Blue, old(), 2);
    world.service("shop", Colour::Blue);
    world.pod(Colour::Blue, "-4kqzx", true, ready());
    world.pod(Colour::Blue, "-8mnbv", false, probing());
    let sliced = view(&object(), &Children { pods: None, ..world.children() });
    assert_eq!((sliced.slots[0].health, sliced.slots[0].instances.len()), (SlotHealth::Degraded, 2));
    let status = json!({"readyReplicas": 2, "replicas": 2});
    world.deployments[0].status = Some(typed(status));
    let blind = view(&object(), &Children { pods: None, slices: None, ..world.children() });
    assert_eq!((blind.slots[0].health, blind.slots[0].instances.len()), (SlotHealth::Ready, 0));
    let nothing = view(&object(), &Children::default());
    assert!(nothing.slots[0].live, "what the status says is all that is left");
    assert_eq!(nothing.slots[0].health, SlotHealth::Empty);
}

#[test]
fn a_specification_that_nobody_has_seen_is_no_attempt() {
    let world = World::default();
    let mut seen = object();
    seen.metadata.generation = Some(5);
    let attempts = view(&seen, &world.children()).attempts;
    assert_eq!(attempts.wanted, None, "only the operator can tell which revision generation 5 is");
    assert_eq!(attempts.candidate, Some(attempt(new())));
}
