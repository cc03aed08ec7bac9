//! The control plane itself.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;

use super::files::{self, Files};
use super::servers::{Part, Ports, url};
use super::{bound, tools};
use crate::ports::Port;
use crate::process::Guarded;
use crate::wait;

/// How long a part may take to come up. The first start of an API server on a busy machine takes most of it.
const PATIENCE: Duration = Duration::from_secs(180);

/// Which parts there are, and how they behave.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    controllers: bool,
    pods: bool,
    brisk: bool,
}

impl Options {
    /// An API server alone: nothing happens in it but what somebody writes.
    #[must_use]
    pub fn api() -> Options {
        Options { controllers: false, pods: false, brisk: true }
    }

    /// And the controller manager: Deployments get pods, which stay pending.
    #[must_use]
    pub fn controllers() -> Options {
        Options { controllers: true, ..Options::api() }
    }

    /// And scheduler, a node and kwok: pods become ready.
    #[must_use]
    pub fn pods() -> Options {
        Options { pods: true, ..Options::controllers() }
    }

    /// Leaves the controller manager's limits as they are by default: 20 requests a second for each of its controllers.
    #[must_use]
    pub fn with_default_rates(self) -> Options {
        Options { brisk: false, ..self }
    }
}

/// A running control plane. Dropped, it is gone; so it is when this process ends.
#[derive(Debug)]
pub struct ControlPlane {
    // Ended before the folder that they write into is removed.
    running: Mutex<BTreeMap<Part, Guarded>>,
    files: Files,
    ports: Ports,
    _taken: Vec<Port>,
    options: Options,
    pub(super) namespaces: AtomicU32,
}

impl ControlPlane {
    /// Starts it and waits until it serves, and until there is a ready node where pods are wanted.
    ///
    /// # Errors
    /// When a program can't be built or does not come up; what it logged is in the error.
    pub fn start(options: Options) -> Result<ControlPlane> {
        let taken = Port::take_many(3)?;
        let ports = Ports { api: taken[0].number(), etcd: taken[1].number(), etcd_peer: taken[2].number() };
        let running = Mutex::new(BTreeMap::new());
        let files = Files::new()?;
        let plane = ControlPlane { running, files, ports, _taken: taken, options, namespaces: AtomicU32::new(0) };
        plane.files.write_kubeconfigs(&plane.url())?;
        plane.start_part(Part::Etcd)?;
        plane.start_part(Part::Api)?;
        if options.controllers {
            plane.start_part(Part::Controllers)?;
        }
        if options.pods {
            plane.write_stages()?;
            plane.start_part(Part::Scheduler)?;
            plane.start_part(Part::Kwok)?;
            plane.apply(&files::node("rig").to_string())?;
            plane.kubectl(&["wait", "--for=condition=Ready", "node/rig", "--timeout=120s"])?;
        }
        Ok(plane)
    }

    /// The one with pods that all tests of this process share. Each test keeps to a [namespace](ControlPlane::namespace) of its own, and
    /// whoever takes parts away starts a control plane of their own.
    ///
    /// # Errors
    /// When it does not come up: everybody gets the same error.
    pub fn shared() -> Result<&'static ControlPlane> {
        static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| ControlPlane::start(Options::pods()).map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// The API server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        url("https", self.ports.api)
    }

    /// Who may do everything.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.files.kubeconfig("admin")
    }

    /// The bearer token of who may do everything.
    #[must_use]
    pub fn token(&self) -> String {
        self.files.token("admin")
    }

    /// The file that the API server's certificate is judged by.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.files.certificate()
    }

    /// The kubeconfig of somebody else: of a service account with this token, of a made-up user with a certificate's token.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn kubeconfig_for(&self, name: &str, token: &str) -> Result<PathBuf> {
        self.files.write_kubeconfig(&self.url(), name, token)
    }

    /// Everything that it keeps; a test may keep its own things there.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.files.folder()
    }

    /// What a part said.
    #[must_use]
    pub fn log(&self, part: Part) -> String {
        fs::read_to_string(self.log_file(part)).unwrap_or_default()
    }

    /// The process of a part, if it runs.
    #[must_use]
    pub fn pid(&self, part: Part) -> Option<u32> {
        self.lock().get(&part).map(Guarded::pid)
    }

    /// SIGKILL: as if the machine that it ran on had gone.
    pub fn stop(&self, part: Part) {
        // Dropped, it is killed and waited for.
        self.lock().remove(&part);
    }

    /// SIGSTOP: it is there and answers nobody.
    pub fn freeze(&self, part: Part) {
        if let Some(process) = self.lock().get_mut(&part) {
            process.signal(Signal::STOP);
        }
    }

    /// SIGCONT: it goes on where it was.
    pub fn thaw(&self, part: Part) {
        if let Some(process) = self.lock().get_mut(&part) {
            process.signal(Signal::CONT);
        }
    }

    /// Takes the API server away.
    pub fn stop_api(&self) {
        self.stop(Part::Api);
    }

    /// Brings it back, on the same port and with the same certificate, and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up; what it logged is in the error.
    pub fn start_api(&self) -> Result<()> {
        self.start_part(Part::Api)
    }

    /// Starts a part that doesn't run, and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up; what it logged is in the error.
    pub fn start_part(&self, part: Part) -> Result<()> {
        let arguments = part.arguments(&self.files, self.ports, self.options.brisk)?;
        let mut process = bound::start(&part.program()?, &arguments, &self.log_file(part))?;
        let up = wait::until("it served", PATIENCE, || (!process.runs() || self.serves(part)).then_some(()));
        if up.is_err() || !process.runs() {
            bail!("{} does not come up:\n{}", part.name(), last_lines(&self.log(part)));
        }
        self.lock().insert(part, process);
        Ok(())
    }

    fn serves(&self, part: Part) -> bool {
        let listens = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        match part {
            Part::Etcd => listens(self.ports.etcd),
            // It is ready a moment before it has made this namespace.
            Part::Api => {
                let asked: [&[&str]; 2] = [&["get", "--raw", "/readyz"], &["get", "namespace", "default"]];
                listens(self.ports.api) && asked.iter().all(|question| self.kubectl(question).is_ok())
            }
            // They serve nobody: what they do is waited for by who needs it.
            Part::Controllers | Part::Scheduler | Part::Kwok => true,
        }
    }

    /// kwok reads one file.
    fn write_stages(&self) -> Result<()> {
        let folder = tools::folder("kwok")?.join("stages");
        let mut stages = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot look into {}", folder.display()))? {
            stages.push(fs::read_to_string(entry?.path())?);
        }
        fs::write(self.files.path("stages.yaml"), stages.join("\n---\n"))?;
        Ok(())
    }

    fn log_file(&self, part: Part) -> PathBuf {
        self.files.path(&format!("{}.log", part.name()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, Guarded>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
