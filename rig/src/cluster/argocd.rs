//! The real Argo CD on a control plane: its own definitions, roles and settings, its controllers, repository server and API as processes with the service
//! accounts that they have in a cluster, a Redis, and a Git server that it reads from. Loopback only.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::bound;
use super::kubectl::said;
use super::plane::ControlPlane;
use super::tools;
use crate::ports::Port;
use crate::process::{self, Guarded};
use crate::told::Told;
use crate::wait;

/// Where it is installed.
const HOME: &str = "argocd";

/// What of its manifests is applied: its servers run as processes instead of pods.
const KINDS: [&str; 9] = [
    "CustomResourceDefinition",
    "ServiceAccount",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
];

/// A running Argo CD. Dropped, it is gone; so it is when this process ends.
#[derive(Debug)]
pub struct ArgoCd<'plane> {
    plane: &'plane ControlPlane,
    running: Vec<Guarded>,
    folder: PathBuf,
    server: u16,
    git: u16,
    _taken: Vec<Port>,
}

impl<'plane> ArgoCd<'plane> {
    /// Installs it, with this fragment merged into its settings as our guide says, starts it, and logs in as its administrator.
    ///
    /// # Errors
    /// When a program isn't there or does not come up: what it logged.
    pub fn start(plane: &'plane ControlPlane, settings: &Path) -> Result<ArgoCd<'plane>> {
        let folder = plane.folder().join("argocd");
        fs::create_dir_all(folder.join("repositories"))?;
        let taken = Port::take_many(10)?;
        let port = |which: usize| taken[which].number();
        let mut argo = ArgoCd { plane, running: Vec::new(), folder, server: port(0), git: port(1), _taken: Vec::new() };
        argo.install(settings)?;
        let (redis, repository) = (port(2), port(3));
        argo.bare(
            "redis-server",
            &["--bind", "127.0.0.1", "--port", &redis.to_string(), "--save", "", "--appendonly", "no"],
            redis,
        )?;
        let repositories = argo.folder.join("repositories").display().to_string();
        let at = [format!("--port={}", argo.git), format!("--base-path={repositories}")];
        // Not by way of `git daemon`: that starts it as a child, which outlives it.
        let parts = process::run(Command::new("git").arg("--exec-path"))?;
        let daemon = Path::new(String::from_utf8_lossy(&parts.stdout).trim()).join("git-daemon");
        let arguments = ["--listen=127.0.0.1", "--export-all", "--reuseaddr", &at[0], &at[1]].map(str::to_owned);
        argo.run("git-daemon", &daemon, &arguments, argo.git)?;
        let to_redis = format!("--redis=127.0.0.1:{redis}");
        let to_repository = format!("--repo-server=127.0.0.1:{repository}");
        argo.part(
            "argocd-repo-server",
            &[
                to_redis.clone(),
                "--address=127.0.0.1".to_owned(),
                format!("--port={repository}"),
                "--metrics-address=127.0.0.1".to_owned(),
                format!("--metrics-port={}", port(4)),
                // What a commit means is asked anew each time.
                "--revision-cache-expiration=1s".to_owned(),
            ],
            repository,
        )?;
        argo.part(
            "argocd-application-controller",
            &[
                to_redis.clone(),
                to_repository.clone(),
                format!("--metrics-port={}", port(5)),
                "--app-resync=5".to_owned(),
                "--app-resync-jitter=0".to_owned(),
                "--self-heal-timeout-seconds=2".to_owned(),
            ],
            port(5),
        )?;
        argo.part(
            "argocd-applicationset-controller",
            &[
                format!("--argocd-repo-server=127.0.0.1:{repository}"),
                format!("--metrics-addr=127.0.0.1:{}", port(7)),
                format!("--probe-addr=127.0.0.1:{}", port(8)),
                format!("--webhook-addr=127.0.0.1:{}", port(9)),
                "--enable-leader-election=false".to_owned(),
            ],
            port(8),
        )?;
        argo.part(
            "argocd-server",
            &[
                to_redis,
                to_repository,
                "--insecure".to_owned(),
                "--address=127.0.0.1".to_owned(),
                format!("--port={}", argo.server),
                "--metrics-address=127.0.0.1".to_owned(),
                format!("--metrics-port={}", port(6)),
            ],
            argo.server,
        )?;
        argo._taken = taken;
        argo.log_in()?;
        Ok(argo)
    }

    /// The `argocd` command line, logged in.
    ///
    /// # Errors
    /// When it fails: what it said.
    pub fn argocd(&self, arguments: &[&str]) -> Result<String> {
        said(self.command()?.args(arguments), None)
    }

    /// The same, for whoever wants to see how it ends.
    ///
    /// # Errors
    /// When the program isn't there.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(tools::argocd()?);
        command.args(["--server", &format!("127.0.0.1:{}", self.server), "--plaintext"]);
        command.arg("--config").arg(self.folder.join("cli"));
        command.env("HOME", &self.folder).env("ARGOCD_BINARY_NAME", "argocd").env_remove("KUBECONFIG");
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env_remove(proxy);
        }
        Ok(command)
    }

    /// The health and the state of synchronisation that it holds an Application for, `Healthy` and `Synced`, asked anew of Git.
    ///
    /// # Errors
    /// When there is no such Application.
    pub fn judged(&self, application: &str) -> Result<(String, String)> {
        let object = self.application(application)?;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok((text("/status/health/status"), text("/status/sync/status")))
    }

    /// An Application, as the API server keeps it.
    ///
    /// # Errors
    /// When there is none.
    pub fn application(&self, name: &str) -> Result<Value> {
        self.plane.json(&["--namespace", HOME, "get", "applications.argoproj.io", name])
    }

    /// Asks it to look at Git now, as a webhook does.
    ///
    /// # Errors
    /// When there is no such Application.
    pub fn refresh(&self, application: &str) -> Result<()> {
        let at = ["--namespace", HOME, "annotate", "--overwrite", "applications.argoproj.io", application];
        self.plane.kubectl(&[&at[..], &["argocd.argoproj.io/refresh=normal"]].concat())?;
        Ok(())
    }

    /// Asks it to look at Git now for what an ApplicationSet is to make, which it does every three minutes.
    ///
    /// # Errors
    /// When there is no such ApplicationSet.
    pub fn refresh_set(&self, set: &str) -> Result<()> {
        let at = ["--namespace", HOME, "annotate", "--overwrite", "applicationsets.argoproj.io", set];
        self.plane.kubectl(&[&at[..], &["argocd.argoproj.io/application-set-refresh=true"]].concat())?;
        Ok(())
    }

    /// The health that it holds an Application for, now and whenever that changes: a line each.
    ///
    /// # Errors
    /// When kubectl can't be started.
    pub fn healths(&self, application: &str) -> Result<Told> {
        let mut watch = self.plane.kubectl_command()?;
        watch.args(["--namespace", HOME, "get", "applications.argoproj.io", application, "--watch"]);
        Told::start(watch.arg(r#"--output=jsonpath={.status.health.status}{"\n"}"#))
    }

    /// A Git repository of that name that it can read: the URL, and a clone to commit in, on its branch `main`.
    ///
    /// # Errors
    /// When git fails.
    pub fn repository(&self, name: &str) -> Result<(String, Clone)> {
        let bare = self.folder.join("repositories").join(name);
        git(&self.folder, &["init", "--quiet", "--bare", "--initial-branch=main", &bare.display().to_string()])?;
        let clone = self.folder.join(format!("clone-{name}"));
        git(&self.folder, &["clone", "--quiet", &bare.display().to_string(), &clone.display().to_string()])?;
        Ok((format!("git://127.0.0.1:{}/{name}", self.git), Clone { folder: clone }))
    }

    /// What its servers logged, for a test that failed.
    #[must_use]
    pub fn said(&self, server: &str) -> String {
        fs::read_to_string(self.folder.join(format!("{server}.log"))).unwrap_or_default()
    }

    fn install(&self, settings: &Path) -> Result<()> {
        let all = fs::read_to_string(tools::folder("argocd-install")?.join("install.yaml"))?;
        let wanted = all.split("\n---\n").filter(|document| {
            let kind = document.lines().find_map(|line| line.strip_prefix("kind: "));
            kind.is_some_and(|kind| KINDS.contains(&kind.trim()))
        });
        let wanted: Vec<&str> = wanted.collect();
        let file = self.folder.join("install.yaml");
        fs::write(&file, wanted.join("\n---\n"))?;
        self.plane.kubectl(&["create", "namespace", HOME])?;
        let file = file.display().to_string();
        self.plane.kubectl(&["--namespace", HOME, "apply", "--server-side", "--filename", &file])?;
        self.plane.wait_for_resource("applications.argoproj.io")?;
        self.plane.wait_for_resource("appprojects.argoproj.io")?;
        let settings = settings.display().to_string();
        let patch = ["--namespace", HOME, "patch", "configmap", "argocd-cm", "--patch-file", &settings];
        self.plane.kubectl(&patch)?;
        Ok(())
    }

    /// Starts one of its servers with the service account of the same name.
    fn part(&mut self, name: &str, arguments: &[String], port: u16) -> Result<()> {
        let token = self.plane.service_account_token(HOME, name)?;
        let kubeconfig = self.plane.kubeconfig_for(name, &token)?;
        let kept = |folder: &str| self.folder.join(folder).display().to_string();
        for folder in ["tls", "ssh", "gpg", "plugins", "tmp"] {
            fs::create_dir_all(kept(folder))?;
        }
        fs::write(self.folder.join("ssh/ssh_known_hosts"), "")?;
        let kustomize = tools::folder("kustomize")?;
        let mut all = vec![
            format!("ARGOCD_BINARY_NAME={name}"),
            format!("PATH={}:{}", kustomize.display(), std::env::var("PATH").unwrap_or_default()),
            // Its own way to say that "this cluster" is the one of the kubeconfig.
            "ARGOCD_FAKE_IN_CLUSTER=true".to_owned(),
            format!("KUBECONFIG={}", kubeconfig.display()),
            "ARGOCD_GPG_ENABLED=false".to_owned(),
            format!("ARGOCD_GNUPGHOME={}", kept("gpg")),
            format!("ARGOCD_TLS_DATA_PATH={}", kept("tls")),
            format!("ARGOCD_SSH_DATA_PATH={}", kept("ssh")),
            format!("ARGOCD_PLUGINSOCKFILEPATH={}", kept("plugins")),
            format!("HOME={}", self.folder.display()),
            format!("TMPDIR={}", kept("tmp")),
            format!("HOSTNAME={name}-0"),
            tools::argocd()?.display().to_string(),
        ];
        if name != "argocd-repo-server" {
            all.extend(["--namespace".to_owned(), HOME.to_owned()]);
        }
        if name == "argocd-repo-server" {
            all.push("--disable-tls".to_owned());
        } else {
            all.push("--repo-server-plaintext".to_owned());
        }
        all.extend(arguments.iter().cloned());
        self.run(name, Path::new("env"), &all, port)
    }

    fn bare(&mut self, program: &str, arguments: &[&str], port: u16) -> Result<()> {
        let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
        self.run(program, Path::new(program), &arguments, port)
    }

    fn run(&mut self, name: &str, program: &Path, arguments: &[String], port: u16) -> Result<()> {
        let mut process = bound::start(program, arguments, &self.folder.join(format!("{name}.log")))?;
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        let up =
            wait::until(&format!("{name} served"), wait::PATIENCE, || (!process.runs() || listens()).then_some(()));
        ensure!(up.is_ok() && process.runs(), "{name} does not come up:\n{}", self.said(name));
        self.running.push(process);
        Ok(())
    }

    fn log_in(&self) -> Result<()> {
        let secret = ["--namespace", HOME, "get", "secret", "argocd-initial-admin-secret"];
        let password = wait::until("Argo CD made its first password", wait::PATIENCE, || {
            let wanted = ["--output=go-template={{.data.password | base64decode}}"];
            self.plane.kubectl(&[&secret[..], &wanted].concat()).ok()
        })?;
        let mut command = Command::new(tools::argocd()?);
        command.args(["login", &format!("127.0.0.1:{}", self.server), "--plaintext", "--username", "admin"]);
        command.args(["--password", password.trim(), "--config"]).arg(self.folder.join("cli"));
        command.env("HOME", &self.folder).env("ARGOCD_BINARY_NAME", "argocd");
        said(&mut command, None).context("logging in to Argo CD")?;
        Ok(())
    }
}

/// A clone of a repository. What is committed in it is pushed.
#[derive(Debug)]
pub struct Clone {
    folder: PathBuf,
}

impl Clone {
    /// Writes a file, commits it, and pushes it.
    ///
    /// # Errors
    /// When git fails.
    pub fn commit(&self, path: &str, text: &str) -> Result<()> {
        let file = self.folder.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, text)?;
        self.push(path)
    }

    /// Removes a file, likewise.
    ///
    /// # Errors
    /// When git fails.
    pub fn remove(&self, path: &str) -> Result<()> {
        fs::remove_file(self.folder.join(path))?;
        self.push(&format!("no {path}"))
    }

    /// Takes the last commit back with another one, as a person would.
    ///
    /// # Errors
    /// When git fails.
    pub fn revert(&self) -> Result<()> {
        git(&self.folder, &["revert", "--no-edit", "HEAD"])?;
        git(&self.folder, &["push", "--quiet", "origin", "main"])
    }

    fn push(&self, message: &str) -> Result<()> {
        git(&self.folder, &["checkout", "--quiet", "-B", "main"])?;
        git(&self.folder, &["add", "--all"])?;
        git(&self.folder, &["commit", "--quiet", "--message", message])?;
        git(&self.folder, &["push", "--quiet", "origin", "main"])
    }
}

/// Runs git in a folder, with nobody's own settings.
fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=rig", "-c", "user.email=rig@localhost", "-c", "commit.gpgsign=false"]);
    command.args(arguments).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null");
    process::run(&mut command).map(drop)
}
