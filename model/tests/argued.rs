//! What the search does not model: real spans of time, a clock that was away, and a world that can't be seen.

use std::collections::BTreeMap;
use std::time::Duration;

use bluegreen_model::rollout::*;

const SECOND: i64 = 1000;

fn revision(n: u128) -> Revision {
    Revision::new(n)
}

fn plan(wanted: u128) -> Plan {
    let seconds = Duration::from_secs;
    Plan {
        wanted: Some(revision(wanted)),
        promotion: Promotion::Automatic,
        limits: Limits {
            prepare_within: seconds(600),
            ready_within: seconds(300),
            verify_within: seconds(60),
            approve_within: None,
            cutover_within: seconds(60),
            drain_within: seconds(30),
            bake: seconds(60),
            standby: seconds(600),
            failover_after: seconds(5),
        },
        deleting: false,
        commands: Vec::new(),
    }
}

fn runs(n: u128, health: Health) -> Option<Occupant> {
    Some(Occupant { revision: revision(n), health, draining: None, detail: String::new() })
}

fn world(blue: Option<Occupant>, green: Option<Occupant>, live: Option<Colour>) -> World {
    let artifacts = (1..=3).map(|n| (revision(n), Artifact::Ready)).collect::<BTreeMap<_, _>>();
    let route = live.map_or(Route::Nowhere, |colour| Route::To { colour, seen: true });
    World { blue, green, route, artifacts, verdict: None }
}

fn ledger(stable: (Colour, u128)) -> Ledger {
    let held = Held { colour: stable.0, revision: revision(stable.1) };
    Ledger { version: 1, stable: Some(held), cleared: [held.revision].into(), ..Ledger::default() }
}

fn memory(ledger: Ledger, phase: Phase, about: Option<u128>, since: i64) -> Memory {
    let about = about.map(|n| ledger.attempt(revision(n)));
    let status = Status { phase, about, since: Time(since), deadline: None, ledger: ledger.clone() };
    Memory { ledger: Some(ledger), status: Some(status), left: None }
}

fn at(seconds: i64) -> Now {
    Now { time: Time(seconds * SECOND), resumed: false }
}

fn after_absence(seconds: i64) -> Now {
    Now { time: Time(seconds * SECOND), resumed: true }
}

fn seen(world: World) -> Observed {
    Observed::World(world)
}

#[test]
fn a_world_that_cannot_be_seen_stops_nothing_moves_nothing_and_records_nothing() {
    let memory = memory(ledger((Colour::Blue, 1)), Phase::Starting, Some(2), 0);
    let decision = decide(&plan(2), &memory, &Observed::Unknown("no answer".into()), at(100_000));
    assert_eq!((decision.record, decision.goal.step), (false, None));
    assert_eq!(decision.stalled.as_deref(), Some("no answer"));
}

#[test]
fn a_deadline_that_passed_while_nobody_looked_leaves_thirty_seconds_more() {
    let memory = memory(ledger((Colour::Blue, 1)), Phase::Starting, Some(2), 0);
    let observed = seen(world(runs(1, Health::Ready), runs(2, Health::Down(Time(0))), Some(Colour::Blue)));
    let decision = decide(&plan(2), &memory, &observed, after_absence(10_000));
    assert_eq!(decision.status.phase, Phase::Starting);
    assert_eq!(decision.status.deadline, Some(Time(10_030 * SECOND)));

    let next = Memory { ledger: Some(decision.ledger), status: Some(decision.status), left: None };
    assert_eq!(decide(&plan(2), &next, &observed, at(10_029)).status.phase, Phase::Starting);
    let late = decide(&plan(2), &next, &observed, at(10_030));
    assert!(late.ledger.rejects(revision(2)));
}

#[test]
fn a_bake_counts_only_time_that_was_observed() {
    let mut begun = ledger((Colour::Blue, 1));
    begun.intent = Some(Held { colour: Colour::Green, revision: revision(2) });
    let about = begun.attempt(revision(2));
    let memory = memory(begun, Phase::Baking, Some(2), 0);
    let mut now = world(runs(1, Health::Ready), runs(2, Health::Ready), Some(Colour::Green));
    now.verdict = Some(Verdict { about, stage: Stage::Bake, passed: true, detail: String::new() });
    let decision = decide(&plan(2), &memory, &seen(now.clone()), after_absence(3600));
    assert_eq!((decision.status.phase, decision.status.since), (Phase::Baking, Time(3600 * SECOND)));
    let next = Memory { ledger: Some(decision.ledger), status: Some(decision.status), left: None };
    assert_eq!(decide(&plan(2), &next, &seen(now), at(3660)).status.phase, Phase::Idle);
}

#[test]
fn a_bake_without_a_measurement_waits_for_one_and_then_fails() {
    let mut begun = ledger((Colour::Blue, 1));
    begun.intent = Some(Held { colour: Colour::Green, revision: revision(2) });
    let memory = memory(begun, Phase::Baking, Some(2), 0);
    let observed = seen(world(runs(1, Health::Ready), runs(2, Health::Ready), Some(Colour::Green)));
    let waits = decide(&plan(2), &memory, &observed, at(60));
    assert_eq!((waits.status.phase, waits.wake), (Phase::Baking, Some(Time(120 * SECOND))));
    let fails = decide(&plan(2), &memory, &observed, at(120));
    assert_eq!(fails.ledger.rejected[&revision(2)].reason, Reason::BakeFailed);
    assert!(matches!(fails.goal.step, Some(Step::Route { colour: Colour::Blue, why: Why::CutBack, .. })));
}

#[test]
fn a_blip_of_the_live_colour_is_no_failover_and_a_lasting_failure_is() {
    let mut known = ledger((Colour::Green, 2));
    known.cleared.insert(revision(1));
    let memory = memory(known, Phase::Idle, None, 0);
    let observed = seen(world(runs(1, Health::Ready), runs(2, Health::Down(Time(0))), Some(Colour::Green)));
    let blip = decide(&plan(2), &memory, &observed, at(4));
    assert_eq!((blip.goal.step, blip.wake), (None, Some(Time(5 * SECOND))));
    let lasting = decide(&plan(2), &memory, &observed, at(5));
    assert!(matches!(lasting.goal.step, Some(Step::Route { colour: Colour::Blue, why: Why::FailOver, .. })));
}

#[test]
fn a_pause_gives_back_the_time_that_it_took() {
    let mut paused = ledger((Colour::Blue, 1));
    paused.paused = Some(Time(100 * SECOND));
    let memory = memory(paused, Phase::Starting, Some(2), 0);
    let observed = seen(world(runs(1, Health::Ready), runs(2, Health::Down(Time(0))), Some(Colour::Blue)));
    let about = Attempt { revision: revision(2), number: 1 };
    let mut resumed = plan(2);
    resumed.commands = vec![Command { verb: Verb::Resume, about, id: "1".into() }];
    let decision = decide(&resumed, &memory, &observed, at(50_000));
    assert_eq!(decision.status.phase, Phase::Starting);
    assert_eq!(decision.status.deadline, Some(Time(50_200 * SECOND)));
}

#[test]
fn a_front_door_that_answers_nothing_is_waited_for_and_rejects_nobody() {
    let mut begun = ledger((Colour::Blue, 1));
    begun.intent = Some(Held { colour: Colour::Green, revision: revision(2) });
    let memory = memory(begun, Phase::CuttingOver, Some(2), 0);
    let mut now = world(runs(1, Health::Ready), runs(2, Health::Ready), Some(Colour::Blue));
    now.route = Route::To { colour: Colour::Blue, seen: false };
    let silent = decide(&plan(2), &memory, &seen(now.clone()), at(61));
    assert!(!silent.ledger.rejects(revision(2)));
    assert!(silent.stalled.is_some());
    now.route = Route::To { colour: Colour::Blue, seen: true };
    let answers = decide(&plan(2), &memory, &seen(now), at(61));
    assert_eq!(answers.ledger.rejected[&revision(2)].reason, Reason::CutoverDeadlineExceeded);
}

#[test]
fn an_edit_of_the_limits_alone_takes_effect_at_once() {
    let memory = memory(ledger((Colour::Blue, 1)), Phase::Starting, Some(2), 0);
    let observed = seen(world(runs(1, Health::Ready), runs(2, Health::Down(Time(0))), Some(Colour::Blue)));
    let mut longer = plan(2);
    longer.limits.ready_within = Duration::from_secs(1000);
    assert_eq!(decide(&longer, &memory, &observed, at(301)).status.deadline, Some(Time(1000 * SECOND)));
    assert!(decide(&plan(2), &memory, &observed, at(301)).ledger.rejects(revision(2)));
}

#[test]
fn a_revision_that_cannot_be_told_starts_nothing_and_takes_nothing_back() {
    let mut begun = ledger((Colour::Blue, 1));
    begun.intent = Some(Held { colour: Colour::Green, revision: revision(2) });
    let memory = memory(begun, Phase::Baking, Some(2), 0);
    let mut unknown = plan(2);
    unknown.wanted = None;
    let observed = seen(world(runs(1, Health::Ready), runs(2, Health::Ready), Some(Colour::Green)));
    let decision = decide(&unknown, &memory, &observed, at(10));
    assert_eq!((decision.status.phase, decision.goal.step), (Phase::Baking, None));
}

#[test]
fn what_is_remembered_stays_bounded_and_never_forgets_what_is_in_use() {
    let mut full = ledger((Colour::Blue, 1));
    full.cleared.extend((1..=500).map(revision));
    full.rejected = (501..=1000)
        .map(|n| (revision(n), Rejection { reason: Reason::Aborted, at: Time(i64::try_from(n).unwrap()) }))
        .collect();
    let memory = memory(full, Phase::Idle, None, 0);
    let observed = seen(world(runs(1, Health::Ready), None, Some(Colour::Blue)));
    let after = decide(&plan(501), &memory, &observed, at(1)).ledger;
    assert_eq!((after.cleared.len(), after.rejected.len()), (100, 100));
    assert!(after.trusts(revision(1)) && after.rejects(revision(501)) && after.rejects(revision(1000)));
}

#[test]
fn at_rest_a_decision_changes_nothing_and_needs_no_waking() {
    let memory = memory(ledger((Colour::Blue, 1)), Phase::Idle, None, 0);
    let observed = seen(world(runs(1, Health::Ready), None, Some(Colour::Blue)));
    let decision = decide(&plan(1), &memory, &observed, at(9_999_999));
    assert_eq!(Some(&decision.ledger), memory.ledger.as_ref());
    assert_eq!(Some(&decision.status), memory.status.as_ref());
    assert_eq!((decision.goal.step, decision.wake, decision.news.len()), (None, None, 0));
}

#[test]
fn a_start_that_never_succeeds_ends_at_its_deadline() {
    let memory = memory(ledger((Colour::Blue, 1)), Phase::Starting, Some(2), 0);
    let observed = seen(world(runs(1, Health::Ready), None, Some(Colour::Blue)));
    let tries = decide(&plan(2), &memory, &observed, at(299));
    assert!(matches!(tries.goal.step, Some(Step::Start { colour: Colour::Green, .. })));
    assert!(decide(&plan(2), &memory, &observed, at(300)).ledger.rejects(revision(2)));
}

/// What an earlier site of this name left, and no memory of its own.
fn restored(left: Ledger) -> Memory {
    Memory { left: Some(left), ..Memory::default() }
}

#[test]
fn a_restored_site_believes_the_ledger_that_was_left_and_holds_what_differs() {
    let left = Ledger { version: 7, ..ledger((Colour::Blue, 1)) };
    let observed = seen(world(runs(1, Health::Ready), None, Some(Colour::Blue)));
    let same = decide(&plan(1), &restored(left.clone()), &observed, at(0));
    assert_eq!((same.ledger.version, same.ledger.rejected.len(), same.goal.step), (8, 0, None));
    let other = decide(&plan(2), &restored(left), &observed, at(0));
    let rejection = other.ledger.rejected[&revision(2)];
    assert_eq!((rejection.reason, other.goal.step), (Reason::HeldAfterLoss, None));
}

#[test]
fn a_route_that_somebody_moved_before_a_restore_promotes_nothing() {
    let observed = seen(world(runs(1, Health::Ready), runs(2, Health::Ready), Some(Colour::Green)));
    let decision = decide(&plan(2), &restored(ledger((Colour::Blue, 1))), &observed, at(0));
    assert!(matches!(decision.goal.step, Some(Step::Route { colour: Colour::Blue, .. })), "{:?}", decision.goal.step);
    assert_eq!(decision.ledger.stable.map(|held| held.colour), Some(Colour::Blue));
    assert!(!decision.ledger.cleared.contains(&revision(2)));
}

#[test]
fn a_cutover_that_had_moved_before_a_restore_is_judged_and_one_that_had_not_is_called_off() {
    let intent = Some(Held { colour: Colour::Green, revision: revision(2) });
    let left = Ledger { intent, ..ledger((Colour::Blue, 1)) };
    let both = |live| seen(world(runs(1, Health::Ready), runs(2, Health::Ready), Some(live)));
    let moved = decide(&plan(2), &restored(left.clone()), &both(Colour::Green), at(0));
    assert_eq!((moved.ledger.intent, moved.status.phase), (intent, Phase::Baking));
    let before = decide(&plan(2), &restored(left), &both(Colour::Blue), at(0));
    assert_eq!(before.ledger.intent, None);
    assert!(before.ledger.rejects(revision(2)));
}

#[test]
fn a_route_that_somebody_moved_to_neither_goes_back_to_the_last_cutover() {
    // The first cutover ever: that it was a success stood in the status alone.
    let intent = Some(Held { colour: Colour::Blue, revision: revision(1) });
    let left = Ledger { version: 2, intent, ..Ledger::default() };
    let observed = seen(world(runs(1, Health::Ready), runs(2, Health::Ready), Some(Colour::Green)));
    let decision = decide(&plan(2), &restored(left), &observed, at(0));
    assert!(matches!(decision.goal.step, Some(Step::Route { colour: Colour::Blue, .. })), "{:?}", decision.goal.step);
    assert_eq!((decision.ledger.stable, decision.ledger.intent), (intent, None));
    assert!(decision.ledger.rejects(revision(2)) && !decision.ledger.cleared.contains(&revision(2)));
    // And the colour that was stable before has since become somebody else's candidate.
    let left =
        Ledger { intent: Some(Held { colour: Colour::Green, revision: revision(2) }), ..ledger((Colour::Blue, 1)) };
    let observed = seen(world(runs(3, Health::Ready), runs(2, Health::Ready), Some(Colour::Blue)));
    let decision = decide(&plan(3), &restored(left), &observed, at(0));
    assert!(matches!(decision.goal.step, Some(Step::Route { colour: Colour::Green, .. })), "{:?}", decision.goal.step);
}

#[test]
fn what_was_left_is_not_taken_back_before_it_is_known_what_is_wanted() {
    let observed = seen(world(runs(1, Health::Ready), None, Some(Colour::Blue)));
    let untold = Plan { wanted: None, ..plan(1) };
    assert!(!decide(&untold, &restored(ledger((Colour::Blue, 1))), &observed, at(0)).record);
}

#[test]
fn of_a_status_and_a_ledger_that_was_left_the_newer_one_counts_and_nothing_is_held() {
    let observed = seen(world(runs(1, Health::Ready), None, Some(Colour::Blue)));
    for (version, rejected) in [(9, true), (0, false)] {
        let rejection = Rejection { reason: Reason::Aborted, at: Time(0) };
        let left = Ledger { version, rejected: [(revision(3), rejection)].into(), ..ledger((Colour::Blue, 1)) };
        let own = memory(ledger((Colour::Blue, 1)), Phase::Idle, None, 0);
        let decision = decide(&plan(2), &Memory { ledger: None, left: Some(left), ..own }, &observed, at(0));
        assert_eq!(decision.ledger.rejects(revision(3)), rejected);
        assert!(!decision.ledger.rejects(revision(2)));
    }
}
