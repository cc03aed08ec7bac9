//! What a person sees of a rollout, and what it costs the API server.

use bluegreen_rig::cluster::{Request, counted};
use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::history::History;
use crate::kit::{Operator, PATIENCE, condition, object, plane, ready, site, told};

#[test]
fn a_first_deployment_and_an_upgrade_become_ready_and_serve_all_the_while() {
    let plane = plane();
    let namespace = plane.namespace("first").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    let history = History::record(plane, namespace.name());
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let first = object(&namespace, "shop").unwrap();
    assert_eq!(first["status"]["live"]["colour"], "blue");
    assert_eq!(first["status"]["observedGeneration"], 1, "an integer, as kstatus wants it");
    assert!(condition(&first, "Stalled").is_none() && condition(&first, "Reconciling").is_none());
    assert_eq!(condition(&first, "Available").unwrap()["status"], "True");

    namespace.apply(&site("shop", 2).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let second = object(&namespace, "shop").unwrap();
    assert_eq!(second["status"]["live"]["colour"], "green");
    assert_ne!(second["status"]["live"]["revision"], first["status"]["live"]["revision"]);
    let pods = namespace.json(&["get", "pods", "--selector=bluegreen.dev/colour=green"]).unwrap();
    assert_eq!(pods["items"][0]["spec"]["containers"][0]["image"], "registry.local/app:2");
    history.judge(&["shop"]);
    assert!(operator.stop(), "it ends when it is asked to");
}

#[test]
fn a_site_that_is_deleted_alone_and_applied_again_serves_all_the_while_from_the_same_pods() {
    let plane = plane();
    let namespace = plane.namespace("again").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    let history = History::record(plane, namespace.name());
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let pods = || {
        let list = namespace.json(&["get", "pods", "--sort-by=.metadata.name"]).unwrap();
        list["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["uid"].clone()).collect::<Vec<_>>()
    };
    let before = pods();
    for again in 1..=3 {
        namespace.kubectl(&["delete", "bluegreensite", "shop", "--cascade=orphan"]).unwrap();
        namespace.apply(&site("shop", 1).to_string()).unwrap();
        ready(&namespace, "shop", &[&operator]);
        assert_eq!(pods(), before);
        let uid = object(&namespace, "shop").unwrap()["metadata"]["uid"].clone();
        let service = namespace.json(&["get", "service", "shop"]).unwrap();
        assert_eq!(service["metadata"]["ownerReferences"][0]["uid"], uid, "time {again}");
    }
    // It is held, not rolled out: nobody knows whether it was rejected before.
    namespace.kubectl(&["delete", "bluegreensite", "shop", "--cascade=orphan"]).unwrap();
    namespace.apply(&site("shop", 2).to_string()).unwrap();
    wait::until("it was held", PATIENCE, || {
        let object = object(&namespace, "shop")?;
        (condition(&object, "Ready")?["reason"] == "HeldAfterLoss").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", &[&operator])));
    assert_eq!(pods(), before);
    history.judge(&["shop"]);
}

#[test]
fn a_rollout_costs_the_api_server_no_more_than_ten_writes_and_rest_costs_none() {
    let plane = plane();
    let namespace = plane.namespace("writes").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let ours = |requests: &[Request]| -> Vec<Request> {
        let ours = requests.iter().filter(|one| one.namespace == namespace.name() && one.writes() && !one.dry_run);
        let ours = ours.filter(|one| one.user_agent.starts_with("bluegreen/"));
        ours.filter(|one| !matches!(one.resource.as_str(), "leases" | "events")).cloned().collect()
    };
    // What was written is in the log a moment after it was answered: the mark is set where nothing is under way.
    quiet(plane, &ours);
    let mark = plane.mark();
    namespace.apply(&site("shop", 2).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    quiet(plane, &ours);
    let written = ours(&plane.requests_since(mark).unwrap());
    let counts = counted(&written);
    println!("{} writes: {counts:#?}", written.len());
    assert!(written.len() <= 10, "{} writes: {counts:#?}", written.len());
    assert!(written.iter().any(|one| one.resource == "services"), "the count sees what was written: {counts:#?}");
}

/// Waits until the operator has written nothing for a while: as long as a passing status waits for, and then some.
fn quiet(plane: &bluegreen_rig::cluster::ControlPlane, ours: &dyn Fn(&[Request]) -> Vec<Request>) {
    let count = || ours(&plane.requests_since(bluegreen_rig::cluster::Mark::default()).unwrap()).len();
    let (mut before, mut since) = (count(), std::time::Instant::now());
    wait::until("nothing was written any more", PATIENCE, || {
        let now = count();
        if now != before {
            (before, since) = (now, std::time::Instant::now());
        }
        (since.elapsed() > std::time::Duration::from_secs(2)).then_some(())
    })
    .unwrap();
}

#[test]
fn a_site_that_cannot_be_understood_is_told_so_and_holds_up_no_other() {
    let plane = plane();
    let namespace = plane.namespace("broken").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    // The CRD lets it pass: only the operator knows that these two belong together.
    let mut broken = site("broken", 1);
    broken["spec"]["target"]["cluster"]["template"]["metadata"]["labels"] = json!({ "bluegreen.dev/colour": "red" });
    namespace.apply(&broken.to_string()).unwrap();
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let said = || {
        let object = object(&namespace, "broken")?;
        let stalled = condition(&object, "Stalled")?.clone();
        (stalled["status"] == "True" && condition(&object, "Ready")?["status"] == "False").then_some(stalled)
    };
    let stalled = wait::until("it was told", PATIENCE, said)
        .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "broken", &[&operator])));
    assert_eq!(stalled["reason"], "InvalidSpec");
    assert!(stalled["message"].as_str().unwrap().contains("bluegreen.dev/colour"), "{stalled}");
    // Mended, it goes on.
    namespace.apply(&site("broken", 1).to_string()).unwrap();
    namespace
        .kubectl(&[
            "patch",
            "bluegreensite",
            "broken",
            "--type=json",
            "--patch",
            r#"[{"op":"remove","path":"/spec/target/cluster/template/metadata"}]"#,
        ])
        .ok();
    ready(&namespace, "broken", &[&operator]);
}

#[test]
fn what_happened_is_told_as_events_with_a_reason_each() {
    let plane = plane();
    let namespace = plane.namespace("events").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let reasons = || -> Option<Vec<String>> {
        let events = namespace.json(&["get", "events.events.k8s.io"]).ok()?;
        let ours = events["items"].as_array()?.iter().filter(|event| event["regarding"]["kind"] == "BlueGreenSite");
        Some(ours.filter_map(|event| Some(event["reason"].as_str()?.to_owned())).collect())
    };
    let told = wait::until("the rollout was told", PATIENCE / 4, || {
        reasons()
            .filter(|reasons| ["Starting", "CuttingOver", "Settled"].iter().all(|one| reasons.iter().any(|r| r == one)))
    });
    told.unwrap_or_else(|error| {
        panic!(
            "{error}: {:?}\n{}",
            reasons(),
            operator.said().lines().filter(|l| l.contains("event")).collect::<Vec<_>>().join("\n")
        )
    });
    let text = namespace.kubectl(&["describe", "bluegreensite", "shop"]).unwrap();
    assert!(text.contains("Settled"), "{text}");
}

#[test]
fn a_site_that_is_deleted_takes_everything_with_it_and_is_forgotten() {
    let plane = plane();
    let namespace = plane.namespace("deleted").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    wait::until("one site was counted", PATIENCE, || (operator.sum("bluegreen_sites", &[]) == Some(1.0)).then_some(()))
        .unwrap();
    namespace.kubectl(&["delete", "bluegreensite", "shop"]).unwrap();
    let left = || namespace.json(&["get", "deployments,services", "--selector=bluegreen.dev/site=shop"]).ok();
    wait::until("all of it was gone", PATIENCE, || (left()?["items"] == Value::Array(Vec::new())).then_some(()))
        .unwrap();
    wait::until("it was forgotten", PATIENCE, || (operator.sum("bluegreen_sites", &[]) == Some(0.0)).then_some(()))
        .unwrap();
    // Another one of that name is another one.
    namespace.apply(&site("shop", 3).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
}
