//! One repository, two hosts: what Argo CD puts into their namespaces, they carry out, and what it says of them is so. The repository is laid out as
//! `deploy/fleet` is, and the ApplicationSet is the one that stands there.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::cluster::argocd::Clone;
use bluegreen_rig::cluster::{ArgoCd, ControlPlane, Options, tools};
use bluegreen_rig::load::{Load, Running};
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use bluegreen_rig::{binaries, process, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::{HOME, Helm, chart, file};

const PATIENCE: Duration = Duration::from_secs(120);
const HOSTS: [&str; 2] = ["web-1", "web-2"];

/// A host that has joined as its administrator would let it.
struct Host {
    name: &'static str,
    agent: Agent,
    nginx: Nginx,
    ports: Vec<Port>,
}

impl Host {
    fn join(plane: &ControlPlane, name: &'static str, user: &User, releases: &TempDir) -> Host {
        let nginx = Nginx::start().unwrap();
        let mut agent = Agent::start(&nginx).unwrap();
        agent.stop();
        let allow = json!({
            "users": [user.name()], "releases": [releases.path()], "hostnames": ["shop.test"], "runtimes": ["command"],
            "listen": [nginx.address()],
        });
        writeln!(OpenOptions::new().append(true).open(agent.config_file()).unwrap(), "allow: {allow}").unwrap();
        agent.run().unwrap();
        let mut admin = Command::new(binaries::bluegreen().unwrap());
        admin.args(["host", "token", name, "--only-token", "--kubeconfig"]).arg(plane.kubeconfig());
        let token = process::run(&mut admin).unwrap().stdout;
        let mut join = Command::new(binaries::bluegreen().unwrap());
        join.args(["host", "join", "--token-file", "-", "--config"]).arg(agent.config_file());
        let mut join = join.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        join.stdin.take().unwrap().write_all(&token).unwrap();
        let output = join.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Host { name, agent, nginx, ports: Port::take_many(2).unwrap() }
    }

    /// What differs from host to host: here, the ports of this machine.
    fn kustomization(&self) -> String {
        let target = json!({ "kind": "BlueGreenSite", "name": "shop" });
        let put = |path: &str, value: Value| json!({ "op": "add", "path": format!("/spec/target/host/{path}"), "value": value });
        let patch = json!([
            put("listen", json!([self.nginx.address().to_string()])),
            put("ports", json!({ "blue": [self.ports[0].number()], "green": [self.ports[1].number()] })),
        ]);
        json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["../../base"],
            "patches": [{ "target": target, "patch": patch.to_string() }],
        })
        .to_string()
    }

    fn load(&self) -> Running {
        Load::to(self.nginx.address(), "shop.test").clients(4).start().unwrap()
    }
}

struct Fleet<'a> {
    argo: &'a ArgoCd<'a>,
    plane: &'a ControlPlane,
    hosts: Vec<Host>,
    clone: Clone,
    user: User,
    releases: TempDir,
}

impl Fleet<'_> {
    /// What every host is to run.
    fn site(&self, version: &str, promotion: &str) -> String {
        let any = "127.0.0.1:1".parse().unwrap();
        Manifest::app("shop", any, self.user.name(), &[], &[])
            .release(&self.releases.path().join(version))
            .strategy("promotion", promotion)
            .strategy("standby", "10m")
            .strategy("readyWithin", "5s")
            .unset("/spec/target/host/listen")
            .unset("/spec/target/host/ports")
            .yaml()
            .unwrap()
    }

    fn push(&self, version: &str, promotion: &str) {
        self.clone.commit("base/shop.yaml", &self.site(version, promotion)).unwrap();
        self.refresh();
    }

    fn revert(&self) {
        self.clone.revert().unwrap();
        self.refresh();
    }

    fn refresh(&self) {
        for host in HOSTS {
            // Before the first commit was seen there is no Application.
            let _ = self.argo.refresh(&format!("host-{host}"));
        }
    }

    fn object(&self, host: &str) -> Value {
        let namespace = format!("bluegreen-host-{host}");
        self.plane.json(&["--namespace", &namespace, "get", "bluegreensite", "shop"]).unwrap_or_default()
    }

    /// The version that a host serves right now, as somebody sees who asks it.
    fn served(host: &Host) -> Option<String> {
        let load = Load::to(host.nginx.address(), "shop.test").count(1).start().ok()?;
        let totals = load.finish();
        totals.versions.keys().next().cloned()
    }

    /// Waits until Argo CD says so of each host, and each serves this version.
    fn until(&self, health: &str, serves: &str) {
        for host in &self.hosts {
            let application = format!("host-{}", host.name);
            let what = format!("{}: Argo CD said {health}, with {serves} live", host.name);
            let seen = wait::until(&what, PATIENCE, || {
                let judged = self.argo.judged(&application).ok()?;
                let current = self.object(host.name);
                let looked = current["metadata"]["generation"] == current["status"]["observedGeneration"];
                let all = judged == (health.to_owned(), "Synced".to_owned()) && looked;
                (all && Self::served(host).as_deref() == Some(serves)).then_some(())
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

    fn kstatus(&self, verdict: &str) {
        for host in HOSTS {
            let said = tools::kstatus(&self.object(host)).unwrap();
            assert!(said.starts_with(verdict), "{host}: {said}");
        }
    }

    fn nothing_differs(&self) {
        for host in HOSTS {
            let mut diff = self.argo.command().unwrap();
            let output = diff.args(["app", "diff", &format!("host-{host}"), "--refresh"]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{host}: {said}{complaint}");
        }
    }
}

#[test]
fn one_commit_is_a_cutover_on_two_hosts_and_a_revert_is_a_way_back_on_both() {
    let plane = ControlPlane::start(Options::controllers()).unwrap();
    let chart = chart();
    let namespaced = ["--namespace", HOME, "--create-namespace"];
    Helm::at(&plane).said(&[&["install", "bluegreen", chart.to_str().unwrap()][..], &namespaced].concat());
    plane.wait_for_resource("bluegreensites").unwrap();
    let argo = ArgoCd::start(&plane, &file("deploy/argocd/argocd-cm.yaml")).unwrap();
    plane.kubectl(&["apply", "--filename", file("deploy/argocd/rbac.yaml").to_str().unwrap()]).unwrap();

    let (user, releases) = (User::ordinary().unwrap(), TempDir::new().unwrap());
    open(&releases);
    for version in ["v1", "v2", "v3", "v4"] {
        release(releases.path(), version, "").unwrap();
    }
    release(releases.path(), "v5", "never-ready\n").unwrap();
    let hosts = HOSTS.map(|name| Host::join(&plane, name, &user, &releases));
    let (url, clone) = argo.repository("fleet.git").unwrap();
    let fleet = Fleet { argo: &argo, plane: &plane, hosts: hosts.into(), clone, user, releases };
    let clone = &fleet.clone;
    // Argo CD prunes nothing if that left nothing.
    let settings = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {REGION: here}}";
    clone.commit("base/settings.yaml", settings).unwrap();
    clone.commit("base/kustomization.yaml", "resources: [settings.yaml, shop.yaml]\n").unwrap();
    for host in &fleet.hosts {
        clone.commit(&format!("hosts/{}/kustomization.yaml", host.name), &host.kustomization()).unwrap();
    }
    fleet.push("v1", "Automatic");
    let example = fs::read_to_string(file("deploy/fleet/applicationset.yaml")).unwrap();
    plane.apply(&example.replace("https://git.example.com/shop/fleet.git", &url)).unwrap();
    fleet.until("Healthy", "v1");
    fleet.nothing_differs();
    fleet.kstatus("Current");

    let loads: Vec<Running> = fleet.hosts.iter().map(Host::load).collect();
    fleet.push("v2", "Automatic");
    fleet.until("Healthy", "v2");

    // It waits for somebody, and the button is Argo CD's own.
    fleet.push("v3", "Manual");
    fleet.until("Suspended", "v2");
    fleet.nothing_differs();
    fleet.kstatus("InProgress");
    for host in HOSTS {
        let application = format!("host-{host}");
        let site = ["--kind", "BlueGreenSite", "--resource-name", "shop"];
        argo.argocd(&[&["app", "actions", "run", &application, "approve"][..], &site].concat()).unwrap();
    }
    fleet.until("Healthy", "v3");

    // What was put into Git while another one waits for approval is what is wanted now: a revert is a way back, and asks nobody.
    fleet.push("v4", "Manual");
    fleet.until("Suspended", "v3");
    fleet.revert();
    fleet.until("Healthy", "v3");

    // A bad commit: said, and what is live goes on.
    fleet.push("v5", "Automatic");
    fleet.until("Degraded", "v3");
    fleet.kstatus("Failed");
    fleet.revert();
    fleet.until("Healthy", "v3");

    // Git alone says what is wanted.
    let patch = json!([{ "op": "replace", "path": "/spec/target/host/release/path", "value": fleet.releases.path().join("v1") }]);
    let at = ["--namespace", "bluegreen-host-web-1", "patch", "bluegreensite", "shop", "--type=json", "--patch"];
    let before = fleet.object("web-1")["metadata"]["generation"].as_i64();
    plane.kubectl(&[&at[..], &[&patch.to_string()]].concat()).unwrap();
    wait::until("Argo CD put the release back", PATIENCE, || {
        let object = fleet.object("web-1");
        let path = object.pointer("/spec/target/host/release/path")?.as_str()?;
        (path.ends_with("/v3") && object["metadata"]["generation"].as_i64() > before).then_some(())
    })
    .unwrap();
    fleet.until("Healthy", "v3");
    fleet.nothing_differs();
    for load in loads {
        let totals = load.stop();
        assert_eq!(totals.failed, 0, "{:?} of {} requests: {:?}", totals.losses, totals.requests, totals.told);
        assert!(totals.requests > 0 && totals.broken_clients == 0, "{totals:?}");
    }

    // Pruned, it goes in order: nothing of it is left on the hub or on the hosts.
    clone.commit("base/kustomization.yaml", "resources: [settings.yaml]\n").unwrap();
    for host in &fleet.hosts {
        let kustomization = "resources: [../../base]\n";
        clone.commit(&format!("hosts/{}/kustomization.yaml", host.name), kustomization).unwrap();
    }
    fleet.refresh();
    for host in &fleet.hosts {
        wait::until(&format!("the site is gone from {}", host.name), PATIENCE, || {
            let namespace = format!("bluegreen-host-{}", host.name);
            let left = plane.kubectl(&["--namespace", &namespace, "get", "bluegreensites", "--output=name"]).ok()?;
            (left.trim().is_empty() && host.agent.site("shop").is_err()).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {:#}", fleet.object(host.name)));
    }
}

/// Apps run as somebody else and must get to their releases.
fn open(folder: &TempDir) {
    use std::os::unix::fs::PermissionsExt;
    let path: PathBuf = folder.path().to_owned();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
