//! Hosts that have joined a hub: each an agent and an nginx of its own, all on this machine.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::follow::Follow;
use super::{say, until};
use crate::agent::{Agent, tail};
use crate::binaries;
use crate::cluster::ControlPlane;
use crate::load::{self, Ask, Load, Running};
use crate::manifest::{self, Manifest};
use crate::nginx::Nginx;
use crate::ports::Port;
use crate::process;
use crate::users::User;

/// How often it is said how far all of them are.
const TELL: Duration = Duration::from_secs(60);
/// So many requests at once.
const CHUNK: usize = 200;

/// Hosts of one hub.
pub struct Hosts<'plane> {
    plane: &'plane ControlPlane,
    hosts: Vec<Host>,
    user: User,
    /// What they deploy: the same files for all.
    releases: TempDir,
    _watches: Watches,
}

/// As many watches of folders as so many machines have together: what a machine may have is a limit of its kernel (128 by default), and these
/// share one. Put back at the end.
struct Watches(Option<String>);

impl Watches {
    const FILE: &str = "/proc/sys/fs/inotify/max_user_instances";
    /// What one agent of a few sites comes to, with room.
    const EACH: usize = 32;

    fn for_so_many(hosts: usize) -> Result<Watches> {
        let before = fs::read_to_string(Watches::FILE)?;
        let need = hosts * Watches::EACH;
        if before.trim().parse::<usize>()? >= need {
            return Ok(Watches(None));
        }
        fs::write(Watches::FILE, need.to_string()).with_context(|| format!("cannot write {}", Watches::FILE))?;
        Ok(Watches(Some(before)))
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = fs::write(Watches::FILE, before);
        }
    }
}

struct Host {
    name: String,
    // Ended before its web server is.
    agent: Agent,
    nginx: Nginx,
}

/// A site that is the same on every host but for its ports.
pub struct App {
    ports: Vec<Port>,
}

impl<'plane> Hosts<'plane> {
    /// Starts so many, and lets each join the hub as its administrator would.
    pub fn join(plane: &'plane ControlPlane, count: usize) -> Result<Hosts<'plane>> {
        let user = User::ordinary()?;
        let releases = TempDir::new()?;
        let watches = Watches::for_so_many(count)?;
        process::run(Command::new("chmod").arg("755").arg(releases.path()))?;
        let mut hosts = Hosts { plane, hosts: Vec::new(), user, releases, _watches: watches };
        for number in 0..count {
            let host = hosts.start(&format!("web-{number}"))?;
            hosts.hosts.push(host);
        }
        Ok(hosts)
    }

    fn start(&self, name: &str) -> Result<Host> {
        let nginx = Nginx::start()?;
        let mut agent = Agent::start(&nginx)?;
        agent.stop();
        let mut config = OpenOptions::new().append(true).open(agent.config_file())?;
        writeln!(
            config,
            "allow:\n  users: [{}]\n  releases: ['{}']\n  hostnames: ['*.test']\n  runtimes: [static, command]\n  listen: ['{}']",
            self.user.name(),
            self.releases.path().display(),
            nginx.address()
        )?;
        agent.run()?;
        let mut admin = Command::new(binaries::bluegreen()?);
        admin.args(["host", "token", name, "--only-token", "--kubeconfig"]).arg(self.plane.kubeconfig());
        let token = process::run(&mut admin)?;
        let mut join = Command::new(binaries::bluegreen()?);
        join.args(["host", "join", "--token-file", "-", "--config"]).arg(agent.config_file());
        let mut child = join.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().context("its input is a pipe")?.write_all(&token.stdout)?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{name} can't join: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Host { name: name.to_owned(), agent, nginx })
    }

    /// Load on the app of each of them.
    pub fn load_on_app(&self) -> Result<Vec<Running>> {
        self.hosts.iter().map(|host| Load::to(host.nginx.address(), "shop.test").clients(4).start()).collect()
    }

    /// Load on the files of so many of them, spread over all.
    pub fn load_on_files(&self, count: usize) -> Result<Vec<Running>> {
        let step = (self.hosts.len() / count.max(1)).max(1);
        let sample = self.hosts.iter().step_by(step).take(count);
        // Enough to be there at each moment, and little enough to leave the machine to who is measured.
        let quiet = |host: &Host| {
            let load = Load::to(host.nginx.address(), "site-0.test").asks(vec![Ask::file("/index.html")]).of_any_app();
            load.clients(2).think(Duration::from_millis(100)).start()
        };
        sample.map(quiet).collect()
    }

    /// What a host takes of the memory on average: its agent and its web server.
    pub fn memory_each(&self) -> f64 {
        let shares = self.hosts.iter().flat_map(|host| {
            let all = host.agent.pid().into_iter().chain([host.nginx.master()]).chain(host.nginx.workers());
            all.filter_map(process::shared_memory).collect::<Vec<u64>>()
        });
        #[expect(clippy::cast_precision_loss)]
        let count = self.hosts.len().max(1) as f64;
        crate::bench::mib(shares.sum()) / count
    }

    /// The processes of their agents.
    pub fn agents(&self) -> impl Iterator<Item = u32> + '_ {
        self.hosts.iter().filter_map(|host| host.agent.pid())
    }

    /// An app for all of them.
    pub fn app(&self) -> Result<App> {
        Ok(App { ports: Port::take_many(self.hosts.len() * 2)? })
    }

    /// Lets every host have this version of it; how long each took until it was live, from before the hub was told.
    pub fn commit(&self, app: &App, version: &str) -> Result<Vec<Duration>> {
        let release = manifest::release(self.releases.path(), version, "")?;
        let sites = self.hosts.iter().zip(app.ports.chunks(2)).map(|(host, ports)| {
            let (blue, green) = (ports[0].number(), ports[1].number());
            let site = Manifest::app("shop", host.nginx.address(), self.user.name(), &[blue], &[green]);
            (host, site.release(&release))
        });
        let sites: Vec<Value> = sites.map(|(host, site)| namespaced(&site, &host.name)).collect();
        let before: Vec<Option<u64>> = self.hosts.iter().map(|host| host.agent.moved_ns("shop")).collect();
        let committed = SystemTime::now().duration_since(UNIX_EPOCH)?;
        self.apply(&sites)?;
        let mut took = Vec::new();
        for (host, before) in self.hosts.iter().zip(before) {
            let moved = until(&format!("{} had {version} live", host.name), Duration::from_secs(60), || {
                host.agent.moved_ns("shop").filter(|moved| Some(*moved) != before)
            })
            .with_context(|| host.agent.log())?;
            took.push(Duration::from_nanos(moved).saturating_sub(committed));
            until(&format!("{} was at rest", host.name), Duration::from_secs(60), || {
                (self.told(&host.name, "shop")? == "True").then_some(())
            })?;
        }
        Ok(took)
    }

    /// How long the app takes from its start until it says that it is healthy, by itself.
    pub fn app_starts(&self, times: usize) -> Result<Vec<Duration>> {
        let release = manifest::release(self.releases.path(), "alone", "")?;
        let mut took = Vec::new();
        for _ in 0..times {
            let port = Port::take()?;
            let begun = Instant::now();
            let mut command = Command::new(release.join("app"));
            command.args(["--port", &port.number().to_string()]).current_dir(&release);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let _app = process::Guarded::start(&mut command, rustix::process::Signal::TERM, Duration::from_secs(10))?;
            let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
            until("the app was healthy", Duration::from_secs(30), || {
                load::get(address, "localhost", "/health").ok().filter(|answer| answer.status == 200)
            })?;
            took.push(begun.elapsed());
        }
        Ok(took)
    }

    /// Makes so many sites of files on each of them.
    pub fn make_files(&self, each: usize) -> Result<()> {
        let release = manifest::release(self.releases.path(), "v1", "")?;
        self.files(each, &release)
    }

    /// Gives all of these other files.
    pub fn change_files(&self, each: usize) -> Result<()> {
        let release = manifest::release(self.releases.path(), "v2", "")?;
        self.files(each, &release)
    }

    fn files(&self, each: usize, release: &std::path::Path) -> Result<()> {
        let mut all = Vec::new();
        for host in &self.hosts {
            for number in 0..each {
                let site = Manifest::files(&format!("site-{number}"), host.nginx.address(), self.user.name());
                all.push(namespaced(&site.release(release), &host.name));
            }
        }
        all.chunks(CHUNK).try_for_each(|chunk| self.apply(chunk))
    }

    /// Waits until so many sites serve what their generation says.
    pub fn all_live(&self, count: usize, generation: i64, patience: Duration) -> Result<()> {
        let follow = Follow::begin(self.plane)?;
        let mut told = Instant::now();
        let live = || {
            let seen = follow.live(generation);
            if told.elapsed() > TELL {
                told = Instant::now();
                say(&format!("{seen} of {count} are live"));
            }
            (seen == count).then_some(())
        };
        until(&format!("{count} sites were live with generation {generation}"), patience, live)
            .with_context(|| self.why(&follow.others(generation)))
    }

    /// What some of these say of themselves.
    fn why(&self, sites: &[String]) -> String {
        let told = sites.iter().take(3).filter_map(|site| {
            let (namespace, name) = site.split_once('/')?;
            let object = self.plane.json(&["--namespace", namespace, "get", "bluegreensite", name]).ok()?;
            let log =
                self.hosts.iter().find(|host| self::namespace(&host.name) == namespace).map(|host| host.agent.log());
            let log = log.unwrap_or_default();
            Some(format!("{site}: {}\n{}", object["status"], tail(&log, 10)))
        });
        format!("{} are not, among them\n{}", sites.len(), told.collect::<Vec<_>>().join("\n"))
    }

    fn told(&self, host: &str, site: &str) -> Option<String> {
        let namespace = namespace(host);
        let object = self.plane.json(&["--namespace", &namespace, "get", "bluegreensite", site]).ok()?;
        let current = object["metadata"]["generation"] == object["status"]["observedGeneration"];
        Some(if current && ready(&object) { "True".to_owned() } else { "False".to_owned() })
    }

    fn apply(&self, sites: &[Value]) -> Result<()> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": sites });
        let file: PathBuf = self.releases.path().join("sites.json");
        fs::write(&file, list.to_string())?;
        self.plane.kubectl(&["apply", "--server-side", "--filename", &file.display().to_string()])?;
        Ok(())
    }
}

fn ready(site: &Value) -> bool {
    let conditions = site["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

fn namespace(host: &str) -> String {
    format!("bluegreen-host-{host}")
}

fn namespaced(site: &Manifest, host: &str) -> Value {
    let site = site.clone().set("/metadata/namespace", json!(namespace(host)));
    site.value().clone()
}
