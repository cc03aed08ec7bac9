//! From a first deployment to the way back.

use bluegreen::rollout::Revision;
use bluegreen_rig::cluster::counted;
use serde_json::json;

use super::kit::{Operated, plane, shop};

#[test]
fn a_first_deployment_goes_live_and_the_next_one_takes_its_place() {
    let site = Operated::new("rollout");
    site.apply(&shop("1", &json!({})));
    let first = site.settled();
    assert_eq!(site.selected(), ("blue".to_owned(), first.to_string()));
    assert_eq!(site.get("deploy/shop-blue")["spec"]["paused"], true, "what is live is sealed");

    site.apply(&shop("2", &json!({})));
    let second = site.settled();
    assert_ne!(first, second);
    assert_eq!(site.selected(), ("green".to_owned(), second.to_string()));
    assert_eq!(site.image("shop-green"), "registry.local/shop:2");
    assert_eq!(site.status()["standby"]["revision"], first.to_string(), "the old colour is kept warm");

    let mark = plane().mark();
    site.apply(&shop("3", &json!({})));
    let third = site.settled();
    assert_eq!(site.selected(), ("blue".to_owned(), third.to_string()));
    let writes = site.writes_since(mark);
    assert!(writes.len() <= 10, "{:#?}", counted(&writes));
}

#[test]
fn a_way_back_to_the_standby_is_at_once_and_to_an_older_revision_is_a_start_of_it() {
    let site = Operated::new("way-back");
    let mut revisions = Vec::new();
    for image in ["1", "2", "3"] {
        site.apply(&shop(image, &json!({})));
        revisions.push(site.settled());
    }
    let [first, second, third] = revisions[..] else { panic!("three were rolled out") };
    let rollback = |from: Revision, to: Revision| {
        let annotation = format!("bluegreen.dev/rollback={from}/1 to {to}");
        site.namespace.kubectl(&["annotate", "--overwrite", "bgs/shop", &annotation]).expect("it is taken");
        site.until("traffic was back", || {
            let status = site.status();
            let back = status["live"]["revision"] == to.to_string() && status["phase"] == "Idle";
            (back && site.selected().1 == to.to_string()).then_some(())
        });
    };
    rollback(third, second);
    assert_eq!(site.selected().0, "green", "where it was kept warm");
    let rejected = site.status()["rejected"].clone();
    assert_eq!(
        (rejected["revision"].as_str(), rejected["reason"].as_str()),
        (Some(&*third.to_string()), Some("RolledBack"))
    );
    rollback(second, first);
    assert_eq!(site.image("shop-blue"), "registry.local/shop:1", "made again from what was stored");
    let serving = site.serving();
    assert!(!serving.is_empty() && serving.iter().all(|pod| pod.starts_with("shop-blue-")), "{serving:?}");
}

#[test]
fn what_waits_for_approval_gets_no_traffic_and_goes_live_once_it_is_approved() {
    let site = Operated::new("approval");
    let manual = |image| shop(image, &json!({"spec": {"strategy": {"promotion": "Manual"}}}));
    site.apply(&manual("1"));
    let approve = |site: &Operated| {
        let revision = site.until("it awaited approval", || {
            let status = site.status();
            (status["phase"] == "AwaitingApproval")
                .then(|| status["candidate"]["revision"].as_str().map(ToOwned::to_owned))?
        });
        site.namespace
            .kubectl(&["annotate", "--overwrite", "bgs/shop", &format!("bluegreen.dev/approve={revision}/1")])
            .expect("it is taken");
        revision
    };
    let first = approve(&site);
    assert_eq!(site.settled().to_string(), first);
    site.apply(&manual("2"));
    site.until("green was ready", || (site.status()["phase"] == "AwaitingApproval").then_some(()));
    assert_eq!(site.selected(), ("blue".to_owned(), first.clone()));
    let preview = site.get("svc/shop-preview")["spec"]["selector"].clone();
    assert_eq!(preview["bluegreen.dev/colour"], "green", "people can look at it");
    let second = approve(&site);
    assert_eq!(site.settled().to_string(), second);
    assert_eq!(site.selected(), ("green".to_owned(), second));
}

#[test]
fn an_operator_that_is_killed_again_and_again_ends_where_an_undisturbed_one_does() {
    let mut site = Operated::new("killed");
    site.apply(&shop("1", &json!({})));
    let first = site.settled();
    site.apply(&shop("2", &json!({})));
    // Ended at whatever instruction it is at, each time a little later.
    for step in 0..12_u64 {
        let deadline = std::time::Instant::now() + std::time::Duration::from_millis(60 + 90 * step);
        let seen = bluegreen_rig::wait::until("it had its time", std::time::Duration::from_secs(10), || {
            let serving = site.serving();
            assert!(!serving.is_empty(), "the live Service has pods");
            (std::time::Instant::now() >= deadline).then_some(())
        });
        seen.unwrap();
        site.kill();
        site.start();
    }
    let second = site.settled();
    assert_ne!(first, second);
    assert_eq!(site.selected(), ("green".to_owned(), second.to_string()));
    assert_eq!(site.image("shop-green"), "registry.local/shop:2");
}

#[test]
fn the_size_is_no_revision_and_each_colour_starts_as_large_as_what_is_live() {
    let site = Operated::new("size");
    site.apply(&shop("1", &json!({})));
    let first = site.settled();
    site.namespace.kubectl(&["scale", "bgs/shop", "--replicas=3"]).expect("it can be scaled");
    site.until("three pods served", || (site.serving().len() == 3).then_some(()));
    site.until("it was told", || (site.status()["replicas"] == 3).then_some(()));
    assert_eq!(site.settled(), first);
    assert_eq!(site.status()["selector"], "bluegreen.dev/site=shop,bluegreen.dev/colour=blue");
    site.until("it has a budget", || site.get("pdb/shop-blue").get("metadata").map(drop));
    // Somebody else's size is obeyed, and the next colour is as large.
    site.namespace.kubectl(&["scale", "deploy/shop-blue", "--replicas=4"]).expect("it can be scaled");
    site.until("four pods served", || (site.serving().len() == 4).then_some(()));
    site.apply(&shop("2", &json!({"spec": {"target": {"cluster": {"replicas": 3}}}})));
    site.settled();
    assert_eq!(site.get("deploy/shop-green")["spec"]["replicas"], 4);
    assert_eq!(site.serving().len(), 4);
}

#[test]
fn two_operators_at_once_get_in_each_others_way_and_do_no_harm() {
    let mut site = Operated::new("rivals");
    site.apply(&shop("1", &json!({})));
    site.settled();
    site.start_rival();
    let mut colours = Vec::new();
    for image in ["2", "3"] {
        site.apply(&shop(image, &json!({})));
        site.until("it was live and at rest", || {
            assert!(!site.serving().is_empty(), "the live Service has pods");
            let object = site.get("bgs/shop");
            let status = &object["status"];
            let rests = status["phase"] == "Idle" && status["observedGeneration"] == object["metadata"]["generation"];
            let colour = site.selected().0;
            (rests && site.image(&format!("shop-{colour}")).ends_with(image)).then_some(())
        });
        let status = site.status();
        assert_eq!(status["rejected"], serde_json::Value::Null, "{status:#}");
        colours.push(site.selected().0);
    }
    assert_eq!(colours, ["green", "blue"], "each revision went live once");
}
