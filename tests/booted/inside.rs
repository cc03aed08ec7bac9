//! Tests that run within a booted machine, as its root; started by those in `systemd`, and by nobody else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bluegreen::api::site::HealthCheck;
use bluegreen::api::types::SiteName;
use bluegreen::platform::Class;
use bluegreen::platform::host::probe::{Pace, Prober, Report, Target};
use bluegreen::platform::host::supervise::systemd::{Settings, Systemd};
use bluegreen::platform::host::supervise::{InstanceId, InstanceState, Launch, Supervisor};
use bluegreen::rollout::Colour::{self, Blue, Green};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Notify;

/// Set within a booted machine only: these tests change the machine that they run on.
pub const INSIDE: &str = "BLUEGREEN_INSIDE_A_TEST_MACHINE";

const PATIENCE: Duration = Duration::from_secs(30);
const SLEEP: &str = "import time\nprint('ready')\nwhile True: time.sleep(60)\n";
const STUBBORN: &str = "
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() != 0: os._exit(0)
    open(os.path.join(sys.argv[1], 'daemon'), 'w').write(str(os.getpid()))
while True: time.sleep(60)
";
const SERVER: &str = "
import os, socket
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(('127.0.0.1', int(os.environ['PORT'])))
server.listen(16)
while True:
    client, _ = server.accept()
    client.recv(65536)
    client.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')
    client.close()
";

fn guard() {
    assert!(
        std::env::var_os(INSIDE).is_some(),
        "this test changes its machine: only a test in `systemd` starts it, in one of its own"
    );
}

async fn systemd() -> Systemd {
    Systemd::open(Settings::new("/var/lib/bluegreen".into())).await.expect("systemd")
}

fn site(name: &str) -> SiteName {
    name.parse().expect("a name")
}

fn folder(name: &str, mode: u32) -> PathBuf {
    let folder = Path::new("/srv").join(name);
    fs::create_dir_all(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("its mode");
    folder
}

fn python(name: &str, program: &str, arguments: &[&str]) -> Launch {
    let dir = folder("release", 0o755);
    let file = dir.join(format!("{name}.py"));
    fs::write(&file, program).expect("a program");
    let mut argv = vec!["/usr/bin/python3".to_owned(), "-u".to_owned(), file.to_str().expect("text").to_owned()];
    argv.extend(arguments.iter().map(|&word| word.to_owned()));
    Launch {
        argv,
        env: BTreeMap::from([("PATH".parse().expect("a name"), "/usr/bin:/bin".to_owned())]),
        dir,
        user: "shop".parse().expect("a name"),
        writable: Vec::new(),
        stop_within: Duration::from_secs(20),
    }
}

async fn until<T, F: AsyncFnMut() -> Option<T>>(what: &str, mut look: F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn first(systemd: &Systemd, site: &SiteName, colour: Colour) -> Option<InstanceState> {
    systemd.states(site, colour).await.expect("states").into_iter().next()
}

async fn running(systemd: &Systemd, site: &SiteName, colour: Colour, at_least: u32) -> (Vec<u32>, u32) {
    until("the instance runs", async || match first(systemd, site, colour).await {
        Some(InstanceState::Running { pids, restarts }) if restarts >= at_least && !pids.is_empty() => {
            Some((pids, restarts))
        }
        _ => None,
    })
    .await
}

async fn failed(systemd: &Systemd, site: &SiteName, colour: Colour, words: &str) {
    let mut last = None;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        last = first(systemd, site, colour).await;
        if matches!(&last, Some(InstanceState::Failed { how, .. }) if how.contains(words)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {words:?}: {last:?}");
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn a_started_colour_runs_until_it_is_stopped() {
    guard();
    let (systemd, site) = (systemd().await, site("plain"));
    let launches = [python("sleep", SLEEP, &["0"]), python("sleep", SLEEP, &["1"])];
    systemd.start(&site, Blue, &launches).await.expect("started");
    let (pids, restarts) = running(&systemd, &site, Blue, 0).await;
    assert_eq!(restarts, 0);
    systemd.start(&site, Blue, &launches).await.expect("started already");
    assert_eq!(running(&systemd, &site, Blue, 0).await.0, pids);
    assert_eq!(systemd.states(&site, Blue).await.expect("states").len(), 2);
    assert!(systemd.states(&site, Green).await.expect("states").is_empty());
    let id = InstanceId { site: site.clone(), colour: Blue, index: 1 };
    until("it printed", async || systemd.logs(&id, 5).await.expect("logs").contains(&"ready".to_owned()).then_some(()))
        .await;
    assert_eq!(systemd.logs(&id, 1).await.expect("logs").len(), 1);
    assert_eq!(
        fs::read_to_string(format!("/proc/{}/oom_score_adj", pids[0])).expect("a score").trim(),
        "500",
        "it is not live"
    );
    systemd.stop(&site, Blue).await.expect("stopped");
    assert_eq!(systemd.states(&site, Blue).await.expect("states"), [InstanceState::Stopped, InstanceState::Stopped]);
    assert!(!alive(pids[0]));
    systemd.stop(&site, Blue).await.expect("nothing to stop");
    systemd.start(&site, Blue, &launches).await.expect("started anew");
    running(&systemd, &site, Blue, 0).await;
    systemd.stop(&site, Blue).await.expect("stopped");
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn the_app_gets_its_words_its_user_its_variables_and_no_more() {
    guard();
    let (systemd, site) = (systemd().await, site("words"));
    let out = folder("words", 0o777);
    let program = "
import os, sys, time
out = sys.argv[1]
status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
open(out + '/argv', 'wb').write(b'\\0'.join(os.fsencode(word) for word in sys.argv[2:]))
open(out + '/environ', 'wb').write(open('/proc/self/environ', 'rb').read())
open(out + '/facts', 'w').write(' '.join([str(os.getuid()), str(os.geteuid()), status['NoNewPrivs'].strip(), status['CapBnd'].strip(), status['Umask'].strip(), os.getcwd()]))
open(out + '/done', 'w').close()
while True: time.sleep(60)
";
    let words = ["a b", "%n %% %i", "$HOME ${HOME} $$", "\"q\" 'q' \\ `id`", "new\nline", ";", "", "\u{1b}[1m é"];
    let value = "s3cret \"q\" 'q' $HOME `id` \\ \\n %n # ;\nsecond\tline ";
    let mut launch = python("words", program, &[&[out.to_str().expect("text")], &words[..]].concat());
    launch.writable.push(out.clone());
    launch.env.insert("DB_PASSWORD".parse().expect("a name"), value.to_owned());
    systemd.start(&site, Green, std::slice::from_ref(&launch)).await.expect("started");
    until("it wrote", async || out.join("done").exists().then_some(())).await;
    let argv = fs::read_to_string(out.join("argv")).expect("words");
    assert_eq!(argv.split('\0').collect::<Vec<_>>(), words);
    let environ = fs::read_to_string(out.join("environ")).expect("variables");
    let mut variables: Vec<&str> = environ.split('\0').filter(|entry| !entry.is_empty()).collect();
    variables.sort_unstable();
    assert_eq!(variables, [format!("DB_PASSWORD={value}"), "PATH=/usr/bin:/bin".to_owned()]);
    let facts = fs::read_to_string(out.join("facts")).expect("facts");
    let uid = String::from_utf8(std::process::Command::new("id").args(["-u", "shop"]).output().expect("id").stdout)
        .expect("text");
    let uid = uid.trim();
    assert_eq!(facts, format!("{uid} {uid} 1 0000000000000000 0027 /srv/release"));
    let unit = fs::read_to_string("/etc/systemd/system/bluegreen-words-green@0.service").expect("a unit");
    assert!(!unit.contains("s3cret"));
    let show = std::process::Command::new("systemctl")
        .args(["show", "bluegreen-words-green@0.service"])
        .output()
        .expect("systemctl");
    assert!(!String::from_utf8_lossy(&show.stdout).contains("s3cret"));
    let env = fs::metadata("/var/lib/bluegreen/sites/words/run/green.0.env").expect("variables");
    assert_eq!(env.permissions().mode() & 0o777, 0o600);
    systemd.stop(&site, Green).await.expect("stopped");
    launch.env.insert("BAD".parse().expect("a name"), "\r".to_owned());
    let fault = systemd.start(&site, Green, &[launch]).await.expect_err("it would be lost silently");
    assert_eq!((fault.class, fault.reason), (Class::User, "LaunchUnwritable"));
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn an_app_may_write_where_it_was_told_and_nowhere_else() {
    guard();
    let (systemd, site) = (systemd().await, site("writes"));
    let (may, not) = (folder("may", 0o777), folder("not", 0o777));
    let program = "
import errno, sys, time
for folder in sys.argv[1:]:
    try:
        open(folder + '/file', 'w').close()
        print('wrote', folder)
    except OSError as error:
        print(errno.errorcode[error.errno], folder)
print('done')
while True: time.sleep(60)
";
    let mut launch = python("writes", program, &["/srv/may", "/srv/not", "/tmp"]);
    launch.writable.push(may);
    systemd.start(&site, Blue, &[launch]).await.expect("started");
    let id = InstanceId { site: site.clone(), colour: Blue, index: 0 };
    let logs =
        until("it tried", async || systemd.logs(&id, 20).await.ok().filter(|logs| logs.contains(&"done".to_owned())))
            .await;
    for line in ["wrote /srv/may", "EROFS /srv/not", "wrote /tmp"] {
        assert!(logs.contains(&line.to_owned()), "{logs:?}");
    }
    assert!(!not.join("file").exists() && !Path::new("/tmp/file").exists());
    systemd.stop(&site, Blue).await.expect("stopped");
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn an_app_that_ignores_sigterm_is_killed_with_its_daemons() {
    guard();
    let (systemd, site) = (systemd().await, site("stubborn"));
    let out = folder("stubborn", 0o777);
    let mut launch = python("stubborn", STUBBORN, &["/srv/stubborn"]);
    launch.writable.push(out.clone());
    launch.stop_within = Duration::from_millis(300);
    systemd.start(&site, Blue, &[launch]).await.expect("started");
    let daemon: u32 =
        until("its daemon runs", async || fs::read_to_string(out.join("daemon")).ok()?.parse().ok()).await;
    let (pids, _) = running(&systemd, &site, Blue, 0).await;
    assert!(pids.contains(&daemon) && pids[0] != daemon, "{pids:?} {daemon}");
    systemd.stop(&site, Blue).await.expect("stopped");
    assert!(!alive(daemon) && !alive(pids[0]));
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn a_crashed_instance_is_started_again_counted_and_told() {
    guard();
    let (systemd, site) = (systemd().await, site("crash"));
    systemd.start(&site, Blue, &[python("sleep", SLEEP, &[])]).await.expect("started");
    let mut changes = systemd.changes(&site, Blue);
    for round in 1..=8 {
        let (pids, _) = running(&systemd, &site, Blue, round - 1).await;
        changes.borrow_and_update();
        kill_process(Pid::from_raw(pids[0].cast_signed()).expect("a pid"), Signal::KILL).expect("killed");
        // Only what is told is looked at: no round would end if a change got lost.
        let again = async {
            loop {
                changes.changed().await.expect("told");
                if let Some(InstanceState::Running { pids: now, restarts }) = first(&systemd, &site, Blue).await
                    && restarts >= round
                    && !now.is_empty()
                {
                    return (now, restarts);
                }
            }
        };
        let (now, restarts) = tokio::time::timeout(PATIENCE, again).await.expect("in time");
        assert_eq!(restarts, round);
        assert_ne!(now[0], pids[0]);
    }
    let mut crash = python("crash", "import sys\nsys.exit(7)\n", &[]);
    crash.stop_within = Duration::from_secs(1);
    systemd.start(&site, Green, &[crash]).await.expect("started");
    failed(&systemd, &site, Green, "exit code 7").await;
    systemd.stop(&site, Green).await.expect("a crash loop ends");
    systemd.stop(&site, Blue).await.expect("stopped");
    assert_eq!(first(&systemd, &site, Green).await, Some(InstanceState::Stopped));
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn what_can_not_be_started_says_why_and_starts_when_it_is_put_right() {
    guard();
    let (systemd, site) = (systemd().await, site("wrong"));
    let good = python("sleep", SLEEP, &[]);
    for (launch, words) in [
        (Launch { argv: vec!["/nowhere/app".to_owned()], ..good.clone() }, "can't be executed"),
        (Launch { user: "nosuchuser".parse().expect("a name"), ..good.clone() }, "its user does not exist"),
        (Launch { writable: vec!["/srv/missing".into()], ..good.clone() }, "a shared folder missing"),
        (Launch { dir: "/nowhere".into(), ..good.clone() }, "folder can't be entered"),
    ] {
        systemd.start(&site, Blue, &[launch]).await.expect("tried");
        failed(&systemd, &site, Blue, words).await;
    }
    systemd.start(&site, Blue, &[good]).await.expect("started");
    running(&systemd, &site, Blue, 0).await;
    systemd.stop(&site, Blue).await.expect("stopped");
    let root = Launch { user: "root".parse().expect("a name"), ..python("sleep", SLEEP, &[]) };
    assert_eq!(systemd.start(&site, Blue, &[root]).await.expect_err("never").class, Class::User);
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn an_instance_is_ready_by_its_own_socket() {
    guard();
    let (systemd, site) = (Arc::new(systemd().await), site("ready"));
    // The machine has a network of its own, with nobody else in it.
    let mut launch = python("server", SERVER, &[]);
    launch.env.insert("PORT".parse().expect("a name"), "8081".to_owned());
    systemd.start(&site, Blue, &[launch]).await.expect("started");
    let wake = Arc::new(Notify::new());
    let check = HealthCheck {
        path: "/".parse().expect("a path"),
        successes: 3,
        failures: 1,
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        warm_up: None,
    };
    let target = |colour| Target {
        site: site.clone(),
        colour,
        ports: vec![8081],
        host: "localhost".to_owned(),
        check: check.clone(),
        programs: None,
    };
    let prober = Prober::new(systemd.clone());
    let blue = prober.watch(target(Blue), Pace::Eager, wake.clone());
    let mut reports = blue.subscribe();
    tokio::time::timeout(PATIENCE, reports.wait_for(Report::all_ready)).await.expect("in time").expect("ready");
    systemd.start(&site, Green, &[python("sleep", SLEEP, &[])]).await.expect("started");
    let green = prober.watch(target(Green), Pace::Eager, wake);
    let mut others = green.subscribe();
    let strange = |report: &Report| report.instances[0].detail.contains("port 8081 is held by process");
    tokio::time::timeout(PATIENCE, others.wait_for(strange)).await.expect("in time").expect("told");
    assert!(!green.report().any_ready());
    blue.set_pace(Pace::Steady);
    let (pids, _) = running(&systemd, &site, Blue, 0).await;
    kill_process(Pid::from_raw(pids[0].cast_signed()).expect("a pid"), Signal::KILL).expect("killed");
    tokio::time::timeout(PATIENCE, reports.wait_for(|report| !report.any_ready()))
        .await
        .expect("in time")
        .expect("down");
    tokio::time::timeout(PATIENCE, reports.wait_for(Report::all_ready)).await.expect("in time").expect("back");
    systemd.stop(&site, Blue).await.expect("stopped");
    systemd.stop(&site, Green).await.expect("stopped");
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn the_next_supervisor_finds_what_the_one_before_started() {
    guard();
    let (before, site) = (systemd().await, site("adopted"));
    before.start(&site, Blue, &[python("sleep", SLEEP, &[])]).await.expect("started");
    let (pids, _) = running(&before, &site, Blue, 0).await;
    drop(before);
    let after = systemd().await;
    assert_eq!(running(&after, &site, Blue, 0).await.0, pids);
    after.stop(&site, Blue).await.expect("stopped");
    assert!(!alive(pids[0]));
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn a_site_that_is_forgotten_leaves_nothing_behind() {
    guard();
    let (systemd, site) = (systemd().await, site("gone"));
    systemd.start(&site, Blue, &[python("sleep", SLEEP, &[])]).await.expect("started");
    systemd.stop(&site, Blue).await.expect("stopped");
    systemd.forget(&site).await.expect("forgotten");
    assert!(systemd.states(&site, Blue).await.expect("states").is_empty());
    let folders = ["/etc/systemd", "/run/bluegreen", "/var/lib/bluegreen"];
    let left =
        std::process::Command::new("find").args(folders).args(["-name", "*gone*", "-not", "-type", "d"]).output();
    let output = left.expect("find");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let list = std::process::Command::new("systemctl")
        .args(["list-unit-files", "bluegreen-gone*"])
        .output()
        .expect("systemctl");
    assert!(!String::from_utf8_lossy(&list.stdout).contains("bluegreen-gone-"));
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn a_colour_that_gets_smaller_leaves_no_unit_for_the_next_reboot() {
    guard();
    let (systemd, site) = (systemd().await, site("smaller"));
    let launch = || python("sleep", SLEEP, &[]);
    systemd.start(&site, Blue, &[launch(), launch(), launch()]).await.expect("started");
    systemd.stop(&site, Blue).await.expect("stopped");
    systemd.start(&site, Blue, &[launch()]).await.expect("started");
    assert_eq!(systemd.states(&site, Blue).await.expect("states").len(), 1);
    let wants = fs::read_dir("/etc/systemd/system/multi-user.target.wants").expect("a folder").flatten();
    let of_it: Vec<_> =
        wants.map(|link| link.file_name()).filter(|name| name.to_string_lossy().contains("smaller")).collect();
    assert_eq!(of_it, ["bluegreen-smaller-blue@0.service"]);
    systemd.stop(&site, Blue).await.expect("stopped");
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn both_colours_are_started() {
    guard();
    let (systemd, site) = (systemd().await, site("shop"));
    for colour in [Blue, Green] {
        let slot = Path::new("/var/lib/bluegreen/sites/shop/slots").join(colour.name());
        fs::create_dir_all(&slot).expect("a slot");
        fs::write(slot.join(colour.name()), "").expect("a marker");
        systemd.start(&site, colour, &[python("sleep", SLEEP, &[])]).await.expect("started");
        running(&systemd, &site, colour, 0).await;
    }
}

#[tokio::test]
#[ignore = "run within a booted machine"]
async fn what_the_reboot_started_is_kept_and_stopped() {
    guard();
    let (systemd, site) = (systemd().await, site("shop"));
    let (pids, restarts) = running(&systemd, &site, Blue, 0).await;
    assert_eq!(first(&systemd, &site, Green).await, Some(InstanceState::Stopped));
    fs::remove_file("/var/lib/bluegreen/sites/shop/live").expect("no link");
    kill_process(Pid::from_raw(pids[0].cast_signed()).expect("a pid"), Signal::KILL).expect("killed");
    running(&systemd, &site, Blue, restarts + 1).await;
    systemd.stop(&site, Blue).await.expect("stopped");
    fs::write("/var/lib/bluegreen/sites/shop/live", "").expect("something to remove");
}
