//! `target.cluster` as the outside sees it: what is taken, what is refused and how that is said.

use std::time::Duration;

use bluegreen::api::parse;
use bluegreen::api::site::{Route, SiteOnCluster, TargetPort};
use bluegreen::api::spec::{ConfigMapsSpec, DeletionPolicy, SecretsSpec};

const SHOP: &str = "\
apiVersion: bluegreen.dev/v1alpha1
kind: BlueGreenSite
metadata:
  name: shop
spec:
  target:
    cluster:
      service:
        ports: [{port: 80, targetPort: http}]
      template:
        spec:
          containers: [{name: app, image: shop:1}]
";

fn site(text: &str) -> SiteOnCluster {
    parse::manifest(text).expect("it is a site").1.on_cluster().expect("of a cluster")
}

/// What is said of the shop when `old` is replaced by `new` in its manifest.
fn said(old: &str, new: &str) -> String {
    assert!(SHOP.contains(old), "{old:?} is in the manifest");
    parse::manifest(&SHOP.replacen(old, new, 1)).map(|_| String::new()).unwrap_or_else(|problems| problems.to_string())
}

#[test]
fn what_is_not_said_has_a_sane_default() {
    let shop = site(SHOP);
    let target = &shop.target;
    assert_eq!((target.replicas, target.service.as_str()), (1, "shop"));
    assert_eq!(target.ports[0].port, 80);
    assert!(matches!(&target.ports[0].target, TargetPort::Name(name) if name.as_str() == "http"));
    assert_eq!(target.route, Route::Service);
    assert_eq!(target.config_maps, ConfigMapsSpec::Snapshot);
    assert_eq!(target.secrets, SecretsSpec::Ignore);
    assert_eq!(target.deletion, DeletionPolicy::Delete);
    assert!(!target.inject_pre_stop);
    assert_eq!(shop.limits.drain_within, Duration::from_secs(35), "30 s, after the proxies of all nodes have followed");
}

#[test]
fn a_gateway_follows_without_a_lag_of_the_proxies() {
    let route = "      route: {httpRoute: {parentRefs: [{name: web}], hostnames: [shop.test], settleSeconds: 120}}\n";
    let shop = site(&SHOP.replace("      template:\n", &format!("{route}      template:\n")));
    let Route::HttpRoute(http) = &shop.target.route else { panic!("{:?}", shop.target.route) };
    assert_eq!(http.settle, Duration::from_secs(120));
    assert_eq!(http.rules, [serde_json::json!({})], "one that takes every request");
    assert_eq!(shop.limits.drain_within, Duration::from_secs(30));
}

#[test]
fn a_template_is_carried_as_it_is_also_what_this_version_does_not_know() {
    let shop = site(&SHOP.replace("image: shop:1", "image: shop:1, fieldOfTheFuture: {deep: [1, x]}"));
    let value = shop.target.template.value();
    assert_eq!(value["spec"]["containers"][0]["fieldOfTheFuture"], serde_json::json!({"deep": [1, "x"]}));
    let debug = format!("{:?}", shop.target.template);
    assert!(!debug.contains("shop:1"), "variables of an app may be secret: {debug}");
}

#[test]
fn what_is_wrong_is_said_with_its_path_and_what_would_be_right() {
    for (old, new, words) in [
        ("port: 80, ", "port: 0, ", "spec.target.cluster.service.ports[0].port: 0 is out of range"),
        (
            "targetPort: http",
            "targetPort: Http",
            "spec.target.cluster.service.ports[0].targetPort: \"Http\" is not a port's name",
        ),
        (
            "[{port: 80, targetPort: http}]",
            "[{port: 80}, {port: 443, name: tls}]",
            "spec.target.cluster.service.ports[0].name: is missing: several ports each need a name",
        ),
        (
            "[{port: 80, targetPort: http}]",
            "[{port: 80, name: a}, {port: 80, name: a}]",
            "spec.target.cluster.service.ports[1].name: a is named twice",
        ),
        ("      service:\n", "      replicas: 0\n      service:\n", "spec.target.cluster.replicas: 0 is out of range"),
        (
            "        ports",
            "        name: shop-blue\n        ports",
            "\"shop-blue\" is the name of a Service of the site's own",
        ),
        (
            "        ports",
            "        name: Shop\n        ports",
            "spec.target.cluster.service.name: \"Shop\" is not a Service's name",
        ),
        ("name: shop\n", "name: 1shop\n", "spec.target.cluster.service.name: is needed"),
        (
            "containers: [{name: app, image: shop:1}]",
            "containers: []",
            "spec.target.cluster.template.spec.containers: is missing",
        ),
        (
            "containers:",
            "restartPolicy: Never\n          containers:",
            "template.spec.restartPolicy: \"Never\" is for jobs",
        ),
        (
            "        spec:\n          containers",
            "        metadata: {labels: {bluegreen.dev/site: x}}\n        spec:\n          containers",
            "template.metadata.labels[bluegreen.dev/site]: is for the operator to write",
        ),
        (
            "      template:\n",
            "      route: {httpRoute: {parentRefs: []}}\n      template:\n",
            "route.httpRoute.parentRefs: is empty",
        ),
        (
            "      template:\n",
            "      route: {httpRoute: {parentRefs: [{name: web}], rules: [{backendRefs: []}]}}\n      template:\n",
            "route.httpRoute.rules[0].backendRefs: is written by the operator",
        ),
        ("      template:\n", "      route: {}\n      template:\n", "spec.target.cluster.route: needs exactly one of"),
    ] {
        let problems = said(old, new);
        assert!(problems.contains(words), "{new}: {problems}");
    }
    for health in ["{path: /up}", "{warmUp: {paths: [/]}}"] {
        let refused = parse::manifest(&format!("{SHOP}  health: {health}\n")).expect_err("refused").to_string();
        assert!(refused.contains("spec.health: is for target.host") && refused.contains("probes"), "{refused}");
    }
}

#[test]
fn a_machine_refuses_a_site_of_a_cluster_and_says_where_it_belongs() {
    let (_, shop) = parse::manifest(SHOP).expect("a site");
    let problem = shop.on_host().expect_err("refused").to_string();
    assert!(problem.contains("is for Kubernetes") && problem.contains("kubectl apply"), "{problem}");
}
