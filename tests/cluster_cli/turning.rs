//! With the real operator: what a person does from the first apply to the end of a site.

use bluegreen_rig::wait;
use serde_json::Value;

use super::kit::{Desk, manifest, shared};
use super::operator::Operator;

/// A site that is drained and watched as shortly as can be.
fn quick(version: &str, promotion: &str) -> String {
    let strategy = format!("strategy: {{ drainWithin: 0s, bake: 1s, standby: 10m, promotion: {promotion} }}");
    manifest("shop", version).replace("strategy: { bake: 60s }", &strategy)
}

impl Desk {
    fn hand_in(&self, version: &str, promotion: &str, more: &[&str]) -> String {
        let file = self.program.file("shop.yaml", &quick(version, promotion));
        self.program.ok(&[&["apply", "-f", &file], more].concat())
    }

    /// Gives a command and sees that the operator takes it. On a machine that does much at once that may be later than the program waits.
    fn command(&self, verb: &str) {
        let out = self.program.ok(&[verb, "shop"]);
        assert!(
            out.contains(&format!("{verb} was taken")) || out.contains(&format!("{verb} is written down")),
            "{out}"
        );
        let taken = || {
            let site = self.site("shop");
            let given = site["metadata"]["annotations"][format!("bluegreen.dev/{verb}")]
                .as_str()?
                .split_once('@')?
                .1
                .to_owned();
            (site["status"]["rollout"]["ledger"]["taken"][verb] == given).then_some(())
        };
        wait::until(&format!("{verb} was taken"), wait::PATIENCE, taken).unwrap();
    }

    /// What is live: the colour, and the first digits of the revision.
    fn live(&self) -> (String, String) {
        let live = self.site("shop")["status"]["live"].clone();
        let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
        (text(&live["colour"]), text(&live["revision"])[..10].to_owned())
    }
}

#[test]
fn a_site_is_applied_approved_rolled_back_restarted_and_deleted() {
    let desk = Desk::new("turned");
    let _operator = Operator::start(shared(), desk.namespace.name()).led();
    let said = desk.hand_in("1", "Automatic", &["--wait"]);
    assert!(
        said.contains("created") && said.trim_end().lines().last().unwrap().contains("shop: Idle: blue serves"),
        "{said}"
    );
    let (_, first) = desk.live();

    let watch = desk.program.begin(&["get", "-w"]);
    watch.until("Idle").unwrap();
    desk.hand_in("2", "Manual", &[]);
    let line = watch.until("AwaitingApproval").unwrap();
    assert!(line.contains("blue") && line.contains(&first), "{line}");
    let advised = desk.program.ok(&["describe", "shop"]);
    assert!(advised.contains(&format!("kubectl bluegreen approve shop -n {}", desk.namespace.name())), "{advised}");
    desk.command("approve");
    watch.until("green").unwrap();
    let line = watch.until("Idle").unwrap();
    let (colour, second) = desk.live();
    assert!(colour == "green" && line.contains(&second) && second != first, "{line}");
    let wide = desk.program.ok(&["get", "-o", "wide"]);
    assert!(wide.contains(&format!("blue {first}")), "what is kept warm is shown: {wide}");

    let history = desk.shows(&["history", "shop"], "Settled");
    for (reason, revision) in [("AwaitingApproval", &second), ("CuttingOver", &first), ("CuttingOver", &second)] {
        let told = |line: &str| line.contains(reason) && line.split_whitespace().any(|word| word == revision);
        assert!(history.lines().any(told), "{reason} {revision}: {history}");
    }

    desk.command("rollback");
    let rested = desk.shows(&["get"], "Idle");
    assert!(rested.contains("blue") && rested.contains(&first), "{rested}");
    let err = desk.program.fails(&["restart", "shop"]);
    assert!(err.contains("what is live on site shop is not what its specification describes"), "{err}");
    desk.command("retry");
    desk.shows(&["get"], "green");
    let back = || (desk.site("shop")["status"]["phase"] == "Idle" && desk.live().1 == second).then_some(());
    wait::until("what was left is live again", wait::PATIENCE, back).unwrap();

    desk.hand_in("3", "Manual", &[]);
    desk.shows(&["get"], "AwaitingApproval");
    desk.command("pause");
    desk.shows(&["describe", "shop"], "kubectl bluegreen resume shop");
    desk.command("resume");
    desk.command("abort");
    assert_eq!(desk.live().1, second, "what was aborted never served");

    let said = desk.hand_in("1", "Automatic", &["--wait"]);
    assert!(said.contains("configured"), "{said}");
    assert_eq!(desk.live().1, first);
    let out = desk.program.ok(&["restart", "shop"]);
    assert!(out.contains("it is rolled out once more") || out.contains("restart is written down"), "{out}");
    desk.shows(&["get", "-o", "wide"], &format!("blue {first}"));
    assert_ne!(desk.live().1, first, "the same release, and another incarnation of it");

    let out = desk.program.ok(&["delete", "shop"]);
    assert_eq!(out, "bluegreensite.bluegreen.dev/shop deleted\n");
    watch.until("shop   deleted").unwrap();
}

#[test]
fn a_wait_for_what_can_never_be_ready_ends_with_the_reason() {
    let desk = Desk::new("never");
    let _operator = Operator::start(shared(), desk.namespace.name()).led();
    let text = quick("1", "Automatic")
        .replace("template:", "template:\n        metadata: { annotations: { rig.bluegreen.dev/pod: unpullable } }");
    let text = text.replace("bake: 1s", "bake: 1s, readyWithin: 5s");
    let file = desk.program.file("shop.yaml", &text);
    let wait = desk.program.begin(&["apply", "-f", &file, "--wait"]);
    wait.until("shop: Starting: ").unwrap();
    desk.shows(&["describe", "shop"], "ImagePullBackOff");
    let (code, err) = wait.end().unwrap();
    assert_eq!(code, Some(1));
    assert!(err.contains("shop did not go live: ReadyDeadlineExceeded: "), "{err}");
    assert!(err.contains(&format!("kubectl bluegreen retry shop -n {}", desk.namespace.name())), "{err}");
}
