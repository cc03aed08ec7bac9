//! An API server that goes away, that has forgotten what happened, and that somebody else keeps writing to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bluegreen_rig::cluster::{ControlPlane, Options};
use bluegreen_rig::wait;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::history::{History, client};
use crate::kit::{Operator, PATIENCE, install, object, plane, ready, site, told};

#[test]
fn an_api_server_that_is_away_in_the_middle_of_rollouts_only_holds_them_up() {
    let plane = ControlPlane::start(Options::pods()).expect("a control plane comes up");
    install(&plane);
    let namespace = plane.namespace("away").unwrap();
    let operators = [Operator::start(&plane, namespace.name()).led(), Operator::start(&plane, namespace.name())];
    let history = History::record(&plane, namespace.name());
    let sites = ["one", "two", "three"];
    for name in sites {
        namespace.apply(&site(name, 1).to_string()).unwrap();
        ready(&namespace, name, &[&operators[0], &operators[1]]);
    }
    // Each at another point of its rollout.
    for name in sites {
        namespace.apply(&site(name, 2).to_string()).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
    }
    plane.stop_api();
    let away = Instant::now();
    wait::until("whoever led stopped, since it could not renew", PATIENCE, || {
        (!operators.iter().any(Operator::leads)).then_some(())
    })
    .unwrap();
    while away.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
    }
    plane.start_api().expect("it comes back");
    for name in sites {
        ready(&namespace, name, &[&operators[0], &operators[1]]);
        assert_eq!(object(&namespace, name).unwrap()["status"]["live"]["colour"], "green");
    }
    history.judge(&sites);
}

#[test]
fn an_operator_that_fell_behind_what_the_api_server_remembers_lists_everything_anew() {
    let plane = ControlPlane::start(Options::pods()).expect("a control plane comes up");
    install(&plane);
    let namespace = plane.namespace("behind").unwrap();
    let mut operator = Operator::start(&plane, namespace.name()).led();
    for name in ["kept", "lost"] {
        namespace.apply(&site(name, 1).to_string()).unwrap();
        ready(&namespace, name, &[&operator]);
    }
    operator.freeze();
    // What it does not see: one site is deleted, another one changed. A server that starts anew remembers nothing before its start.
    namespace.kubectl(&["delete", "bluegreensite", "lost"]).unwrap();
    namespace.apply(&site("kept", 2).to_string()).unwrap();
    plane.stop_api();
    plane.start_api().expect("it comes back");
    operator.thaw();
    ready(&namespace, "kept", &[&operator]);
    wait::until("the one that is gone was forgotten", PATIENCE, || {
        (operator.sum("bluegreen_sites", &[]) == Some(1.0)).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "kept", &[&operator])));
    assert!(operator.said().contains("a watch fell behind"), "{}", operator.said());
}

#[test]
fn somebody_who_writes_to_everything_all_the_time_makes_conflicts_and_no_harm() {
    let plane = plane();
    let namespace = plane.namespace("busy").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    let history = History::record(plane, namespace.name());
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    let busybody = Busybody::begin(plane, namespace.name());
    ready(&namespace, "shop", &[&operator]);
    for version in 2..5 {
        namespace.apply(&site("shop", version).to_string()).unwrap();
        ready(&namespace, "shop", &[&operator]);
    }
    let touched = busybody.end();
    let refused: f64 = ["409", "422"]
        .iter()
        .filter_map(|code| operator.sum("bluegreen_api_requests_total", &[&format!("code=\"{code}\"")]))
        .sum();
    println!("{touched} writes by somebody else, {refused} of ours refused");
    assert!(refused >= 5.0, "{touched} writes by somebody else, {refused} of ours refused");
    history.judge(&["shop"]);
}

/// Writes a new annotation onto every Deployment, Service and site of a namespace, as fast as it can.
struct Busybody {
    end: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Busybody {
    fn begin(plane: &ControlPlane, namespace: &str) -> Busybody {
        let (end, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (kubeconfig, namespace) = (plane.kubeconfig(), namespace.to_owned());
        let (ended, counted) = (end.clone(), count.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let client = client(&kubeconfig).await;
                let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
                let services: Api<Service> = Api::namespaced(client, &namespace);
                let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
                while !ended.load(Ordering::Relaxed) {
                    let number = counted.fetch_add(1, Ordering::Relaxed);
                    if number.is_multiple_of(20) {
                        let list = ListParams::default();
                        let all =
                            deployments.list(&list).await.map(|list| list.iter().map(ResourceExt::name_any).collect());
                        names.insert("deployments", all.unwrap_or_default());
                        let all =
                            services.list(&list).await.map(|list| list.iter().map(ResourceExt::name_any).collect());
                        names.insert("services", all.unwrap_or_default());
                    }
                    let patch =
                        Patch::Merge(json!({ "metadata": { "annotations": { "test/touched": number.to_string() } } }));
                    for name in names.get("deployments").into_iter().flatten() {
                        let _ = deployments.patch(name, &PatchParams::default(), &patch).await;
                    }
                    for name in names.get("services").into_iter().flatten() {
                        let _ = services.patch(name, &PatchParams::default(), &patch).await;
                    }
                }
            });
        });
        Busybody { end, count, thread: Some(thread) }
    }

    fn end(mut self) -> u32 {
        self.finish();
        self.count.load(Ordering::Relaxed)
    }

    fn finish(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Busybody {
    fn drop(&mut self) {
        self.finish();
    }
}
