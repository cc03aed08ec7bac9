//! Instances are started, kept, adopted and stopped, whatever they and the agent do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use bluegreen::platform::Class;
use bluegreen::platform::host::supervise::{InstanceId, InstanceState, Supervisor, oom};
use bluegreen::rollout::Colour::{Blue, Green};

use super::app::{Ground, PATIENCE, SLEEP, alive, cmdline, marked, running, until};

const STUBBORN: &str = "
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
kids = []
for kind in ('child', 'daemon'):
    pid = os.fork()
    if pid == 0:
        if kind == 'daemon':
            os.setsid()
            if os.fork() != 0: os._exit(0)
        open(os.path.join(sys.argv[1], kind), 'w').write(str(os.getpid()))
        while True: time.sleep(60)
print('ready')
while True: time.sleep(60)
";
const CRASH_WHEN_TOLD: &str = "
import os, sys, time
print('started', os.getpid())
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
os.remove(sys.argv[1])
sys.exit(7)
";

async fn number_in(file: &std::path::Path) -> u32 {
    until("a pid is written", async || fs::read_to_string(file).ok()?.parse().ok()).await
}

#[tokio::test]
async fn a_started_colour_runs_until_it_is_stopped() {
    let ground = Ground::new();
    let direct = ground.direct().await;
    let launches = [ground.python(SLEEP, &["0"]), ground.python(SLEEP, &["1"])];
    direct.start(&ground.site, Blue, &launches).await.expect("started");
    let (pids, restarts) = running(&direct, &ground.site, Blue, 0).await;
    assert_eq!(restarts, 0);
    direct.start(&ground.site, Blue, &launches).await.expect("started already");
    assert_eq!(running(&direct, &ground.site, Blue, 0).await.0, pids, "the same process");
    assert_eq!(direct.states(&ground.site, Blue).await.expect("states").len(), 2);
    assert!(direct.states(&ground.site, Green).await.expect("states").is_empty());
    let blue = InstanceId { site: ground.site.clone(), colour: Blue, index: 1 };
    until("it printed", async || (direct.logs(&blue, 5).await.expect("logs") == ["ready"]).then_some(())).await;
    direct.stop(&ground.site, Blue).await.expect("stopped");
    assert!(direct.states(&ground.site, Blue).await.expect("states").is_empty());
    assert!(marked(&format!("BLUEGREEN_INSTANCE={}", ground.path().display())).is_empty());
    direct.stop(&ground.site, Blue).await.expect("nothing to stop");
}

#[tokio::test]
async fn an_app_that_ignores_sigterm_is_killed_with_its_children_and_its_daemons() {
    let ground = Ground::new();
    let direct = ground.direct().await;
    let play = ground.playground();
    let mut launch = ground.python(STUBBORN, &[play.to_str().expect("text")]);
    launch.stop_within = Duration::from_millis(300);
    direct.start(&ground.site, Blue, &[launch]).await.expect("started");
    let (main, _) = running(&direct, &ground.site, Blue, 0).await;
    let (child, daemon) = (number_in(&play.join("child")).await, number_in(&play.join("daemon")).await);
    assert!(alive(child) && alive(daemon));
    direct.stop(&ground.site, Blue).await.expect("stopped");
    for pid in [main[0], child, daemon] {
        assert!(!alive(pid), "{pid} is left");
    }
}

#[tokio::test]
async fn a_crashed_instance_is_started_again_and_counted() {
    let ground = Ground::new();
    let direct = ground.direct().await;
    let mut changes = direct.changes(&ground.site, Blue);
    let go = ground.playground().join("crash");
    direct
        .start(&ground.site, Blue, &[ground.python(CRASH_WHEN_TOLD, &[go.to_str().expect("text")])])
        .await
        .expect("started");
    let mut before = running(&direct, &ground.site, Blue, 0).await.0;
    for round in 1..=3 {
        changes.borrow_and_update();
        fs::write(&go, "").expect("a wish");
        fs::set_permissions(&go, fs::Permissions::from_mode(0o666)).expect("open to the app");
        tokio::time::timeout(PATIENCE, changes.changed()).await.expect("told in time").expect("told");
        let how = until("it is seen to have failed", async || {
            match direct.states(&ground.site, Blue).await.expect("states").remove(0) {
                InstanceState::Failed { how, .. } => Some(how),
                InstanceState::Running { restarts, .. } if restarts >= round => Some("exit code 7".to_owned()),
                _ => None,
            }
        })
        .await;
        assert_eq!(how, "exit code 7");
        let (pids, restarts) = running(&direct, &ground.site, Blue, round).await;
        assert_eq!(restarts, round);
        assert_ne!(pids, before);
        before = pids;
    }
    direct.stop(&ground.site, Blue).await.expect("stopped");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_said_in_words_and_stopping_ends_the_tries() {
    let ground = Ground::new();
    let direct = ground.direct().await;
    let mut launch = ground.python(SLEEP, &[]);
    launch.argv = vec!["/nowhere/app".to_owned()];
    direct.start(&ground.site, Blue, std::slice::from_ref(&launch)).await.expect("tried");
    let how = until("it failed", async || match direct.states(&ground.site, Blue).await.expect("states").remove(0) {
        InstanceState::Failed { how, .. } => Some(how),
        _ => None,
    })
    .await;
    assert!(how.contains("cannot execute /nowhere/app") && how.contains("No such file"), "{how}");
    let log = direct.logs(&InstanceId { site: ground.site.clone(), colour: Blue, index: 0 }, 1).await.expect("logs");
    assert!(log[0].contains("cannot execute /nowhere/app"), "{log:?}");
    // The mistake is put right: nobody waits for the end of the pause.
    launch.argv = ground.python(SLEEP, &[]).argv;
    direct.start(&ground.site, Blue, &[launch]).await.expect("started");
    running(&direct, &ground.site, Blue, 0).await;
    direct.stop(&ground.site, Blue).await.expect("stopped");
}

#[tokio::test]
async fn an_unknown_user_is_the_users_fault_and_nothing_is_started() {
    let ground = Ground::new();
    let direct = ground.direct().await;
    let mut launch = ground.python(SLEEP, &[]);
    launch.user = "nosuchuser".parse().expect("a name");
    let fault = direct.start(&ground.site, Blue, &[launch]).await.expect_err("no such user");
    assert_eq!((fault.class, fault.reason), (Class::User, "UserUnknown"));
    assert!(fault.message.contains("there is no user nosuchuser"), "{}", fault.message);
    assert!(direct.states(&ground.site, Blue).await.expect("states").is_empty());
}

#[tokio::test]
async fn root_never_runs_an_app() {
    let ground = Ground::new();
    let direct = ground.direct().await;
    let mut launch = ground.python(SLEEP, &[]);
    launch.user = "root".parse().expect("a name");
    direct.start(&ground.site, Blue, &[launch]).await.expect("tried");
    let how = until("it failed", async || match direct.states(&ground.site, Blue).await.expect("states").remove(0) {
        InstanceState::Failed { how, .. } => Some(how),
        _ => None,
    })
    .await;
    assert!(how.contains("never runs as root"), "{how}");
    direct.stop(&ground.site, Blue).await.expect("stopped");
}

#[tokio::test]
async fn the_app_gets_its_user_its_groups_its_variables_and_nothing_of_the_agents() {
    let ground = Ground::new();
    let direct = ground.direct().await;
    let play = ground.playground();
    let report = "
import json, os, sys, time
status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
tell = dict(uid=os.getresuid(), gid=os.getresgid(), groups=sorted(os.getgroups()), env=dict(os.environ), cwd=os.getcwd(),
    nnp=status['NoNewPrivs'].strip(), caps=status['CapEff'].strip(), fds=[os.readlink(f'/proc/self/fd/{n}') for n in range(1000) if os.path.lexists(f'/proc/self/fd/{n}')],
    oom=open('/proc/self/oom_score_adj').read().strip(), sid=os.getsid(0), pid=os.getpid(), umask=status['Umask'].strip(),
    ignored=status['SigIgn'].strip(), blocked=status['SigBlk'].strip())
open(os.path.join(sys.argv[1], 'new'), 'w').write(json.dumps(tell))
os.rename(os.path.join(sys.argv[1], 'new'), os.path.join(sys.argv[1], 'report'))
while True: time.sleep(60)
";
    let secret = "s3cret-of-the-shop $HOME %n \"quoted\" 'single' \\ \n second line";
    let mut launch = ground.python(report, &[play.to_str().expect("text")]);
    launch.env.insert("DB_PASSWORD".parse().expect("a name"), secret.to_owned());
    direct.start(&ground.site, Blue, &[launch.clone()]).await.expect("started");
    let text = until("it reported", async || fs::read_to_string(play.join("report")).ok()).await;
    let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let (uid, gid) = (ground.uid, told["gid"][0].as_u64().expect("a number"));
    assert_eq!(told["uid"], serde_json::json!([uid, uid, uid]));
    if rustix::process::geteuid().is_root() {
        assert_eq!(told["gid"], serde_json::json!([uid, uid, uid]));
        assert_eq!(told["groups"], serde_json::json!([gid, gid + 1]));
        assert_eq!(told["caps"], "0000000000000000");
    }
    let mut env: BTreeMap<String, String> = serde_json::from_value(told["env"].clone()).expect("variables");
    env.remove("LC_CTYPE"); // Python's own
    assert!(env.remove("BLUEGREEN_INSTANCE").is_some_and(|mark| mark.ends_with("/run/blue.0")));
    let wanted: BTreeMap<String, String> = launch.env.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
    assert_eq!(env, wanted);
    assert_eq!(told["cwd"], launch.dir.to_str().expect("text"));
    assert_eq!((&told["nnp"], &told["umask"], &told["oom"]), (&"1".into(), &"0027".into(), &"500".into()));
    let fds: Vec<String> = serde_json::from_value(told["fds"].clone()).expect("files");
    let log = ground.site_dir().logs().join("blue.0.log").to_str().expect("text").to_owned();
    assert_eq!(fds[..3], ["/dev/null".to_owned(), log.clone(), log]);
    // Whoever started this test may have left files open for all its children; of ours none gets through.
    let inherited = |file: &String| {
        !file.contains(ground.path().to_str().expect("text"))
            && !file.starts_with("anon_inode")
            && !file.starts_with("socket")
    };
    assert!(fds[3..].iter().all(inherited), "{fds:?}");
    assert_eq!(told["sid"], told["pid"], "a session of its own");
    assert_eq!(told["blocked"], "0000000000000000");
    let run = ground.site_dir().run();
    assert_eq!(fs::metadata(&run).expect("run").permissions().mode() & 0o777, 0o700);
    for file in fs::read_dir(&run).expect("run") {
        let file = file.expect("a file");
        assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
    // Whoever may list processes sees no secret.
    for process in procfs::process::all_processes().expect("/proc").flatten() {
        assert!(
            !cmdline(process.pid.cast_unsigned()).unwrap_or_default().contains("s3cret-of-the-shop"),
            "{}",
            process.pid
        );
    }
    direct.stop(&ground.site, Blue).await.expect("stopped");
}

#[tokio::test]
async fn the_idle_colour_goes_first_when_memory_runs_out() {
    let ground = Ground::new();
    let direct = ground.direct().await;
    fs::create_dir_all(ground.site_dir().root()).expect("a site");
    symlink("slots/blue", ground.site_dir().live()).expect("a link");
    let mut pids = Vec::new();
    for colour in [Blue, Green] {
        direct.start(&ground.site, colour, &[ground.python(SLEEP, &[])]).await.expect("started");
        pids.push(running(&direct, &ground.site, colour, 0).await.0[0]);
    }
    let scores = || -> Vec<String> {
        let of =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("a score").trim().to_owned();
        pids.iter().map(of).collect()
    };
    assert_eq!(scores(), ["0", "500"]);
    oom::follow(&direct, &ground.site, Green).await;
    // Without root a score can be raised only.
    if rustix::process::geteuid().is_root() {
        assert_eq!(scores(), ["500", "0"]);
    }
    for colour in [Blue, Green] {
        direct.stop(&ground.site, colour).await.expect("stopped");
    }
}
