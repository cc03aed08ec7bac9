//! Instances outlive the agent, and the next one knows them, whatever happened to either meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bluegreen::platform::host::supervise::direct::{Direct, Settings};
use bluegreen::platform::host::supervise::{Accounts, InstanceState, Launch, Supervisor};
use bluegreen::rollout::Colour::{Blue, Green};

use super::app::{Ground, SLEEP, alive, kill, marked, running, until};

#[tokio::test]
async fn a_supervisor_adopts_what_the_one_before_left_and_stops_it() {
    let ground = Ground::new();
    let first = ground.direct().await;
    first.start(&ground.site, Blue, &[ground.python(SLEEP, &[])]).await.expect("started");
    let (pids, _) = running(&first, &ground.site, Blue, 0).await;
    drop(first);
    assert!(alive(pids[0]), "it does not die with its supervisor");
    let second = ground.direct().await;
    assert_eq!(running(&second, &ground.site, Blue, 0).await, (pids.clone(), 0), "not started anew");
    kill(pids[0]);
    let (after, restarts) = running(&second, &ground.site, Blue, 1).await;
    assert_eq!(restarts, 1);
    drop(second);
    kill(after[0]);
    until("it is dead", async || (!alive(after[0])).then_some(())).await;
    let third = ground.direct().await;
    let (last, restarts) = running(&third, &ground.site, Blue, 2).await;
    assert_eq!(restarts, 2, "what crashed while nobody looked is started again");
    third.stop(&ground.site, Blue).await.expect("stopped");
    assert!(!alive(last[0]));
}

#[tokio::test]
async fn a_process_that_got_the_pid_of_ours_is_neither_adopted_nor_harmed() {
    let ground = Ground::new();
    let first = ground.direct().await;
    first.start(&ground.site, Blue, &[ground.python(SLEEP, &[])]).await.expect("started");
    let (pids, _) = running(&first, &ground.site, Blue, 0).await;
    drop(first);
    kill(pids[0]);
    until("it is dead", async || (!alive(pids[0])).then_some(())).await;
    let mut stranger = Stranger(Command::new("sleep").arg("600").spawn().expect("a stranger"));
    let file = ground.site_dir().run().join("blue.0.pid");
    let mut born: serde_json::Value = serde_json::from_slice(&fs::read(&file).expect("a record")).expect("JSON");
    born["pid"] = stranger.0.id().into();
    fs::write(&file, born.to_string()).expect("a record that names the stranger");
    let second = ground.direct().await;
    let (now, _) = running(&second, &ground.site, Blue, 1).await;
    assert_ne!(now[0], stranger.0.id());
    second.stop(&ground.site, Blue).await.expect("stopped");
    assert!(stranger.0.try_wait().expect("a look").is_none(), "the stranger lives on");
}

struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_record_that_was_cut_in_half_loses_no_process_and_starts_no_second_one() {
    let ground = Ground::new();
    let first = ground.direct().await;
    let launch = ground.python(SLEEP, &[]);
    first.start(&ground.site, Blue, std::slice::from_ref(&launch)).await.expect("started");
    let (pids, _) = running(&first, &ground.site, Blue, 0).await;
    drop(first);
    for file in ["blue.0.pid", "blue.0.json"] {
        let file = ground.site_dir().run().join(file);
        let whole = fs::read(&file).expect("a record");
        fs::write(&file, &whole[..whole.len() / 2]).expect("half of it");
    }
    let second = ground.direct().await;
    assert_eq!(running(&second, &ground.site, Blue, 0).await.0, pids);
    kill(pids[0]);
    until("the way to start it is not known", async || {
        matches!(&second.states(&ground.site, Blue).await.expect("states")[0], InstanceState::Failed { how, .. } if how.contains("cannot read how to run it")).then_some(())
    })
    .await;
    second.start(&ground.site, Blue, &[launch]).await.expect("said again");
    running(&second, &ground.site, Blue, 0).await;
    second.stop(&ground.site, Blue).await.expect("stopped");
    assert!(marked(&format!("BLUEGREEN_INSTANCE={}", ground.path().display())).is_empty());
}

#[tokio::test]
async fn after_a_reboot_the_colour_that_the_link_names_is_started_and_no_other() {
    let ground = Ground::new();
    let first = ground.direct().await;
    for colour in [Blue, Green] {
        first.start(&ground.site, colour, &[ground.python(SLEEP, &[])]).await.expect("started");
    }
    let (blue, green) =
        (running(&first, &ground.site, Blue, 0).await.0, running(&first, &ground.site, Green, 0).await.0);
    symlink("slots/green", ground.site_dir().live()).expect("a link");
    drop(first);
    for pid in blue.iter().chain(&green) {
        kill(*pid);
    }
    for name in ["blue.0.json", "green.0.json", "blue.0.pid", "green.0.pid"] {
        let file = ground.site_dir().run().join(name);
        let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&file).expect("a record")).expect("JSON");
        record["boot"] = "another-boot:1".into();
        // After a reboot the number belongs to somebody else, who happens to have started at the same tick.
        fs::write(&file, record.to_string()).expect("a record of another boot");
    }
    let second = ground.direct().await;
    running(&second, &ground.site, Green, 0).await;
    assert!(second.states(&ground.site, Blue).await.expect("states").is_empty());
    drop(second);
    // It belongs to this boot now, even if the link moves.
    fs::remove_file(ground.site_dir().live()).expect("no link");
    let third = ground.direct().await;
    running(&third, &ground.site, Green, 0).await;
    third.stop(&ground.site, Green).await.expect("stopped");
}

/// The agent of the next test: this program, told by its environment where to work.
#[tokio::test]
#[ignore = "started by another test as a process of its own"]
async fn an_agent_that_starts_and_stops_for_ever() {
    let Ok(ground) = std::env::var("BLUEGREEN_TEST_GROUND") else {
        return;
    };
    let mut settings = Settings::new(format!("{ground}/state").into());
    settings.launcher = env!("CARGO_BIN_EXE_bluegreen").into();
    settings.accounts = Accounts::new(format!("{ground}/passwd").into(), format!("{ground}/group").into());
    let direct = Direct::open(settings).await.expect("a supervisor");
    let launch = Launch {
        argv: vec!["/bin/sleep".to_owned(), "600".to_owned()],
        env: BTreeMap::new(),
        dir: "/".into(),
        user: "shop".parse().expect("a name"),
        writable: Vec::new(),
        stop_within: Duration::from_secs(5),
    };
    let site = "shop".parse().expect("a name");
    loop {
        direct.start(&site, Blue, &[launch.clone(), launch.clone()]).await.expect("started");
        direct.stop(&site, Blue).await.expect("stopped");
    }
}

#[tokio::test]
async fn an_agent_killed_between_any_two_instructions_leaves_no_instance_twice_and_none_unknown() {
    let ground = Ground::new();
    let mark = format!("BLUEGREEN_INSTANCE={}", ground.path().display());
    for round in 0..40u32 {
        let mut agent = Stranger(
            Command::new(std::env::current_exe().expect("this program"))
                .args(["--ignored", "--exact", "survive::an_agent_that_starts_and_stops_for_ever"])
                .env("BLUEGREEN_TEST_GROUND", ground.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("an agent"),
        );
        until("the agent works", async || ground.site_dir().run().exists().then_some(())).await;
        // Another moment in each round, over some turns of its loop.
        tokio::time::sleep(Duration::from_micros(u64::from(round) * 1_373 % 29_000 + 15_000)).await;
        agent.0.kill().expect("killed");
        agent.0.wait().expect("gone");
        let direct = ground.direct().await;
        direct
            .start(&ground.site, Blue, &[sleeper(&ground), sleeper(&ground)])
            .await
            .or_else(|fault| {
                // What was being stopped when the agent was killed is stopped first.
                if fault.reason == "StillStopping" { Ok(()) } else { Err(fault) }
            })
            .expect("started");
        let states = direct.states(&ground.site, Blue).await.expect("states");
        let known: Vec<u32> = states
            .iter()
            .flat_map(|state| match state {
                InstanceState::Running { pids, .. } => pids.clone(),
                _ => vec![],
            })
            .collect();
        for index in 0..2 {
            let of_it: Vec<i32> = marked(&format!("{mark}/state/sites/shop/run/blue.{index}"));
            assert!(
                of_it.len() <= 1,
                "round {round}: instance {index} runs as {of_it:?}, the supervisor knows {known:?}"
            );
        }
        direct.stop(&ground.site, Blue).await.expect("stopped");
        assert!(marked(&mark).is_empty(), "round {round}: something is left");
    }
}

fn sleeper(ground: &Ground) -> Launch {
    let mut launch = ground.python("", &[]);
    launch.argv = vec!["/bin/sleep".to_owned(), "600".to_owned()];
    launch
}
