//! `bluegreen host run`, the built program, with folders of its own. Gone when it is dropped, with everything that it started.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::disk::Disk;
use crate::manifest::Manifest;
use crate::process::{self, Guarded};
use crate::web::WebServer;
use crate::{binaries, wait};

/// An agent, running or killed.
#[derive(Debug)]
pub struct Agent {
    program: PathBuf,
    process: Option<Guarded>,
    firewall: Firewall,
    // Unmounted before the folder that it lies in is removed.
    disk: Option<Disk>,
    folder: TempDir,
}

/// What the agent is told of the machine's firewall.
#[derive(Clone, Debug, Default)]
pub enum Firewall {
    /// It is to leave it alone: most tests run in the machine's own network.
    #[default]
    Off,
    /// It closes the apps' ports; only in a network of the test's own.
    Nftables,
    /// The same, with this `PATH` to find `nft` by.
    NftablesBy(String),
}

/// What happened to a site.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// When.
    pub time: jiff::Timestamp,
    /// What kind: `PhaseEntered`, `Rejected`, …
    pub reason: String,
    /// In words; of `PhaseEntered` the first is the phase.
    pub message: String,
}

#[derive(Debug, Deserialize)]
struct History {
    items: Vec<Event>,
}

impl Agent {
    /// Starts the built agent behind this web server, and waits until it answers on its control socket.
    ///
    /// # Errors
    /// When it can't be built or doesn't come up; what it logged is in the error.
    pub fn start(web: &impl WebServer) -> Result<Agent> {
        Agent::start_program(&binaries::bluegreen()?, web)
    }

    /// [`Agent::start`], with this program.
    ///
    /// # Errors
    /// When it doesn't come up; what it logged is in the error.
    pub fn start_program(program: &Path, web: &impl WebServer) -> Result<Agent> {
        Agent::start_in(program, web, None, Firewall::Off)
    }

    /// [`Agent::start`], in a network of the test's own, with its firewall.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn start_behind(firewall: Firewall, web: &impl WebServer) -> Result<Agent> {
        Agent::start_in(&binaries::bluegreen()?, web, None, firewall)
    }

    /// [`Agent::start_behind`], with its state on a small disk of this size (`64m`).
    ///
    /// # Errors
    /// As [`Agent::start_on_disk`].
    pub fn start_behind_on_disk(firewall: Firewall, web: &impl WebServer, size: &str) -> Result<Agent> {
        Agent::start_in(&binaries::bluegreen()?, web, Some(size), firewall)
    }

    /// [`Agent::start`], with its state on a small disk of this size (`64m`).
    ///
    /// # Errors
    /// As [`Agent::start`], or that the disk can't be mounted.
    pub fn start_on_disk(web: &impl WebServer, size: &str) -> Result<Agent> {
        Agent::start_in(&binaries::bluegreen()?, web, Some(size), Firewall::Off)
    }

    fn start_in(program: &Path, web: &impl WebServer, disk: Option<&str>, firewall: Firewall) -> Result<Agent> {
        let folder = tempfile::Builder::new().prefix("bluegreen-agent.").tempdir()?;
        // Apps run as somebody else and must get to their releases.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let mut agent = Agent { program: program.to_owned(), process: None, firewall, disk: None, folder };
        for part in [agent.sites_dir(), agent.state_dir(), agent.run_dir(), agent.uploads()] {
            fs::create_dir(&part)?;
            fs::set_permissions(&part, fs::Permissions::from_mode(0o755))?;
        }
        agent.disk = disk.map(|size| Disk::mount(&agent.state_dir(), size)).transpose()?;
        fs::create_dir_all(web.folder().join("snippets"))?;
        fs::write(agent.config_file(), agent.configuration(web))?;
        agent.run()?;
        Ok(agent)
    }

    /// The one place that knows the agent's configuration.
    fn configuration(&self, web: &impl WebServer) -> String {
        let (folder, prefix) = (self.folder().display(), web.folder().display());
        let (kind, conf, pid) = (web.kind(), web.conf().display().to_string(), web.pid_file().display().to_string());
        format!(
            "sitesDir: {folder}/sites\nstateDir: {folder}/state\nrunDir: {folder}/run\nsupervisor: direct\n\
             metrics: {{ listen: '127.0.0.1:0' }}\nlogFormat: json\nfirewall: {}\nwebServer:\n  {kind}:\n    {}prefix: {prefix}\n    \
             conf: {conf}\n    confDir: {prefix}/conf.d\n    includeDir: {prefix}/snippets\n    \
             pidFile: {pid}\n    door: '{}:947'\n",
            if matches!(self.firewall, Firewall::Off) { "off" } else { "{ nftables: {} }" },
            web.program().map(|program| format!("binary: {program}\n    ")).unwrap_or_default(),
            a_loopback_address()
        )
    }

    /// Starts it again after [`kill`](Agent::kill) or [`stop`](Agent::stop), and waits until it answers.
    ///
    /// # Errors
    /// When it doesn't come up; what it logged is in the error.
    pub fn run(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = Command::new(&self.program);
        command.args(["host", "run", "--config"]).arg(self.config_file());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Debug builds say where they panicked.
        command.env("RUST_BACKTRACE", "1");
        if let Firewall::NftablesBy(path) = &self.firewall {
            command.env("PATH", path);
        }
        let mut process = Guarded::start(&mut command, Signal::TERM, Duration::from_secs(20))?;
        let up = wait::until("the agent answered", wait::PATIENCE, || {
            (!process.runs() || self.cli(&["get"]).output().is_ok_and(|output| output.status.success())).then_some(())
        });
        if up.is_err() || !process.runs() {
            bail!("the agent does not come up:\n{}", self.log());
        }
        self.process = Some(process);
        Ok(())
    }

    /// [`run`](Agent::run), with this program from now on.
    ///
    /// # Errors
    /// When it doesn't come up; what it logged is in the error.
    pub fn run_as(&mut self, program: &Path) -> Result<()> {
        program.clone_into(&mut self.program);
        self.run()
    }

    /// SIGKILL. The apps go on.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM, and waits. The apps go on.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// The disk of its state, if that has one of its own.
    #[must_use]
    pub fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// Its process id, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Guarded::pid)
    }

    /// All of its folders.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where manifests go.
    #[must_use]
    pub fn sites_dir(&self) -> PathBuf {
        self.folder().join("sites")
    }

    /// Where it keeps its state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.folder().join("state")
    }

    /// Where its sockets are.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.folder().join("run")
    }

    /// A folder for what somebody uploads.
    #[must_use]
    pub fn uploads(&self) -> PathBuf {
        self.folder().join("uploads")
    }

    /// Its configuration.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.folder().join("agent.yaml")
    }

    /// The folder of a site's state.
    #[must_use]
    pub fn site_dir(&self, site: &str) -> PathBuf {
        self.state_dir().join("sites").join(site)
    }

    /// The link that decides which colour of a site is live.
    #[must_use]
    pub fn live_link(&self, site: &str) -> PathBuf {
        self.site_dir(site).join("live")
    }

    /// The colour that the link names.
    #[must_use]
    pub fn live_colour(&self, site: &str) -> Option<String> {
        let target = fs::read_link(self.live_link(site)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// When traffic last moved: the moment at which the link was renamed into place (wall clock, nanoseconds). The kernel's clock for files
    /// runs up to a few milliseconds late, never early, so that what is measured from here is rather too long.
    #[must_use]
    pub fn moved_ns(&self, site: &str) -> Option<u64> {
        let link = fs::symlink_metadata(self.live_link(site)).ok()?;
        u64::try_from(link.ctime() * 1_000_000_000 + link.ctime_nsec()).ok()
    }

    /// A site's history as `bluegreen history NAME -o json` shows it: time in milliseconds, reason and message of each event.
    ///
    /// # Errors
    /// What it said.
    pub fn history(&self, name: &str) -> Result<Vec<Event>> {
        let output = self.bluegreen(&["history", name, "-o", "json"])?;
        let history: History = serde_json::from_slice(&output.stdout).context("what history printed is no JSON")?;
        Ok(history.items)
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("agent.log")
    }

    /// The command line, told where this agent is.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("BLUEGREEN_SOCKET", self.run_dir().join("control.sock"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs the command line.
    ///
    /// # Errors
    /// When it ends with anything but 0; what it said is in the error.
    pub fn bluegreen(&self, arguments: &[&str]) -> Result<Output> {
        process::run(&mut self.cli(arguments))
    }

    /// `bluegreen apply -f FILE`.
    ///
    /// # Errors
    /// What it said.
    pub fn apply(&self, manifest: &Manifest) -> Result<()> {
        let file = self.written(manifest)?;
        self.bluegreen(&["apply", "-f", &file]).map(drop)
    }

    /// `bluegreen apply -f FILE --wait`: returns when the site is live as asked.
    ///
    /// # Errors
    /// What it said, when the revision was rejected or nothing came of it in time; with the agent's log.
    pub fn apply_and_wait(&self, manifest: &Manifest) -> Result<()> {
        let file = self.written(manifest)?;
        let done = self.bluegreen(&["apply", "-f", &file, "--wait", "--timeout", "60s"]);
        done.map(drop).with_context(|| format!("the agent's log ends:\n{}", tail(&self.log(), 30)))
    }

    fn written(&self, manifest: &Manifest) -> Result<String> {
        let file = self.folder().join(format!("{}.yaml", manifest.name()));
        manifest.write(&file)?;
        Ok(file.display().to_string())
    }

    /// A site as `bluegreen get NAME -o json` shows it.
    ///
    /// # Errors
    /// What it said.
    pub fn site(&self, name: &str) -> Result<Value> {
        let output = self.bluegreen(&["get", name, "-o", "json"])?;
        serde_json::from_slice(&output.stdout).context("what get printed is no JSON")
    }

    /// A site's phase, if it has one.
    #[must_use]
    pub fn phase(&self, name: &str) -> Option<String> {
        let site = self.site(name).ok()?;
        Some(site.pointer("/status/phase")?.as_str()?.to_owned())
    }

    /// Waits until a site's JSON is as wanted, and returns it.
    ///
    /// # Errors
    /// When it isn't in time; with what it is instead, and the agent's log.
    pub fn wait_for(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let waited = wait::until(&format!("{name}: {what}"), wait::PATIENCE, || {
            self.site(name).ok().filter(|site| wanted(site))
        });
        waited.with_context(|| {
            let now = self.site(name).map_or_else(|error| format!("{error:#}"), |site| format!("{:#}", site["status"]));
            format!("it is instead: {now}\nthe agent's log ends:\n{}", tail(&self.log(), 30))
        })
    }

    /// Waits until a site is in a phase.
    ///
    /// # Errors
    /// As [`wait_for`](Agent::wait_for).
    pub fn wait_for_phase(&self, name: &str, phase: &str) -> Result<Value> {
        self.wait_for(name, &format!("is {phase}"), |site| site.pointer("/status/phase") == Some(&phase.into()))
    }

    /// The processes of its apps: those that work below its folder.
    #[must_use]
    pub fn apps(&self) -> Vec<u32> {
        let Ok(processes) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let ours =
            |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(self.folder()));
        pids.filter(ours).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The agent first: it would start its apps again.
        self.stop();
        // Whoever removes their user next needs them gone, not going.
        let begun = Instant::now();
        loop {
            let apps = self.apps();
            for pid in apps.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            if apps.is_empty() || begun.elapsed() > Duration::from_secs(5) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if std::thread::panicking() {
            eprintln!("the agent's log ends:\n{}", tail(&self.log(), 60));
        }
    }
}

/// Each agent's web server has a door of its own: tests run side by side.
fn a_loopback_address() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(61).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
    // In digits of 250: taken from the bytes, two numbers of one process could be one address.
    let digit = |place: u32| u8::try_from(1 + own / place % 250).unwrap_or(1);
    Ipv4Addr::new(127, digit(250 * 250), digit(250), digit(1))
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
