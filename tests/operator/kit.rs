//! A site, an operator, and what tests ask of both.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bluegreen_rig::cluster::{ControlPlane, Mark, Namespace, Request};
use bluegreen_rig::process::Guarded;
use bluegreen_rig::{binaries, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A lease that runs out soon, so that tests need not wait long for the next leader.
pub const LEASE_SECONDS: u64 = 3;
/// A rollout takes at least its drain; a machine that does much at once takes its time.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The control plane that tests share, which knows sites.
pub fn plane() -> &'static ControlPlane {
    static READY: OnceLock<()> = OnceLock::new();
    let plane = ControlPlane::shared().expect("a control plane comes up");
    READY.get_or_init(|| install(plane));
    plane
}

/// Lets a control plane know sites.
pub fn install(plane: &ControlPlane) {
    let crd = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/bluegreen.dev_bluegreensites.yaml");
    plane.kubectl(&["apply", "--server-side", "--filename", crd]).expect("the CRD is valid");
    plane.wait_for_resource("bluegreensites").expect("it is served");
}

/// A site, whose pods tell its version by their image. It bakes for a second, and keeps nothing warm.
pub fn site(name: &str, version: u32) -> Value {
    json!({
        "apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite", "metadata": { "name": name },
        "spec": {
            "target": { "cluster": {
                "service": { "ports": [{ "port": 80, "targetPort": 8080 }] },
                "template": {
                    "spec": { "containers": [{ "name": "app", "image": format!("registry.local/app:{version}") }] },
                },
            }},
            "strategy": { "drainWithin": "0s", "bake": "1s", "standby": "0s" },
        },
    })
}

/// A replica of the operator.
pub struct Operator {
    process: Guarded,
    log: PathBuf,
    /// Where it answers for its metrics.
    metrics: String,
    /// Where it says whether it is well.
    health: String,
}

impl Operator {
    /// Starts one for the sites of this namespace, and waits until it runs.
    pub fn start(plane: &ControlPlane, namespace: &str) -> Operator {
        Operator::start_by(plane, namespace, &plane.kubeconfig())
    }

    /// The same, with another way to the API server.
    pub fn start_by(plane: &ControlPlane, namespace: &str, kubeconfig: &Path) -> Operator {
        Operator::start_with(plane, namespace, kubeconfig, &[])
    }

    /// The same, with more in its environment.
    pub fn start_with(
        plane: &ControlPlane,
        namespace: &str,
        kubeconfig: &Path,
        environment: &[(&str, &str)],
    ) -> Operator {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = plane.folder().join(format!("operator-{number}.log"));
        let out = File::create(&log).expect("a log can be made");
        // It must not outlive a test that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(binaries::bluegreen().expect("the product is built"));
        command.args(["operator", "--namespace", namespace, "--lease-namespace", namespace]);
        command.args(["--lease-seconds", &LEASE_SECONDS.to_string()]);
        command.args(["--metrics-address", "127.0.0.1:0", "--health-address", "127.0.0.1:0"]);
        command.envs(environment.iter().copied());
        command.env("KUBECONFIG", kubeconfig).env("POD_NAME", format!("replica-{number}"));
        command.stdin(Stdio::null()).stdout(out.try_clone().expect("a second handle")).stderr(out);
        let process = Guarded::start(&mut command, Signal::TERM, Duration::from_secs(30)).expect("it starts");
        let mut operator = Operator { process, log, metrics: String::new(), health: String::new() };
        let runs = || operator.lines().into_iter().find(|line| line["message"] == "the operator runs");
        let line = wait::until("the operator ran", PATIENCE, runs).expect("the operator comes up");
        operator.metrics = line["metrics"].as_str().expect("it says where its metrics are").to_owned();
        operator.health = line["health"].as_str().expect("it says where its health is").to_owned();
        operator
    }

    /// Waits until it leads.
    pub fn led(self) -> Operator {
        wait::until("it led", PATIENCE, || self.leads().then_some(()))
            .unwrap_or_else(|e| panic!("{e}\n{}", self.said()));
        self
    }

    /// Whether it says that it leads.
    pub fn leads(&self) -> bool {
        self.metric("bluegreen_leader").is_some_and(|value| value > 0.0)
    }

    /// The sum of a metric over all its labels that hold these words; `None`: there is none, or nobody answers.
    pub fn sum(&self, name: &str, words: &[&str]) -> Option<f64> {
        let text = self.scrape()?;
        let lines = text.lines().filter(|line| line.starts_with(name) && words.iter().all(|word| line.contains(word)));
        let values: Vec<f64> = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    fn metric(&self, name: &str) -> Option<f64> {
        self.sum(name, &[])
    }

    fn scrape(&self) -> Option<String> {
        let (code, text) = ask(&self.metrics, "/metrics")?;
        (code == 200).then_some(text)
    }

    /// All that it counts, as it says it.
    pub fn scraped(&self) -> String {
        self.scrape().unwrap_or_default()
    }

    /// What it answers to a kubelet: the code, and in words.
    pub fn well(&self, path: &str) -> (u16, String) {
        ask(&self.health, path).unwrap_or_else(|| panic!("nobody answers at {path}\n{}", self.said()))
    }

    /// What it logged.
    pub fn lines(&self) -> Vec<Value> {
        self.said().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What it logged, as it stands there.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// SIGTERM; whether it ended by itself.
    pub fn stop(mut self) -> bool {
        self.process.stop()
    }

    /// SIGSTOP.
    pub fn freeze(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        self.process.signal(Signal::CONT);
    }
}

/// A GET: the code of the answer, and what is in it.
fn ask(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address.parse().ok()?, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The site's object.
pub fn object(namespace: &Namespace<'_>, name: &str) -> Option<Value> {
    namespace.json(&["get", "bluegreensite", name]).ok()
}

/// Waits until the site is ready as its newest specification says, by kubectl's own judgement.
pub fn ready(namespace: &Namespace<'_>, name: &str, operators: &[&Operator]) {
    let generation = object(namespace, name).expect("it is there")["metadata"]["generation"].clone();
    let waited = namespace.kubectl(&[
        "wait",
        "--for=condition=Ready",
        &format!("bluegreensite/{name}"),
        &format!("--timeout={}s", PATIENCE.as_secs()),
    ]);
    let done = waited.is_ok().then(|| {
        // kubectl looks at the condition alone: a status of the specification before is no answer.
        let said = || {
            let object = object(namespace, name)?;
            let ready = condition(&object, "Ready")?;
            (object["status"]["observedGeneration"] == generation
                && ready["observedGeneration"] == generation
                && ready["status"] == "True"
                && object["status"]["phase"] == "Idle")
                .then_some(())
        };
        wait::until("the newest specification was live", PATIENCE, said)
    });
    if !matches!(done, Some(Ok(()))) {
        panic!("{name} is not ready: {waited:?}\n{}", told(namespace, name, operators));
    }
}

/// Everything that explains why a test failed.
pub fn told(namespace: &Namespace<'_>, name: &str, operators: &[&Operator]) -> String {
    let everything = ["get", "bluegreensites,deployments,services,endpointslices,pods", "--output=wide"];
    let mut text = namespace.kubectl(&everything).unwrap_or_else(|error| error.to_string());
    text.push_str(&object(namespace, name).map_or_else(String::new, |object| format!("{:#}", object["status"])));
    for operator in operators {
        let said = operator.said();
        let lines: Vec<&str> = said.lines().collect();
        text.push_str("\n--\n");
        text.push_str(&lines[lines.len().saturating_sub(40)..].join("\n"));
    }
    text
}

/// A condition of an object.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Puts `more` into `into`, field by field.
pub fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// What operators wrote in a namespace, without leases, events and what was only tried.
pub fn writes(plane: &ControlPlane, namespace: &str, mark: Mark) -> Vec<Request> {
    let mut all = plane.requests_since(mark).expect("the log can be read");
    all.retain(|one| {
        one.namespace == namespace
            && one.writes()
            && !one.dry_run
            && one.user_agent.starts_with("bluegreen/")
            && !matches!(one.resource.as_str(), "leases" | "events")
    });
    all
}

/// Of those, the writes of a status.
pub fn told_writes(plane: &ControlPlane, namespace: &str, mark: Mark) -> usize {
    writes(plane, namespace, mark).iter().filter(|one| one.subresource == "status").count()
}
