//! One repository, two hosts: what Argo CD puts into their namespaces, they carry out, and what it says of them is so. The repository is laid out as
//! `deploy/fleet` is, and the ApplicationSet is the one that stands there.

use std::fs;
use std::process::Command;
use std::thread;

use bluegreen_rig::cluster::{ArgoCd, ControlPlane, Options};
use bluegreen_rig::load::Running;
use bluegreen_rig::manifest::release;
use bluegreen_rig::users::User;
use bluegreen_rig::{binaries, process, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fleet::{Fleet, HOSTS, Host, PATIENCE, open};
use crate::kit::{HOME, Helm, chart, file};

#[test]
fn one_commit_is_a_cutover_on_two_hosts_and_a_revert_is_a_way_back_on_both() {
    let plane = ControlPlane::start(Options::controllers()).unwrap();
    let chart = chart();
    let namespaced = ["--namespace", HOME, "--create-namespace"];
    Helm::at(&plane).said(&[&["install", "bluegreen", chart.to_str().unwrap()][..], &namespaced].concat());
    plane.wait_for_resource("bluegreensites").unwrap();
    let argo = ArgoCd::start(&plane, &file("deploy/argocd/argocd-cm.yaml")).unwrap();
    plane.kubectl(&["apply", "--filename", file("deploy/argocd/rbac.yaml").to_str().unwrap()]).unwrap();

    let (user, releases) = (User::ordinary().unwrap(), TempDir::new().unwrap());
    open(&releases);
    for version in ["v1", "v3", "v4"] {
        release(releases.path(), version, "").unwrap();
    }
    // Long enough for anybody to see it on its way.
    release(releases.path(), "v2", "ready-after-ms=4000\n").unwrap();
    release(releases.path(), "v5", "never-ready\n").unwrap();
    let hosts = HOSTS.map(|name| Host::join(&plane, name, &user, &releases));
    let (url, clone) = argo.repository("fleet.git").unwrap();
    let mut fleet = Fleet { argo: &argo, plane: &plane, hosts: hosts.into(), clone, user, releases };
    // Argo CD prunes nothing if that left nothing.
    let settings = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {REGION: here}}";
    fleet.clone.commit("base/settings.yaml", settings).unwrap();
    fleet.clone.commit("base/kustomization.yaml", "resources: [settings.yaml, docs.yaml, shop.yaml]\n").unwrap();
    fleet.clone.commit("base/docs.yaml", &fleet.docs()).unwrap();
    let kustomize = |sites: &[&str]| {
        for host in &fleet.hosts {
            fleet.clone.commit(&format!("hosts/{}/kustomization.yaml", host.name), &host.kustomization(sites)).unwrap();
        }
    };
    kustomize(&["docs", "shop"]);
    fleet.push("v1", "Automatic");
    let example = fs::read_to_string(file("deploy/fleet/applicationset.yaml")).unwrap();
    plane.apply(&example.replace("https://git.example.com/shop/fleet.git", &url)).unwrap();
    fleet.until("Healthy", "v1");
    fleet.nothing_differs();
    fleet.kstatus("Current");

    let loads: Vec<Running> = fleet.hosts.iter().map(Host::load).collect();
    let beside: Vec<Running> = fleet.hosts.iter().map(Host::load_on_docs).collect();
    let first = fleet.apps_of("v1");
    let healths = fleet.healths();
    fleet.push("v2", "Automatic");
    fleet.until("Healthy", "v2");
    for told in healths {
        told.until("Progressing").unwrap();
        told.until("Healthy").unwrap();
    }

    // What was live before is still warm: a revert starts nothing.
    let both = fleet.apps();
    fleet.revert();
    fleet.until("Healthy", "v1");
    fleet.same_apps(&both, &first);

    // It waits for somebody, and the button is Argo CD's own.
    fleet.push("v3", "Manual");
    fleet.until("Suspended", "v1");
    fleet.nothing_differs();
    fleet.kstatus("InProgress");
    for host in HOSTS {
        let application = format!("host-{host}");
        let site = ["--kind", "BlueGreenSite", "--resource-name", "shop"];
        argo.argocd(&[&["app", "actions", "run", &application, "approve"][..], &site].concat()).unwrap();
    }
    fleet.until("Healthy", "v3");
    let live = fleet.apps_of("v3");

    // What was put into Git while another one waits for approval is what is wanted now: a revert is a way back, and asks nobody.
    fleet.push("v4", "Manual");
    fleet.until("Suspended", "v3");
    let both = fleet.apps();
    fleet.revert();
    fleet.until("Healthy", "v3");
    fleet.same_apps(&both, &live);

    // A bad commit: said, and what is live goes on.
    fleet.push("v5", "Automatic");
    fleet.until("Degraded", "v3");
    fleet.kstatus("Failed");
    fleet.revert();
    fleet.until("Healthy", "v3");

    // Git alone says what is wanted.
    let patch = json!([{ "op": "replace", "path": "/spec/target/host/release/path", "value": fleet.releases.path().join("v1") }]);
    let at = ["--namespace", "bluegreen-host-web-1", "patch", "bluegreensite", "shop", "--type=json", "--patch"];
    let before = fleet.object("web-1")["metadata"]["generation"].as_i64();
    plane.kubectl(&[&at[..], &[&patch.to_string()]].concat()).unwrap();
    wait::until("Argo CD put the release back", PATIENCE, || {
        let object = fleet.object("web-1");
        let path = object.pointer("/spec/target/host/release/path")?.as_str()?;
        (path.ends_with("/v3") && object["metadata"]["generation"].as_i64() > before).then_some(())
    })
    .unwrap();
    fleet.until("Healthy", "v3");
    fleet.nothing_differs();
    for load in loads {
        let totals = load.stop();
        assert_eq!(totals.failed, 0, "{:?} of {} requests: {:?}", totals.losses, totals.requests, totals.told);
        assert!(totals.requests > 0 && totals.broken_clients == 0, "{totals:?}");
    }

    // Pruned, it goes in order: its object is there until the host is done with it, nobody who was being served loses anything, and in the end nothing of it
    // is left on the hub or on the hosts.
    fleet.clone.commit("base/kustomization.yaml", "resources: [settings.yaml, docs.yaml]\n").unwrap();
    thread::scope(|scope| {
        let asked: Vec<_> = fleet.hosts.iter().map(|host| scope.spawn(|| host.ask_slowly(40_000))).collect();
        kustomize(&["docs"]);
        fleet.refresh();
        for (host, asked) in fleet.hosts.iter().zip(&asked) {
            wait::until(&format!("the site was to go from {}", host.name), PATIENCE, || {
                let object = fleet.object(host.name);
                (!object["metadata"]["deletionTimestamp"].is_null()).then_some(())
            })
            .unwrap();
            assert!(!asked.is_finished(), "{}: the answer was to take longer than that", host.name);
        }
        for (host, asked) in fleet.hosts.iter().zip(asked) {
            while !asked.is_finished() {
                let held = fleet.object(host.name)["metadata"]["finalizers"].clone();
                assert!(asked.is_finished() || held == json!(["bluegreen.dev/host"]), "{}: {held}", host.name);
            }
            assert_eq!(asked.join().unwrap().unwrap().status, 200, "{}", host.name);
        }
    });
    for host in &fleet.hosts {
        wait::until(&format!("the site is gone from {}", host.name), PATIENCE, || {
            let left = fleet.object(host.name);
            (left.is_null() && host.agent.site("shop").is_err()).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {:#}", fleet.object(host.name)));
    }

    // A host that is no more is taken out of Git; what its finalizer holds, an admin lets go.
    fleet.hosts[1].agent.kill();
    fleet.clone.remove("hosts/web-2/kustomization.yaml").unwrap();
    argo.refresh_set("hosts").unwrap();
    wait::until("the Application of web-2 was to go", PATIENCE, || {
        let application = fleet.application("web-2")?;
        let site = fleet.site_object("web-2", "docs");
        let going = |object: &Value| !object["metadata"]["deletionTimestamp"].is_null();
        (going(&application) && going(&site)).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:#?}", fleet.application("web-2")));
    let mut leave = Command::new(binaries::bluegreen().unwrap());
    leave.args(["host", "leave", "web-2", "--force", "--kubeconfig"]).arg(plane.kubeconfig());
    process::run(&mut leave).unwrap();
    wait::until("the Application of web-2 is gone", PATIENCE, || {
        (fleet.application("web-2").is_none() && fleet.site_object("web-2", "docs").is_null()).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:#?}", fleet.application("web-2")));
    assert!(fleet.application("web-1").is_some() && !fleet.site_object("web-1", "docs").is_null());
    // What ran there runs on.
    for load in beside {
        load.wait_for_more(20).unwrap();
        let totals = load.stop();
        assert_eq!((totals.failed, totals.broken_clients), (0, 0), "{:?} of {}", totals.losses, totals.requests);
    }
}
