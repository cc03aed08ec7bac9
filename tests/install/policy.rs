//! What the admission policy refuses, by the real API server: who may not run pods may not write a site, who may not command may not command.

use std::process::Output;

use bluegreen_rig::cluster::{ControlPlane, Namespace};
use bluegreen_rig::wait::{PATIENCE, until};

use crate::kit::{installed, site};

const ATTEMPT: &str = "1f2e3d4c5b6a79880f1e2d3c4b5a6978/1";

/// A namespace in which two people have rights: `runner` may write sites and run pods, `writer` may write sites alone, and whoever a test binds.
struct Place {
    namespace: Namespace<'static>,
}

impl Place {
    fn new(name: &str) -> Place {
        let plane = installed();
        let namespace = plane.namespace(name).unwrap();
        let place = Place { namespace };
        place.bind("writer", "bluegreen-edit");
        place.bind("runner", "bluegreen-edit");
        place
            .namespace
            .apply(
                "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: runs}, rules: [{apiGroups: [apps], resources: [deployments], \
                 verbs: [create]}]}",
            )
            .unwrap();
        place.namespace.kubectl(&["create", "rolebinding", "runs", "--role=runs", "--user=runner"]).unwrap();
        place.in_force();
        place
    }

    fn bind(&self, user: &str, role: &str) {
        let (name, role, user) = (format!("{user}-{role}"), format!("--clusterrole={role}"), format!("--user={user}"));
        self.namespace.kubectl(&["create", "rolebinding", &name, &role, &user]).unwrap();
    }

    /// The API server learns of a policy and of a binding a moment after they are written.
    fn in_force(&self) {
        until("the policy is in force", PATIENCE, || {
            let refused = self.apply_as("writer", &site("probe", "shop:1"), &["--dry-run=server"]);
            let taken = self.apply_as("runner", &site("probe", "shop:1"), &["--dry-run=server"]);
            (!refused.status.success() && taken.status.success()).then_some(())
        })
        .unwrap();
    }

    fn as_user(&self, user: &str, arguments: &[&str]) -> Output {
        let mut command = installed().kubectl_command().unwrap();
        command.args(["--namespace", self.namespace.name(), "--as", user]).args(arguments);
        command.output().unwrap()
    }

    fn apply_as(&self, user: &str, manifest: &str, more: &[&str]) -> Output {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), manifest).unwrap();
        self.as_user(user, &[&["apply", "--filename", file.path().to_str().unwrap()], more].concat())
    }

    /// Sets an annotation, or takes it away.
    fn annotate(&self, user: &str, annotation: &str) -> Output {
        self.as_user(user, &["annotate", "--overwrite", "bluegreensite/shop", annotation])
    }
}

fn taken(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refused(output: &Output, words: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains(words), "{error}{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn who_may_not_run_pods_may_not_write_a_site() {
    let place = Place::new("writing");
    refused(&place.apply_as("writer", &site("shop", "shop:1"), &[]), "writer may not create deployments in writing-");
    taken(&place.apply_as("runner", &site("shop", "shop:1"), &[]));
    refused(&place.apply_as("writer", &site("shop", "evil:1"), &[]), "writer may not create deployments in writing-");
    taken(&place.as_user("writer", &["label", "bluegreensite/shop", "team=shop"]));
    taken(&place.apply_as("runner", &site("shop", "shop:2"), &[]));
}

#[test]
fn a_size_wants_the_right_to_run_pods_too_and_an_autoscaler_has_it() {
    let place = Place::new("sizing");
    taken(&place.apply_as("runner", &site("shop", "shop:1"), &[]));
    let five = ["scale", "bluegreensite/shop", "--replicas=5"];
    let words = "writer may neither create nor scale deployments in sizing-";
    until("the policy of sizes is in force", PATIENCE, || {
        let output = place.as_user("writer", &[&five[..], &["--dry-run=server"]].concat());
        (!output.status.success()).then_some(())
    })
    .unwrap();
    refused(&place.as_user("writer", &five), words);
    taken(&place.as_user("writer", &["scale", "bluegreensite/shop", "--replicas=1"]));
    taken(&place.as_user("runner", &five));
    // Kubernetes' own, with the account that it has in every cluster.
    place
        .namespace
        .apply(
            "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: shop}, spec: {minReplicas: 7, maxReplicas: 9, \
             scaleTargetRef: {apiVersion: bluegreen.dev/v1alpha1, kind: BlueGreenSite, name: shop}, metrics: [{type: Resource, resource: {name: cpu, \
             target: {type: Utilization, averageUtilization: 80}}}]}}",
        )
        .unwrap();
    let size = || {
        place.namespace.json(&["get", "bluegreensite", "shop"]).ok()?["spec"]["target"]["cluster"]["replicas"].as_i64()
    };
    until("the autoscaler had its way", PATIENCE, || (size() == Some(7)).then_some(())).unwrap();
    let policy = installed().json(&["get", "validatingadmissionpolicy", "bluegreen-scale"]).unwrap();
    assert_eq!(policy["status"]["typeChecking"]["expressionWarnings"], serde_json::Value::Null, "{}", policy["status"]);
}

#[test]
fn a_site_with_an_httproute_wants_the_right_to_write_one() {
    let place = Place::new("routing");
    let route = "      route: {httpRoute: {parentRefs: [{name: web}]}}\n      template:";
    let shop = site("shop", "shop:1").replace("      template:", route);
    refused(&place.apply_as("runner", &shop, &[]), "runner may not create httproutes in routing-");
    taken(&place.apply_as("runner", &site("shop", "shop:1"), &[]));
    refused(&place.apply_as("runner", &shop, &[]), "runner may not create httproutes in routing-");
    place
        .namespace
        .apply(
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: routes}, rules: [{apiGroups: \
             [gateway.networking.k8s.io], resources: [httproutes], verbs: [create]}]}",
        )
        .unwrap();
    place.namespace.kubectl(&["create", "rolebinding", "routes", "--role=routes", "--user=runner"]).unwrap();
    until("the binding is in force", PATIENCE, || {
        place.apply_as("runner", &shop, &["--dry-run=server"]).status.success().then_some(())
    })
    .unwrap();
}

#[test]
fn each_command_wants_the_verb_of_its_name() {
    let place = Place::new("commands");
    taken(&place.apply_as("runner", &site("shop", "shop:1"), &[]));
    for verb in ["approve", "abort", "retry", "rollback", "pause", "resume", "restart"] {
        let command = format!("bluegreen.dev/{verb}={ATTEMPT}");
        refused(
            &place.annotate("runner", &command),
            &format!("runner may not {verb} this site: that needs the verb {verb}"),
        );
    }
    taken(&place.annotate("runner", "example.com/note=x"));
    place.bind("commander", "bluegreen-operate");
    until("the binding is in force", PATIENCE, || {
        let probe =
            place.as_user("commander", &["annotate", "--dry-run=server", "bluegreensite/shop", "example.com/x=y"]);
        probe.status.success().then_some(())
    })
    .unwrap();
    for verb in ["approve", "abort", "retry", "rollback", "pause", "resume", "restart"] {
        taken(&place.annotate("commander", &format!("bluegreen.dev/{verb}={ATTEMPT}")));
    }
    refused(
        &place.as_user("commander", &["scale", "bluegreensite/shop", "--replicas=5"]),
        "cannot patch resource \"bluegreensites/scale\"",
    );
    let patch =
        r#"{"spec":{"target":{"cluster":{"template":{"spec":{"containers":[{"name":"app","image":"evil:1"}]}}}}}}"#;
    refused(
        &place.as_user("commander", &["patch", "bluegreensite/shop", "--type=merge", "--patch", patch]),
        "commander may not create deployments",
    );
}

#[test]
fn a_right_to_one_command_is_a_right_to_no_other_nor_at_another_site() {
    let place = Place::new("approver");
    taken(&place.apply_as("runner", &site("shop", "shop:1"), &[]));
    taken(&place.apply_as("runner", &site("other", "shop:1"), &[]));
    place
        .namespace
        .apply(
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: approves}, rules: [{apiGroups: [bluegreen.dev], resources: \
             [bluegreensites], verbs: [get, patch]}, {apiGroups: [bluegreen.dev], resources: [bluegreensites], resourceNames: [shop], verbs: \
             [approve]}]}",
        )
        .unwrap();
    place.namespace.kubectl(&["create", "rolebinding", "approves", "--role=approves", "--user=approver"]).unwrap();
    until("the binding is in force", PATIENCE, || {
        place.annotate("approver", &format!("bluegreen.dev/approve={ATTEMPT}")).status.success().then_some(())
    })
    .unwrap();
    refused(&place.annotate("approver", &format!("bluegreen.dev/abort={ATTEMPT}")), "approver may not abort this site");
    let other = ["annotate", "bluegreensite/other", &format!("bluegreen.dev/approve={ATTEMPT}")];
    refused(&place.as_user("approver", &other), "approver may not approve this site");
}

#[test]
fn taking_a_command_away_needs_no_right_but_another_incarnation_does() {
    let place = Place::new("removing");
    let shop = site("shop", "shop:1");
    taken(&place.apply_as("runner", &shop, &[]));
    for verb in ["approve", "restart"] {
        place
            .namespace
            .kubectl(&["annotate", "bluegreensite/shop", &format!("bluegreen.dev/{verb}={ATTEMPT}")])
            .unwrap();
    }
    taken(&place.annotate("runner", "bluegreen.dev/approve-"));
    refused(&place.annotate("runner", "bluegreen.dev/restart-"), "runner may not restart this site");
}

#[test]
fn all_commands_at_once_are_judged_too() {
    let place = Place::new("many");
    taken(&place.apply_as("runner", &site("shop", "shop:1"), &[]));
    let all: Vec<String> = ["approve", "abort", "retry", "rollback", "pause", "resume", "restart"]
        .iter()
        .map(|verb| format!("bluegreen.dev/{verb}={ATTEMPT}"))
        .collect();
    let mut arguments = vec!["annotate", "--overwrite", "bluegreensite/shop"];
    arguments.extend(all.iter().map(String::as_str));
    refused(&place.as_user("runner", &arguments), "runner may not approve this site");
    place.bind("runner", "bluegreen-operate");
    until("the binding is in force", PATIENCE, || place.as_user("runner", &arguments).status.success().then_some(()))
        .unwrap();
}

#[test]
fn a_site_stays_where_it_is() {
    let place = Place::new("moving");
    taken(&place.apply_as("runner", &site("shop", "shop:1"), &[]));
    let host = "apiVersion: bluegreen.dev/v1alpha1\nkind: BlueGreenSite\nmetadata: {name: shop}\nspec:\n  target:\n    host:\n      hostnames: \
                [shop.example.com]\n      release: {path: /srv/shop/1}\n      runtime: {static: {}}\n      user: shop\n";
    let output = place.apply_as("runner", host, &[]);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_default_roles_of_a_cluster_have_ours_in_them() {
    let plane: &ControlPlane = installed();
    let place = Place::new("default-roles");
    place.bind("viewer", "view");
    place.bind("editor", "edit");
    until("the roles are aggregated", PATIENCE, || {
        place.apply_as("editor", &site("shop", "shop:1"), &[]).status.success().then_some(())
    })
    .unwrap();
    until("the viewer sees", PATIENCE, || {
        place.as_user("viewer", &["get", "bluegreensite/shop"]).status.success().then_some(())
    })
    .unwrap();
    taken(&place.annotate("editor", &format!("bluegreen.dev/approve={ATTEMPT}")));
    refused(&place.annotate("viewer", "example.com/x=y"), "cannot patch");
    let status = r#"{"status":{"phase":"Idle"}}"#;
    let forged = place
        .as_user("editor", &["patch", "bluegreensite/shop", "--subresource=status", "--type=merge", "--patch", status]);
    refused(&forged, "bluegreensites/status");
    let policy = plane.json(&["get", "validatingadmissionpolicy", "bluegreen"]).unwrap();
    assert_eq!(policy["status"]["typeChecking"]["expressionWarnings"], serde_json::Value::Null, "{}", policy["status"]);
}
