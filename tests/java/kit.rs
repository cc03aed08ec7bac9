//! One machine: a web server, an agent, a site of one JVM a colour, and load on it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::apache::Apache;
use bluegreen_rig::binaries;
use bluegreen_rig::certificate::Certificate;
use bluegreen_rig::load::{Fetch, Load, Totals, fetch, get};
use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::maven;
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use bluegreen_rig::web::WebServer;
use serde_json::{Value, json};

/// Two JVMs at a time are enough for a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub struct Machine<W> {
    // Dropped in this order: the agent and its apps before the web server in front of them.
    pub agent: Agent,
    _web: W,
    pub address: SocketAddr,
    ports: Vec<Port>,
    pub user: User,
    _turn: MutexGuard<'static, ()>,
}

pub fn nginx() -> Machine<Nginx> {
    nginx_by(&binaries::bluegreen().unwrap())
}

/// The same, with this program as the agent.
pub fn nginx_by(program: &Path) -> Machine<Nginx> {
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let web = Nginx::start().unwrap();
    let address = web.address();
    Machine::start(program, web, address, turn)
}

pub fn apache() -> Machine<Apache> {
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let web = Apache::with(&["ssl"]).unwrap();
    let address = web.address();
    Machine::start(&binaries::bluegreen().unwrap(), web, address, turn)
}

impl<W: WebServer> Machine<W> {
    fn start(program: &Path, web: W, address: SocketAddr, turn: MutexGuard<'static, ()>) -> Machine<W> {
        Machine {
            agent: Agent::start_program(program, &web).unwrap(),
            _web: web,
            address,
            ports: Port::take_many(3).unwrap(),
            user: User::ordinary().unwrap(),
            _turn: turn,
        }
    }

    fn site(&self, runtime: Value) -> Manifest {
        let ports: Vec<u16> = self.ports.iter().map(Port::number).collect();
        Manifest::app("shop", self.address, self.user.name(), &ports[..1], &ports[1..2])
            .set("/spec/target/host/runtime", runtime)
            .set("/spec/health", json!({ "successes": 2, "interval": "100ms", "timeout": "3s" }))
            .strategy("readyWithin", "55s")
    }

    /// The small app of the rig, where it need be no JVM.
    pub fn command(&self) -> Manifest {
        let ports: Vec<u16> = self.ports.iter().map(Port::number).collect();
        Manifest::app("shop", self.address, self.user.name(), &ports[..1], &ports[1..2])
    }

    /// The Spring Boot example.
    pub fn spring(&self) -> Manifest {
        let jar = self.uploaded(&maven::example("spring-boot", "target/shop.jar").unwrap());
        let jvm = ["-Xmx128m", "-XX:TieredStopAtLevel=1"];
        self.site(json!({ "springBoot": { "profile": "production", "jvm": jvm } })).archive(&jar, None)
    }

    /// The Tomcat example.
    pub fn tomcat(&self) -> Manifest {
        let war = self.uploaded(&maven::example("tomcat", "target/pages.war").unwrap());
        let jvm = ["-Xmx128m", "-XX:TieredStopAtLevel=1"];
        self.site(json!({ "tomcat": { "jvm": jvm } })).archive(&war, None)
    }

    pub fn uploaded(&self, file: &Path) -> PathBuf {
        let to = self.agent.uploads().join(file.file_name().unwrap());
        std::fs::copy(file, &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o644)).unwrap();
        to
    }

    /// Writes a file outside of the release that only root may read.
    pub fn secret_file(&self, name: &str, content: &str) -> PathBuf {
        let folder = self.agent.folder().join("etc");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(name);
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        file
    }

    /// Applies a site that is not to go live, and waits until its conditions say all of these.
    pub fn is_refused(&self, site: &Manifest, reason: &str, words: &[&str]) {
        let before = (self.agent.live_colour("shop"), self.agent.apps());
        // Whether `apply` itself says so depends on when it is found.
        let _ = self.agent.apply(site);
        let now = self.agent.wait_for("shop", &format!("says {reason}"), |site| {
            let all = site.pointer("/status/conditions").and_then(Value::as_array);
            all.into_iter().flatten().any(|one| {
                let text = one.to_string();
                text.contains(reason) && words.iter().all(|word| text.contains(word))
            })
        });
        now.unwrap();
        assert_eq!((self.agent.live_colour("shop"), self.agent.apps()), before, "what is live was touched");
    }

    /// The port of a colour's instance.
    pub fn port(&self, colour: &str) -> u16 {
        self.ports[usize::from(colour == "green")].number()
    }

    /// What the site answers at a path.
    pub fn get(&self, path: &str) -> String {
        let answer = get(self.address, "shop.test", path).unwrap();
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    /// What the site answers at a path to who comes by HTTPS, with its address in front of it.
    pub fn get_by_https(&self, site: &Manifest, path: &str) -> (String, String) {
        let shows = Certificate::make(&self.agent.folder().join("certificate"), &["shop.test"]).unwrap();
        let secure = SocketAddr::new(self.address.ip(), self.ports[2].number());
        let tls = json!({ "certificate": shows.certificate, "key": shows.key, "listen": [secure.to_string()] });
        self.agent.apply_and_wait(&site.clone().set("/spec/target/host/tls", tls)).unwrap();
        let host = format!("shop.test:{}", secure.port());
        let asked = Fetch { trust: Some(shows.trust().unwrap()), ..Fetch::get(secure, &host, path) };
        (format!("https://{host}"), fetch(&asked).unwrap().text())
    }

    /// Rolls out from version to version under load of keep-alive GETs and POSTs, and says what was counted. `variable` names the version.
    pub fn cutovers(&self, site: &Manifest, variable: &str, count: usize) -> Totals {
        self.agent.apply_and_wait(&site.clone().env(variable, "v0")).unwrap();
        let load = Load::to(self.address, "shop.test").clients(4).think(Duration::from_millis(10)).start().unwrap();
        load.wait_for_version("v0").unwrap();
        for number in 1..=count {
            let version = format!("v{number}");
            self.agent.apply_and_wait(&site.clone().env(variable, &version)).unwrap();
            load.wait_for_version(&version).unwrap();
            load.wait_for_more(50).unwrap();
        }
        let totals = load.stop();
        assert_eq!(totals.versions.len(), count + 1, "{:?}", totals.versions);
        totals
    }
}

/// The command line of a process.
pub fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The addresses that a process's machine listens on at a port, as the kernel writes them in /proc/net: hexadecimal.
pub fn listens_at(port: u16) -> Vec<String> {
    let mut found = Vec::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(file).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let Some((address, hex)) = fields[1].split_once(':')
                && fields[3] == "0A"
                && u16::from_str_radix(hex, 16) == Ok(port)
            {
                found.push(address.to_owned());
            }
        }
    }
    found
}
