//! An agent that is the first process of a container: it inherits every orphan, and when it ends, everything in the container does. Needs root.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use bluegreen::platform::host::supervise::direct::{Direct, Settings};
use bluegreen::platform::host::supervise::{Accounts, Supervisor};
use bluegreen::rollout::Colour::{Blue, Green};

use super::app::{Ground, marked, until};

const ORPHANS: &str = "
import os, sys, time
for n in range(5):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(0.2)
        os._exit(0)
    os.wait()
open(sys.argv[1], 'w').close()
while True: time.sleep(60)
";

/// The agent of these tests: this program, told by its environment where to work, as process 1.
#[tokio::test]
#[ignore = "started by another test as the first process of a container"]
async fn an_agent_that_is_the_first_process() {
    let Ok(path) = std::env::var("BLUEGREEN_TEST_GROUND") else {
        return;
    };
    // The test harness is process 1, and this is one of its threads.
    assert_eq!(std::process::id(), 1);
    let direct = Direct::open(Settings {
        launcher: env!("CARGO_BIN_EXE_bluegreen").into(),
        accounts: Accounts::new(format!("{path}/passwd").into(), format!("{path}/group").into()),
        ..Settings::new(format!("{path}/state").into())
    })
    .await
    .expect("a supervisor");
    let launch = Ground::launch_at(path.as_ref(), "orphans.py", &[&format!("{path}/playground/done")]);
    let site = "shop".parse().expect("a name");
    if std::env::var_os("BLUEGREEN_TEST_START").is_some() {
        for colour in [Blue, Green] {
            direct.start(&site, colour, std::slice::from_ref(&launch)).await.expect("started");
        }
    }
    std::future::pending::<()>().await;
}

struct Container(Child);

impl Container {
    fn run(ground: &Ground, start: bool) -> Container {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--mount-proc", "--fork", "--kill-child"]);
        command.arg(std::env::current_exe().expect("this program"));
        command.args(["--ignored", "--exact", "container::an_agent_that_is_the_first_process"]);
        command.env("BLUEGREEN_TEST_GROUND", ground.path());
        if start {
            command.env("BLUEGREEN_TEST_START", "yes");
        }
        Container(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a container"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // `unshare` takes its child with it, which takes the container.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn zombies_of(parent: i32) -> usize {
    let all = procfs::process::all_processes().expect("/proc").flatten();
    all.filter_map(|process| process.stat().ok()).filter(|stat| stat.ppid == parent && stat.state == 'Z').count()
}

fn first_process(container: &Container) -> Option<i32> {
    let pid = container.0.id();
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

#[tokio::test]
async fn a_container_leaves_no_orphan_unburied_and_the_next_one_starts_the_live_colour_only() {
    let ground = Ground::new();
    fs::write(ground.path().join("release/orphans.py"), ORPHANS).expect("a program");
    let done = ground.playground().join("done");
    fs::create_dir_all(ground.site_dir().root()).expect("a site");
    symlink("slots/green", ground.site_dir().live()).expect("a link");
    let mark = |colour: &str| format!("BLUEGREEN_INSTANCE={}/state/sites/shop/run/{colour}.0", ground.path().display());

    let before = Container::run(&ground, true);
    until("both run", async || (!marked(&mark("blue")).is_empty() && !marked(&mark("green")).is_empty()).then_some(()))
        .await;
    until("the orphans are made", async || done.exists().then_some(())).await;
    let agent = first_process(&before).expect("the agent");
    until("they ended and were waited for", async || {
        (marked(&mark("blue")).len() == 1 && marked(&mark("green")).len() == 1 && zombies_of(agent) == 0).then_some(())
    })
    .await;
    drop(before);
    until("all is gone", async || marked(&mark("")[..mark("").len() - 2]).is_empty().then_some(())).await;

    let _after = Container::run(&ground, false);
    until("green is back", async || (!marked(&mark("green")).is_empty()).then_some(())).await;
    // Both would have been started in one breath, blue first.
    assert!(marked(&mark("blue")).is_empty());
    assert!(!ground.site_dir().run().join("blue.0.json").exists());
}
