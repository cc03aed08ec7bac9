//! A step that fails for as long as nobody mends what is in its way: it is tried again and again, and told once.

use bluegreen_rig::cluster::{ControlPlane, Mark, Namespace};
use bluegreen_rig::wait;
use serde_json::json;

use crate::kit::{Operator, PATIENCE, condition, object, plane, ready, site, told, told_writes, writes};

/// So many tries are looked at.
const TRIES: usize = 10;

/// An admission webhook that nobody answers: whatever it is asked about can't be written. It goes with the test.
struct Barrier<'a> {
    plane: &'a ControlPlane,
    name: String,
}

impl<'a> Barrier<'a> {
    fn raise(plane: &'a ControlPlane, namespace: &Namespace<'_>, group: &str, resource: &str) -> Barrier<'a> {
        let name = format!("{}-{resource}", namespace.name());
        let webhook = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": name },
            "webhooks": [{
                "name": "nobody.example.com",
                // Port 1 is nobody's.
                "clientConfig": { "url": "https://127.0.0.1:1/" },
                "rules": [{ "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [resource] }],
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace.name() } },
                "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 2,
            }],
        });
        plane.apply(&webhook.to_string()).expect("it is taken");
        Barrier { plane, name }
    }
}

impl Drop for Barrier<'_> {
    fn drop(&mut self) {
        self.plane.kubectl(&["delete", "validatingwebhookconfiguration", &self.name, "--ignore-not-found"]).ok();
    }
}

/// Writes of that resource that failed since, tried ones included.
fn tries(plane: &ControlPlane, namespace: &str, resource: &str, mark: Mark) -> usize {
    let all = plane.requests_since(mark).expect("the log can be read");
    let ours = all.iter().filter(|one| one.namespace == namespace && one.resource == resource && one.writes());
    ours.filter(|one| one.user_agent.starts_with("bluegreen/") && one.code >= 500).count()
}

fn fails_and_is_told_once(group: &str, resource: &str) {
    let plane = plane();
    let namespace = plane.namespace(&format!("barred-{resource}")).unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let barrier = Barrier::raise(plane, &namespace, group, resource);
    // The API server learns of its webhooks a moment later.
    let barred =
        || namespace.kubectl(&["annotate", resource, "--all", "--overwrite", "test=barred"]).is_err().then_some(());
    wait::until("nothing can be written", PATIENCE, barred).unwrap();
    let mark = plane.mark();
    let mut next = site("shop", 2);
    next["spec"]["strategy"]["cutoverWithin"] = json!("10m");
    namespace.apply(&next.to_string()).unwrap();
    wait::until("it was tried again and again", 2 * PATIENCE, || {
        (tries(plane, namespace.name(), resource, mark) >= TRIES).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", &[&operator])));
    let all = writes(plane, namespace.name(), mark);
    let counts = bluegreen_rig::cluster::counted(&all);
    let tried = tries(plane, namespace.name(), resource, mark);
    println!("{resource}: {tried} tries: {counts:#?}");
    let said = object(&namespace, "shop").unwrap();
    let reason = condition(&said, "Ready").unwrap()["message"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("nobody.example.com"), "it says what is in its way: {reason}");
    // One for each phase that it went through, and one for what is in its way.
    let told_of = told_writes(plane, namespace.name(), mark);
    assert!((1..=3).contains(&told_of), "{told_of} statuses for {tried} tries: {counts:#?}");
    drop(barrier);
    ready(&namespace, "shop", &[&operator]);
}

#[test]
fn a_deployment_that_can_not_be_written_is_tried_for_ever_and_told_once() {
    fails_and_is_told_once("apps", "deployments");
}

#[test]
fn a_cutover_that_can_not_be_written_is_tried_for_ever_and_told_once() {
    fails_and_is_told_once("", "services");
}
