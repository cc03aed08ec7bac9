//! A hub, hosts that are a folder each, and the program as a person calls it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bluegreen::cli::host::ticket::Ticket;
use bluegreen::driver::agent::hub::asking;
use bluegreen::driver::agent::hub::bearer::Bearer;
use bluegreen::driver::agent::hub::membership::Membership;
use bluegreen_rig::cluster::{ControlPlane, Options};
use bluegreen_rig::{binaries, wait};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use kube::config::AuthInfo;
use serde_json::{Value, json};

/// A busy machine takes its time.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The hub of all tests here: an API server that knows sites, and the chart's policies for hosts.
pub fn plane() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| {
        let plane = ControlPlane::start(Options::api()).expect("an API server comes up");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let crd = root.join("crds/bluegreen.dev_bluegreensites.yaml");
        plane.kubectl(&["apply", "--server-side", "--filename", crd.to_str().unwrap()]).expect("the CRD is valid");
        plane.wait_for_resource("bluegreensites").expect("it is served");
        let base = std::fs::read_to_string(root.join("deploy/kustomize/base/bluegreen.yaml")).unwrap();
        let ours =
            |part: &&str| part.contains("kind: ValidatingAdmissionPolicy") && part.contains("name: bluegreen-host");
        let policies: Vec<&str> = base.split("\n---\n").filter(ours).collect();
        assert_eq!(policies.len(), 4, "two policies, each with its binding");
        plane.apply(&policies.join("\n---\n")).expect("the policies are valid");
        policies_count(&plane);
        plane
    })
}

/// A policy counts some time after it was made; until then these tests would show nothing.
fn policies_count(plane: &ControlPlane) {
    plane.kubectl(&["create", "namespace", "bluegreen-host-probe"]).unwrap();
    plane.kubectl(&["-n", "bluegreen-host-probe", "create", "serviceaccount", "bluegreen-host"]).unwrap();
    plane.kubectl(&["-n", "bluegreen-host-probe", "create", "role", "all", "--verb=*", "--resource=*.*"]).unwrap();
    let account = "--serviceaccount=bluegreen-host-probe:bluegreen-host";
    plane.kubectl(&["-n", "bluegreen-host-probe", "create", "rolebinding", "all", "--role=all", account]).unwrap();
    plane.apply(&site("bluegreen-host-probe", "probe").to_string()).unwrap();
    let token = plane.service_account_token("bluegreen-host-probe", "bluegreen-host").unwrap();
    let caller = Caller::new(plane, &token);
    let site = "/apis/bluegreen.dev/v1alpha1/namespaces/bluegreen-host-probe/bluegreensites/probe";
    let year = json!({ "spec": { "expirationSeconds": 31_536_000 } });
    let tokens = "/api/v1/namespaces/bluegreen-host-probe/serviceaccounts/bluegreen-host/token";
    let mut number = 0;
    wait::until("the policies counted", PATIENCE, || {
        number += 1;
        let label = json!({ "metadata": { "labels": { "probe": number.to_string() } } });
        let refused = caller.call("PATCH", site, &label).0 == 403 && caller.call("POST", tokens, &year).0 == 403;
        refused.then_some(())
    })
    .unwrap();
    plane.kubectl(&["-n", "bluegreen-host-probe", "delete", "rolebinding", "all"]).unwrap();
}

/// A host's site, as somebody writes it into the host's namespace.
pub fn site(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "bluegreen.dev/v1alpha1", "kind": "BlueGreenSite",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "target": { "host": {
            "hostnames": [format!("{name}.example.com")],
            "release": { "path": "/srv/shop/1.0.0" },
            "runtime": { "static": {} },
            "user": "shop",
            "static": [{ "path": "/", "root": "public" }],
        }}},
    })
}

/// A name that no other test gives to a host.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    pub well: bool,
    pub out: String,
    pub err: String,
}

impl Said {
    #[track_caller]
    pub fn well(self) -> String {
        assert!(self.well, "{} {}", self.out, self.err);
        self.out
    }

    #[track_caller]
    pub fn refused(self) -> String {
        assert!(!self.well, "{} {}", self.out, self.err);
        self.err
    }
}

/// Runs the program as an admin of the hub.
pub fn admin(arguments: &[&str]) -> Said {
    let mut command = Command::new(binaries::bluegreen().unwrap());
    command.args(arguments).env("KUBECONFIG", plane().kubeconfig());
    said(command, None)
}

/// A token to join with, as a person gets it.
pub fn token(host: &str) -> String {
    let word = admin(&["host", "token", host, "--only-token"]).well().trim().to_owned();
    assert!(word.starts_with("bluegreen-join.") && word.lines().count() == 1);
    word
}

/// Runs a program, and gives it something to read.
pub fn said(mut command: Command, input: Option<&str>) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // It may have failed before it read anything; then it says why.
    let _ = pipe.write_all(input.unwrap_or_default().as_bytes());
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { well: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A machine, as far as joining goes: a folder for the agent's state, and its configuration.
pub struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    pub fn new() -> Machine {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("agent.yaml"), format!("stateDir: {}/state\n", folder.path().display()))
            .unwrap();
        Machine { folder }
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// `bluegreen host …` on it. Nothing that it says holds a token that it was given.
    pub fn host(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = Command::new(binaries::bluegreen().unwrap());
        command.arg("host").args(arguments).arg("--config").arg(self.folder.path().join("agent.yaml"));
        command.env_remove("KUBECONFIG");
        let said = said(command, Some(input));
        for secret in [input.trim(), &self.token_file()] {
            assert!(secret.len() < 40 || !format!("{said:?}").contains(secret), "a token was shown: {said:?}");
        }
        said
    }

    pub fn join(&self, word: &str) -> Said {
        self.host(&["join", "--token-file", "-"], word)
    }

    pub fn membership(&self) -> Option<Membership> {
        Membership::load(&self.state()).unwrap()
    }

    pub fn token_file(&self) -> String {
        std::fs::read_to_string(Membership::token_file(&self.state())).unwrap_or_default()
    }

    /// A client that shows this host's token, which is read anew from the file as the agent's is.
    pub fn client(&self) -> Client {
        let membership = self.membership().unwrap();
        let mut config = asking::config(&membership.server, &membership.certificate_authority).unwrap();
        let file = Membership::token_file(&self.state()).display().to_string();
        config.auth_info = AuthInfo { token_file: Some(file), ..AuthInfo::default() };
        provide();
        Client::try_from(config).unwrap()
    }

    /// This host's own calls to the API server.
    pub fn caller(&self) -> Caller {
        Caller::new(plane(), &self.token_file())
    }
}

fn provide() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A host that has joined, under a name of its own.
pub fn joined(name: &str) -> (Machine, String) {
    let name = unique(name);
    let machine = Machine::new();
    machine.join(&token(&name)).well();
    (machine, name)
}

/// Somebody who asks the API server for whatever they like, with a token.
pub struct Caller {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Caller {
    pub fn new(plane: &ControlPlane, token: &str) -> Caller {
        provide();
        let authority = std::fs::read_to_string(plane.certificate()).unwrap();
        let mut config = asking::config(&plane.url(), &authority).unwrap();
        config.auth_info = AuthInfo { token: Some(token.trim().to_owned().into()), ..AuthInfo::default() };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let client = Client::try_from(config).unwrap();
        drop(_inside);
        Caller { client, runtime }
    }

    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.call_as(method, path, body, &[])
    }

    /// The answer's status, and what it holds.
    pub fn call_as(&self, method: &str, path: &str, body: &Value, headers: &[(&str, &str)]) -> (u16, Value) {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let mut request = http::Request::builder().method(method).uri(path).header("content-type", kind);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let content = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = request.body(Body::from(content)).unwrap();
        self.runtime.block_on(async {
            let answer = self.client.send(request).await.unwrap();
            let status = answer.status().as_u16();
            let bytes = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
            (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
        })
    }
}

/// Waits until the API server knows a token no more.
pub fn dies(token: &str) {
    let caller = Caller::new(plane(), token);
    wait::until("the token was dead", PATIENCE, || {
        (caller.call("GET", "/version", &Value::Null).0 == 401).then_some(())
    })
    .unwrap();
}

/// The same token with another life, signed by the API server's own key: what it would have issued then.
pub fn at_another_time(token: &Bearer, issued: Timestamp, expires: Timestamp) -> Bearer {
    let parts: Vec<&str> = token.expose().split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    for (name, time) in [("iat", issued), ("nbf", issued), ("exp", expires)] {
        claims[name] = json!(time.as_second());
    }
    let signed = format!("{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-sign"]).arg(plane().folder().join("sa.key"));
    openssl.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = openssl.spawn().unwrap();
    child.stdin.take().unwrap().write_all(signed.as_bytes()).unwrap();
    let signature = child.wait_with_output().unwrap().stdout;
    Bearer::parse(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(plain_signature(&signature)))).unwrap()
}

/// From the form in which OpenSSL writes a signature (a sequence of two integers) to that of a token (both, at 32 bytes each).
fn plain_signature(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut plain = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[number.len().saturating_sub(32)..];
        plain.extend(std::iter::repeat_n(0, 32 - number.len()));
        plain.extend(number);
        rest = &rest[2 + length..];
    }
    plain
}

/// The ticket in a word, changed.
pub fn changed(word: &str, change: impl FnOnce(&mut Ticket)) -> String {
    let mut ticket = Ticket::read(word).unwrap();
    change(&mut ticket);
    ticket.write().unwrap()
}

/// The API server's clock.
pub fn now() -> Timestamp {
    let caller = Caller::new(plane(), &plane().token());
    caller.runtime.block_on(asking::look(&caller.client)).unwrap().time
}
