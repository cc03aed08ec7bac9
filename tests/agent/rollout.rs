//! Rollouts: the first, the next, a bad one, and back.

use crate::kit::{Machine, nothing_lost};

#[test]
fn a_first_deployment_goes_live_and_the_next_one_loses_nothing() {
    let machine = Machine::start();
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    assert_eq!(machine.agent.live_colour("shop").as_deref(), Some("blue"));
    let load = machine.load(&site);
    load.wait_for_version("v1").unwrap();
    machine.agent.apply_and_wait(&site.clone().release(&machine.release("v2"))).unwrap();
    assert_eq!(machine.agent.live_colour("shop").as_deref(), Some("green"));
    load.wait_for_version("v2").unwrap();
    load.wait_for_more(200).unwrap();
    nothing_lost(&load.stop());
}
