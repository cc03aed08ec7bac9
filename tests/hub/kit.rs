//! A hub, a host that follows it, a site with two instances a colour, and load on it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use bluegreen::driver::agent::hub::membership::Membership;
use bluegreen_rig::agent::Agent;
use bluegreen_rig::cluster::{ControlPlane, Namespace, Options};
use bluegreen_rig::load::{Load, Running, Totals};
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use bluegreen_rig::{binaries, process, wait};
use serde_json::{Value, json};

use crate::proxy::Proxy;

/// A rollout takes its time on a machine that does much at once.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What a host's namespace begins with.
pub const PREFIX: &str = "bluegreen-host-";

/// The API server that tests share.
pub fn plane() -> &'static ControlPlane {
    static SHARED: OnceLock<ControlPlane> = OnceLock::new();
    SHARED.get_or_init(new_plane)
}

/// An API server for one test alone.
pub fn new_plane() -> ControlPlane {
    let plane = ControlPlane::start(Options::api()).expect("a control plane comes up");
    let crd = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/bluegreen.dev_bluegreensites.yaml");
    plane.kubectl(&["apply", "--server-side", "--filename", crd]).expect("the CRD is valid");
    plane.wait_for_resource("bluegreensites").expect("it is served");
    plane
}

/// A machine that follows a hub.
pub struct Host<'p> {
    // Dropped in this order: the agent and its apps before the nginx in front of them.
    pub agent: Agent,
    pub nginx: Nginx,
    pub ports: Vec<Port>,
    pub user: User,
    pub proxy: Proxy,
    pub namespace: Namespace<'p>,
    pub plane: &'p ControlPlane,
}

impl<'p> Host<'p> {
    /// One that has joined.
    pub fn start(plane: &'p ControlPlane) -> Host<'p> {
        let namespace = plane.namespace(&format!("{PREFIX}vps")).unwrap();
        Host::start_in(plane, namespace)
    }

    fn start_in(plane: &'p ControlPlane, namespace: Namespace<'p>) -> Host<'p> {
        let nginx = Nginx::start().unwrap();
        let mut agent = Agent::start(&nginx).unwrap();
        let port = plane.url().rsplit(':').next().unwrap().parse().unwrap();
        let (user, proxy) = (User::ordinary().unwrap(), Proxy::to(port));
        agent.stop();
        let allow = json!({
            "users": [user.name()], "releases": [agent.uploads()], "hostnames": ["*.test"], "runtimes": ["command"],
            "files": [agent.folder().join("files")], "listen": [nginx.address()],
        });
        let config = fs::read_to_string(agent.config_file()).unwrap();
        fs::write(agent.config_file(), format!("{config}allow: {allow}\n")).unwrap();
        grant(plane, namespace.name());
        join(plane, namespace.name(), &proxy, &agent.state_dir());
        agent.run().unwrap();
        Host { agent, nginx, ports: Port::take_many(5 * 4).unwrap(), user, proxy, namespace, plane }
    }

    /// Allows this as well from now on.
    pub fn allows(&mut self, more: Value) {
        self.agent.stop();
        let config = fs::read_to_string(self.agent.config_file()).unwrap();
        let (others, allow) = config.split_once("allow: ").unwrap();
        let mut allow: Value = serde_json::from_str(allow).unwrap();
        allow.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fs::write(self.agent.config_file(), format!("{others}allow: {allow}\n")).unwrap();
        self.agent.run().unwrap();
    }

    /// The site `name` with two instances a colour; `slot` tells sites of one machine apart.
    pub fn site(&self, name: &str, slot: usize) -> Manifest {
        let ports: Vec<u16> = self.ports[slot * 4..slot * 4 + 4].iter().map(Port::number).collect();
        Manifest::app(name, self.nginx.address(), self.user.name(), &ports[..2], &ports[2..])
    }

    pub fn release(&self, version: &str) -> PathBuf {
        self.release_that(version, "")
    }

    pub fn release_that(&self, version: &str, behaviour: &str) -> PathBuf {
        release(&self.agent.uploads(), version, behaviour).unwrap()
    }

    pub fn load(&self, site: &Manifest) -> Running {
        Load::to(self.nginx.address(), &site.host()).clients(8).start().unwrap()
    }

    /// The version that somebody gets who asks right now.
    pub fn served(&self, site: &Manifest) -> Option<String> {
        let load = Load::to(self.nginx.address(), &site.host()).clients(1).count(1).start().unwrap();
        load.finish().versions.into_keys().next()
    }

    /// Waits until the hub says of the site what this host says, and both want the same of it.
    pub fn agrees(&self, name: &str) {
        self.wait_for(name, "is told as it is here", |there| {
            let Ok(here) = self.agent.site(name) else { return false };
            let said = ["phase", "live", "candidate", "rejected", "conditions"];
            let same = |field: &str| here["status"][field] == there["status"][field];
            here["spec"] == there["spec"]
                && here["metadata"]["generation"] == there["metadata"]["generation"]
                && said.into_iter().all(same)
        });
    }

    /// Applies a site to the hub.
    pub fn apply(&self, site: &Manifest) {
        self.namespace.apply(&site.yaml().unwrap()).unwrap();
    }

    /// The site's object on the hub.
    pub fn object(&self, name: &str) -> Option<Value> {
        self.namespace.json(&["get", "bluegreensite", name]).ok()
    }

    /// Waits until the object is as wanted.
    pub fn wait_for(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let waited =
            wait::until(&format!("{name} on the hub: {what}"), PATIENCE, || self.object(name).filter(|o| wanted(o)));
        waited.unwrap_or_else(|error| {
            let object = self.object(name);
            let here = self.agent.site(name).map(|site| site["status"].clone());
            panic!("{error}\non the hub: {object:#?}\nhere: {here:#?}\n{}", tail(&self.agent.log(), 40))
        })
    }

    /// Waits until the hub says that the newest specification is live.
    pub fn ready(&self, name: &str) -> Value {
        self.wait_for(name, "is ready", is_ready)
    }

    /// Waits until the site is gone from the hub and from here.
    pub fn gone(&self, name: &str) {
        let gone = wait::until(&format!("{name} was gone from both"), PATIENCE, || {
            let there =
                self.namespace.kubectl(&["get", "bluegreensite", name, "--ignore-not-found", "--output=name"]).ok()?;
            (there.trim().is_empty() && self.agent.site(name).is_err()).then_some(())
        });
        gone.unwrap_or_else(|error| panic!("{error}: {:#?}\n{}", self.object(name), tail(&self.agent.log(), 40)));
    }

    /// Whether `bluegreen fleet get` shows the host as present.
    pub fn is_present(&self) -> Option<bool> {
        let mut fleet = Command::new(binaries::bluegreen().unwrap());
        fleet.args(["fleet", "get", "--output", "json"]).env("KUBECONFIG", self.plane.kubeconfig());
        let list: Value = serde_json::from_slice(&process::run(&mut fleet).ok()?.stdout).ok()?;
        let rows = list["items"].as_array()?;
        rows.iter().find(|row| row["namespace"] == self.namespace.name())?["present"].as_bool()
    }

    /// Waits until the agent acts for its hub, or doesn't.
    pub fn reached(&self, reached: bool) -> Value {
        let file = Membership::folder(&self.agent.state_dir()).join("standing.json");
        let stands =
            || serde_json::from_str(&fs::read_to_string(&file).ok()?).ok().filter(|v: &Value| v["reached"] == reached);
        wait::until(&format!("the hub was reached: {reached}"), PATIENCE, stands)
            .unwrap_or_else(|error| panic!("{error}\n{}", tail(&self.agent.log(), 40)))
    }
}

/// What a host may do there, and nothing else; as `bluegreen host token` grants it.
pub fn grant(plane: &ControlPlane, namespace: &str) {
    let rules = json!([
        { "apiGroups": [""], "resources": ["namespaces"], "resourceNames": [namespace], "verbs": ["get"] },
        { "apiGroups": ["bluegreen.dev"], "resources": ["bluegreensites"], "verbs": ["get", "list", "watch", "patch"] },
        { "apiGroups": ["bluegreen.dev"], "resources": ["bluegreensites/status"], "verbs": ["update"] },
        { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"] },
        { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["bluegreen-host"], "verbs": ["get", "update"] },
        { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"] },
        { "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["pull"], "verbs": ["get"] },
    ]);
    let meta = json!({ "name": "bluegreen-host", "namespace": namespace });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta },
        { "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": rules },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "bluegreen-host" },
            "subjects": [{ "kind": "ServiceAccount", "name": "bluegreen-host", "namespace": namespace }],
        },
    ] });
    plane.apply(&list.to_string()).unwrap();
}

/// Makes whoever has this state folder a member of the hub.
pub fn join(plane: &ControlPlane, namespace: &str, proxy: &Proxy, state: &Path) {
    let hub = plane.json(&["get", "namespace", namespace]).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    let joined = Membership {
        server: proxy.url(),
        certificate_authority: fs::read_to_string(plane.certificate()).unwrap(),
        host: namespace.strip_prefix(PREFIX).unwrap().parse().unwrap(),
        namespace: namespace.to_owned(),
        hub,
        since: jiff::Timestamp::now(),
    };
    joined.save(state).unwrap();
    let token = Membership::token_file(state);
    fs::write(&token, plane.service_account_token(namespace, "bluegreen-host").unwrap()).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Whether the newest specification is live, as kstatus understands it.
pub fn is_ready(object: &Value) -> bool {
    let generation = &object["metadata"]["generation"];
    let ready = condition(object, "Ready");
    object["status"]["observedGeneration"] == *generation
        && ready["observedGeneration"] == *generation
        && ready["status"] == "True"
        && condition(object, "Reconciling").is_null()
        && condition(object, "Stalled").is_null()
}

/// A condition; null: there is none.
pub fn condition(object: &Value, kind: &str) -> Value {
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["type"] == kind).unwrap_or_default()
}

pub fn holds(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!("bluegreen.dev/host")))
}

pub fn nothing_lost(totals: &Totals) {
    assert_eq!(totals.broken_clients, 0);
    assert_eq!(totals.failed, 0, "{:?} of {} requests: {:?}", totals.losses, totals.requests, totals.told);
}

pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
