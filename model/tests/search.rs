//! The search itself: exhaustive for its bounds, and able to find what it is there to find.

use bluegreen_model::rollout::Promotion::{Automatic, Manual};
use bluegreen_model::rollout::{Promotion, Rule, Rules};
use bluegreen_model::search::{Bounds, search};
use bluegreen_model::step::Start::{self, Nothing, One, Standby};

fn bounds(promotion: Promotion, start: Start, [edits, commands, faults]: [u8; 3]) -> Bounds {
    Bounds { promotion, start, edits, commands, faults, preparation: false }
}

#[track_caller]
fn holds(bounds: Bounds) {
    let found = search(bounds, Rules::ALL, false);
    println!("{bounds:?}: {} states, {} transitions", found.states, found.transitions);
    assert!(found.violations.is_empty(), "{:#?}", found.violations);
    assert!(found.states > 1000, "the search went nowhere: {} states", found.states);
}

#[test]
fn an_edit_a_command_and_a_fault_break_nothing() {
    holds(bounds(Automatic, One, [1, 1, 1]));
    holds(bounds(Manual, One, [1, 1, 1]));
}

#[test]
fn a_first_deployment_holds_under_the_same() {
    holds(bounds(Manual, Nothing, [1, 1, 1]));
    holds(bounds(Automatic, Nothing, [1, 0, 1]));
}

#[test]
fn a_warm_standby_holds_under_the_same() {
    holds(bounds(Automatic, Standby, [1, 1, 1]));
}

#[test]
fn two_faults_break_nothing() {
    holds(bounds(Automatic, One, [1, 0, 2]));
    holds(bounds(Automatic, Standby, [1, 0, 2]));
    holds(bounds(Manual, Standby, [1, 0, 2]));
}

#[test]
fn three_edits_and_two_commands_break_nothing() {
    holds(bounds(Automatic, One, [2, 1, 0]));
    holds(bounds(Manual, One, [3, 1, 0]));
    holds(bounds(Manual, One, [1, 2, 0]));
}

#[test]
fn an_artifact_that_takes_its_time_or_is_unusable_breaks_nothing() {
    holds(Bounds { preparation: true, ..bounds(Automatic, One, [1, 1, 1]) });
    holds(Bounds { preparation: true, ..bounds(Manual, One, [1, 0, 2]) });
}

/// The wide search: minutes. `make model-wide` runs it, and `make test-all` with it.
#[test]
fn the_wide_search_breaks_nothing() {
    if std::env::var_os("BLUEGREEN_WIDE_SEARCH").is_none() {
        println!("skipped: set BLUEGREEN_WIDE_SEARCH=1");
        return;
    }
    holds(bounds(Automatic, Nothing, [1, 1, 1]));
    holds(bounds(Automatic, One, [2, 1, 1]));
    holds(bounds(Manual, One, [2, 1, 1]));
    holds(bounds(Manual, One, [2, 2, 0]));
    holds(bounds(Manual, One, [1, 2, 1]));
    holds(bounds(Automatic, Standby, [0, 2, 2]));
    holds(bounds(Automatic, Standby, [2, 0, 1]));
}

/// Each rule is left out once: the search must find what it was for.
#[test]
fn every_rule_that_is_left_out_is_missed() {
    let small: [Bounds; 5] = [
        bounds(Automatic, One, [1, 0, 1]),
        bounds(Manual, One, [1, 1, 0]),
        bounds(Manual, One, [2, 1, 0]),
        bounds(Automatic, One, [1, 0, 2]),
        bounds(Automatic, One, [1, 1, 1]),
    ];
    for rule in Rule::ALL {
        let needed = match rule {
            Rule::ApprovalDies => &[bounds(Manual, One, [3, 1, 0])][..],
            _ => &small[..],
        };
        let violation = needed.iter().find_map(|&bounds| {
            let found = search(bounds, Rules::without(rule), true);
            found.violations.into_iter().next()
        });
        let Some((violation, way)) = violation else { panic!("without {rule:?} nothing was found to break") };
        println!("without {rule:?}: {violation}, after {} events", way.len());
    }
}
