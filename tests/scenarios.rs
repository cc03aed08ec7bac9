//! What a rollout comes to, told once and played in every world: in memory, on a machine with a real nginx, and on a real Kubernetes control plane. The
//! worlds differ in how a colour is started, asked and routed to; what shall come of it is the same.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "operator/kit.rs"]
#[allow(dead_code, reason = "the tests of the operator use the rest")]
mod kit;

mod scenarios {
    pub mod cluster;
    pub mod host;
    pub mod sim;
    pub mod stage;
    pub mod suite;
}

use scenarios::{cluster, host, sim, suite};

/// A test for each scenario in each world.
macro_rules! play {
    ($($scenario:ident),* $(,)?) => {
        mod in_memory { $(#[test] fn $scenario() { super::suite::$scenario(&mut super::sim::Sim::new()); })* }
        mod on_a_machine { $(#[test] fn $scenario() { super::suite::$scenario(&mut super::host::Machine::new()); })* }
        mod on_a_cluster {
            $(#[test] fn $scenario() { super::suite::$scenario(&mut super::cluster::Plane::new(stringify!($scenario))); })*
        }
    };
}

play!(
    a_first_release_goes_live,
    an_upgrade_takes_the_other_colour,
    a_broken_release_is_rejected_and_stays_so_until_another_one_comes,
    an_approval_lets_it_go_live,
    what_was_aborted_is_tried_again_when_asked,
    a_rollback_returns_to_what_is_warm_and_holds,
    a_pause_holds_until_it_is_lifted,
    a_newer_release_takes_the_place_of_a_candidate,
    a_withdrawn_release_leaves_no_trace,
    a_restart_is_a_rollout_of_the_same,
    a_live_colour_that_is_down_yields_to_the_standby,
    a_route_that_somebody_moved_is_put_back,
    a_lost_status_forgets_no_rejection,
    a_deleted_site_is_gone,
);
