//! Every object, as it stands in `golden.txt` beside this file; `UPDATE=1` rewrites that.

use super::*;
use crate::api::site::Site;
use crate::platform::cluster::release::{Digests, leading_to, release, revision, warnings};

const UID: &str = "11111111-2222-3333-4444-555555555555";

fn shop(more: &Value) -> SiteOnCluster {
    let mut manifest = json!({
        "apiVersion": "bluegreen.dev/v1alpha1",
        "kind": "BlueGreenSite",
        "metadata": {"name": "shop"},
        "spec": {"target": {"cluster": {
            "replicas": 3,
            "service": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 9000, "targetPort": "admin"}]},
            "template": {
                "metadata": {"labels": {"app": "shop"}, "annotations": {"a": "b"}},
                "spec": {"containers": [{"name": "app", "image": "app:1"}, {"name": "side", "image": "side", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]},
            },
        }}},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        manifest["spec"]["target"]["cluster"][key] = value.clone();
    }
    let site: Site = crate::api::parse::manifest(&manifest.to_string()).expect("it is right").1;
    site.on_cluster().expect("it is one of a cluster")
}

fn objects(site: &SiteOnCluster) -> Objects<'_> {
    Objects { site, namespace: "web", uid: UID }
}

#[test]
fn every_object_is_as_it_was() {
    let site = shop(&json!({"injectPreStop": true}));
    let all = objects(&site);
    let content = release(&site.target, site.target.template.value());
    let revision = Revision::new(0xabc << 88);
    let start = Start {
        colour: Colour::Green,
        revision,
        release: &content,
        replicas: 4,
        wish: 3,
        generation: 7,
        at: "2026-01-01T00:00:00.000Z",
        paused: false,
    };
    let known: crate::platform::cluster::children::Watched<Deployment> =
        serde_json::from_value(json!({"metadata": {"name": "shop-green", "uid": UID, "generation": 6}}))
            .expect("it can be read");
    let known = known.fact;
    let wanted = ServiceWanted {
        selector: all.selector(Colour::Green, Some(revision)),
        ports: &site.target.ports,
        annotations: json!({names::LEDGER: "{}"}),
    };
    let orphaned = shop(&json!({"deletionPolicy": "Orphan"}));
    let http = shop(&json!({"route": {"httpRoute": {
        "parentRefs": [{"name": "web"}],
        "hostnames": ["shop.example.com"],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/api"}}]}],
    }}}));
    let crate::api::site::Route::HttpRoute(route) = &http.target.route else { unreachable!("it is one") };
    let documents = [
        ("deployment", all.deployment(&start)),
        ("deployment, started again", Value::from(all.start(&known, &start))),
        ("service", all.service("shop", None, &wanted)),
        ("service of a colour", all.service("shop-green", Some(Colour::Green), &wanted)),
        (
            "service of a colour that an HTTPRoute names",
            objects(&http).service("shop-green", Some(Colour::Green), &wanted),
        ),
        ("service, changed", all.service_change(42, None, &wanted)),
        ("budget", all.budget(Colour::Blue)),
        ("release", all.release(revision, &content, 12)),
        ("budget that outlives its site", objects(&orphaned).budget(Colour::Blue)),
        ("route", objects(&http).route_spec(route, Some(Colour::Green))),
    ];
    let mut text = String::new();
    for (name, document) in &documents {
        text.push_str(&format!("# {name}\n{}\n", serde_json::to_string_pretty(document).expect("it is JSON")));
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/platform/cluster/objects/golden.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).expect("it can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == golden,
        "objects look otherwise than in {}: see what changed with UPDATE=1\n{text}",
        path.display()
    );
}

#[test]
fn the_revision_is_of_what_runs_and_of_nothing_else() {
    let of = |more: Value| revision(&shop(&more).target, &Digests::new());
    let same = of(json!({}));
    assert_eq!(same, of(json!({"replicas": 9})), "a size is no revision");
    assert_eq!(same, of(json!({"deletionPolicy": "Orphan"})));
    assert_eq!(
        same,
        of(
            json!({"service": {"name": "other", "ports": [{"name": "http", "port": 81, "targetPort": 8080}, {"name": "admin", "port": 9000, "targetPort": "admin"}]}})
        )
    );
    assert_ne!(same, of(json!({"injectPreStop": true})));
    assert_ne!(same, of(json!({"template": {"spec": {"containers": [{"name": "app", "image": "app:2"}]}}})));
    assert_ne!(
        same,
        of(
            json!({"service": {"ports": [{"name": "http", "port": 80, "targetPort": 8081}, {"name": "admin", "port": 9000, "targetPort": "admin"}]}})
        )
    );
    let with =
        |digest: &str| revision(&shop(&json!({})).target, &[("ConfigMap/a".to_owned(), digest.to_owned())].into());
    assert_ne!(with("1"), with("2"));
    assert_ne!(with("1"), same);
}

#[test]
fn the_live_ports_lead_to_where_the_pods_of_the_release_listen() {
    let now = shop(
        &json!({"service": {"ports": [{"name": "http", "port": 8000, "targetPort": 1}, {"name": "new", "port": 2}]}}),
    );
    let then = own_ports(&shop(&json!({})).target.ports);
    let ports = leading_to(&now.target.ports, &then);
    assert_eq!(
        Objects::ports(&ports),
        json!([
            {"name": "http", "port": 8000, "protocol": "TCP", "targetPort": 8080},
            {"name": "new", "port": 2, "protocol": "TCP", "targetPort": 2},
        ])
    );
}

#[test]
fn a_template_that_will_cost_requests_is_warned_of() {
    let drain = std::time::Duration::from_secs(60);
    let said = warnings(&shop(&json!({})).target, drain).join("\n");
    assert!(said.contains("no preStop hook in app:"), "{said}");
    assert!(said.contains("terminationGracePeriodSeconds is 30"), "{said}");
    assert!(said.contains("readinessProbe"), "{said}");
    let good = json!({"injectPreStop": true, "template": {"spec": {
        "terminationGracePeriodSeconds": 90,
        "containers": [{"name": "app", "image": "app", "readinessProbe": {"httpGet": {"port": 1}}}],
    }}});
    assert_eq!(warnings(&shop(&good).target, drain), Vec::<String>::new());
}
