//! Every row of what is to be done, and what must never be.

use serde_json::json;

use super::*;

fn object(more: Value) -> DynamicObject {
    let mut object = json!({
        "apiVersion": API_VERSION, "kind": KIND,
        "metadata": {
            "name": "shop", "namespace": "bluegreen-host-a", "uid": "u1", "generation": 3, "resourceVersion": "70",
            "annotations": { annotations::APPROVE: "x/1", "kubectl.kubernetes.io/last-applied-configuration": "{}" },
        },
        "spec": { "target": { "host": {} } },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        object["metadata"][key] = value.clone();
    }
    serde_json::from_value(object).expect("an object")
}

fn known(more: Value) -> Known {
    Known::of(object(more)).expect("a host's site").1
}

fn plain() -> Known {
    known(json!({}))
}

fn held() -> Known {
    known(json!({ "finalizers": ["other/one", hub::FINALIZER] }))
}

fn going() -> Known {
    known(json!({ "finalizers": [hub::FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z" }))
}

fn accepted(known: &Known) -> Here {
    Here { accepted: Some((known.uid.clone(), known.digest.clone())), from_hub: true, ..Here::default() }
}

fn offered(known: &Known) -> Done {
    Done { offered: Some(known.digest.clone()), again: false }
}

fn status(generation: i64) -> SiteStatus {
    SiteStatus { observed_generation: Some(generation), ..SiteStatus::default() }
}

#[test]
fn what_is_read_of_an_object_is_its_specification_and_our_commands_and_nothing_that_changes_by_itself() {
    let first = plain();
    assert!(first.text.contains("x/1") && !first.text.contains("last-applied"), "{}", first.text);
    let later = known(json!({ "resourceVersion": "99", "finalizers": ["a"], "labels": { "a": "b" } }));
    assert_eq!(first.digest, later.digest);
    assert_ne!(first.digest, known(json!({ "generation": 4 })).digest);
    assert_ne!(first.digest, known(json!({ "annotations": {} })).digest);
    assert!(first.is_older_than(&later) && !later.is_older_than(&first));
    assert!(!known(json!({ "uid": "u2", "resourceVersion": "1" })).is_older_than(&first), "it is another object");
}

#[test]
fn sites_of_a_cluster_are_not_a_hosts() {
    let mut cluster = object(json!({}));
    cluster.data["spec"] = json!({ "target": { "cluster": {} } });
    assert!(Known::of(cluster).is_none());
}

#[test]
fn a_new_site_is_judged_then_held_then_told_of_and_then_left_alone() {
    let site = plain();
    assert_eq!(next(&site, &Here::default(), &Done::default()), Some(Step::Offer));
    assert_eq!(next(&site, &accepted(&site), &offered(&site)), Some(Step::Hold));
    let held = held();
    let told = Here { status: Some(status(3)), ..accepted(&held) };
    assert_eq!(next(&held, &told, &offered(&held)), Some(Step::Tell(Box::new(status(3)))));
    let same = Known { status: Some(status(3)), ..held.clone() };
    assert_eq!(next(&same, &told, &offered(&same)), None);
}

#[test]
fn what_was_refused_is_told_and_is_not_held() {
    let site = plain();
    let refused = Here { from_hub: true, status: Some(status(3)), ..Here::default() };
    assert_eq!(next(&site, &refused, &offered(&site)), Some(Step::Tell(Box::new(status(3)))));
    let told = Known { status: Some(status(3)), ..site };
    assert_eq!(next(&told, &refused, &offered(&told)), None);
    assert_eq!(next(&told, &refused, &Done { again: true, ..offered(&told) }), Some(Step::Offer));
}

#[test]
fn a_deletion_takes_the_site_away_first_and_lets_the_object_go_last() {
    let site = going();
    assert_eq!(next(&site, &accepted(&site), &offered(&site)), Some(Step::Retire));
    let leaving = Here { deleting: true, ..accepted(&site) };
    assert_eq!(next(&site, &leaving, &offered(&site)), None, "it is still here");
    assert_eq!(next(&site, &Here::default(), &offered(&site)), Some(Step::LetGo));
    let free = Known { finalizers: vec!["other/one".to_owned()], ..site };
    assert_eq!(next(&free, &Here::default(), &offered(&free)), None, "others hold it");
}

#[test]
fn a_deletion_never_takes_away_what_comes_from_elsewhere() {
    let foreign = Here { foreign: true, ..Here::default() };
    assert_eq!(next(&going(), &foreign, &Done::default()), Some(Step::LetGo));
    assert_eq!(next(&known(json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" })), &foreign, &Done::default()), None);
}

#[test]
fn a_new_object_waits_until_the_site_of_the_old_one_is_gone() {
    let new = known(json!({ "uid": "u2" }));
    let old = Here { accepted: Some(("u1".into(), "d".into())), from_hub: true, deleting: true, ..Here::default() };
    assert_eq!(next(&new, &old, &Done::default()), None);
    assert_eq!(next(&new, &Here::default(), &Done::default()), Some(Step::Offer));
    // Made anew while nobody looked: the same name goes on under the new object.
    let kept = Here { deleting: false, ..old };
    assert_eq!(next(&new, &kept, &Done::default()), Some(Step::Offer));
    assert_eq!(next(&new, &kept, &offered(&new)), None, "what was not accepted of it is not held");
}

fn name(text: &str) -> SiteName {
    text.parse().expect("a name")
}

fn kept(all: &[(&str, &str, &str)]) -> BTreeMap<SiteName, Kept> {
    let one = |(site, uid, version): &(&str, &str, &str)| {
        (name(site), Kept { uid: (*uid).to_owned(), version: (*version).to_owned() })
    };
    all.iter().map(one).collect()
}

fn listed(all: &[(&str, &str)]) -> BTreeMap<SiteName, String> {
    all.iter().map(|(site, uid)| (name(site), (*uid).to_owned())).collect()
}

#[test]
fn what_is_missing_goes_only_when_the_list_is_of_the_same_hub_and_no_older_than_what_was_read() {
    let ours = kept(&[("blog", "b", "50"), ("shop", "s", "70")]);
    let gone = |missing: &Missing| missing.retire.iter().map(ToString::to_string).collect::<Vec<_>>();
    let judged = missing(&listed(&[("blog", "b")]), "71", &ours);
    assert_eq!(gone(&judged), ["shop"]);
    for (list, version, why) in [
        (&[][..], "99", "an empty hub"),
        (&[("other", "o")][..], "99", "a hub of other sites"),
        (&[("blog", "b2")][..], "99", "a hub that was made anew from files"),
        (&[("blog", "b")][..], "69", "a hub that was restored from an older backup"),
        (&[("blog", "b")][..], "x", "a hub whose versions can't be compared"),
    ] {
        let judged = missing(&listed(list), version, &ours);
        assert!(judged.retire.is_empty() && judged.keep.contains(&name("shop")), "{why}: {judged:?}");
    }
    assert_eq!(
        missing(&listed(&[("blog", "b"), ("shop", "s2")]), "99", &ours),
        Missing::default(),
        "nothing is missing"
    );
}
