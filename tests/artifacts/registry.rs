//! A real registry (CNCF distribution) over TLS with a password, pushed to by curl.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use bluegreen_rig::cluster::tools;
use bluegreen_rig::ports::Port;
use bluegreen_rig::process::{self, Guarded};
use bluegreen_rig::wait;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::kit::{Authority, sum};

pub struct Registry {
    _process: Guarded,
    pub authority: Authority,
    pub host: String,
    folder: TempDir,
}

pub const PASSWORD: &str = "hunter2-of-the-tests";
/// bcrypt of [`PASSWORD`], of user `joe`.
const JOE: &str = "$2y$05$4Py0eiSEjBMzH0LpWp2gFOSVFFOmEKCj/A9K0MIaeNddh8esoPPRa";

impl Registry {
    pub fn start() -> Registry {
        let (authority, port, folder) = (Authority::new(), Port::take().unwrap(), tempfile::tempdir().unwrap());
        let host = format!("{}:{}", Ipv4Addr::LOCALHOST, port.number());
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("users"), format!("joe:{JOE}\n")).unwrap();
        let config = json!({
            "version": "0.1",
            "log": { "accesslog": { "disabled": false } },
            "storage": { "filesystem": { "rootdirectory": at("data") } },
            "http": { "addr": host, "tls": { "certificate": authority.file("cert.pem"), "key": authority.file("key.pem") } },
            "auth": { "htpasswd": { "realm": "tests", "path": at("users") } },
        });
        std::fs::write(at("config.json"), config.to_string()).unwrap();
        let log = std::fs::File::create(at("log")).unwrap();
        let mut command = Command::new(tools::program("registry", "registry").unwrap());
        command.arg("serve").arg(at("config.json")).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = Guarded::start(&mut command, Signal::TERM, Duration::from_secs(5)).unwrap();
        let registry = Registry { _process: process, authority, host, folder };
        let up = || registry.curl(&["--output", "/dev/null"], "/v2/").map(drop);
        wait::until("the registry answers", wait::PATIENCE, up).unwrap();
        registry
    }

    fn curl(&self, arguments: &[&str], path: &str) -> Option<String> {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--fail",
            "--http1.1",
            "--noproxy",
            "*",
            "--user",
            &format!("joe:{PASSWORD}"),
            "--cacert",
        ]);
        curl.arg(self.authority.file("ca.pem")).args(arguments).arg(format!("https://{}{path}", self.host));
        let output = curl.output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Pushes a blob and says how it is called in a manifest.
    fn blob(&self, kind: &str, content: &[u8]) -> Value {
        let digest = format!("sha256:{}", sum(content));
        let file = self.folder.path().join("blob");
        std::fs::write(&file, content).unwrap();
        let head = self.curl(&["--request", "POST", "--dump-header", "-"], "/v2/shop/blobs/uploads/").unwrap();
        let to = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().trim().to_owned();
        let path = to.split_once(&self.host).map_or(to.as_str(), |(_, path)| path);
        let content_type = ["--header", "Content-Type: application/octet-stream"];
        let data = format!("@{}", file.display());
        let put = [&["--request", "PUT", "--data-binary", &data], &content_type[..]].concat();
        self.curl(&put, &format!("{path}&digest={digest}")).unwrap();
        json!({ "mediaType": kind, "digest": digest, "size": content.len() })
    }

    /// Pushes a manifest; the reference to it.
    fn manifest(&self, manifest: &Value) -> String {
        let text = manifest.to_string();
        let digest = format!("sha256:{}", sum(text.as_bytes()));
        let kind = format!("Content-Type: {}", manifest["mediaType"].as_str().unwrap());
        let put = ["--request", "PUT", "--header", &kind, "--data-binary", &text];
        self.curl(&put, &format!("/v2/shop/manifests/{digest}")).unwrap();
        format!("{}/shop@{digest}", self.host)
    }

    /// Pushes an image of these layers, with an index that has another platform's beside it.
    pub fn image(&self, layers: &[Vec<u8>]) -> String {
        let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
        let layers: Vec<Value> = layers.iter().map(|layer| self.blob(kind, layer)).collect();
        let config = self.blob("application/vnd.oci.image.config.v1+json", b"{\"os\":\"linux\"}");
        let manifest = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers });
        let reference = self.manifest(&manifest);
        let size = manifest.to_string().len();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let entry = |digest: &str, size: usize, architecture: &str| {
            json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
                "platform": { "os": "linux", "architecture": architecture } })
        };
        let digest = reference.split_once('@').unwrap().1;
        let other = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [] });
        let elsewhere = self.manifest(&other);
        let elsewhere = entry(elsewhere.split_once('@').unwrap().1, other.to_string().len(), "s390x");
        self.manifest(&json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [elsewhere, entry(digest, size, architecture)] }))
    }

    /// `docker login` would write this.
    pub fn login(&self) -> String {
        let both =
            process::run(Command::new("sh").arg("-c").arg(format!("printf %s joe:{PASSWORD} | base64 -w0"))).unwrap();
        let auth = String::from_utf8(both.stdout).unwrap();
        json!({ "auths": { &self.host: { "auth": auth.trim() } } }).to_string()
    }

    /// The same, in a file.
    fn credentials(&self) -> Value {
        json!({ "file": self.authority.secret("config.json", &self.login(), 0o600) })
    }

    pub fn release(&self, image: &str, path: Option<&str>) -> Value {
        let mut oci = json!({ "image": image });
        if let Some(path) = path {
            oci["path"] = json!(path);
        }
        json!({ "oci": oci, "caFile": self.authority.file("ca.pem"), "credentials": self.credentials() })
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}
