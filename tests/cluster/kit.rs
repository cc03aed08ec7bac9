//! One operator for one site, made of the library's parts: watches feed the cache, the driver turns.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bluegreen::api::names::cluster as names;
use bluegreen::api::report::{self, Seen};
use bluegreen::api::site::Site;
use bluegreen::api::spec::BlueGreenSite;
use bluegreen::api::{command, crd};
use bluegreen::driver::{Driver, Listener};
use bluegreen::platform::Fault;
use bluegreen::platform::clock::{SystemClock, wall};
use bluegreen::platform::cluster::children::{
    Budget, Cache, Deployment, Fact, HttpRoute, Key, Release, Service, Slice, Watched, why,
};
use bluegreen::platform::cluster::{ClusterPlatform, ClusterStore};
use bluegreen::rollout::{Decision, Observed, Plan, Revision};
use bluegreen_rig::cluster::{ControlPlane, Namespace, Request, tools};
use bluegreen_rig::wait;
use futures::StreamExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher;
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// The control plane of all tests here, with the definition of a site.
pub fn plane() -> &'static ControlPlane {
    static READY: OnceLock<&'static ControlPlane> = OnceLock::new();
    READY.get_or_init(|| {
        let plane = ControlPlane::shared().expect("a control plane comes up");
        let mut command = plane.kubectl_command().unwrap();
        let file = plane.folder().join("crd.yaml");
        std::fs::write(&file, crd::yaml().unwrap()).unwrap();
        command.args(["apply", "--filename", file.to_str().unwrap()]);
        bluegreen_rig::process::run(&mut command).expect("the definition is taken");
        // In the version that the Traefik of the rig's node is built with, so that both judge the same routes.
        let route = "crd/gateway.networking.k8s.io_httproutes.yaml";
        let route = tools::folder("gateway-api").expect("it is had").join(route);
        plane.kubectl(&["create", "--filename", route.to_str().unwrap()]).expect("the definition is taken");
        for resource in ["bluegreensites.bluegreen.dev", "httproutes.gateway.networking.k8s.io"] {
            plane.wait_for_resource(resource).unwrap();
        }
        plane
    })
}

/// A site called `shop`: its container's image, and what else stands in it.
pub fn shop(image: &str, more: &Value) -> Value {
    let mut site = json!({
        "apiVersion": "bluegreen.dev/v1alpha1",
        "kind": "BlueGreenSite",
        "metadata": {"name": "shop"},
        "spec": {
            "target": {"cluster": {
                "service": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
                "template": {
                    "metadata": {"labels": {"app": "shop"}},
                    "spec": {"containers": [{
                        "name": "app",
                        "image": format!("registry.local/shop:{image}"),
                        "ports": [{"containerPort": 8080}],
                    }]},
                },
            }},
            "strategy": {"bake": "300ms", "drainWithin": "0s", "standby": "1h", "failoverAfter": "1s"},
        },
    });
    merge(&mut site, more);
    site
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

/// `more` for what stands in the target.
pub fn target(more: &Value) -> Value {
    json!({"spec": {"target": {"cluster": more}}})
}

/// A namespace with a site in it and an operator for that site. Dropped, the operator stops at once.
pub struct Operated {
    pub namespace: Namespace<'static>,
    runtime: tokio::runtime::Runtime,
    operator: Option<Operator>,
    rivals: Vec<Operator>,
    user: Option<std::path::PathBuf>,
}

struct Operator {
    platform: Arc<ClusterPlatform>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    faults: Arc<Mutex<Vec<Fault>>>,
}

impl Operated {
    /// An operator in a new namespace.
    pub fn new(name: &str) -> Operated {
        let mut operated = Operated::idle(name);
        operated.start();
        operated
    }

    /// A new namespace, and no operator yet.
    pub fn idle(name: &str) -> Operated {
        // What a test may see of the program's own words, when it fails.
        let _ =
            tracing_subscriber::fmt().with_env_filter("bluegreen=debug,cluster=debug").with_test_writer().try_init();
        let namespace = plane().namespace(name).expect("a namespace can be made");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Operated { namespace, runtime, operator: None, rivals: Vec::new(), user: None }
    }

    /// The operator is somebody else than who may do everything.
    pub fn with_user(mut self, kubeconfig: &Path) -> Operated {
        self.user = Some(kubeconfig.to_owned());
        self
    }

    /// Starts an operator that knows nothing.
    pub fn start(&mut self) {
        let client = self.client();
        let namespace = self.namespace.name().to_owned();
        let _inside = self.runtime.enter();
        self.operator = Some(Operator::start(client, namespace, "shop"));
    }

    /// Starts one for another site of the namespace.
    pub fn start_for(&mut self, site: &str) {
        let client = self.client();
        let _inside = self.runtime.enter();
        self.rivals.push(Operator::start(client, self.namespace.name().to_owned(), site));
    }

    /// Starts another one beside it, as if a lease did not count.
    pub fn start_rival(&mut self) {
        self.start_for("shop");
    }

    /// Ends it wherever it is, and its rivals.
    pub fn kill(&mut self) {
        for operator in self.operator.take().into_iter().chain(self.rivals.drain(..)) {
            for task in &operator.tasks {
                task.abort();
            }
        }
    }

    pub fn client(&self) -> Client {
        let file = self.user.clone().unwrap_or_else(|| plane().kubeconfig());
        self.runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(file).unwrap();
            let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
            config.default_retry = false;
            config.proxy_url = None;
            Client::try_from(config).unwrap()
        })
    }

    /// What the platform warns of.
    pub fn warnings(&self) -> Vec<String> {
        self.operator.as_ref().unwrap().platform.warnings().into_iter().map(|warning| warning.message).collect()
    }

    /// The faults of its turns so far.
    pub fn faults(&self) -> Vec<Fault> {
        self.operator.as_ref().unwrap().faults.lock().unwrap().clone()
    }

    pub fn apply(&self, manifest: &Value) {
        self.namespace.apply(&manifest.to_string()).expect("it is taken");
    }

    /// An object, or null.
    pub fn get(&self, what: &str) -> Value {
        self.namespace.json(&["get", what, "--ignore-not-found"]).unwrap_or(Value::Null)
    }

    /// The site's status.
    pub fn status(&self) -> Value {
        self.get("bgs/shop")["status"].clone()
    }

    /// Merges into an object.
    pub fn patch(&self, what: &str, more: &Value) {
        self.namespace.kubectl(&["patch", what, "--type=merge", "--patch", &more.to_string()]).expect("it is taken");
    }

    /// Waits until a question has an answer.
    pub fn until<T>(&self, what: &str, question: impl FnMut() -> Option<T>) -> T {
        match wait::until(what, Duration::from_secs(90), question) {
            Ok(answer) => answer,
            Err(error) => panic!(
                "{error}\nstatus: {:#}\nfaults: {:#?}\nobjects: {}",
                self.status(),
                self.faults(),
                self.namespace
                    .kubectl(&["get", "bgs,deploy,svc,endpointslices,pods,controllerrevisions", "-o", "wide"])
                    .unwrap_or_default()
            ),
        }
    }

    /// The revision of the newest specification, once it is live and nothing is under way.
    pub fn settled(&self) -> Revision {
        self.until("the site was ready", || {
            let site = self.get("bgs/shop");
            let status = &site["status"];
            let current = status["observedGeneration"] == site["metadata"]["generation"];
            let ready = condition(status, "Ready")?["status"] == "True";
            (current && ready && status["phase"] == "Idle")
                .then(|| status["live"]["revision"].as_str()?.parse().ok())?
        })
    }

    /// The condition's reason, once it is there.
    pub fn stalled(&self, reason: &str) -> String {
        self.until(&format!("the site said {reason}"), || {
            let site = self.get("bgs/shop");
            let condition = condition(&site["status"], "Ready")?;
            let current = site["status"]["observedGeneration"] == site["metadata"]["generation"];
            (current && condition["reason"] == reason).then(|| condition["message"].as_str().map(ToOwned::to_owned))?
        })
    }

    /// What the live Service selects: colour and revision.
    pub fn selected(&self) -> (String, String) {
        let selector = self.get("svc/shop")["spec"]["selector"].clone();
        let text = |name: &str| selector[name].as_str().unwrap_or_default().to_owned();
        (text(names::COLOUR), text(names::REVISION))
    }

    /// The image that a Deployment's template has.
    pub fn image(&self, deployment: &str) -> String {
        let deployment = self.get(&format!("deploy/{deployment}"));
        deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
    }

    /// The names of the live Service's ready pods.
    pub fn serving(&self) -> Vec<String> {
        let selector = "kubernetes.io/service-name=shop";
        let slices = self.namespace.json(&["get", "endpointslices", "--selector", selector]).unwrap();
        let slices = slices["items"].as_array().cloned().unwrap_or_default();
        let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
        let ready = endpoints.filter(|one| one["conditions"]["ready"] == true);
        let mut names: Vec<String> =
            ready.filter_map(|one| one["targetRef"]["name"].as_str().map(ToOwned::to_owned)).collect();
        names.sort();
        names
    }

    /// What the operator wrote since; without what was only tried.
    pub fn writes_since(&self, mark: bluegreen_rig::cluster::Mark) -> Vec<Request> {
        let mut all = plane().requests_since(mark).unwrap();
        all.retain(|one| {
            one.namespace == self.namespace.name()
                && one.writes()
                && !one.dry_run
                && !one.user_agent.starts_with("kubectl/")
                && !one.user_agent.starts_with("kube-")
        });
        all
    }
}

pub fn condition(status: &Value, kind: &str) -> Option<Value> {
    status["conditions"].as_array()?.iter().find(|one| one["type"] == kind).cloned()
}

impl Drop for Operated {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Operator {
    fn start(client: Client, namespace: String, name: &str) -> Operator {
        let cache = Arc::new(Cache::default());
        let notify = Arc::new(Notify::new());
        let wake = {
            let notify = notify.clone();
            Arc::new(move || notify.notify_one())
        };
        let key = Key::new(&namespace, name);
        let platform = Arc::new(ClusterPlatform::new(client.clone(), cache.clone(), key, wake));
        let faults: Arc<Mutex<Vec<Fault>>> = Arc::default();
        let mut tasks = vec![
            feed::<Deployment>(&client, &namespace, &cache, &notify),
            feed::<Service>(&client, &namespace, &cache, &notify),
            feed::<Slice>(&client, &namespace, &cache, &notify),
            feed::<Release>(&client, &namespace, &cache, &notify),
            feed::<Budget>(&client, &namespace, &cache, &notify),
            feed::<HttpRoute>(&client, &namespace, &cache, &notify),
        ];
        let site: Arc<Mutex<Option<BlueGreenSite>>> = Arc::default();
        let named = watcher::Config::default().fields(&format!("metadata.name={name}"));
        tasks.push(tokio::spawn(watch_site(client, namespace, named, site.clone(), notify.clone())));
        tasks.push(tokio::spawn(turn(platform.clone(), site, notify, faults.clone())));
        Operator { platform, tasks, faults }
    }
}

fn feed<F: Fact>(
    client: &Client,
    namespace: &str,
    cache: &Arc<Cache>,
    notify: &Arc<Notify>,
) -> tokio::task::JoinHandle<()> {
    let api: Api<Watched<F>> = Api::namespaced(client.clone(), namespace);
    let (cache, notify) = (cache.clone(), notify.clone());
    tokio::spawn(async move {
        let mut stream = Box::pin(watcher(api, watcher::Config::default().labels(names::SITE)));
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => {
                    let done = matches!(event, watcher::Event::InitDone);
                    if !cache.apply(event).is_empty() || done {
                        notify.notify_one();
                    }
                }
                Err(error) => {
                    cache.fails(F::KIND, why(&error));
                    notify.notify_one();
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    })
}

async fn watch_site(
    client: Client,
    namespace: String,
    named: watcher::Config,
    site: Arc<Mutex<Option<BlueGreenSite>>>,
    notify: Arc<Notify>,
) {
    let api: Api<BlueGreenSite> = Api::namespaced(client, &namespace);
    let mut stream = Box::pin(watcher(api, named));
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                *site.lock().unwrap() = Some(object);
            }
            Ok(watcher::Event::Delete(_)) => *site.lock().unwrap() = None,
            _ => {}
        }
        notify.notify_one();
    }
}

struct Telling<'a> {
    platform: &'a ClusterPlatform,
    plan: &'a Plan,
    generation: i64,
    fault: Option<Fault>,
}

impl Telling<'_> {
    fn tell(&self, observed: &Observed, decision: &Decision) {
        let before = self.platform.reported();
        let status = report::status(&Seen {
            name: "shop",
            program: "kubectl bluegreen",
            generation: self.generation,
            plan: self.plan,
            observed,
            decision,
            fault: self.fault.as_ref(),
            warnings: &self.platform.warnings(),
            before: before.as_ref(),
            now: wall(),
        });
        self.platform.report(status);
    }
}

impl Listener for Telling<'_> {
    fn decided(&mut self, observed: &Observed, decision: &Decision, recorded: bool) {
        tracing::debug!(phase = ?decision.status.phase, step = ?decision.goal.step, ledger = decision.ledger.version, "decided");
        if recorded {
            self.tell(observed, decision);
        }
    }
}

async fn turn(
    platform: Arc<ClusterPlatform>,
    site: Arc<Mutex<Option<BlueGreenSite>>>,
    notify: Arc<Notify>,
    faults: Arc<Mutex<Vec<Fault>>>,
) {
    let mut driver = Driver::new(platform.clone(), ClusterStore::new(platform.clone()), SystemClock::start());
    let mut fault: Option<Fault> = None;
    loop {
        let wait = 'turn: {
            let Some(object) = site.lock().unwrap().clone() else { break 'turn Duration::from_secs(10) };
            if object.metadata.deletion_timestamp.is_some() {
                // As the operator has it: what the site has is its property, and goes with it.
                break 'turn Duration::from_secs(10);
            }
            let parsed = match Site::parse(&object).map(Site::on_cluster) {
                Ok(Ok(parsed)) => Arc::new(parsed),
                other => panic!("a test's site is right: {other:?}"),
            };
            platform.want(&object, parsed.clone());
            let (commands, _) =
                command::from_annotations(object.metadata.annotations.as_ref().unwrap_or(&Default::default()));
            if let Err(fault) = platform.take_back().await {
                tracing::debug!(%fault, "not taken back");
                faults.lock().unwrap().push(fault.clone());
                platform.report(report::unusable(fault.reason, &fault.message, parsed.generation, None, wall()));
                let _ = platform.flush().await;
                break 'turn Duration::from_secs(1);
            }
            let (plan, untold) = platform.plan(commands, false).await;
            let Some(plan) = plan else { break 'turn Duration::from_secs(1) };
            let mut telling = Telling {
                platform: &platform,
                plan: &plan,
                generation: parsed.generation,
                fault: fault.clone().or(untold.clone()),
            };
            let turn = match driver.turn(&plan, &mut telling).await {
                Ok(turn) => turn,
                Err(none) => {
                    tracing::debug!(fault = %none.fault, "no turn");
                    faults.lock().unwrap().push(none.fault);
                    break 'turn none.wait;
                }
            };
            if let Some(fault) = &turn.fault {
                tracing::debug!(%fault, reason = fault.reason, "a step was not taken");
                faults.lock().unwrap().push(fault.clone());
            }
            fault = turn.fault;
            telling.fault = fault.clone().or(untold);
            telling.tell(&turn.observed, &turn.decision);
            if let Err(fault) = platform.flush().await {
                tracing::debug!(%fault, "the status was not written");
                faults.lock().unwrap().push(fault);
            }
            turn.wait.unwrap_or(Duration::from_secs(5)).min(Duration::from_secs(5))
        };
        tokio::select! {
            () = notify.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}
