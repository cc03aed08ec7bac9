//! One namespace of a control plane, the program under the name by which kubectl finds it, and the operator's part.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use bluegreen::api::crd;
use bluegreen::rollout::{Colour, Revision};
use bluegreen_rig::cluster::{AFTER, ControlPlane, Namespace, POD};
use bluegreen_rig::told::Told;
use bluegreen_rig::wait;
use serde_json::{Value, json};

/// The revision that is live.
pub fn old() -> Revision {
    Revision::new(0x0123_4567_89ab_cdef_0000_0000_0000_0001)
}

/// The revision that is wanted.
pub fn new() -> Revision {
    Revision::new(0xfeed_beef_0000_0000_0000_0000_0000_0002)
}

/// Installs the resource, and waits until it is served.
pub fn install(plane: &ControlPlane) {
    plane.apply(&crd::yaml().unwrap()).unwrap();
    plane.wait_for_resource("bluegreensites").unwrap();
}

/// The one that the tests share, with the resource installed.
pub fn shared() -> &'static ControlPlane {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let plane = ControlPlane::shared().expect("a control plane comes up");
    INSTALLED.get_or_init(|| install(plane));
    plane
}

/// The program as kubectl finds it, with a home of its own.
pub struct Program {
    kubeconfig: PathBuf,
    namespace: String,
    folder: tempfile::TempDir,
}

impl Program {
    pub fn new(kubeconfig: &Path, namespace: &str) -> Program {
        let folder = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_bluegreen"), folder.path().join("kubectl-bluegreen")).unwrap();
        Program { kubeconfig: kubeconfig.to_owned(), namespace: namespace.to_owned(), folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The bare program: no cluster but what `words` name.
    pub fn bare(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.folder.path().join("kubectl-bluegreen"));
        command.args(words).stdin(Stdio::null()).env_remove("KUBECONFIG").env_remove("BLUEGREEN_SOCKET");
        command.env("HOME", self.folder.path());
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.bare(words);
        command.env("KUBECONFIG", &self.kubeconfig);
        if !words.contains(&"-A") {
            command.args(["-n", &self.namespace]);
        }
        command
    }

    /// Runs to its end: exit code, standard output, standard error.
    pub fn run(&self, words: &[&str]) -> (i32, String, String) {
        ended(&self.command(words).output().unwrap())
    }

    /// Runs to its end, which must be a good one, and returns what it printed.
    pub fn ok(&self, words: &[&str]) -> String {
        let (code, out, err) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {err}");
        out
    }

    /// Runs to its end, which must be a bad one, and returns what it complained about.
    pub fn fails(&self, words: &[&str]) -> String {
        let (code, out, err) = self.run(words);
        assert_eq!(code, 1, "{words:?} printed {out} and {err}");
        err
    }

    pub fn begin(&self, words: &[&str]) -> Told {
        Told::start(&mut self.command(words)).unwrap()
    }

    /// Writes a manifest and returns its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

pub fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A namespace, and the program in it.
pub struct Desk {
    pub namespace: Namespace<'static>,
    pub program: Program,
}

impl Desk {
    pub fn new(name: &str) -> Desk {
        let plane = shared();
        let namespace = plane.namespace(name).unwrap();
        let program = Program::new(&plane.kubeconfig(), namespace.name());
        Desk { namespace, program }
    }

    /// Applies a site and waits for nothing.
    pub fn apply(&self, name: &str) -> String {
        let file = self.program.file(&format!("{name}.yaml"), &manifest(name, "1.4.2"));
        self.program.ok(&["apply", "-f", &file])
    }

    /// What the operator writes into a site's status.
    pub fn status(&self, name: &str, status: &Value) {
        let patch = json!({"status": status}).to_string();
        self.namespace
            .kubectl(&["patch", "bluegreensite", name, "--subresource=status", "--type=merge", "--patch", &patch])
            .unwrap();
    }

    /// What the operator makes of a colour: a Deployment, whose pods behave as `pod` says, and its own Service.
    pub fn colour(&self, site: &str, colour: Colour, revision: Revision, replicas: u32, pod: &str) {
        let labels = json!({"bluegreen.dev/site": site, "bluegreen.dev/colour": colour});
        let behaviour = if pod == "late" { json!({AFTER: "3600s"}) } else { json!({POD: pod}) };
        let spec = json!({
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": labels, "annotations": behaviour},
                "spec": {"containers": [{"name": "app", "image": "registry.local/app:1"}]},
            },
        });
        let name = format!("{site}-{colour}");
        let metadata = json!({"name": name, "labels": labels, "annotations": {"bluegreen.dev/revision": revision}});
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec});
        self.namespace.apply(&deployment.to_string()).unwrap();
        self.service(site, &name, colour);
    }

    /// A Service that leads to a colour.
    pub fn service(&self, site: &str, name: &str, colour: Colour) {
        let selector = json!({"bluegreen.dev/site": site, "bluegreen.dev/colour": colour});
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": {"bluegreen.dev/site": site}},
            "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]},
        });
        self.namespace.apply(&service.to_string()).unwrap();
    }

    pub fn site(&self, name: &str) -> Value {
        self.namespace.json(&["get", "bluegreensite", name]).unwrap()
    }

    /// The site as a person who asks until it is so.
    pub fn shows(&self, words: &[&str], part: &str) -> String {
        let shown = || Some(self.program.run(words).1).filter(|text| text.contains(part));
        wait::until(&format!("{words:?} shows {part:?}"), wait::PATIENCE, shown)
            .unwrap_or_else(|late| panic!("{late}; it shows {:?}", self.program.run(words)))
    }
}

/// A site of two pods.
pub fn manifest(name: &str, version: &str) -> String {
    format!(
        "apiVersion: bluegreen.dev/v1alpha1
kind: BlueGreenSite
metadata: {{ name: {name} }}
spec:
  target:
    cluster:
      replicas: 2
      service: {{ ports: [{{ name: http, port: 80, targetPort: 8080 }}] }}
      template:
        spec:
          containers:
            - {{ name: app, image: 'registry.local/app:{version}' }}
  strategy: {{ bake: 60s }}
"
    )
}

pub fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1,
           "lastTransitionTime": "2026-11-22T18:29:30Z"})
}

pub fn rollout(phase: &str, about: Option<Revision>, ledger: &Value) -> Value {
    let mut whole = json!({"version": 7, "stable": {"colour": "blue", "revision": old()}, "intent": null, "cleared": [old()],
        "rejected": {}, "retries": {}, "rollback": null, "taken": {}, "approval": null, "paused": null});
    whole.as_object_mut().unwrap().extend(ledger.as_object().unwrap().clone());
    let about = about.map(|revision| json!({"revision": revision, "number": 1}));
    json!({"phase": phase, "about": about, "since": 1_795_372_200_000_i64, "deadline": null, "ledger": whole})
}

/// Blue serves, nothing is under way.
pub fn resting() -> Value {
    let message = format!("blue serves {}", old().short());
    json!({
        "observedGeneration": 1, "phase": "Idle", "candidate": null,
        "live": {"colour": "blue", "revision": old(), "since": "2026-11-22T16:31:00Z"},
        "conditions": [condition("Ready", "True", "Live", &message),
                       condition("Available", "True", "AllInstancesReady", "every instance of blue is ready")],
        "rollout": rollout("Idle", None, &json!({})),
    })
}

/// Green waits for approval.
pub fn awaiting() -> Value {
    let message = format!("{} is ready on green and waits for approval", new().short());
    let mut status = resting();
    status["phase"] = json!("AwaitingApproval");
    status["candidate"] = json!({"colour": "green", "revision": new(), "attempt": 1});
    status["conditions"] = json!([
        condition("Ready", "False", "AwaitingApproval", &message),
        condition("Reconciling", "True", "AwaitingApproval", &message)
    ]);
    status["rollout"] = rollout("AwaitingApproval", Some(new()), &json!({}));
    status
}
