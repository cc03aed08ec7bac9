//! Readiness is asked of real programs, and whatever is in the way is said in words.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bluegreen::api::site::HealthCheck;
use bluegreen::platform::host::probe::{Pace, Probe, Prober, Report, Target};
use bluegreen::platform::host::supervise::direct::Direct;
use bluegreen::platform::host::supervise::{InstanceState, Launch, Supervisor};
use bluegreen::rollout::Colour::Blue;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Notify;

use super::app::{Ground, PATIENCE, until};

/// Answers as the file says: a status, `slow`, `noise`, `close`, or several words that are answered in turn. Counts what it was asked.
const SERVER: &str = "
import os, socket, sys, time
port, how, asked = int(sys.argv[1]), sys.argv[2], sys.argv[3]
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[4] if len(sys.argv) > 4 else '127.0.0.1', port))
server.listen(16)
count = 0
while True:
    client, _ = server.accept()
    request = client.recv(65536)
    words = open(how).read().split()
    word = words[count % len(words)]
    count += 1
    with open(asked, 'ab') as log: log.write(request + b'#')
    if word == 'slow': time.sleep(1.5)
    try:
        if word == 'noise': client.sendall(b'220 mail.example ESMTP\\r\\n')
        elif word != 'close':
            status = '200' if word == 'slow' else word
            client.sendall(f'HTTP/1.1 {status} X\\r\\nContent-Length: 2\\r\\nLocation: /elsewhere\\r\\nConnection: close\\r\\n\\r\\nok'.encode())
    except OSError: pass
    client.close()
";

struct Scene {
    // The probe goes first, so that nobody asks any more when the processes go.
    probe: Probe,
    wake: Arc<Notify>,
    direct: Arc<Direct>,
    ground: Ground,
    port: u16,
}

fn free_port() -> u16 {
    let [port] = free_ports();
    port
}

/// Ports that nobody has, each another one.
fn free_ports<const N: usize>() -> [u16; N] {
    let all = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener"));
    all.map(|listener| listener.local_addr().expect("an address").port())
}

fn say(file: &Path, words: &str) {
    let new = file.with_extension("new");
    fs::write(&new, words).expect("a wish");
    fs::rename(new, file).expect("a wish");
}

impl Scene {
    async fn new(check: HealthCheck, words: &str) -> Scene {
        let port = free_port();
        Scene::with(check, words, port, |ground, how, asked| ground.python(SERVER, &[&port.to_string(), how, asked]))
            .await
    }

    async fn with(check: HealthCheck, words: &str, port: u16, launch: impl Fn(&Ground, &str, &str) -> Launch) -> Scene {
        let ground = Ground::new();
        let play = ground.playground();
        say(&play.join("how"), words);
        let text = |name: &str| play.join(name).to_str().expect("text").to_owned();
        let launch = launch(&ground, &text("how"), &text("asked"));
        let direct = Arc::new(ground.direct().await);
        direct.start(&ground.site, Blue, &[launch]).await.expect("started");
        let wake = Arc::new(Notify::new());
        let target = Target {
            site: ground.site.clone(),
            colour: Blue,
            ports: vec![port],
            host: "shop.example.com".to_owned(),
            check,
            programs: None,
        };
        Scene {
            probe: Prober::new(direct.clone()).watch(target, Pace::Eager, wake.clone()),
            wake,
            direct,
            ground,
            port,
        }
    }

    fn how(&self) -> PathBuf {
        self.ground.playground().join("how")
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.ground.playground().join("asked")).unwrap_or_default()
    }

    /// Waits for a report, woken only by the prober.
    async fn report(&self, what: &str, is: impl Fn(&Report) -> bool) -> Report {
        let look = async {
            loop {
                let report = self.probe.report();
                if is(&report) {
                    return report;
                }
                self.wake.notified().await;
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(report) => report,
            Err(_) => panic!("waited in vain for {what}: {:?}", self.probe.report()),
        }
    }

    async fn main(&self) -> (u32, u32) {
        until("it runs", async || match self.direct.states(&self.ground.site, Blue).await.expect("states").first() {
            Some(InstanceState::Running { pids, restarts }) => pids.first().map(|&pid| (pid, *restarts)),
            _ => None,
        })
        .await
    }
}

fn check() -> HealthCheck {
    HealthCheck {
        path: "/health".parse().expect("a path"),
        successes: 3,
        failures: 2,
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(10),
        warm_up: None,
    }
}

fn says(words: &str) -> impl Fn(&Report) -> bool {
    move |report| report.instances[0].detail.contains(words)
}

#[tokio::test]
async fn an_instance_is_ready_after_enough_good_answers_in_a_row() {
    let scene = Scene::new(check(), "200").await;
    let begun = Instant::now();
    let report = scene.report("readiness", Report::all_ready).await;
    assert_eq!(report.detail(), "1 of 1 ready");
    assert!(report.instances[0].passed_since(begun) >= 3);
    let later = Instant::now();
    assert_eq!(report.instances[0].passed_since(later), 0);
    scene.report("a measurement after that moment", |report| report.instances[0].passed_since(later) > 0).await;
    let asked = scene.asked();
    assert!(asked.starts_with("GET /health HTTP/1.1\r\nhost: shop.example.com\r\n"), "{asked}");
}

#[tokio::test]
async fn a_redirect_is_healthy_and_nobody_follows_it() {
    let scene = Scene::new(check(), "302").await;
    scene.report("readiness", Report::all_ready).await;
    assert!(!scene.asked().contains("/elsewhere"));
}

#[tokio::test]
async fn a_flapping_instance_never_gets_ready_and_a_single_bad_answer_does_not_unready_one() {
    let scene = Scene::new(check(), "200 200 503").await;
    scene.report("many answers", |report| report.instances[0].passed_since(Instant::now() - PATIENCE) >= 12).await;
    assert!(!scene.probe.report().any_ready());
    say(&scene.how(), "200 200 200 200 503");
    scene.report("readiness", Report::all_ready).await;
    let ready = Instant::now();
    let after = scene.report("bad answers", |report| report.instances[0].failed_since(ready) >= 2).await;
    assert!(after.all_ready(), "two that are not in a row: {after:?}");
    say(&scene.how(), "503");
    let report = scene.report("it is unready", |report| !report.any_ready()).await;
    assert_eq!(
        report.detail(),
        format!(
            "0 of 1 ready; instance 0: GET /health on port {} answers 503 Service Unavailable; from 200 to 399 is healthy",
            scene.port
        )
    );
    say(&scene.how(), "200");
    scene.report("it is ready again", Report::all_ready).await;
}

#[tokio::test]
async fn a_slow_answer_is_no_answer() {
    let check = HealthCheck { timeout: Duration::from_millis(100), ..check() };
    let scene = Scene::new(check, "slow").await;
    scene.report("a time-out", says("did not answer within 100ms")).await;
    say(&scene.how(), "200");
    scene.report("readiness", Report::all_ready).await;
}

#[tokio::test]
async fn what_is_no_http_and_what_closes_at_once_is_said() {
    let scene = Scene::new(check(), "noise").await;
    scene.report("noise", says("answers something that is no HTTP")).await;
    say(&scene.how(), "close");
    scene.report("silence", says("was closed without an answer")).await;
    say(&scene.how(), "200");
    scene.report("readiness", Report::all_ready).await;
}

#[tokio::test]
async fn an_instance_at_the_wrong_port_or_address_is_told_where_it_listens() {
    let [right, wrong] = free_ports();
    let scene = Scene::with(check(), "200", right, |ground, how, asked| {
        ground.python(SERVER, &[&wrong.to_string(), how, asked])
    })
    .await;
    scene.report("the wrong port", says(&format!("it listens on port {wrong}, not on its own, {right}"))).await;
    assert_eq!(scene.asked(), "", "a port that is not its own is not asked");
    let elsewhere = Scene::with(check(), "200", right, |ground, how, asked| {
        ground.python(SERVER, &[&right.to_string(), how, asked, "127.0.0.2"])
    })
    .await;
    elsewhere.report("the wrong address", says(&format!("it listens on port {right}, but not on 127.0.0.1"))).await;
}

#[tokio::test]
async fn a_healthy_answer_of_whoever_holds_the_port_is_not_the_instances() {
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let port = stranger.local_addr().expect("an address").port();
    let answering = std::thread::spawn(move || {
        let mut asked = 0;
        for client in stranger.incoming() {
            let mut client = client.expect("a client");
            let mut request = [0; 4096];
            let length = client.read(&mut request).expect("a request");
            client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").expect("an answer");
            if request[..length].starts_with(b"STOP") {
                return asked;
            }
            asked += 1;
        }
        asked
    });
    let scene = Scene::with(check(), "200", port, |ground, _, _| {
        ground.python("import time\nwhile True: time.sleep(60)\n", &[])
    })
    .await;
    let words = format!("port {port} is held by process {}", std::process::id());
    let report = scene.report("the stranger", says(&words)).await;
    assert!(!report.any_ready() && report.instances[0].detail.contains("not by the instance"), "{report:?}");
    // Nobody is woken for what is known already.
    until("more looks", async || {
        (scene.probe.report().instances[0].failed_since(report.instances[0].since) >= 5).then_some(())
    })
    .await;
    let mut stop = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    stop.write_all(b"STOP").expect("a word");
    assert_eq!(answering.join().expect("an answer"), 0, "the stranger was not even asked");
}

#[tokio::test]
async fn an_instance_that_ends_because_its_port_is_taken_is_told_by_whom() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let port = taken.local_addr().expect("an address").port();
    let scene =
        Scene::with(check(), "200", port, |ground, how, asked| ground.python(SERVER, &[&port.to_string(), how, asked]))
            .await;
    let report = scene.report("its end", says("it ended by itself (exit code 1)")).await;
    let words = format!("port {port} is held by process {}", std::process::id());
    assert!(report.instances[0].detail.contains(&words), "{report:?}");
    drop(taken);
    scene.report("readiness", Report::all_ready).await;
}

#[tokio::test]
async fn a_worker_that_the_instance_forked_and_left_may_hold_the_port() {
    let port = free_port();
    let scene = Scene::with(check(), "200", port, |ground, how, asked| {
        let fork = format!("import os\nif os.fork() == 0:\n    if os.fork() == 0:\n{}\n    os._exit(0)\nimport time\nwhile True: time.sleep(60)\n",
            SERVER.lines().map(|line| format!("        {line}\n")).collect::<String>());
        ground.python(&fork, &[&port.to_string(), how, asked])
    })
    .await;
    scene.report("readiness", Report::all_ready).await;
}

#[tokio::test]
async fn a_ready_instance_that_dies_is_unready_at_once_and_ready_again_when_it_is_back() {
    let scene = Scene::new(check(), "200").await;
    scene.report("readiness", Report::all_ready).await;
    scene.probe.set_pace(Pace::Steady);
    let (pid, restarts) = scene.main().await;
    assert_eq!(restarts, 0);
    let killed = Instant::now();
    kill_process(Pid::from_raw(pid.cast_signed()).expect("a pid"), Signal::KILL).expect("killed");
    let down = scene.report("it is down", |report| !report.any_ready()).await;
    assert!(down.instances[0].since >= killed);
    let up = scene.report("it is back", Report::all_ready).await;
    assert!(up.instances[0].since > down.instances[0].since);
    assert!(scene.main().await.1 >= 1);
    scene.direct.stop(&scene.ground.site, Blue).await.expect("stopped");
    scene.report("it is stopped", says("it is not running")).await;
}
