//! What the operator, and people, may do: asked of the real API server, after a real `helm install`.

use serde_json::json;

use crate::kit::{Helm, chart, installed};

/// Whether the operator may do something: `VERB GROUP/RESOURCE[/SUBRESOURCE][=NAME]`, where the group `core` has no name.
fn may(what: &str, namespace: &str) -> bool {
    account_may("bluegreen-system", "bluegreen", what, namespace)
}

fn account_may(home: &str, account: &str, what: &str, namespace: &str) -> bool {
    let (verb, thing) = what.split_once(' ').unwrap();
    let (thing, name) = thing.split_once('=').unwrap_or((thing, ""));
    let parts: Vec<&str> = thing.split('/').collect();
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:{home}:{account}"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{home}"), "system:authenticated"],
            "resourceAttributes": {
                "verb": verb, "group": if parts[0] == "core" { "" } else { parts[0] }, "resource": parts[1],
                "subresource": parts.get(2).copied().unwrap_or_default(), "name": name, "namespace": namespace,
            },
        },
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), review.to_string()).unwrap();
    let answer = installed().json(&["create", "--filename", file.path().to_str().unwrap()]).unwrap();
    answer["status"]["allowed"].as_bool().unwrap()
}

#[test]
fn the_operator_may_do_what_a_rollout_needs_in_any_namespace() {
    for what in [
        "get bluegreen.dev/bluegreensites",
        "list bluegreen.dev/bluegreensites",
        "watch bluegreen.dev/bluegreensites",
        "patch bluegreen.dev/bluegreensites/status",
        "update bluegreen.dev/bluegreensites/status",
        "create apps/deployments",
        "update apps/deployments",
        "patch apps/deployments",
        "create core/services",
        "update core/services",
        "watch discovery.k8s.io/endpointslices",
        "create apps/controllerrevisions",
        "patch apps/controllerrevisions",
        "deletecollection apps/controllerrevisions",
        "get core/configmaps",
        "create core/configmaps",
        "list core/configmaps",
        "delete core/configmaps",
        "create policy/poddisruptionbudgets",
        "update gateway.networking.k8s.io/httproutes",
        "create events.k8s.io/events",
    ] {
        assert!(may(what, "default"), "{what}");
    }
}

#[test]
fn the_operator_is_no_administrator_and_reads_nobodys_secret() {
    for what in [
        "* */*",
        "get core/secrets",
        "list core/secrets",
        "watch core/secrets",
        "create core/secrets",
        "create core/pods",
        "get core/pods",
        "delete core/pods",
        "create core/pods/exec",
        "get core/pods/log",
        "create core/serviceaccounts/token",
        "impersonate core/users",
        "create rbac.authorization.k8s.io/clusterrolebindings",
        "escalate rbac.authorization.k8s.io/clusterroles",
        "update bluegreen.dev/bluegreensites",
        "delete bluegreen.dev/bluegreensites",
        "approve bluegreen.dev/bluegreensites",
        "update apiextensions.k8s.io/customresourcedefinitions",
        "get core/nodes",
        "create coordination.k8s.io/leases",
        "update core/configmaps",
        "watch core/configmaps",
        "delete core/services",
        "delete apps/deployments",
    ] {
        assert!(!may(what, "default"), "{what}");
    }
    assert!(!may("get core/secrets", "bluegreen-system"), "not even beside itself");
}

#[test]
fn secrets_are_read_only_where_the_values_say_so() {
    assert!(may("get core/secrets", "trusting"));
    assert!(!may("watch core/secrets", "trusting") && !may("update core/secrets", "trusting"));
    assert!(!may("get core/secrets", "default"));
}

#[test]
fn the_lease_is_the_only_thing_in_its_own_namespace() {
    assert!(may("create coordination.k8s.io/leases", "bluegreen-system"));
    assert!(may("update coordination.k8s.io/leases=bluegreen-operator", "bluegreen-system"));
    assert!(!may("update coordination.k8s.io/leases=somebody-elses", "bluegreen-system"));
    assert!(!may("delete coordination.k8s.io/leases=bluegreen-operator", "bluegreen-system"));
}

#[test]
fn an_operator_of_one_namespace_stands_beside_that_of_all_and_may_nothing_outside() {
    let plane = installed();
    let (team, other) = (plane.namespace("team").unwrap(), plane.namespace("other").unwrap());
    let helm = Helm::at(plane);
    let only = format!("namespace={}", team.name());
    let home = other.name();
    let chart = chart();
    let chart = chart.to_str().unwrap();
    helm.said(&["install", "team", chart, "--namespace", home, "--set", &only, "--set", "crds.install=false"]);
    for what in ["create apps/deployments", "patch bluegreen.dev/bluegreensites/status", "create core/configmaps"] {
        assert!(account_may(home, "team-bluegreen", what, team.name()), "{what}");
        assert!(!account_may(home, "team-bluegreen", what, home), "{what}");
        assert!(!account_may(home, "team-bluegreen", what, "default"), "{what}");
        assert!(!account_may(home, "team-bluegreen", what, ""), "{what}, in all namespaces");
    }
    assert!(account_may(home, "team-bluegreen", "update coordination.k8s.io/leases=team-bluegreen-operator", home));
    helm.said(&["uninstall", "team", "--namespace", home]);
    let left =
        plane.json(&["get", "clusterroles,validatingadmissionpolicies", "--selector=app.kubernetes.io/instance=team"]);
    assert_eq!(left.unwrap()["items"], json!([]));
}
