//! Programs, files and documents that the tests of this folder share.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use bluegreen_rig::cluster::{ControlPlane, Options, tools};
use bluegreen_rig::process::Guarded;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// Where the chart is installed.
pub const HOME: &str = "bluegreen-system";

/// A file of the repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The chart.
pub fn chart() -> PathBuf {
    file("charts/bluegreen")
}

/// The documents of a YAML file.
pub fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    all.into_iter().filter(|document| !document.is_null()).collect()
}

/// The documents of a file of the repository.
pub fn read(path: &Path) -> Vec<Value> {
    documents(&fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The one document of that kind whose name ends so.
pub fn find<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let fitting: Vec<&Value> = all
        .iter()
        .filter(|one| one["kind"] == kind && one["metadata"]["name"].as_str().is_some_and(|it| it.ends_with(name)))
        .collect();
    assert_eq!(fitting.len(), 1, "{kind} {name} is there {} times", fitting.len());
    fitting[0]
}

/// How many documents of that kind there are.
pub fn count(all: &[Value], kind: &str) -> usize {
    all.iter().filter(|one| one["kind"] == kind).count()
}

/// The real Helm, whose own files are in a folder that goes with it.
pub struct Helm {
    own: TempDir,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// Without a cluster.
    pub fn offline() -> Helm {
        Helm { own: tempfile::tempdir().unwrap(), kubeconfig: None }
    }

    /// Against this one.
    pub fn at(plane: &ControlPlane) -> Helm {
        Helm { own: tempfile::tempdir().unwrap(), kubeconfig: Some(plane.kubeconfig()) }
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(tools::helm().unwrap());
        for (name, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data"), ("TMPDIR", "")]
        {
            command.env(name, self.own.path().join(folder));
        }
        let nowhere = self.own.path().join("no-kubeconfig");
        command.env("KUBECONFIG", self.kubeconfig.as_deref().unwrap_or(&nowhere));
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env_remove(proxy);
        }
        command.args(arguments).output().unwrap()
    }

    /// What it printed; it must have succeeded.
    pub fn said(&self, arguments: &[&str]) -> String {
        succeeded(&self.run(arguments), &format!("helm {arguments:?}"))
    }

    /// The chart as it is installed with these values.
    pub fn rendered(&self, settings: &[&str]) -> Vec<Value> {
        let chart = chart();
        let mut arguments = vec!["template", "bluegreen", chart.to_str().unwrap(), "--namespace", "bluegreen-system"];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        documents(&self.said(&arguments))
    }
}

/// As JSON means it: 1.0 is 1.
pub fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, it)| (key.clone(), plain(it))).collect(),
        Value::Array(all) => all.iter().map(plain).collect(),
        Value::Number(number) => serde_json::json!(number.as_f64()),
        other => other.clone(),
    }
}

/// What a program printed; it must have succeeded.
pub fn succeeded(output: &Output, what: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{what}: {}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// An API server that the chart was installed into, as anybody would: into a namespace of its own that takes nothing but restricted pods.
/// What is cluster-wide in it is shared, so tests only look, and write into namespaces of their own.
pub fn installed() -> &'static ControlPlane {
    static INSTALLED: OnceLock<ControlPlane> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let plane = ControlPlane::start(Options::controllers()).unwrap();
        plane
            .apply("{apiVersion: v1, kind: Namespace, metadata: {name: bluegreen-system, labels: {pod-security.kubernetes.io/enforce: restricted}}}")
            .unwrap();
        plane.kubectl(&["create", "namespace", "trusting"]).unwrap();
        let chart = chart();
        Helm::at(&plane).said(&[
            "install",
            "bluegreen",
            chart.to_str().unwrap(),
            "--namespace",
            "bluegreen-system",
            "--set",
            "secrets.namespaces={trusting}",
        ]);
        // What others bring, in their own words.
        let gateways = ["gatewayclasses", "gateways", "httproutes"].map(|it| ("gateway-api", format!("gateway.networking.k8s.io_{it}")));
        for (tool, name) in gateways.into_iter().chain([("podmonitor", "monitoring.coreos.com_podmonitors".to_owned())]) {
            let definition = tools::folder(tool).unwrap().join(format!("crd/{name}.yaml"));
            plane.kubectl(&["create", "--filename", definition.to_str().unwrap()]).unwrap();
        }
        for resource in ["bluegreensites", "gatewayclasses", "gateways", "httproutes", "podmonitors"] {
            plane.wait_for_resource(resource).unwrap();
        }
        plane
    })
}

/// A site of a cluster, as short as it can be.
pub fn site(name: &str, image: &str) -> String {
    format!(
        "apiVersion: bluegreen.dev/v1alpha1\nkind: BlueGreenSite\nmetadata: {{name: {name}}}\nspec:\n  target:\n    cluster:\n      \
         service: {{ports: [{{port: 80, targetPort: 8080}}]}}\n      template: {{spec: {{containers: [{{name: app, image: \"{image}\"}}]}}}}\n"
    )
}

/// The program, with the arguments of the chart's Deployment and the account's token.
pub fn operator(plane: &ControlPlane, log: &Path) -> Guarded {
    let deployment = plane.json(&["--namespace", HOME, "get", "deployment", "bluegreen"]).unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let token = plane.service_account_token(HOME, "bluegreen").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bluegreen"));
    for argument in container["args"].as_array().unwrap() {
        // The kubelet puts variables in; ports are the pod's own there, and everybody's here.
        let argument = argument.as_str().unwrap().replace("$(POD_NAMESPACE)", HOME);
        command.arg(argument.replace("0.0.0.0:8080", "127.0.0.1:0").replace("0.0.0.0:8081", "127.0.0.1:0"));
    }
    command.env("KUBECONFIG", plane.kubeconfig_for("operator", &token).unwrap());
    command.env("POD_NAME", "bluegreen-0").env("POD_NAMESPACE", HOME);
    command.stdout(File::create(log).unwrap()).stderr(File::options().append(true).open(log).unwrap());
    Guarded::start(&mut command, Signal::TERM, Duration::from_secs(20)).unwrap()
}
