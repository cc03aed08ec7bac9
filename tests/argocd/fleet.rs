//! Two hosts, each in a network of its own that lets out nothing but TCP to the API server; a repository that is laid out as `deploy/fleet` is; and what Argo
//! CD makes of it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::cell::Cell;
use bluegreen_rig::cluster::argocd::Clone;
use bluegreen_rig::cluster::{ArgoCd, ControlPlane, tools};
use bluegreen_rig::load::{self, Answer, Ask, Fetch, Load, Loss, Running};
use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::told::Told;
use bluegreen_rig::users::User;
use bluegreen_rig::{binaries, process, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Everything here takes its time.
pub const PATIENCE: Duration = Duration::from_secs(120);
pub const HOSTS: [&str; 2] = ["web-1", "web-2"];

/// A host that has joined as its administrator would let it.
pub struct Host {
    pub name: &'static str,
    // Dropped in this order: the agent before the nginx in front of its apps, and its network last.
    pub agent: Agent,
    nginx: Nginx,
    ports: Vec<Port>,
    cell: Cell,
}

impl Host {
    pub fn join(plane: &ControlPlane, name: &'static str, user: &User, releases: &TempDir) -> Host {
        let cell = Cell::new(plane.url().rsplit(':').next().unwrap().parse().unwrap()).unwrap();
        let mut admin = Command::new(binaries::bluegreen().unwrap());
        admin
            .args(["host", "token", name, "--only-token", "--server", &cell.url(), "--kubeconfig"])
            .arg(plane.kubeconfig());
        let token = process::run(&mut admin).unwrap().stdout;
        let started = cell.inside(|| {
            let nginx = Nginx::start().unwrap();
            let mut agent = Agent::start(&nginx).unwrap();
            agent.stop();
            let allow = json!({
                "users": [user.name()], "releases": [releases.path()], "hostnames": ["shop.test", "docs.test"],
                "runtimes": ["command", "static"], "listen": [nginx.address()],
            });
            writeln!(OpenOptions::new().append(true).open(agent.config_file()).unwrap(), "allow: {allow}").unwrap();
            agent.run().unwrap();
            let mut join = Command::new(binaries::bluegreen().unwrap());
            join.args(["host", "join", "--token-file", "-", "--config"]).arg(agent.config_file());
            let mut join = join.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            join.stdin.take().unwrap().write_all(&token).unwrap();
            let output = join.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            (agent, nginx, Port::take_many(2).unwrap())
        });
        let (agent, nginx, ports) = started.unwrap();
        Host { name, agent, nginx, ports, cell }
    }

    /// What differs from host to host: here, the ports of this machine.
    pub fn kustomization(&self, sites: &[&str]) -> String {
        let put = |path: &str, value: Value| json!({ "op": "add", "path": format!("/spec/target/host/{path}"), "value": value });
        let listen = put("listen", json!([self.nginx.address().to_string()]));
        let ports = put("ports", json!({ "blue": [self.ports[0].number()], "green": [self.ports[1].number()] }));
        let patch = |site: &&str| {
            let patch = if *site == "shop" { json!([listen, ports]) } else { json!([listen]) };
            json!({ "target": { "kind": "BlueGreenSite", "name": site }, "patch": patch.to_string() })
        };
        json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["../../base"],
            "patches": sites.iter().map(patch).collect::<Vec<Value>>(),
        })
        .to_string()
    }

    pub fn load(&self) -> Running {
        self.cell.inside(|| Load::to(self.nginx.address(), "shop.test").clients(4).start().unwrap()).unwrap()
    }

    /// Load on the site beside it: little, since a web server that reads its configuration anew closes idle connections, also under a request that is on its
    /// way.
    pub fn load_on_docs(&self) -> Running {
        let load = Load::to(self.nginx.address(), "docs.test")
            .clients(1)
            .think(Duration::from_millis(500))
            .asks(vec![Ask::file("/index.html")]);
        self.cell.inside(|| load.of_any_app().start().unwrap()).unwrap()
    }

    /// One request that the app takes so long for.
    pub fn ask_slowly(&self, ms: u32) -> Result<Answer, Loss> {
        let mut fetch = Fetch::get(self.nginx.address(), "shop.test", &format!("/slow?ms={ms}"));
        fetch.within = PATIENCE;
        self.cell.inside(|| load::fetch(&fetch)).unwrap()
    }

    /// The version that it serves right now, as somebody sees who asks it.
    pub fn served(&self) -> Option<String> {
        let load = Load::to(self.nginx.address(), "shop.test").clients(1).count(1);
        let totals = self.cell.inside(|| load.start().unwrap().finish()).unwrap();
        totals.versions.into_keys().next()
    }
}

pub struct Fleet<'a> {
    pub argo: &'a ArgoCd<'a>,
    pub plane: &'a ControlPlane,
    pub hosts: Vec<Host>,
    pub clone: Clone,
    pub user: User,
    pub releases: TempDir,
}

impl Fleet<'_> {
    /// What every host is to run.
    fn site(&self, version: &str, promotion: &str) -> String {
        let any = "127.0.0.1:1".parse().unwrap();
        Manifest::app("shop", any, self.user.name(), &[], &[])
            .release(&self.releases.path().join(version))
            .strategy("promotion", promotion)
            .strategy("standby", "10m")
            .strategy("readyWithin", "8s")
            .strategy("drainWithin", "50s")
            .unset("/spec/target/host/listen")
            .unset("/spec/target/host/ports")
            .yaml()
            .unwrap()
    }

    /// A site of files beside it, which nobody touches.
    pub fn docs(&self) -> String {
        let docs = Manifest::files("docs", "127.0.0.1:1".parse().unwrap(), self.user.name());
        docs.release(&self.releases.path().join("v1")).unset("/spec/target/host/listen").yaml().unwrap()
    }

    pub fn push(&self, version: &str, promotion: &str) {
        self.clone.commit("base/shop.yaml", &self.site(version, promotion)).unwrap();
        self.refresh();
    }

    pub fn revert(&self) {
        self.clone.revert().unwrap();
        self.refresh();
    }

    pub fn refresh(&self) {
        for host in HOSTS {
            // Before the first commit was seen there is no Application.
            let _ = self.argo.refresh(&format!("host-{host}"));
        }
    }

    pub fn object(&self, host: &str) -> Value {
        self.site_object(host, "shop")
    }

    /// Null: it is not there.
    pub fn site_object(&self, host: &str, site: &str) -> Value {
        let namespace = format!("bluegreen-host-{host}");
        self.plane.json(&["--namespace", &namespace, "get", "bluegreensite", site]).unwrap_or_default()
    }

    /// Waits until Argo CD says so of each host, and each serves this version.
    pub fn until(&self, health: &str, serves: &str) {
        for host in &self.hosts {
            let application = format!("host-{}", host.name);
            let what = format!("{}: Argo CD said {health}, with {serves} live", host.name);
            let seen = wait::until(&what, PATIENCE, || {
                let judged = self.argo.judged(&application).ok()?;
                let current = self.object(host.name);
                let looked = current["metadata"]["generation"] == current["status"]["observedGeneration"];
                let all = judged == (health.to_owned(), "Synced".to_owned()) && looked;
                (all && host.served().as_deref() == Some(serves)).then_some(())
            });
            seen.unwrap_or_else(|error| {
                let log = host.agent.log();
                let last: Vec<&str> = log.lines().rev().take(30).collect();
                panic!(
                    "{error}\n{:#}\n{:#}\n{}",
                    self.argo.application(&application).unwrap_or_default()["status"],
                    self.object(host.name),
                    last.join("\n"),
                )
            });
        }
    }

    pub fn kstatus(&self, verdict: &str) {
        for host in HOSTS {
            let said = tools::kstatus(&self.object(host)).unwrap();
            assert!(said.starts_with(verdict), "{host}: {said}");
        }
    }

    /// At rest, Git and the hub are the same to the letter.
    pub fn nothing_differs(&self) {
        for (host, how) in HOSTS.into_iter().flat_map(|host| [(host, &[][..]), (host, &["--server-side-generate"])]) {
            let mut diff = self.argo.command().unwrap();
            let output = diff.args(["app", "diff", &format!("host-{host}"), "--refresh"]).args(how).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{host} {how:?}: {said}{complaint}");
        }
    }

    /// What Argo CD says of each host from now on.
    pub fn healths(&self) -> Vec<Told> {
        HOSTS.iter().map(|host| self.argo.healths(&format!("host-{host}")).unwrap()).collect()
    }

    /// The processes of each host's apps.
    pub fn apps(&self) -> Vec<Vec<u32>> {
        self.hosts.iter().map(|host| host.agent.apps()).collect()
    }

    /// Those of this version.
    pub fn apps_of(&self, version: &str) -> Vec<Vec<u32>> {
        let runs =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cwd/VERSION")).is_ok_and(|text| text.trim() == version);
        self.apps().into_iter().map(|apps| apps.into_iter().filter(runs).collect()).collect()
    }

    /// Those that serve are there on each host, and none was started since.
    pub fn same_apps(&self, before: &[Vec<u32>], live: &[Vec<u32>]) {
        for ((host, before), live) in self.hosts.iter().zip(before).zip(live) {
            let now = host.agent.apps();
            assert!(!live.is_empty());
            assert!(live.iter().all(|pid| now.contains(pid)), "{}: {live:?} are not all among {now:?}", host.name);
            assert!(now.iter().all(|pid| before.contains(pid)), "{}: {now:?} are not all from {before:?}", host.name);
        }
    }

    /// The Application of a host, until it is gone.
    pub fn application(&self, host: &str) -> Option<Value> {
        self.argo.application(&format!("host-{host}")).ok()
    }
}

/// Apps run as somebody else and must get to their releases.
pub fn open(folder: &TempDir) {
    use std::os::unix::fs::PermissionsExt;
    let path: PathBuf = folder.path().to_owned();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
