//! The whole thing on a booted machine: the agent as its unit, the distribution's nginx, systemd keeping the apps; and reboots in the middle
//! of each phase, after which the site has to come up without the agent.

use bluegreen_rig::wait;
use serde_json::json;

use super::vps::{Down, Vps};

#[test]
fn a_rollout_loses_nothing_and_outlives_its_agent() {
    let mut vps = Vps::start();
    assert_eq!(
        vps.run(&["systemctl", "show", "--property=SubState,Type", "bluegreen"]),
        "Type=notify\nSubState=running\n"
    );
    vps.apply_and_wait(&vps.with(vps.site(), "v1", ""));
    assert_eq!((vps.live(), vps.up("blue").len(), vps.up("green").len()), ("blue", 2, 0));
    vps.begin_load();
    vps.apply_and_wait(&vps.with(vps.site(), "v2", ""));
    assert_eq!((vps.live(), vps.up("blue").len(), vps.up("green").len()), ("green", 0, 2));
    let site = vps.get().expect("a site");
    assert_eq!(site.pointer("/status/live/colour"), Some(&"green".into()), "{site:#}");
    assert_eq!(site.pointer("/status/phase"), Some(&"Idle".into()), "{site:#}");
    // Whoever is idle goes first when memory runs out, and that moves with the link.
    let score = |pid: &String| vps.run(&["cat", &format!("/proc/{pid}/oom_score_adj")]);
    assert!(vps.up("green").iter().all(|pid| score(pid) == "0\n"), "green is live");

    let mut candidate = Vec::new();
    for (version, phase, how) in [
        ("v3", "AwaitingApproval", &["systemctl", "kill", "--signal=KILL", "bluegreen"][..]),
        ("v4", "AwaitingApproval", &["systemctl", "restart", "bluegreen"][..]),
    ] {
        let site = vps.site().strategy("promotion", "Manual").strategy("standby", "1h");
        vps.apply(&vps.with(site, version, ""));
        vps.wait_for_phase(phase);
        let before = (vps.up("blue"), vps.up("green"));
        assert_eq!((before.0.len(), before.1.len()), (2, 2));
        let agent = vps.run(&["systemctl", "show", "--property=MainPID", "--value", "bluegreen"]);
        vps.run(how);
        vps.wait_for("another agent answers", |_| {
            let now = vps.run(&["systemctl", "show", "--property=MainPID", "--value", "bluegreen"]);
            now != agent && now != "0\n"
        });
        vps.run(&["bluegreen", "approve", "shop"]);
        vps.settles_on(version);
        assert_eq!((vps.up("blue"), vps.up("green")), before, "no app was touched: {}", vps.log());
        candidate = before.0;
    }
    assert_eq!(vps.live(), "green");
    let idle = candidate.iter().map(|pid| vps.run(&["cat", &format!("/proc/{pid}/oom_score_adj")]));
    assert!(idle.into_iter().all(|score| score == "500\n"), "blue is the standby");

    let before = (vps.up("blue"), vps.up("green"));
    vps.run(&["systemctl", "stop", "bluegreen"]);
    assert_eq!((vps.up("blue"), vps.up("green")), before, "the sites go on");
    vps.waits_for_answers_of("v4");
    vps.run(&["systemctl", "start", "bluegreen"]);
    vps.settles_on("v4");
    let requests = vps.end_load("rollouts and agents that ended");
    println!("rollouts and agents that ended: {requests} requests, 0 failed");
    let log = |level| vps.run(&["journalctl", "--unit=bluegreen", "--output=cat", "--no-pager", level]);
    let (infos, warnings) = (log("--priority=info..info"), log("--priority=warning"));
    assert!(infos.contains("\nINFO the agent runs ") && infos.contains("\nINFO Draining "), "{infos}");
    assert!(!warnings.contains("INFO "), "{warnings}");

    // A reboot with the agent is no failure of what went live right before.
    vps.apply(&vps.with(vps.site().strategy("bake", "1h"), "v5", ""));
    vps.wait_for_phase("Baking");
    vps.the_agent_outlives_the_live_colour();
    vps.machine.reboot().expect("a reboot");
    vps.waits_for_answers_of("v5");
    vps.begin_load();
    vps.wait_for_phase("Baking");
    vps.apply(&vps.with(vps.site(), "v5", ""));
    vps.settles_on("v5");
    let requests = vps.end_load("after a reboot with the agent");
    println!("after a reboot with the agent: {requests} requests, 0 failed");
    assert!(!vps.run(&["bluegreen", "history", "shop"]).contains("Rejected"));

    vps.run(&["bluegreen", "delete", "shop"]);
    wait::until("the site is gone", wait::PATIENCE, || {
        (!vps.machine.root().join("var/lib/bluegreen/sites/shop").exists()).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", vps.log()));
    let left = ["/etc", "/run", "/var/lib/bluegreen"];
    let left = vps.run(&[&["find"], &left[..], &["-name", "*shop*", "-not", "-path", "/etc/*shadow*"]].concat());
    assert_eq!(left, "");
    assert_eq!(vps.run(&["systemctl", "list-units", "--all", "--plain", "--no-legend", "bluegreen-*"]), "");
}

/// Brings a rollout into a phase, in which the machine goes down; says which version has to be up without the agent, and how the rollout ends.
struct Case {
    phase: &'static str,
    down: Down,
    /// What to do until the phase is reached, given the names of the version that is live and of the next one.
    begin: fn(&mut Vps, &str),
    /// Whether the link names the candidate by then.
    moved: bool,
    /// What to do after the agent has started.
    finish: fn(&mut Vps, &str),
    /// Whether the candidate is live in the end.
    stays: bool,
}

fn nothing(_: &mut Vps, _: &str) {}

fn in_the_middle_of(cases: &[Case]) {
    let mut vps = Vps::start();
    let mut live = "v0".to_owned();
    vps.apply_and_wait(&vps.with(vps.site(), &live, ""));
    for (number, case) in (1..).zip(cases) {
        let next = format!("v{number}");
        let what = format!("{} ({:?})", case.phase, case.down);
        vps.begin_load();
        // It runs on; only the next boot is without it.
        vps.run(&["systemctl", "disable", "--quiet", "bluegreen"]);
        (case.begin)(&mut vps, &next);
        vps.wait_for_phase(case.phase);
        let before = vps.end_load(&format!("before {what}"));
        let still = vps.wait_for("it answers", |_| true);
        assert_eq!(still.pointer("/status/phase"), Some(&case.phase.into()), "it was over too soon");
        vps.reboot(case.down);
        let served = if case.moved { &next } else { &live };
        assert_eq!(&vps.live_version(), served, "{what}: {}", vps.log());
        let colour = vps.live();
        let other = if colour == "blue" { "green" } else { "blue" };
        vps.waits_for_answers_of(served);
        assert_eq!((vps.up(colour).len(), vps.up(other).len()), (2, 0), "{what}: {}", vps.log());
        vps.begin_load();
        vps.run(&["systemctl", "start", "bluegreen"]);
        vps.run(&["systemctl", "enable", "--quiet", "bluegreen"]);
        (case.finish)(&mut vps, &next);
        let end = if case.stays { next.clone() } else { live.clone() };
        vps.settles_on(&end);
        vps.waits_for_answers_of(&end);
        let after = vps.end_load(&format!("after {what}"));
        println!(
            "{what}: {colour} came up with {served}; 0 of {before} and of {after} requests failed; it ended with {end}"
        );
        let rejected = vps.run(&["bluegreen", "history", "shop"]).contains("Rejected");
        assert_eq!(rejected, !case.stays, "{what}: {}", vps.log());
        live = end;
    }
}

#[test]
fn a_reboot_in_each_phase_before_the_cutover_keeps_the_old_version_up() {
    in_the_middle_of(&[
        Case {
            phase: "Preparing",
            down: Down::AtOnce,
            begin: |vps, next| {
                let site = vps.with(vps.site(), next, "");
                let large = vps.machine.root().join("srv/uploads").join(next).join("large");
                std::fs::File::create(large).and_then(|file| file.set_len(1 << 30)).expect("a large file");
                vps.apply(&site);
            },
            moved: false,
            finish: nothing,
            stays: true,
        },
        Case {
            phase: "Starting",
            down: Down::InOrder,
            begin: |vps, next| vps.apply(&vps.with(vps.site(), next, "start-ms=3000")),
            moved: false,
            finish: nothing,
            stays: true,
        },
        Case {
            phase: "Verifying",
            down: Down::AtOnce,
            begin: |vps, next| {
                let site =
                    vps.site().set("/spec/health", json!({ "path": "/health", "successes": 1, "timeout": "20s" }));
                vps.apply(&vps.with(site, next, "health-ms=3000"));
            },
            moved: false,
            finish: nothing,
            stays: true,
        },
        Case {
            phase: "AwaitingApproval",
            down: Down::InOrder,
            begin: |vps, next| vps.apply(&vps.with(vps.site().strategy("promotion", "Manual"), next, "")),
            moved: false,
            finish: |vps, _| {
                vps.wait_for_phase("AwaitingApproval");
                vps.run(&["bluegreen", "approve", "shop"]);
            },
            stays: true,
        },
    ]);
}

#[test]
fn a_reboot_in_each_phase_after_the_cutover_brings_up_what_the_link_names() {
    in_the_middle_of(&[
        Case {
            phase: "CuttingOver",
            down: Down::AtOnce,
            begin: |vps, next| {
                vps.apply(&vps.with(vps.site().strategy("promotion", "Manual"), next, ""));
                vps.wait_for_phase("AwaitingApproval");
                hide_the_door(vps);
                vps.run(&["bluegreen", "approve", "shop"]);
            },
            moved: true,
            finish: nothing,
            stays: true,
        },
        Case {
            phase: "Draining",
            down: Down::InOrder,
            begin: |vps, next| {
                let _ = vps.a_long_request();
                vps.apply(&vps.with(vps.site().strategy("drainWithin", "1h"), next, ""));
            },
            moved: true,
            finish: nothing,
            stays: true,
        },
        Case {
            phase: "Baking",
            down: Down::InOrder,
            begin: |vps, next| {
                vps.apply(&vps.with(vps.site().strategy("bake", "1h"), next, ""));
                vps.wait_for_phase("Baking");
                vps.the_agent_outlives_the_live_colour();
            },
            moved: true,
            finish: |vps, next| vps.apply(&vps.with(vps.site(), next, "")),
            stays: true,
        },
        Case {
            phase: "Idle",
            down: Down::InOrder,
            begin: |vps, next| {
                let site = vps.site().strategy("standby", "1h");
                vps.apply_and_wait(&vps.with(site, next, ""));
                vps.the_agent_outlives_the_live_colour();
            },
            moved: true,
            finish: nothing,
            stays: true,
        },
        Case {
            phase: "Retiring",
            down: Down::AtOnce,
            begin: |vps, next| {
                let stubborn = vps.site().set("/spec/target/host/stopWithin", json!("30s"));
                vps.apply_and_wait(&vps.with(stubborn, "stubborn", "ignore-term"));
                vps.apply(&vps.with(vps.site(), next, ""));
            },
            moved: true,
            finish: nothing,
            stays: true,
        },
        Case {
            phase: "RollingBack",
            down: Down::AtOnce,
            begin: |vps, next| {
                vps.apply(&vps.with(vps.site().strategy("bake", "1h"), next, ""));
                vps.wait_for_phase("Baking");
                let _ = vps.a_long_request();
                vps.run(&["bluegreen", "abort", "shop"]);
            },
            moved: false,
            finish: nothing,
            stays: false,
        },
    ]);
}

/// From now until the next boot the agent can't see what the web server does.
fn hide_the_door(vps: &mut Vps) {
    for rule in [
        &["add", "table", "inet", "test"][..],
        &["add", "chain", "inet", "test", "out", "{ type filter hook output priority 0 ; }"],
        &["add", "rule", "inet", "test", "out", "tcp", "dport", "947", "drop"],
    ] {
        vps.run(&[&["nft"], rule].concat());
    }
}
