//! A real registry (CNCF distribution) over TLS with a password, pushed to by a real client (oras and curl).

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bluegreen_rig::cluster::tools;
use bluegreen_rig::ports::Port;
use bluegreen_rig::process::{self, Guarded};
use bluegreen_rig::wait;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::{Authority, packed, sum, with};
use crate::machine::{Machine, nothing_lost, revision};
use crate::served::Served;

struct Registry {
    _process: Guarded,
    authority: Authority,
    host: String,
    folder: TempDir,
}

const PASSWORD: &str = "hunter2-of-the-tests";
/// bcrypt of [`PASSWORD`], of user `joe`.
const JOE: &str = "$2y$05$4Py0eiSEjBMzH0LpWp2gFOSVFFOmEKCj/A9K0MIaeNddh8esoPPRa";

impl Registry {
    fn start() -> Registry {
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
    fn image(&self, layers: &[Vec<u8>]) -> String {
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
    fn credentials(&self) -> Value {
        let both =
            process::run(Command::new("sh").arg("-c").arg(format!("printf %s joe:{PASSWORD} | base64 -w0"))).unwrap();
        let auth = String::from_utf8(both.stdout).unwrap();
        let text = json!({ "auths": { &self.host: { "auth": auth.trim() } } }).to_string();
        json!({ "file": self.authority.secret("config.json", &text, 0o600) })
    }

    fn release(&self, image: &str, path: Option<&str>) -> Value {
        let mut oci = json!({ "image": image });
        if let Some(path) = path {
            oci["path"] = json!(path);
        }
        json!({ "oci": oci, "caFile": self.authority.file("ca.pem"), "credentials": self.credentials() })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// A layer: these files of a folder, by tar itself.
fn layer(folder: &Path) -> Vec<u8> {
    packed(folder)
}

#[test]
fn an_image_goes_live_under_load_with_its_whiteouts_once_for_all_sites() {
    let registry = Registry::start();
    let machine = Machine::start();
    let agent = &machine.agent;
    let work = tempfile::tempdir().unwrap();
    let (below, above) = (work.path().join("below"), work.path().join("above"));
    // What a base has, and no release may: it is not in /app.
    std::fs::create_dir_all(below.join("etc")).unwrap();
    std::os::unix::fs::symlink("/proc/mounts", below.join("etc/mtab")).unwrap();
    std::fs::rename(machine.release("v2"), below.join("app")).unwrap();
    std::fs::write(below.join("app/secret.txt"), "taken away later").unwrap();
    std::fs::create_dir_all(above.join("app")).unwrap();
    std::fs::write(above.join("app/.wh.secret.txt"), "").unwrap();
    std::fs::write(above.join("app/added.txt"), "added").unwrap();
    let image = registry.image(&[layer(&below), layer(&above)]);

    let site = machine.site("shop", 0);
    agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    let load = machine.load(&site);
    agent.apply_and_wait(&with(&site, registry.release(&image, Some("/app")))).unwrap();
    load.wait_for_version("v2").unwrap();
    nothing_lost(&load.stop());
    let release = agent.site_dir("shop").join("releases").join(revision(&machine, "v2"));
    assert!(release.join("added.txt").exists() && !release.join("secret.txt").exists());
    assert!(!release.join(".wh.secret.txt").exists() && !release.join("etc").exists());

    agent.apply_and_wait(&with(&machine.site("other", 1), registry.release(&image, Some("/app")))).unwrap();
    let log = registry.log();
    let asked = log.lines().filter(|line| line.contains("\"GET /v2/shop/blobs/") && line.contains("\" 200 ")).count();
    assert_eq!(asked, 2, "each layer once: {log}");
    assert!(!agent.log().contains(PASSWORD));
}

#[test]
fn an_artifact_that_oras_pushed_is_unpacked_if_it_is_one_archive_and_files_otherwise() {
    let registry = Registry::start();
    let machine = Machine::start();
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("v2.tar.gz"), packed(&machine.release("v2"))).unwrap();
    std::fs::create_dir(work.path().join("public")).unwrap();
    std::fs::write(work.path().join("public/index.html"), "<h1>of oras</h1>").unwrap();
    std::fs::write(work.path().join("notes.txt"), "notes").unwrap();
    let push = |tag: &str, files: &[&str]| {
        let mut oras = Command::new(tools::program("registry", "oras").unwrap());
        oras.args(["push", "--no-tty", "--username", "joe", "--password", PASSWORD, "--ca-file"])
            .arg(registry.authority.file("ca.pem"));
        oras.args(["--format", "json"])
            .arg(format!("{}/shop:{tag}", registry.host))
            .args(files)
            .current_dir(work.path());
        let output = process::run(&mut oras).unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        said["reference"].as_str().unwrap().to_owned()
    };
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&with(&site, registry.release(&push("one", &["v2.tar.gz"]), None))).unwrap();
    let load = machine.load(&site);
    load.wait_for_version("v2").unwrap();
    nothing_lost(&load.stop());

    let files = bluegreen_rig::manifest::Manifest::files("pages", machine.address(), machine.user.name());
    machine
        .agent
        .apply_and_wait(&with(&files, registry.release(&push("two", &["public/", "notes.txt"]), None)))
        .unwrap();
    let page = bluegreen_rig::load::get(machine.address(), &files.host(), "/index.html").unwrap();
    assert_eq!(String::from_utf8_lossy(&page.body), "<h1>of oras</h1>");
}

#[test]
fn an_evil_image_is_refused_and_the_site_goes_on() {
    let registry = Registry::start();
    let served = Served::start();
    let work = tempfile::tempdir().unwrap();
    let evil = work.path().join("evil");
    std::fs::rename(served.machine.release("v2"), &evil).unwrap();
    let refused = |image: &str, path: Option<&str>, words: &str| {
        let error = served.agent().apply_and_wait(&with(&served.site, registry.release(image, path))).unwrap_err();
        assert!(format!("{error:#}").contains(words), "{words}: {error:#}");
        served.is_untouched();
    };
    std::os::unix::fs::symlink("/etc/passwd", evil.join("link")).unwrap();
    refused(&registry.image(&[layer(&evil)]), None, "is a link to");
    refused(&registry.image(&[layer(&evil)]), Some("/srv/none"), "nothing is in it");
    std::fs::remove_file(evil.join("link")).unwrap();
    std::os::unix::fs::symlink("public", evil.join("link")).unwrap();
    // A later layer goes through a link of an earlier one.
    let above = work.path().join("above");
    std::fs::create_dir_all(above.join("link")).unwrap();
    std::fs::write(above.join("link/index.html"), "elsewhere").unwrap();
    let through = registry.image(&[layer(&evil), layer(&above)]);
    served.agent().apply_and_wait(&with(&served.site, registry.release(&through, None))).unwrap();
    let release = served.agent().site_dir("shop").join("releases").join(revision(&served.machine, "v2"));
    assert!(release.join("link").is_dir() && !release.join("link").is_symlink(), "the folder took the link's place");
    assert_ne!(std::fs::read_to_string(release.join("public/index.html")).unwrap(), "elsewhere");
    let gone = format!("{}/shop@sha256:{}", registry.host, sum(b"none"));
    let error = served.agent().apply_and_wait(&with(&served.site, registry.release(&gone, None))).unwrap_err();
    assert!(format!("{error:#}").contains("404"), "{error:#}");
    served.lost_nothing();
}
