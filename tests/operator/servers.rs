//! An API server that goes away, that has forgotten what happened, and that somebody else keeps writing to.

use std::time::{Duration, Instant};

use bluegreen_rig::cluster::{ControlPlane, Options};
use bluegreen_rig::wait;

use crate::history::History;
use crate::kit::{Operator, PATIENCE, install, object, plane, ready, site, told};
use crate::meddler::Meddler;

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
fn a_conflict_at_every_second_write_only_holds_a_rollout_up() {
    let plane = plane();
    let namespace = plane.namespace("busy").unwrap();
    let meddler = Meddler::start(plane);
    let operator = Operator::start_by(plane, namespace.name(), &meddler.kubeconfig).led();
    let history = History::record(plane, namespace.name());
    for version in 1..5 {
        namespace.apply(&site("shop", version).to_string()).unwrap();
        ready(&namespace, "shop", &[&operator]);
    }
    let (meddled, refused) = meddler.counts();
    println!("{meddled} writes came second, {refused} of them were refused");
    assert!(meddled >= 16, "only {meddled} writes came second");
    assert_eq!(meddled, refused, "a write that came second was taken");
    history.judge(&["shop"]);
}
