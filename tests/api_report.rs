//! What people and tools are told of a decision. The decisions are the logic's own.

#![allow(clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use bluegreen::api::report::{self, Seen};
use bluegreen::api::status::SiteStatus;
use bluegreen::platform::{Class, Fault};
use bluegreen::rollout::{
    Artifact, Attempt, Colour, Command, Decision, Health, Limits, Memory, Now, Observed, Occupant, Phase, Plan,
    Promotion, Revision, Route, Stage, Time, Verb, Verdict, World, decide,
};
use serde_json::{Value, json};

/// The revision that is live.
fn old() -> Revision {
    Revision::new(0x0123_4567_89ab_cdef_0000_0000_0000_0000)
}

/// The revision that is wanted.
fn new() -> Revision {
    Revision::new(0xfeed_beef_0000_0000_0000_0000_0000_0000)
}

/// One site, its memories, and what is seen of it.
struct Story {
    plan: Plan,
    world: World,
    memory: Memory,
    told: Option<SiteStatus>,
    warnings: Vec<Fault>,
    now: i64,
    generation: i64,
}

impl Story {
    /// A site whose old revision is live on blue, and which wants the new one.
    fn upgrade() -> Story {
        let mut story = Story {
            plan: Plan {
                wanted: Some(old()),
                promotion: Promotion::Manual,
                limits: Limits {
                    prepare_within: Duration::from_secs(600),
                    ready_within: Duration::from_secs(300),
                    verify_within: Duration::from_secs(60),
                    approve_within: None,
                    cutover_within: Duration::from_secs(60),
                    drain_within: Duration::from_secs(30),
                    bake: Duration::from_secs(60),
                    standby: Duration::from_secs(600),
                    failover_after: Duration::from_secs(5),
                },
                deleting: false,
                commands: Vec::new(),
            },
            world: World {
                blue: Some(ready(old())),
                green: None,
                route: Route::To { colour: Colour::Blue, seen: true },
                artifacts: BTreeMap::new(),
                verdict: None,
            },
            memory: Memory::default(),
            told: None,
            warnings: Vec::new(),
            now: 1_795_372_200_000,
            generation: 2,
        };
        story.turn();
        story.plan.wanted = Some(new());
        story
    }

    fn decide(&mut self) -> Decision {
        let now = Now { time: Time(self.now), resumed: false };
        let decision = decide(&self.plan, &self.memory, &Observed::World(self.world.clone()), now);
        self.memory =
            Memory { ledger: Some(decision.ledger.clone()), status: Some(decision.status.clone()), left: None };
        decision
    }

    /// One turn, and what is told of it.
    fn turn(&mut self) -> &SiteStatus {
        let decision = self.decide();
        self.tell(&decision, None)
    }

    fn tell(&mut self, decision: &Decision, fault: Option<&Fault>) -> &SiteStatus {
        let observed = Observed::World(self.world.clone());
        let status = report::status(&Seen {
            name: "shop",
            program: "bluegreen",
            generation: self.generation,
            plan: &self.plan,
            observed: &observed,
            decision,
            fault,
            warnings: &self.warnings,
            before: self.told.as_ref(),
            now: Time(self.now),
        });
        self.told.insert(status)
    }

    /// Turns until the phase is reached.
    fn until(&mut self, phase: Phase) -> &SiteStatus {
        for _ in 0..10 {
            if self.turn().phase == Some(phase) {
                break;
            }
        }
        let told = self.told.as_ref().expect("it was told");
        assert_eq!(told.phase, Some(phase), "{told:#?}");
        told
    }

    fn command(&mut self, verb: Verb, revision: Revision) {
        self.plan.commands.push(Command {
            verb,
            about: Attempt { revision, number: 1 },
            id: format!("{}", self.plan.commands.len()),
        });
    }
}

fn ready(revision: Revision) -> Occupant {
    Occupant { revision, health: Health::Ready, draining: None, detail: "2 of 2 instances ready".to_owned() }
}

/// The conditions, a line each, once kstatus itself has judged them as they are meant.
fn lines(status: &SiteStatus) -> Vec<String> {
    assert_eq!(status.observed_generation, Some(2));
    let of = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    let yes = |kind: &str| of(kind).is_some_and(|condition| condition.status == "True");
    let meant = match (yes("Ready"), yes("Reconciling"), yes("Stalled")) {
        (true, false, false) => "Current",
        (false, true, false) => "InProgress",
        (false, false, true) => "Failed",
        other => panic!("ready, reconciling, stalled: exactly one, not {other:?}"),
    };
    let judged = judged(&json!({ "generation": 2 }), &json!(status));
    assert!(judged.starts_with(meant), "kstatus says {judged}");
    for condition in &status.conditions {
        assert_eq!(condition.observed_generation, Some(2));
        assert!(!condition.reason.is_empty());
    }
    status
        .conditions
        .iter()
        .map(|condition| {
            format!("{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message)
        })
        .collect()
}

/// What Flux's own library makes of a site with this metadata.
fn judged(metadata: &Value, status: &Value) -> String {
    let mut site = json!({
        "apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite",
        "metadata": { "name": "shop", "namespace": "default" }, "status": status,
    });
    for (name, value) in metadata.as_object().into_iter().flatten() {
        site["metadata"][name] = value.clone();
    }
    bluegreen_rig::cluster::tools::kstatus(&site).expect("kstatus judges")
}

const SERVES: &str = "Available=True AllInstancesReady: every instance of blue is ready";

#[test]
fn a_site_whose_wanted_revision_is_live_is_ready() {
    let mut story = Story::upgrade();
    story.plan.wanted = Some(old());
    let status = story.turn();
    assert_eq!(lines(status), ["Ready=True Live: blue serves 0123456789", SERVES]);
    let live = status.live.as_ref().expect("blue is live");
    assert_eq!((live.colour, live.revision), (Colour::Blue, Some(old())));
    let since = live.since.clone();
    story.now += 90_000;
    assert_eq!(story.turn().live.as_ref().expect("still").since, since, "it is live since then");
}

#[test]
fn a_site_that_was_changed_and_not_looked_at_since_is_under_way_whatever_it_said_before() {
    let mut story = Story::upgrade();
    story.plan.wanted = Some(old());
    let status = json!(story.turn());
    assert!(judged(&json!({ "generation": 2 }), &status).starts_with("Current"));
    assert!(judged(&json!({ "generation": 3 }), &status).starts_with("InProgress"));
}

#[test]
fn a_site_that_is_being_retired_is_terminating_in_each_phase_of_it() {
    let mut story = Story::upgrade();
    story.plan.deleting = true;
    let going =
        json!({ "generation": 2, "deletionTimestamp": "2026-11-22T18:30:00Z", "finalizers": ["bluegreen.dev/host"] });
    let mut phases = Vec::new();
    // Its route is taken away, what served drains, and stops.
    for _ in 0..10 {
        let status = story.turn();
        phases.push(status.phase);
        let judged = judged(&going, &json!(status));
        assert!(judged.starts_with("Terminating"), "{:?}: kstatus says {judged}", status.phase);
        story.now += 60_000;
        match &mut story.world {
            world if world.route != Route::Nowhere => world.route = Route::Nowhere,
            world => world.blue = None,
        }
    }
    assert!(phases.contains(&Some(Phase::Deleting)), "{phases:?}");
}

#[test]
fn each_phase_says_what_it_waits_for() {
    let mut story = Story::upgrade();
    let told = lines(story.until(Phase::Preparing));
    assert_eq!(
        told[1],
        "Reconciling=True Preparing: feedbeef00 is fetched and checked, by 2026-11-22T18:40:00Z at the latest"
    );
    assert_eq!(told[2], SERVES);
    story.world.artifacts.insert(new(), Artifact::Ready);
    story.until(Phase::Starting);
    story.world.green = Some(Occupant {
        revision: new(),
        health: Health::Down(Time(story.now)),
        draining: None,
        detail: "instance 0: connection refused".to_owned(),
    });
    let status = story.turn();
    assert_eq!(
        lines(status)[1],
        "Reconciling=True Starting: feedbeef00 starts on green: instance 0: connection refused, by 2026-11-22T18:35:00Z at the latest"
    );
    let candidate = status.candidate.as_ref().expect("it is on its way");
    assert_eq!((candidate.colour, candidate.revision, candidate.attempt), (Colour::Green, new(), 1));
    story.world.green = Some(ready(new()));
    story.until(Phase::Verifying);
    story.world.verdict = Some(Verdict {
        about: Attempt { revision: new(), number: 1 },
        stage: Stage::Verify,
        passed: true,
        detail: String::new(),
    });
    assert_eq!(
        lines(story.until(Phase::AwaitingApproval))[1],
        "Reconciling=True AwaitingApproval: feedbeef00 is ready on green and waits for approval: bluegreen approve shop, or bluegreen abort shop"
    );
    story.command(Verb::Pause, new());
    assert!(lines(story.turn())[1].starts_with("Reconciling=True Paused: paused: feedbeef00 is ready on green"));
    story.command(Verb::Resume, new());
    story.command(Verb::Approve, new());
    story.until(Phase::CuttingOver);
    story.world.route = Route::To { colour: Colour::Green, seen: true };
    let status = story.until(Phase::Baking);
    assert_eq!(
        lines(status),
        [
            "Ready=False Baking: green serves feedbeef00 and is watched until 2026-11-22T18:31:00Z",
            "Reconciling=True Baking: green serves feedbeef00 and is watched until 2026-11-22T18:31:00Z",
            "Available=True AllInstancesReady: every instance of green is ready",
        ]
    );
    assert_eq!(status.standby.as_ref().map(|standby| standby.colour), Some(Colour::Blue));
}

#[test]
fn a_rejected_revision_keeps_the_words_of_what_was_wrong_with_it_and_says_what_to_do() {
    let mut story = Story::upgrade();
    story.world.artifacts.insert(new(), Artifact::Ready);
    story.until(Phase::Starting);
    story.world.green = Some(Occupant {
        revision: new(),
        health: Health::Down(Time(story.now)),
        draining: None,
        detail: "instance 0 ended with exit code 1".to_owned(),
    });
    story.now += 301_000;
    story.until(Phase::RollingBack);
    story.world.green = None;
    let status = story.until(Phase::Idle);
    let message = "feedbeef00 was not ready in time (instance 0 ended with exit code 1); blue goes on serving 0123456789; apply a \
                   manifest with another release, or try again with: bluegreen retry shop";
    assert_eq!(
        lines(status),
        [
            format!("Ready=False ReadyDeadlineExceeded: {message}"),
            format!("Stalled=True ReadyDeadlineExceeded: {message}"),
            SERVES.to_owned(),
        ]
    );
    let since = |status: &SiteStatus| status.conditions[1].last_transition_time.clone();
    let first = since(status);
    story.now += 60_000;
    let later = story.turn();
    assert_eq!(lines(later)[0], format!("Ready=False ReadyDeadlineExceeded: {message}"), "it is still said later");
    assert_eq!(since(later), first, "a condition that stays as it was keeps its time");
    story.command(Verb::Retry, new());
    let status = story.turn();
    assert!(status.rejected.is_none(), "a retry forgets the rejection");
    assert_eq!(status.candidate.as_ref().map(|candidate| candidate.attempt), Some(2));
}

#[test]
fn what_nobody_can_go_on_with_is_stalled_and_what_passes_is_not() {
    let mut story = Story::upgrade();
    let decision = story.decide();
    let fault = |class| Fault { class, reason: "PortInUse", message: "port 8082 is held by pid 7".to_owned() };
    assert_eq!(
        lines(story.tell(&decision, Some(&fault(Class::User))))[1],
        "Stalled=True PortInUse: port 8082 is held by pid 7"
    );
    assert_eq!(
        lines(story.tell(&decision, Some(&fault(Class::Transient))))[1],
        "Reconciling=True PortInUse: Preparing is under way; trying again: port 8082 is held by pid 7"
    );
    let late = Decision { stalled: Some("it took too long".to_owned()), ..decision };
    assert_eq!(
        lines(story.tell(&late, Some(&fault(Class::Transient))))[1],
        "Stalled=True PortInUse: it took too long: port 8082 is held by pid 7"
    );
    story.plan.wanted = None;
    assert_eq!(
        lines(story.turn())[1],
        "Reconciling=True ReleaseUnknown: the release is being looked at; blue goes on serving 0123456789"
    );
}

#[test]
fn what_is_warned_of_is_a_condition_of_its_own_while_there_is_something_and_holds_up_nothing() {
    let mut story = Story::upgrade();
    story.plan.wanted = story.memory.ledger.as_ref().and_then(|ledger| ledger.stable).map(|stable| stable.revision);
    let quiet = lines(story.turn());
    let warning = |reason, message: &str| Fault { class: Class::User, reason, message: message.to_owned() };
    story.warnings = vec![warning("PortExposed", "app listens on 0.0.0.0:8081")];
    let one = lines(story.turn());
    assert_eq!(one[..quiet.len()], quiet);
    assert_eq!(one[quiet.len()..], ["Warning=True PortExposed: app listens on 0.0.0.0:8081"]);
    story.warnings.push(warning("FirewallUnavailable", "there is no program nft"));
    let both = "Warning=True SeveralWarnings: PortExposed: app listens on 0.0.0.0:8081\nFirewallUnavailable: there is no program nft";
    assert_eq!(lines(story.turn()).last().map(String::as_str), Some(both));
    let now = Time(story.now);
    let unusable = report::unusable("ConflictsWithSite", "it is another site's", 2, story.told.as_ref(), now);
    assert_eq!(lines(&unusable).last().map(String::as_str), Some(both), "a manifest that can't be used mends nothing");
    story.warnings.clear();
    assert_eq!(lines(story.turn()), quiet);
}

#[test]
fn what_was_cleared_and_is_on_its_way_down_is_retired_also_when_the_status_is_lost() {
    let mut story = Story::upgrade();
    let ledger = story.memory.ledger.as_mut().expect("it was decided");
    let stable = ledger.stable.expect("one is live");
    ledger.cleared.insert(new());
    story.plan.wanted = Some(stable.revision);
    let leaving = Occupant { health: Health::Down(Time(story.now)), ..ready(new()) };
    match stable.colour {
        Colour::Blue => story.world.green = Some(leaving),
        Colour::Green => story.world.blue = Some(leaving),
    }
    for _ in 0..2 {
        let phase = story.turn().phase;
        assert_eq!(phase, Some(Phase::Retiring), "nothing is taken back");
        story.memory.status = None;
    }
}

#[test]
fn what_can_not_be_seen_is_unknown_and_what_was_live_is_still_said() {
    let mut story = Story::upgrade();
    let observed = Observed::Unknown("nginx does not answer".to_owned());
    let now = Now { time: Time(story.now), resumed: false };
    let decision = decide(&story.plan, &story.memory, &observed, now);
    let status = report::status(&Seen {
        name: "shop",
        program: "bluegreen",
        generation: 2,
        plan: &story.plan,
        observed: &observed,
        decision: &decision,
        fault: None,
        warnings: &[],
        before: story.told.as_ref(),
        now: Time(story.now),
    });
    assert_eq!(status.live, story.told.as_ref().expect("told before").live);
    assert_eq!(
        lines(&status),
        [
            "Ready=False WorldUnknown: the site can't be looked at, and nothing is touched until it can: nginx does not answer",
            "Stalled=True WorldUnknown: the site can't be looked at, and nothing is touched until it can: nginx does not answer",
            "Available=Unknown WorldUnknown: the site can't be looked at",
        ]
    );
    story.now += 1;
    let back = story.turn();
    assert_eq!(lines(back)[2], SERVES);
}

#[test]
fn a_manifest_that_can_not_be_used_leaves_what_runs_as_it_was() {
    let mut story = Story::upgrade();
    story.turn();
    let problems = bluegreen::api::parse::manifest("{}").expect_err("nothing is in it");
    let status = report::invalid(&problems, 2, story.told.as_ref(), Time(story.now));
    let said = lines(&status);
    assert!(said[0].starts_with("Ready=False InvalidSpec: apiVersion: is missing"), "{said:?}");
    assert!(said[0].contains("blue goes on as it was. Correct the manifest"), "{said:?}");
    assert_eq!(said[2], SERVES);
    assert_eq!(status.rollout, story.told.as_ref().expect("told before").rollout);
}

#[test]
fn the_status_is_plain_data_that_reads_back_the_same() {
    let mut story = Story::upgrade();
    story.world.artifacts.insert(new(), Artifact::Unusable("no bin/shop in it".to_owned()));
    for _ in 0..3 {
        let status = story.turn().clone();
        let text = serde_json::to_string(&status).expect("plain data");
        assert_eq!(serde_json::from_str::<SiteStatus>(&text).expect("it was just written"), status);
    }
}

#[test]
fn a_pause_freezes_the_deadline_that_is_told() {
    let mut story = Story::upgrade();
    story.world.artifacts.insert(new(), Artifact::Ready);
    let has_deadline =
        |status: &SiteStatus| status.candidate.as_ref().is_some_and(|candidate| candidate.deadline.is_some());
    assert!(has_deadline(story.until(Phase::Starting)));
    story.world.green = Some(Occupant {
        revision: new(),
        health: Health::Down(Time(story.now)),
        draining: None,
        detail: String::new(),
    });
    story.command(Verb::Pause, new());
    let status = story.turn();
    assert!(!has_deadline(status));
    assert_eq!(
        lines(status)[1],
        "Reconciling=True Paused: paused: feedbeef00 starts on green; go on with: bluegreen resume shop"
    );
}

#[test]
fn a_pause_before_anything_started_is_told_at_rest() {
    let mut story = Story::upgrade();
    story.command(Verb::Pause, new());
    assert_eq!(
        lines(story.until(Phase::Idle))[1],
        "Reconciling=True Paused: paused: feedbeef00 waits to be rolled out; blue goes on serving 0123456789; go on with: bluegreen resume shop"
    );
}

#[test]
fn the_rejection_of_one_specification_is_not_told_of_the_next() {
    let mut story = Story::upgrade();
    story.world.artifacts.insert(new(), Artifact::Unusable("no bin/shop in it".to_owned()));
    story.until(Phase::Idle);
    let rejected = story.told.as_ref().and_then(|told| told.rejected.clone()).expect("it was rejected");
    assert_eq!(rejected.message, "no bin/shop in it");
    story.plan.wanted = None;
    assert_eq!(
        story.turn().rejected.as_ref(),
        Some(&rejected),
        "an agent that just started does not know the release yet"
    );
    story.generation = 3;
    let decision = story.decide();
    assert_eq!(story.tell(&decision, None).rejected, None);
}
