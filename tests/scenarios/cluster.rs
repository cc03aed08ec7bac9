//! A real control plane: etcd, API server, controller manager, and kwok for the kubelet; a real operator, and the command line of a person.

use std::process::{Command, Output};

use bluegreen::rollout::Colour;
use bluegreen_rig::binaries;
use bluegreen_rig::cluster::{ControlPlane, Namespace, POD};
use serde_json::{Value, json};

use super::stage::{Accident, At, Order, Stage, Told, Wish, told};
use crate::kit::{Operator, plane, site};

const SITE: &str = "shop";

pub struct Plane {
    // Dropped in this order: the operator before what it looks at.
    operator: Operator,
    namespace: Namespace<'static>,
    plane: &'static ControlPlane,
}

impl Plane {
    pub fn new(scenario: &str) -> Plane {
        let plane = plane();
        let name: String = scenario.replace('_', "-").chars().take(40).collect();
        let namespace = plane.namespace(name.trim_end_matches('-')).unwrap();
        let operator = Operator::start(plane, namespace.name()).led();
        Plane { operator, namespace, plane }
    }

    fn bluegreen(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binaries::bluegreen().unwrap());
        command.args(arguments).arg("--kubeconfig").arg(self.plane.kubeconfig());
        command.args(["--namespace", self.namespace.name()]).output().unwrap()
    }

    fn done(&self, arguments: &[&str]) {
        let output = self.bluegreen(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}\n{}", self.operator.said());
    }

    fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let got = self.namespace.json(&["get", kind, name, "--ignore-not-found", "--output=json"]).ok()?;
        Some(got).filter(|got| got.is_object())
    }

    /// What the live Service names.
    fn selected(&self) -> Option<(Colour, String)> {
        let service = self.get("service", SITE)?;
        let selector = &service["spec"]["selector"];
        let colour = Colour::BOTH.into_iter().find(|colour| selector["bluegreen.dev/colour"] == colour.name())?;
        Some((colour, selector["bluegreen.dev/revision"].as_str()?.to_owned()))
    }

    /// The version of the pods that the live Service sends requests to.
    fn live(&self) -> Option<(u32, Colour)> {
        let (colour, revision) = self.selected()?;
        let selector = format!("--selector=bluegreen.dev/colour={colour},bluegreen.dev/revision={revision}");
        let pods = self.namespace.json(&["get", "pods", &selector, "--output=json"]).ok()?;
        let image = pods["items"][0]["spec"]["containers"][0]["image"].as_str()?.to_owned();
        Some((image.rsplit_once(':')?.1.parse().ok()?, colour))
    }
}

impl Stage for Plane {
    fn apply(&mut self, wish: Wish) {
        let mut site = site(SITE, wish.version);
        if wish.broken {
            site["spec"]["target"]["cluster"]["template"]["metadata"] = json!({ "annotations": { POD: "unready" } });
        }
        site["spec"]["strategy"] = json!({
            "promotion": if wish.manual { "Manual" } else { "Automatic" },
            "drainWithin": "0s", "bake": format!("{}s", wish.bake), "standby": "1h", "failoverAfter": "1s",
            "readyWithin": wish.ready_within(),
        });
        self.namespace.apply(&site.to_string()).unwrap();
    }

    fn order(&mut self, order: Order) {
        self.done(&[order.word(), SITE]);
    }

    fn happen(&mut self, accident: Accident) {
        let (colour, _) = self.selected().unwrap();
        match accident {
            Accident::LiveDown => {
                let selector = format!("--selector=bluegreen.dev/colour={colour}");
                let pods = self.namespace.json(&["get", "pods", &selector, "--output=json"]).unwrap();
                for pod in pods["items"].as_array().unwrap() {
                    self.namespace.set_ready(pod["metadata"]["name"].as_str().unwrap(), false).unwrap();
                }
            }
            Accident::RouteMoved => {
                let other = self.get("deployment", &format!("{SITE}-{}", colour.other())).unwrap();
                let revision = &other["metadata"]["annotations"]["bluegreen.dev/revision"];
                let selector = json!({
                    "bluegreen.dev/colour": colour.other().name(), "bluegreen.dev/revision": revision,
                });
                let patch = json!({ "spec": { "selector": selector } }).to_string();
                self.namespace.kubectl(&["patch", "service", SITE, "--type=merge", "--patch", &patch]).unwrap();
            }
            Accident::StatusLost => {
                let patch = json!({ "status": null }).to_string();
                let site = ["patch", "bluegreensite", SITE, "--subresource=status", "--type=merge", "--patch", &patch];
                self.namespace.kubectl(&site).unwrap();
            }
        }
    }

    fn delete(&mut self) {
        self.done(&["delete", SITE, "--wait=false"]);
    }

    fn told(&mut self) -> Option<Told> {
        let Some(site) = self.get("bluegreensite", SITE) else {
            let all = "deployments,services,controllerrevisions,poddisruptionbudgets";
            let selector = format!("--selector=bluegreen.dev/site={SITE}");
            let left = self.namespace.json(&["get", all, &selector, "--output=json"]).ok()?;
            let gone = left["items"].as_array().is_some_and(Vec::is_empty);
            return gone.then_some(Told { at: At::Gone, live: None, rejected: None });
        };
        told(&site, self.live())
    }
}
