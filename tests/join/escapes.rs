//! What a host, and whoever joins, may do with their own tokens; and everything else that somebody who got hold of one might try, each asked of the real API
//! server and refused by it.

use bluegreen::cli::host::ticket::Ticket;
use serde_json::{Value, json};

use super::kit::{Caller, joined, plane, site, token, unique};

/// One thing to try: what it is, how it is asked, and with what.
type Try = (&'static str, &'static str, String, Value);

const SITES: &str = "/apis/bluegreen.dev/v1alpha1";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const LEASES: &str = "/apis/coordination.k8s.io/v1";

/// Everything of which the answer is not "forbidden".
fn succeeded(caller: &Caller, tries: &[Try]) -> Vec<String> {
    let asked = tries.iter().map(|(what, method, path, body)| (what, method, path, caller.call(method, path, body)));
    asked
        .filter(|(.., (status, _))| *status != 403)
        .map(|(what, method, path, (status, answer))| {
            format!("{what}: {method} {path}: {status} {}", answer["message"])
        })
        .collect()
}

fn of_sites(namespace: &str, more: &str) -> String {
    format!("{SITES}/namespaces/{namespace}/bluegreensites{more}")
}

fn account_token(namespace: &str, account: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token")
}

fn cluster_admin(kind: &str, name: &str, subject: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": "bluegreen-host", "namespace": subject }],
    })
}

fn everything() -> Value {
    json!({ "rules": [{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }] })
}

fn merge(field: &str, value: Value) -> Value {
    json!({ "metadata": { field: value } })
}

#[test]
fn a_host_may_do_what_it_needs() {
    let (machine, name) = joined("able");
    let namespace = format!("bluegreen-host-{name}");
    plane().apply(&site(&namespace, "shop").to_string()).unwrap();
    let host = machine.caller();
    let allowed = |what: &str, method: &str, path: &str, body: &Value| {
        let (status, answer) = host.call(method, path, body);
        assert!((200..300).contains(&status), "{what}: {status} {answer}");
        answer
    };
    let (shop, lease) =
        (of_sites(&namespace, "/shop"), format!("{LEASES}/namespaces/{namespace}/leases/bluegreen-host"));
    allowed("list its sites", "GET", &of_sites(&namespace, ""), &Value::Null);
    allowed("get one", "GET", &shop, &Value::Null);
    allowed("watch them", "GET", &of_sites(&namespace, "?watch=true&timeoutSeconds=1"), &Value::Null);
    let finalizer = merge("finalizers", json!(["bluegreen.dev/host"]));
    let now = allowed("put its finalizer on one", "PATCH", &shop, &finalizer);
    assert_eq!(now["metadata"]["finalizers"], json!(["bluegreen.dev/host"]));
    let mut reported = now.clone();
    reported["status"] = json!({ "phase": "Idle" });
    let now = allowed("write its status", "PUT", &format!("{shop}/status"), &reported);
    assert_eq!(now["status"]["phase"], "Idle");
    allowed("take its finalizer off", "PATCH", &shop, &merge("finalizers", Value::Null));
    let mut held = allowed("get its lease", "GET", &lease, &Value::Null);
    held["spec"] = json!({ "holderIdentity": "m", "leaseDurationSeconds": 40 });
    allowed("renew it", "PUT", &lease, &held);
    plane().kubectl(&["-n", &namespace, "delete", "lease", "bluegreen-host"]).unwrap();
    held["metadata"] = json!({ "name": "bluegreen-host", "namespace": namespace });
    allowed("make it again when somebody deleted it", "PUT", &lease, &held);
    let (status, answer) = host.call("PUT", &lease, &held);
    assert_eq!(status, 422, "what is there is not written without a version: {answer}");
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "shop.1", "namespace": namespace },
        "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Reconcile", "reason": "Test", "type": "Normal", "note": "a note",
        "reportingController": "bluegreen.dev/host", "reportingInstance": name,
        "regarding": { "apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite", "name": "shop", "namespace": namespace },
    });
    allowed("record an event", "POST", &format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"), &event);
    allowed("ask for a token of its own", "POST", &account_token(&namespace, "bluegreen-host"), &json!({ "spec": {} }));
    allowed("know its namespace", "GET", &format!("/api/v1/namespaces/{namespace}"), &Value::Null);
}

#[test]
fn a_secret_is_readable_once_somebody_names_it_in_a_role_and_no_other_is() {
    let (machine, name) = joined("reader");
    let namespace = format!("bluegreen-host-{name}");
    let kubectl = |arguments: &[&str]| plane().kubectl(&[&["-n", namespace.as_str()], arguments].concat()).unwrap();
    for secret in ["registry", "other"] {
        kubectl(&["create", "secret", "generic", secret, "--from-literal=password=p"]);
    }
    // As the guide says.
    kubectl(&["create", "role", "registry", "--verb=get", "--resource=secrets", "--resource-name=registry"]);
    let account = format!("--serviceaccount={namespace}:bluegreen-host");
    kubectl(&["create", "rolebinding", "registry", "--role=registry", &account]);
    let host = machine.caller();
    let read =
        |secret: &str| host.call("GET", &format!("/api/v1/namespaces/{namespace}/secrets/{secret}"), &Value::Null).0;
    bluegreen_rig::wait::until("the role counted", super::kit::PATIENCE, || (read("registry") == 200).then_some(()))
        .unwrap();
    assert_eq!(read("other"), 403);
    assert_eq!(host.call("GET", &format!("/api/v1/namespaces/{namespace}/secrets"), &Value::Null).0, 403);
}

#[test]
fn nothing_that_a_hosts_token_might_be_used_for_besides_succeeds() {
    let (machine, name) = joined("mallory");
    let (_other, other_name) = joined("victim");
    let (own, other) = (format!("bluegreen-host-{name}"), format!("bluegreen-host-{other_name}"));
    for namespace in [&own, &other] {
        let mut shop = site(namespace, "shop");
        shop["metadata"]["finalizers"] = json!(["example.com/kept"]);
        shop["metadata"]["annotations"] = json!({ "example.com/kept": "yes" });
        plane().apply(&shop.to_string()).unwrap();
        plane()
            .kubectl(&["-n", namespace, "create", "secret", "generic", "database", "--from-literal=password=p"])
            .unwrap();
    }
    let spec = |namespace: &str| plane().json(&["-n", namespace, "get", "bluegreensite", "shop"]).unwrap();
    let before = (spec(&own), spec(&other));
    let host = machine.caller();
    let get = |what, path: String| (what, "GET", path, Value::Null);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
        "spec": { "containers": [{ "name": "c", "image": "i", "securityContext": { "privileged": true } }] },
    });
    let secret = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": { "name": name, "annotations": { "kubernetes.io/service-account.name": "bluegreen-host" } },
        })
    };
    let certificate = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": { "name": "mine" },
        "spec": { "request": "", "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"] },
    });
    let lease =
        |name: &str| json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name } });
    let release = json!({ "spec": { "target": { "host": { "release": { "path": "/srv/mine" } } } } });
    let tries: Vec<Try> = vec![
        // Sites that are not its own, and more of its own than it needs.
        get("list another host's sites", of_sites(&other, "")),
        get("get another host's site", of_sites(&other, "/shop")),
        get("watch another host's sites", of_sites(&other, "?watch=true&timeoutSeconds=1")),
        get("list everybody's sites", format!("{SITES}/bluegreensites")),
        ("change another host's site", "PATCH", of_sites(&other, "/shop"), release.clone()),
        (
            "put its finalizer on another host's site",
            "PATCH",
            of_sites(&other, "/shop"),
            merge("finalizers", json!(["bluegreen.dev/host"])),
        ),
        (
            "write another host's status",
            "PATCH",
            of_sites(&other, "/shop/status"),
            json!({ "status": { "phase": "Idle" } }),
        ),
        ("make a site in another host's namespace", "POST", of_sites(&other, ""), site(&other, "mine")),
        ("make a site of its own", "POST", of_sites(&own, ""), site(&own, "mine")),
        ("make one by applying", "PUT", of_sites(&own, "/mine"), site(&own, "mine")),
        ("delete its own site", "DELETE", of_sites(&own, "/shop"), Value::Null),
        ("delete all its sites", "DELETE", of_sites(&own, ""), Value::Null),
        ("change what its own site is", "PATCH", of_sites(&own, "/shop"), release),
        (
            "approve its own rollout",
            "PATCH",
            of_sites(&own, "/shop"),
            merge("annotations", json!({ "bluegreen.dev/approve": "a/1" })),
        ),
        ("take an annotation away", "PATCH", of_sites(&own, "/shop"), merge("annotations", Value::Null)),
        ("label its own site", "PATCH", of_sites(&own, "/shop"), merge("labels", json!({ "a": "b" }))),
        (
            "give its own site an owner",
            "PATCH",
            of_sites(&own, "/shop"),
            merge(
                "ownerReferences",
                json!([{
                    "apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "00000000-0000-0000-0000-000000000000",
                }]),
            ),
        ),
        (
            "take somebody else's finalizer off",
            "PATCH",
            of_sites(&own, "/shop"),
            merge("finalizers", json!(["bluegreen.dev/host"])),
        ),
        // Secrets.
        get("list its namespace's Secrets", format!("/api/v1/namespaces/{own}/secrets")),
        get("get a Secret of its namespace", format!("/api/v1/namespaces/{own}/secrets/database")),
        get(
            "watch a Secret by name",
            format!(
                "/api/v1/namespaces/{own}/secrets?watch=true&fieldSelector=metadata.name=database&timeoutSeconds=1"
            ),
        ),
        get("get another host's Secret", format!("/api/v1/namespaces/{other}/secrets/database")),
        get("list everybody's Secrets", "/api/v1/secrets".to_owned()),
        (
            "make a Secret that is filled with a lasting token",
            "POST",
            format!("/api/v1/namespaces/{own}/secrets"),
            secret("lasting"),
        ),
        (
            "change a Secret",
            "PATCH",
            format!("/api/v1/namespaces/{own}/secrets/database"),
            json!({ "stringData": { "password": "mine" } }),
        ),
        ("delete a Secret", "DELETE", format!("/api/v1/namespaces/{own}/secrets/database"), Value::Null),
        // Running things.
        ("make a pod", "POST", format!("/api/v1/namespaces/{own}/pods"), pod),
        get("list pods", format!("/api/v1/namespaces/{own}/pods")),
        ("run a command in a pod", "POST", format!("/api/v1/namespaces/{own}/pods/p/exec?command=sh"), Value::Null),
        ("make a Deployment", "POST", format!("/apis/apps/v1/namespaces/{own}/deployments"), json!({})),
        // Becoming somebody else.
        ("a token of whoever joins", "POST", account_token(&own, "bluegreen-join"), json!({ "spec": {} })),
        ("a token of another host", "POST", account_token(&other, "bluegreen-host"), json!({ "spec": {} })),
        (
            "a token of a controller",
            "POST",
            account_token("kube-system", "namespace-controller"),
            json!({ "spec": {} }),
        ),
        (
            "a token of its own for a year",
            "POST",
            account_token(&own, "bluegreen-host"),
            json!({ "spec": { "expirationSeconds": 31_536_000 } }),
        ),
        (
            "a certificate of its own",
            "POST",
            "/apis/certificates.k8s.io/v1/certificatesigningrequests".to_owned(),
            certificate,
        ),
        (
            "a new account",
            "POST",
            format!("/api/v1/namespaces/{own}/serviceaccounts"),
            json!({ "metadata": { "name": "mine" } }),
        ),
        (
            "its account deleted",
            "DELETE",
            format!("/api/v1/namespaces/{own}/serviceaccounts/bluegreen-host"),
            Value::Null,
        ),
        // More rights.
        (
            "bind cluster-admin in its namespace",
            "POST",
            format!("{RBAC}/namespaces/{own}/rolebindings"),
            cluster_admin("RoleBinding", "mine", &own),
        ),
        (
            "bind cluster-admin everywhere",
            "POST",
            format!("{RBAC}/clusterrolebindings"),
            cluster_admin("ClusterRoleBinding", "mine", &own),
        ),
        ("change its Role", "PATCH", format!("{RBAC}/namespaces/{own}/roles/bluegreen-host"), everything()),
        (
            "change its RoleBinding",
            "PATCH",
            format!("{RBAC}/namespaces/{own}/rolebindings/bluegreen-host"),
            json!({ "subjects": [] }),
        ),
        ("read its Role", "GET", format!("{RBAC}/namespaces/{own}/roles/bluegreen-host"), Value::Null),
        (
            "delete the policy for hosts",
            "DELETE",
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/bluegreen-host".to_owned(),
            Value::Null,
        ),
        (
            "delete its binding",
            "DELETE",
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/bluegreen-host".to_owned(),
            Value::Null,
        ),
        (
            "change what a site is",
            "PATCH",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bluegreensites.bluegreen.dev".to_owned(),
            json!({ "spec": {} }),
        ),
        // Presence.
        (
            "take another host's Lease",
            "PUT",
            format!("{LEASES}/namespaces/{other}/leases/bluegreen-host"),
            lease("bluegreen-host"),
        ),
        ("read another host's Lease", "GET", format!("{LEASES}/namespaces/{other}/leases/bluegreen-host"), Value::Null),
        (
            "take the operator's Lease",
            "PUT",
            format!("{LEASES}/namespaces/bluegreen-system/leases/bluegreen-operator"),
            lease("bluegreen-operator"),
        ),
        ("make another Lease", "POST", format!("{LEASES}/namespaces/{own}/leases"), lease("mine")),
        ("make another Lease by writing to it", "PUT", format!("{LEASES}/namespaces/{own}/leases/mine"), lease("mine")),
        ("delete its Lease", "DELETE", format!("{LEASES}/namespaces/{own}/leases/bluegreen-host"), Value::Null),
        // The rest of the cluster.
        ("delete its namespace", "DELETE", format!("/api/v1/namespaces/{own}"), Value::Null),
        ("delete another host's namespace", "DELETE", format!("/api/v1/namespaces/{other}"), Value::Null),
        (
            "relabel its namespace",
            "PATCH",
            format!("/api/v1/namespaces/{own}"),
            merge("labels", json!({ "bluegreen.dev/host": "victim" })),
        ),
        ("get another host's namespace", "GET", format!("/api/v1/namespaces/{other}"), Value::Null),
        get("list namespaces", "/api/v1/namespaces".to_owned()),
        get("list nodes", "/api/v1/nodes".to_owned()),
        get("read a ConfigMap", format!("/api/v1/namespaces/{own}/configmaps/kube-root-ca.crt")),
        ("an event elsewhere", "POST", format!("/apis/events.k8s.io/v1/namespaces/{other}/events"), json!({})),
        get("reach a node through the API server", "/api/v1/nodes/rig/proxy/pods".to_owned()),
        get("the API server's metrics", "/metrics".to_owned()),
    ];
    let through = succeeded(&host, &tries);
    assert!(through.is_empty(), "{} of {} succeeded:\n{}", through.len(), tries.len(), through.join("\n"));

    let mut count = tries.len();
    let secrets = format!("/api/v1/namespaces/{own}/secrets");
    let host_there = format!("system:serviceaccount:{other}:bluegreen-host");
    for header in [
        ("impersonate-user", "admin"),
        ("impersonate-group", "system:masters"),
        ("impersonate-user", host_there.as_str()),
        ("impersonate-user", "system:kube-controller-manager"),
    ] {
        let headers =
            if header.0 == "impersonate-group" { vec![("impersonate-user", "x"), header] } else { vec![header] };
        let (status, answer) = host.call_as("GET", &secrets, &Value::Null, &headers);
        assert_eq!(status, 403, "as {header:?}: {answer}");
        count += 1;
    }
    println!("{count} things tried with a host's token, 0 succeeded");

    let after = (spec(&own), spec(&other));
    for (before, after) in [(&before.0, &after.0), (&before.1, &after.1)] {
        assert_eq!(
            (&before["spec"], &before["metadata"]["finalizers"]),
            (&after["spec"], &after["metadata"]["finalizers"])
        );
        assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
    }
}

#[test]
fn nothing_that_a_token_to_join_with_might_be_used_for_besides_succeeds() {
    let name = unique("joiner");
    let own = format!("bluegreen-host-{name}");
    let ticket = Ticket::read(&token(&name)).unwrap();
    let (_other, other_name) = joined("victim");
    let other = format!("bluegreen-host-{other_name}");
    plane().apply(&site(&own, "shop").to_string()).unwrap();
    plane().kubectl(&["-n", &own, "create", "secret", "generic", "database", "--from-literal=password=p"]).unwrap();
    let joiner = Caller::new(plane(), ticket.token.expose());
    let get = |what, path: String| (what, "GET", path, Value::Null);
    let tries: Vec<Try> = vec![
        get("list the host's sites", of_sites(&own, "")),
        ("write a site's status", "PATCH", of_sites(&own, "/shop/status"), json!({ "status": { "phase": "Idle" } })),
        ("make a site", "POST", of_sites(&own, ""), site(&own, "mine")),
        get("list Secrets", format!("/api/v1/namespaces/{own}/secrets")),
        get("read the Secret that it is bound to", format!("/api/v1/namespaces/{own}/secrets/bluegreen-join")),
        ("delete another Secret", "DELETE", format!("/api/v1/namespaces/{own}/secrets/database"), Value::Null),
        ("delete all Secrets", "DELETE", format!("/api/v1/namespaces/{own}/secrets"), Value::Null),
        (
            "end another host's token to join with",
            "DELETE",
            format!("/api/v1/namespaces/{other}/secrets/bluegreen-join"),
            Value::Null,
        ),
        (
            "make another such Secret",
            "POST",
            format!("/api/v1/namespaces/{own}/secrets"),
            json!({ "metadata": { "name": "bluegreen-join" } }),
        ),
        ("a token of its own that lasts", "POST", account_token(&own, "bluegreen-join"), json!({ "spec": {} })),
        (
            "a token of the host for a year",
            "POST",
            account_token(&own, "bluegreen-host"),
            json!({ "spec": { "expirationSeconds": 31_536_000 } }),
        ),
        ("a token of another host", "POST", account_token(&other, "bluegreen-host"), json!({ "spec": {} })),
        ("take the host's Lease", "PUT", format!("{LEASES}/namespaces/{own}/leases/bluegreen-host"), json!({})),
        (
            "bind a role",
            "POST",
            format!("{RBAC}/namespaces/{own}/rolebindings"),
            cluster_admin("RoleBinding", "mine", &own),
        ),
        ("change its Role", "PATCH", format!("{RBAC}/namespaces/{own}/roles/bluegreen-join"), everything()),
        ("make a pod", "POST", format!("/api/v1/namespaces/{own}/pods"), json!({})),
        ("delete the namespace", "DELETE", format!("/api/v1/namespaces/{own}"), Value::Null),
        get("list namespaces", "/api/v1/namespaces".to_owned()),
        get("get its namespace", format!("/api/v1/namespaces/{own}")),
    ];
    let through = succeeded(&joiner, &tries);
    assert!(through.is_empty(), "{} of {} succeeded:\n{}", through.len(), tries.len(), through.join("\n"));
    println!("{} things tried with a token to join with, 0 succeeded", tries.len());
    let made = joiner.call("POST", &account_token(&own, "bluegreen-host"), &json!({ "spec": {} }));
    assert_eq!(made.0, 201, "what it is for it may do: {}", made.1);
}
