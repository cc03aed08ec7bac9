//! `target.cluster` as the outside sees it: what is taken, what is refused and how that is said.

use std::time::Duration;

use bluegreen::api::parse;
use bluegreen::api::site::{Route, SiteOnCluster, TargetPort};
use bluegreen::api::spec::{ConfigMapsSpec, DeletionPolicy, SecretsSpec};

#[path = "api_cluster/wrong.rs"]
mod wrong;
use wrong::{SHOP, WRONG};

fn site(text: &str) -> SiteOnCluster {
    parse::manifest(text).expect("it is a site").1.on_cluster().expect("of a cluster")
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
    // By default both are a minute, in which nothing could ever go live.
    let both = [shop.limits.verify_within, shop.limits.cutover_within];
    assert_eq!(both, [Duration::from_secs(180); 2], "what is waited for anyway is no reason to give up");
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
    let mut amiss = Vec::new();
    for one in WRONG {
        let said =
            parse::manifest(&one.manifest()).map(|_| String::new()).unwrap_or_else(|problems| problems.to_string());
        if !said.contains(one.ours) {
            amiss.push(format!("{}: wanted {:?}, and we say {said:?}", one.new, one.ours));
        }
    }
    assert!(amiss.is_empty(), "{}", amiss.join("\n"));
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
