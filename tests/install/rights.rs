//! What the operator, and people, may do: asked of the real API server, after a real `helm install`.

use serde_json::json;

use crate::kit::installed;

const OPERATOR: &str = "system:serviceaccount:bluegreen-system:bluegreen";

/// Whether the operator may do something: `VERB GROUP/RESOURCE[/SUBRESOURCE][=NAME]`, where the group `core` has no name.
fn may(what: &str, namespace: &str) -> bool {
    let (verb, thing) = what.split_once(' ').unwrap();
    let (thing, name) = thing.split_once('=').unwrap_or((thing, ""));
    let parts: Vec<&str> = thing.split('/').collect();
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": OPERATOR,
            "groups": ["system:serviceaccounts", "system:serviceaccounts:bluegreen-system", "system:authenticated"],
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
        "delete apps/deployments",
        "create core/services",
        "update core/services",
        "watch discovery.k8s.io/endpointslices",
        "create apps/controllerrevisions",
        "deletecollection apps/controllerrevisions",
        "get core/configmaps",
        "create core/configmaps",
        "create policy/poddisruptionbudgets",
        "update gateway.networking.k8s.io/httproutes",
        "create events.k8s.io/events",
        "patch events.k8s.io/events",
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
    ] {
        assert!(!may(what, "default"), "{what}");
    }
    assert!(!may("get core/secrets", "bluegreen-system"), "not even beside itself");
}

#[test]
fn secrets_are_read_only_where_the_values_say_so() {
    assert!(may("get core/secrets", "trusting"));
    assert!(!may("watch core/secrets", "trusting"));
    assert!(!may("get core/secrets", "default"));
}

#[test]
fn the_lease_is_the_only_thing_in_its_own_namespace() {
    assert!(may("create coordination.k8s.io/leases", "bluegreen-system"));
    assert!(may("update coordination.k8s.io/leases=bluegreen-operator", "bluegreen-system"));
    assert!(!may("update coordination.k8s.io/leases=somebody-elses", "bluegreen-system"));
    assert!(!may("delete coordination.k8s.io/leases=bluegreen-operator", "bluegreen-system"));
}
