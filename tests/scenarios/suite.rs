//! The scenarios.

use bluegreen::rollout::Colour::{Blue, Green};

use super::stage::Accident::{LiveDown, RouteMoved, StatusLost};
use super::stage::At::{AwaitingApproval, Gone, Idle, Paused};
use super::stage::Order::{Abort, Approve, Pause, Restart, Resume, Retry, Rollback};
use super::stage::{Stage, Wish, expect};

pub fn a_first_release_goes_live(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
}

pub fn an_upgrade_takes_the_other_colour(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.apply(Wish::of(2));
    expect(stage, Idle, Some((2, Green)), None);
    stage.apply(Wish::of(3));
    expect(stage, Idle, Some((3, Blue)), None);
}

pub fn a_broken_release_is_rejected_and_stays_so_until_another_one_comes(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    let broken = Wish::of(2).broken();
    stage.apply(broken);
    expect(stage, Idle, Some((1, Blue)), Some("ReadyDeadlineExceeded"));
    // Another strategy is no other revision: what a sync applies again changes nothing.
    stage.apply(Wish { bake: 2, ..broken });
    expect(stage, Idle, Some((1, Blue)), Some("ReadyDeadlineExceeded"));
    stage.apply(Wish::of(3));
    expect(stage, Idle, Some((3, Green)), None);
}

pub fn an_approval_lets_it_go_live(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.apply(Wish::of(2).manual());
    expect(stage, AwaitingApproval, Some((1, Blue)), None);
    stage.order(Approve);
    expect(stage, Idle, Some((2, Green)), None);
}

pub fn what_was_aborted_is_tried_again_when_asked(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.apply(Wish::of(2).manual());
    expect(stage, AwaitingApproval, Some((1, Blue)), None);
    stage.order(Abort);
    expect(stage, Idle, Some((1, Blue)), Some("Aborted"));
    stage.order(Retry);
    expect(stage, AwaitingApproval, Some((1, Blue)), None);
    stage.order(Approve);
    expect(stage, Idle, Some((2, Green)), None);
}

pub fn a_rollback_returns_to_what_is_warm_and_holds(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.apply(Wish::of(2));
    expect(stage, Idle, Some((2, Green)), None);
    stage.order(Rollback);
    expect(stage, Idle, Some((1, Blue)), Some("RolledBack"));
    // The manifest still says 2: it does not come back by itself.
    stage.apply(Wish { bake: 2, ..Wish::of(2) });
    expect(stage, Idle, Some((1, Blue)), Some("RolledBack"));
    stage.apply(Wish::of(3));
    expect(stage, Idle, Some((3, Green)), None);
}

pub fn a_pause_holds_until_it_is_lifted(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.apply(Wish::of(2).manual());
    expect(stage, AwaitingApproval, Some((1, Blue)), None);
    stage.order(Pause);
    expect(stage, Paused, Some((1, Blue)), None);
    stage.order(Approve);
    expect(stage, Paused, Some((1, Blue)), None);
    stage.order(Resume);
    expect(stage, Idle, Some((2, Green)), None);
}

pub fn a_newer_release_takes_the_place_of_a_candidate(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.apply(Wish::of(2).manual());
    expect(stage, AwaitingApproval, Some((1, Blue)), None);
    stage.apply(Wish::of(3).manual());
    expect(stage, AwaitingApproval, Some((1, Blue)), None);
    stage.order(Approve);
    expect(stage, Idle, Some((3, Green)), None);
}

pub fn a_withdrawn_release_leaves_no_trace(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.apply(Wish::of(2).manual());
    expect(stage, AwaitingApproval, Some((1, Blue)), None);
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.apply(Wish::of(2));
    expect(stage, Idle, Some((2, Green)), None);
}

pub fn a_restart_is_a_rollout_of_the_same(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.order(Restart);
    expect(stage, Idle, Some((1, Green)), None);
}

pub fn a_live_colour_that_is_down_yields_to_the_standby(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.apply(Wish::of(2));
    expect(stage, Idle, Some((2, Green)), None);
    stage.happen(LiveDown);
    expect(stage, Idle, Some((1, Blue)), Some("LiveColourDown"));
}

pub fn a_route_that_somebody_moved_is_put_back(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.apply(Wish::of(2));
    expect(stage, Idle, Some((2, Green)), None);
    stage.happen(RouteMoved);
    expect(stage, Idle, Some((2, Green)), None);
}

pub fn a_lost_status_forgets_no_rejection(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.apply(Wish::of(2).manual());
    expect(stage, AwaitingApproval, Some((1, Blue)), None);
    stage.order(Abort);
    expect(stage, Idle, Some((1, Blue)), Some("Aborted"));
    stage.happen(StatusLost);
    expect(stage, Idle, Some((1, Blue)), Some("Aborted"));
}

pub fn a_deleted_site_is_gone(stage: &mut impl Stage) {
    stage.apply(Wish::of(1));
    expect(stage, Idle, Some((1, Blue)), None);
    stage.delete();
    expect(stage, Gone, None, None);
}
