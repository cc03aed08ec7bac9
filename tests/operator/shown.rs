//! What the usual tools show of a site: kubectl's table and its differences, and what kstatus, by which Flux and Helm wait, makes of each stage.

use std::process::Output;

use bluegreen_rig::cluster::{ControlPlane, Namespace, tools};
use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::kit::{Operator, PATIENCE, merge, object, plane, ready, site, told};

/// Runs kubectl with a manifest.
fn with(plane: &ControlPlane, namespace: &Namespace<'_>, arguments: &[&str], manifest: &Value) -> Output {
    let path = plane.folder().join(format!("{}.json", namespace.name()));
    std::fs::write(&path, manifest.to_string()).unwrap();
    let mut kubectl = plane.kubectl_command().unwrap();
    kubectl.args(["--namespace", namespace.name()]).args(arguments).arg("--filename").arg(&path);
    kubectl.output().expect("kubectl runs")
}

/// What `kubectl diff` prints of a manifest; empty: nothing.
pub fn difference(plane: &ControlPlane, namespace: &Namespace<'_>, more: &[&str], manifest: &Value) -> String {
    let output = with(plane, namespace, &[&["diff"], more].concat(), manifest);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
    assert_eq!(output.status.success(), output.stdout.is_empty(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn kubectl_get_tells_the_story_without_being_asked_for_more() {
    let plane = plane();
    let namespace = plane.namespace("columns").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    namespace.apply(&site("shop", 1).to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    let revision = object(&namespace, "shop").unwrap()["status"]["live"]["revision"].as_str().unwrap().to_owned();
    let table = |more: &[&str]| {
        let said = namespace.kubectl(&[&["get", "bgs"], more].concat()).unwrap();
        said.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect::<Vec<Vec<String>>>()
    };
    let short = table(&[]);
    assert_eq!(short[0], ["NAME", "PHASE", "LIVE", "REVISION", "READY", "AGE"]);
    assert_eq!(short[1][..5], ["shop", "Idle", "blue", &revision, "True"], "{short:?}");
    let wide = table(&["--output=wide"]);
    assert!(wide[0].contains(&"MESSAGE".to_owned()), "{wide:?}");
    assert!(wide[1].join(" ").contains("blue serves"), "{wide:?}");
}

#[test]
fn a_plain_kubectl_diff_is_empty_at_rest_and_after_a_command() {
    let plane = plane();
    let namespace = plane.namespace("differs").unwrap();
    let operator = Operator::start(plane, namespace.name()).led();
    let differs = |manifest: &Value| difference(plane, &namespace, &[], manifest);
    let one = site("shop", 1);
    namespace.apply(&one.to_string()).unwrap();
    ready(&namespace, "shop", &[&operator]);
    assert_eq!(differs(&one), "", "after it was applied");

    let mut two = site("shop", 2);
    merge(&mut two, &json!({ "spec": { "strategy": { "promotion": "Manual" } } }));
    assert_ne!(differs(&two), "", "a new release does differ");
    namespace.apply(&two.to_string()).unwrap();
    let attempt = wait::until("it waited for approval", PATIENCE, || {
        let status = &object(&namespace, "shop")?["status"];
        (status["phase"] == "AwaitingApproval").then(|| status["candidate"]["revision"].as_str().map(str::to_owned))?
    });
    let attempt = attempt.unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", &[&operator])));
    assert_eq!(differs(&two), "", "while it waits");
    let approve = format!("bluegreen.dev/approve={attempt}/1");
    namespace.kubectl(&["annotate", "bluegreensite/shop", &approve]).unwrap();
    assert_eq!(differs(&two), "", "after a command");
    ready(&namespace, "shop", &[&operator]);
    assert_eq!(differs(&two), "", "after what was commanded");
    // Nor does it take the command away when it is applied again.
    namespace.apply(&two.to_string()).unwrap();
    let kept = object(&namespace, "shop").unwrap()["metadata"]["annotations"]["bluegreen.dev/approve"].clone();
    assert_eq!(kept, format!("{attempt}/1"));
}

#[test]
fn kstatus_waits_while_something_is_under_way_and_for_nothing_else() {
    let plane = plane();
    let namespace = plane.namespace("judged").unwrap();
    let is = |operators: &[&Operator], verdict: &str, when: &str| {
        let judged = || {
            let said = tools::kstatus(&object(&namespace, "shop")?).expect("kstatus judges");
            said.starts_with(&format!("{verdict}:")).then_some(())
        };
        wait::until(&format!("kstatus said {verdict} {when}"), PATIENCE, judged)
            .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", operators)));
    };
    let judged = || tools::kstatus(&object(&namespace, "shop").unwrap()).expect("kstatus judges");
    let manual = |version: u32, more: Value| {
        let mut site = site("shop", version);
        merge(&mut site, &json!({ "spec": { "strategy": { "promotion": "Manual" } } }));
        merge(&mut site, &more);
        site.to_string()
    };
    let phase = |wanted: &str, operator: &Operator| {
        let seen = || (object(&namespace, "shop")?["status"]["phase"] == wanted).then_some(());
        wait::until(&format!("the phase was {wanted}"), PATIENCE, seen)
            .unwrap_or_else(|error| panic!("{error}\n{}", told(&namespace, "shop", &[operator])));
    };
    let command = |verb: &str| {
        let revision = object(&namespace, "shop").unwrap()["status"]["candidate"]["revision"].clone();
        let command = format!("bluegreen.dev/{verb}={}/1", revision.as_str().expect("there is a candidate"));
        namespace.kubectl(&["annotate", "--overwrite", "bluegreensite/shop", &command]).unwrap();
    };

    namespace.apply(&manual(1, json!({}))).unwrap();
    // Nobody has looked at it, and nobody is there to: it would be `Current` if its status said nothing.
    assert!(judged().starts_with("InProgress:"), "{}", judged());
    let operator = Operator::start(plane, namespace.name()).led();
    phase("AwaitingApproval", &operator);
    assert!(judged().starts_with("InProgress:"), "{}", judged());
    command("approve");
    is(&[&operator], "Current", "once it was live");
    assert_eq!(object(&namespace, "shop").unwrap()["status"]["phase"], "Idle");

    namespace.apply(&manual(2, json!({}))).unwrap();
    assert!(judged().starts_with("InProgress:"), "from the moment that it is applied: {}", judged());
    phase("AwaitingApproval", &operator);
    assert!(judged().starts_with("InProgress:"), "{}", judged());
    command("abort");
    is(&[&operator], "Failed", "once it was aborted");

    // A bad version, by itself.
    let unready = json!({ "spec": {
        "strategy": { "readyWithin": "2s", "promotion": "Automatic" },
        "target": { "cluster": { "template": { "metadata": { "annotations": { "rig.bluegreen.dev/pod": "unready" } } } } },
    } });
    namespace.apply(&manual(3, unready)).unwrap();
    assert!(judged().starts_with("InProgress:"), "{}", judged());
    is(&[&operator], "Failed", "once it was rejected");
    // Back to what is live: nothing is wanted that isn't there.
    namespace.apply(&manual(1, json!({}))).unwrap();
    is(&[&operator], "Current", "once what is live was wanted again");
}
