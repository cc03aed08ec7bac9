//! The supervisor `systemd` on a booted machine: each test of `inside` in turn, and what reboots do.

use bluegreen_rig::booted::Booted;

const TESTS: &str = "/usr/local/lib/bluegreen-tests";

fn boot() -> Booted {
    let tests = std::env::current_exe().expect("this program");
    Booted::boot(&[(&tests, TESTS)]).expect("a machine")
}

fn inside(machine: &Booted, test: &str) {
    let mut command = machine.command(TESTS).expect("the machine is on");
    let name = format!("inside::{test}");
    let output = command
        .args(["--ignored", "--exact", &name, "--nocapture"])
        .env(super::inside::INSIDE, "yes")
        .output()
        .expect("a run");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test}: {said}{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        machine.journal()
    );
}

fn is_active(machine: &Booted, unit: &str) -> bool {
    machine.output(&["systemctl", "is-active", "--quiet", unit]).expect("systemctl").status.success()
}

#[test]
fn units_start_crash_and_stop_as_the_instances_of_a_colour() {
    let machine = boot();
    for test in [
        "a_started_colour_runs_until_it_is_stopped",
        "the_app_gets_its_words_its_user_its_variables_and_no_more",
        "an_app_may_write_where_it_was_told_and_nowhere_else",
        "an_app_that_ignores_sigterm_is_killed_with_its_daemons",
        "a_crashed_instance_is_started_again_counted_and_told",
        "what_can_not_be_started_says_why_and_starts_when_it_is_put_right",
        "an_instance_is_ready_by_its_own_socket",
        "the_next_supervisor_finds_what_the_one_before_started",
        "a_colour_that_gets_smaller_leaves_no_unit_for_the_next_reboot",
        "a_site_that_is_forgotten_leaves_nothing_behind",
    ] {
        inside(&machine, test);
    }
}

#[test]
fn a_reboot_starts_the_colour_that_the_link_names_and_no_other_without_the_agent() {
    let mut machine = boot();
    let (blue, green) = ("bluegreen-shop-blue@0.service", "bluegreen-shop-green@0.service");
    inside(&machine, "both_colours_are_started");
    assert!(is_active(&machine, blue) && is_active(&machine, green));
    let site = "/var/lib/bluegreen/sites/shop";
    let point = |machine: &Booted, colour: &str| {
        machine.run(&["ln", "-sfnT", &format!("slots/{colour}"), &format!("{site}/next")]).expect("a link");
        machine.run(&["mv", "-T", &format!("{site}/next"), &format!("{site}/live")]).expect("a rename");
    };
    for (colour, up, down) in [("green", green, blue), ("blue", blue, green)] {
        point(&machine, colour);
        machine.reboot().expect("a reboot");
        assert!(is_active(&machine, up) && !is_active(&machine, down), "{colour}: {}", machine.journal());
        machine.power_cut().expect("a power cut");
        assert!(is_active(&machine, up) && !is_active(&machine, down), "{colour}: {}", machine.journal());
    }
    // The next supervisor takes over what the reboot started: it is kept, wherever the link goes, and can be stopped.
    inside(&machine, "what_the_reboot_started_is_kept_and_stopped");
    machine.run(&["rm", &format!("{site}/live")]).expect("no link");
    machine.reboot().expect("a reboot");
    assert!(!is_active(&machine, blue) && !is_active(&machine, green), "{}", machine.journal());
}
