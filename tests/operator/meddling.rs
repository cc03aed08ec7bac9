//! Somebody edits what a rollout made, in each of its phases. It is put back, and the rollout ends as it would have, or goes back to what
//! served before; what nobody approved never becomes a pod. `held` does the same while a phase lasts.

use std::collections::{BTreeMap, BTreeSet};

use bluegreen_rig::cluster::Namespace;
use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::kit::{Operator, PATIENCE, condition, object, plane, ready, site, told};

/// In this order a rollout enters them.
const PHASES: [&str; 7] = ["Starting", "AwaitingApproval", "CuttingOver", "Draining", "Baking", "Retiring", "Idle"];
/// What nobody asked for.
pub const THEIRS: &str = "registry.local/theirs:9";

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Leads the live Service to the other colour.
    Selector,
    /// Gives the live Deployment another image.
    Image,
    /// Scales the live Deployment to nothing.
    Size,
    /// Deletes it.
    Deletion,
    /// Wipes the status.
    Status,
}

/// All of it.
pub const EDITS: [Edit; 5] = [Edit::Selector, Edit::Image, Edit::Size, Edit::Deletion, Edit::Status];

impl Edit {
    pub fn make(self, namespace: &Namespace<'_>, name: &str) {
        let service = namespace.json(&["get", "service", name]).unwrap();
        let live = service["spec"]["selector"]["bluegreen.dev/colour"].as_str().unwrap();
        let (deployment, other) = (format!("{name}-{live}"), if live == "blue" { "green" } else { "blue" });
        let patch = |what: &[&str], patch: Value| {
            let patch = patch.to_string();
            namespace.kubectl(&[&["patch"], what, &["--type=merge", "--patch", &patch]].concat())
        };
        let made = match self {
            Edit::Selector => patch(
                &["service", name],
                json!({"spec": {"selector": {"bluegreen.dev/colour": other, "bluegreen.dev/revision": null}}}),
            ),
            Edit::Image => namespace.kubectl(&["set", "image", "deployment", &deployment, &format!("app={THEIRS}")]),
            Edit::Size => namespace.kubectl(&["scale", "deployment", &deployment, "--replicas=0"]),
            Edit::Deletion => namespace.kubectl(&["delete", "deployment", &deployment, "--wait=false"]),
            Edit::Status => patch(&["bluegreensite", name, "--subresource=status"], json!({"status": null})),
        };
        made.unwrap();
    }

    /// Whether what serves may have gone down by it, so that going back is right too.
    fn takes_down(self) -> bool {
        matches!(self, Edit::Size | Edit::Deletion)
    }
}

#[test]
fn what_somebody_edits_in_any_phase_is_put_back_and_nothing_unapproved_runs() {
    let plane = plane();
    let namespace = plane.namespace("meddling").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    let mut plans = BTreeMap::new();
    for phase in PHASES {
        for edit in EDITS {
            plans.insert(format!("{phase}-{edit:?}").to_lowercase(), (phase, edit));
        }
    }
    let apply = |version: u32| {
        for (name, (phase, _)) in &plans {
            let mut site = site(name, version);
            if *phase == "AwaitingApproval" && version > 1 {
                site["spec"]["strategy"]["promotion"] = json!("Manual");
            }
            namespace.apply(&site.to_string()).unwrap();
        }
    };
    apply(1);
    for name in plans.keys() {
        ready(&namespace, name, &[&operator]);
    }
    let mut read = operator.lines().len();
    apply(2);
    let mut left: BTreeSet<&str> = plans.keys().map(String::as_str).collect();
    wait::until("each site was edited", PATIENCE, || {
        let lines = operator.lines();
        for line in &lines[read..] {
            let name = line["site"].as_str().and_then(|site| site.rsplit('/').next()).unwrap_or_default();
            let entered = line["message"].as_str().filter(|_| line["event"] == "PhaseEntered").unwrap_or_default();
            let due = plans.get(name).is_some_and(|(phase, _)| entered.split(' ').next() == Some(phase));
            if due && left.remove(name) {
                plans[name].1.make(&namespace, name);
            }
        }
        read = lines.len();
        left.is_empty().then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {left:?}"));
    for (name, (phase, edit)) in &plans {
        let version = wait::until("what shall serve did", PATIENCE, || serving(&namespace, name))
            .unwrap_or_else(|error| panic!("{name}: {error}\n{}", told(&namespace, name, &[&operator])));
        let newest = *phase != "AwaitingApproval";
        let right = version == if newest { 2 } else { 1 } || newest && edit.takes_down() && version == 1;
        assert!(right, "version {version} of {name} serves\n{}", told(&namespace, name, &[&operator]));
    }
    // Their pods would have come from a ReplicaSet, and a sealed Deployment makes none.
    let sets = namespace.kubectl(&["get", "replicasets", "--output=json"]).unwrap();
    assert!(!sets.contains(THEIRS), "something was started that nobody approved:\n{sets}");
}

/// The version that a site serves, once it is at rest or awaits somebody, and everything is as we make it.
pub fn serving(namespace: &Namespace<'_>, name: &str) -> Option<u32> {
    let object = object(namespace, name)?;
    let status = &object["status"];
    let resting = matches!(status["phase"].as_str()?, "Idle" | "AwaitingApproval");
    let current = status["observedGeneration"] == object["metadata"]["generation"];
    let available = condition(&object, "Available")?["status"] == "True";
    let (colour, revision) = (status["live"]["colour"].as_str()?, &status["live"]["revision"]);
    let service = namespace.json(&["get", "service", name]).ok()?;
    let selector =
        json!({"bluegreen.dev/site": name, "bluegreen.dev/colour": colour, "bluegreen.dev/revision": revision});
    let deployment = namespace.json(&["get", "deployment", &format!("{name}-{colour}")]).ok()?;
    let sealed = deployment["spec"]["paused"] == true;
    let serves = deployment["status"]["readyReplicas"].as_u64()? >= 1;
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str()?;
    let right = resting && current && available && sealed && serves && service["spec"]["selector"] == selector;
    image.strip_prefix("registry.local/app:").filter(|_| right)?.parse().ok()
}
