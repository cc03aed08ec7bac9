//! What Kubernetes refuses, what never gets ready, what is not allowed.

use bluegreen_rig::cluster::{POD, counted};
use serde_json::{Value, json};

use super::kit::{Operated, plane, shop, target};

#[test]
fn a_template_that_kubernetes_refuses_is_rejected_in_its_words_before_anything_moves() {
    let site = Operated::new("refused");
    site.apply(&shop("1", &json!({})));
    let first = site.settled();
    let mark = plane().mark();
    for (wrong, word) in [
        (json!({"spec": {"nodeSelectr": {"a": "b"}}}), "nodeSelectr"),
        (json!({"spec": {"volumes": [{"name": "UPPER", "emptyDir": {}}]}}), "UPPER"),
    ] {
        site.apply(&shop("2", &target(&json!({"template": wrong}))));
        let said = site.stalled("PreparationFailed");
        assert!(said.contains(word) && said.contains("goes on serving"), "{said}");
    }
    assert_eq!(site.selected().1, first.to_string());
    let writes = site.writes_since(mark);
    assert!(writes.iter().all(|one| one.resource == "bluegreensites" || one.resource == "services"), "{writes:#?}");
    assert_eq!(site.status()["conditions"][0]["type"], "Ready");
    site.apply(&shop("3", &json!({})));
    site.settled();
}

#[test]
fn a_pod_that_never_gets_ready_is_rejected_with_what_it_waits_for() {
    let site = Operated::new("unready");
    site.apply(&shop("1", &json!({})));
    let first = site.settled();
    let unpullable = json!({"spec": {
        "strategy": {"readyWithin": "12s"},
        "target": {"cluster": {"template": {"metadata": {"annotations": {POD: "unpullable"}}}}},
    }});
    site.apply(&shop("2", &unpullable));
    let said = site.stalled("ReadyDeadlineExceeded");
    assert!(said.contains("ImagePullBackOff"), "{said}");
    assert_eq!(site.selected().1, first.to_string());
    site.until("the candidate was stopped", || (site.get("deploy/shop-green")["spec"]["replicas"] == 0).then_some(()));
    assert!(!site.serving().is_empty());
}

#[test]
fn a_quota_that_stops_the_candidate_is_said() {
    let site = Operated::new("quota");
    site.apply(&shop("1", &json!({})));
    let first = site.settled();
    site.apply(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}},
    }));
    site.until("the quota counts", || (site.get("quota/one")["status"]["used"]["pods"] == "1").then_some(()));
    site.apply(&shop("2", &json!({"spec": {"strategy": {"readyWithin": "8s"}}})));
    let said = site.stalled("ReadyDeadlineExceeded");
    assert!(said.contains("exceeded quota"), "{said}");
    assert_eq!(site.selected().1, first.to_string());
}

#[test]
fn a_permission_that_is_missing_is_named() {
    let site = Operated::idle("forbidden");
    let namespace = site.namespace.name().to_owned();
    let all = ["get", "list", "watch", "create", "patch", "update", "deletecollection"];
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| -> Value {
        json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
    };
    let mut rules = vec![
        rule("bluegreen.dev", &["bluegreensites", "bluegreensites/status"], &all),
        rule("apps", &["controllerrevisions"], &all),
        rule("", &["services"], &all),
        rule("discovery.k8s.io", &["endpointslices"], &all),
        rule("policy", &["poddisruptionbudgets"], &all),
        rule("apps", &["deployments"], &["get", "list", "watch", "create"]),
    ];
    let role = |rules: &[Value]| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "operator"}, "rules": rules});
    site.apply(&role(&rules));
    site.namespace.kubectl(&["create", "serviceaccount", "operator"]).expect("it can be made");
    let account = format!("--serviceaccount={namespace}:operator");
    site.namespace
        .kubectl(&["create", "rolebinding", "operator", "--role=operator", &account])
        .expect("it can be bound");
    let token = plane().service_account_token(&namespace, "operator").expect("it can have a token");
    let kubeconfig = plane().kubeconfig_for(&namespace, &token).expect("it can be written");
    let mut site = site.with_user(&kubeconfig);
    site.start();
    site.apply(&shop("1", &json!({})));
    let said = site.stalled("MissingPermission");
    assert!(said.contains("patch") && said.contains("deployments.apps") && said.contains(&namespace), "{said}");
    // Everything else that a rollout needs was granted above, so with this one it goes on by itself.
    rules.push(rule("apps", &["deployments"], &["patch"]));
    site.apply(&role(&rules));
    site.settled();
}

#[test]
fn a_namespace_that_is_being_deleted_is_left_alone() {
    let site = Operated::new("terminating");
    site.apply(&shop("1", &json!({})));
    site.settled();
    // Something holds the namespace, and the site is still there.
    site.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/hold"]}}));
    site.patch("bgs/shop", &json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    let begun = plane().mark();
    plane().kubectl(&["delete", "namespace", site.namespace.name(), "--wait=false"]).expect("it can be deleted");
    site.until("its Deployments are gone", || site.get("deploy/shop-blue").get("metadata").is_none().then_some(()));
    site.until("the site goes", || site.get("bgs/shop")["metadata"]["deletionTimestamp"].is_string().then_some(()));
    let gone = plane().mark();
    // Whoever deletes the namespace has been through all of it, and found nothing but what is held.
    site.until("all else is gone", || {
        let namespace = plane().json(&["get", "namespace", site.namespace.name()]).ok()?;
        let conditions = namespace["status"]["conditions"].as_array()?.clone();
        let said = |kind: &str| conditions.iter().find(|one| one["type"] == kind).map(|one| one["status"] == "True");
        let rest = site.namespace.json(&["get", "deployments,services,pods"]).ok()?;
        (said("NamespaceFinalizersRemaining")? && rest["items"] == json!([])).then_some(())
    });
    let writes = site.writes_since(gone);
    assert!(writes.is_empty(), "nothing is written any more: {writes:#?}");
    let writes = site.writes_since(begun);
    assert!(writes.len() <= 20, "it was met with patience: {:#?}", counted(&writes));
    for object in ["bgs/shop", "configmap/held"] {
        site.patch(object, &json!({"metadata": {"finalizers": null}}));
    }
    site.until("the namespace is gone", || {
        plane().kubectl(&["get", "namespace", site.namespace.name()]).is_err().then_some(())
    });
}

#[test]
fn what_was_warned_of_can_be_read() {
    let site = Operated::new("warned");
    site.apply(&shop("1", &json!({})));
    site.settled();
    let warnings = site.warnings();
    assert!(warnings.iter().any(|warning| warning.contains("preStop")), "{warnings:?}");
    let condition = super::kit::condition(&site.status(), "Warning").expect("it stands in the status");
    assert_eq!(condition["reason"], "RequestsMayBeLost");
    assert!(condition["message"].as_str().unwrap().contains("preStop"), "{condition}");
}

#[test]
fn a_setting_in_a_config_map_that_a_guard_denies_never_starts_and_goes_live_once_it_is_mended() {
    let site = Operated::new("denied");
    let map = |ddl: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {
            "application-production.yml": format!("shop:\n  name: a shop\nspring.jpa.hibernate.ddl-auto: {ddl}\n"),
        }})
    };
    site.apply(&map("validate"));
    let container = json!({"name": "app", "image": "registry.local/shop:1", "ports": [{"containerPort": 8080}],
        "env": [{"name": "SPRING_PROFILES_ACTIVE", "value": "production"}],
        "volumeMounts": [{"name": "settings", "mountPath": "/config"}]});
    let volume = json!({"name": "settings", "configMap": {"name": "settings"}});
    let spring = json!({"spec": {"target": {"cluster": {"template": {"spec":
        {"containers": [container], "volumes": [volume]}}}}}});
    site.apply(&shop("1", &spring));
    let first = site.settled();
    let pods = site.serving();
    let mark = plane().mark();
    // The template stays as it is: what is mounted is another revision, and one that must not start.
    site.apply(&map("update"));
    let said = site.stalled("PreparationFailed");
    for part in [
        "container app: spring.jpa.hibernate.ddl-auto is update (application-production.yml of the ConfigMap settings, line 3)",
        "spec.guards.schemaChanges: Warn",
        "goes on serving",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert_eq!((site.selected().1, site.serving()), (first.to_string(), pods));
    let writes = site.writes_since(mark);
    assert!(writes.iter().all(|one| one.resource != "deployments"), "something was started: {writes:#?}");
    site.apply(&map("none"));
    site.until("what was mended is live", || {
        let status = site.status();
        (status["live"]["revision"] != first.to_string() && status["phase"] == "Idle").then_some(())
    });
}

#[test]
fn a_setting_that_a_guard_lets_pass_is_a_warning_for_as_long_as_it_is_wanted_also_to_a_new_operator() {
    let mut site = Operated::new("guarded");
    let spring = |value: &str| {
        let container = json!({"name": "app", "image": "registry.local/shop:1", "ports": [{"containerPort": 8080}],
            "env": [{"name": "SPRING_JPA_HIBERNATE_DDL_AUTO", "value": value}]});
        json!({"spec": {"guards": {"schemaChanges": "Warn"},
            "target": {"cluster": {"template": {"spec": {"containers": [container]}}}}}})
    };
    site.apply(&shop("1", &spring("update")));
    site.settled();
    let warned = |site: &Operated| {
        super::kit::condition(&site.status(), "Warning")?["message"]
            .as_str()
            .map(|text| text.contains("GuardWarned: container app: "))
    };
    assert_eq!(warned(&site), Some(true), "{:#}", site.status());
    let before = site.get("bgs/shop")["metadata"]["resourceVersion"].clone();
    site.kill();
    site.start();
    // Whoever begins anew says the same, and so writes nothing of it; a size makes it look.
    site.namespace.kubectl(&["scale", "bgs/shop", "--replicas=2"]).expect("it can be scaled");
    site.settled();
    assert_ne!(site.get("bgs/shop")["metadata"]["resourceVersion"], before);
    assert_eq!(warned(&site), Some(true), "{:#}", site.status());
    site.apply(&shop("1", &spring("validate")));
    site.settled();
    assert_eq!(warned(&site), Some(false), "{:#}", site.status());
}
