//! One machine: a web server, an agent, and an example of the repository as its site.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bluegreen_rig::agent::Agent;
use bluegreen_rig::apache::Apache;
use bluegreen_rig::examples;
use bluegreen_rig::load::{Answer, Load, Running, Totals, get};
use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug)]
pub enum Server {
    Nginx,
    Apache,
}

impl Server {
    pub fn name(self) -> &'static str {
        match self {
            Server::Nginx => "nginx",
            Server::Apache => "apache",
        }
    }
}

enum Web {
    Nginx(Nginx),
    Apache(Apache),
}

pub struct Machine {
    // Dropped in this order: the agent and its apps before the web server in front of them.
    pub agent: Agent,
    web: Web,
    ports: Vec<Port>,
    pub user: User,
}

impl Machine {
    pub fn start(server: Server) -> Machine {
        let web = match server {
            Server::Nginx => Web::Nginx(Nginx::start().unwrap()),
            Server::Apache => Web::Apache(Apache::with(&["ssl"]).unwrap()),
        };
        let agent = match &web {
            Web::Nginx(nginx) => Agent::start(nginx),
            Web::Apache(apache) => Agent::start(apache),
        };
        Machine { agent: agent.unwrap(), web, ports: Port::take_many(3).unwrap(), user: User::ordinary().unwrap() }
    }

    pub fn address(&self) -> SocketAddr {
        match &self.web {
            Web::Nginx(nginx) => nginx.address(),
            Web::Apache(apache) => apache.address(),
        }
    }

    /// Where HTTPS is to be listened for.
    pub fn secure(&self) -> SocketAddr {
        SocketAddr::new(self.address().ip(), self.ports[2].number())
    }

    pub fn ports(&self) -> [u16; 2] {
        [self.ports[0].number(), self.ports[1].number()]
    }

    /// The site of an example.
    pub fn site(&self, example: &str) -> Manifest {
        let [blue, green] = self.ports();
        let file = examples::folder().join(example).join("site.yaml");
        let site = Manifest::example(&file, self.address(), self.user.name(), &[blue], &[green]).unwrap();
        if example != "django" {
            return site;
        }
        let secrets = self.agent.folder().join("django.json");
        fs::write(&secrets, "{\"secretKey\": \"kept out of the release\"}").unwrap();
        fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();
        let done = std::process::Command::new("chown").arg(self.user.name()).arg(&secrets).status().unwrap();
        assert!(done.success());
        site.set("/spec/target/host/configFiles", json!([{ "path": secrets }])).env("ALLOWED_HOSTS", "django.test")
    }

    /// A release of an example that calls itself `version`, with the wheels that it requires.
    pub fn release(&self, example: &str, version: &str) -> PathBuf {
        examples::release(example, &self.agent.uploads(), version).unwrap()
    }

    pub fn get(&self, site: &Manifest, path: &str) -> Answer {
        get(self.address(), &site.host(), path).unwrap()
    }

    pub fn load(&self, site: &Manifest) -> Running {
        // A program that is started for each request takes a thousand times as long as an answer does.
        let clients = if site.name() == "cgi" { 2 } else { 8 };
        Load::to(self.address(), &site.host()).clients(clients).start().unwrap()
    }

    /// Applies it and waits until it is live. pip may take its time on a machine that has other things to do.
    pub fn deploy(&self, site: &Manifest) {
        self.applied(site).unwrap();
    }

    fn applied(&self, site: &Manifest) -> anyhow::Result<()> {
        let file = self.agent.folder().join("deployed.yaml");
        site.write(&file)?;
        let file = file.display().to_string();
        self.agent.bluegreen(&["apply", "-f", &file, "--wait", "--timeout", "8m"]).map(drop)
    }

    /// Waits until a release was refused, and returns the whole site.
    pub fn refused(&self, site: &Manifest, release: &Path) -> Value {
        assert!(self.applied(&site.clone().release(release)).is_err());
        self.agent.wait_for_phase(site.name(), "Idle").unwrap()
    }
}

pub fn nothing_lost(totals: &Totals) {
    assert_eq!(totals.broken_clients, 0);
    assert_eq!(totals.failed, 0, "{:?} of {} requests: {:?}", totals.losses, totals.requests, totals.told);
}

/// What a condition says, after its reason; empty: there is no such condition.
pub fn says(site: &Value, condition: &str) -> String {
    let conditions = site.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|one| one["type"] == condition);
    found
        .map(|one| format!("{}: {}", one["reason"].as_str().unwrap(), one["message"].as_str().unwrap()))
        .unwrap_or_default()
}
