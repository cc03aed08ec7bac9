//! The web server that the configuration names. Called by `daemon`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::{AgentConfig, PlacesConfig};
use crate::api::types::SiteName;
use crate::platform::Fault;
use crate::platform::host::web::apache::{Apache, ApacheSettings};
use crate::platform::host::web::files::Folders;
use crate::platform::host::web::nginx::{Nginx, NginxSettings};
use crate::platform::host::web::{Shape, WebServer};
use crate::rollout::Colour;

/// One of the web servers.
#[derive(Clone)]
pub(super) enum Chosen {
    Nginx(Nginx),
    Apache(Apache),
}

impl Chosen {
    /// The one that the configuration names.
    pub(super) fn new(config: &AgentConfig) -> Chosen {
        let run = &config.run_dir;
        if let Some(places) = &config.web_server.apache {
            let settings = apache(places, run.join("apache"));
            warn_of_absence(&settings.program);
            return Chosen::Apache(Apache::new(settings));
        }
        let places = config.web_server.nginx.clone().unwrap_or_default();
        let settings = nginx(&places, run.join("nginx"));
        warn_of_absence(&settings.program);
        Chosen::Nginx(Nginx::new(settings))
    }

    /// How often it was told to reload.
    pub(super) fn reloads(&self) -> u64 {
        match self {
            Chosen::Nginx(nginx) => nginx.reloads(),
            Chosen::Apache(apache) => apache.reloads(),
        }
    }
}

/// Each site would say so too, but there may be none yet.
fn warn_of_absence(program: &Path) {
    if !program.exists() {
        tracing::warn!(
            program = %program.display(),
            "the web server is not installed, and no site can be served: install it, or name another one (`webServer` in the agent's configuration)"
        );
    }
}

impl WebServer for Chosen {
    async fn ensure(&self, site: Shape) -> Result<(), Fault> {
        match self {
            Chosen::Nginx(nginx) => nginx.ensure(site).await,
            Chosen::Apache(apache) => apache.ensure(site).await,
        }
    }

    async fn lacks(&self, site: &Shape) -> Option<Fault> {
        match self {
            Chosen::Nginx(nginx) => nginx.lacks(site).await,
            Chosen::Apache(apache) => apache.lacks(site).await,
        }
    }

    async fn remove(&self, site: &SiteName) -> Result<(), Fault> {
        match self {
            Chosen::Nginx(nginx) => nginx.remove(site).await,
            Chosen::Apache(apache) => apache.remove(site).await,
        }
    }

    async fn seen(&self, site: &SiteName) -> Result<Option<Colour>, Fault> {
        match self {
            Chosen::Nginx(nginx) => nginx.seen(site).await,
            Chosen::Apache(apache) => apache.seen(site).await,
        }
    }

    fn pool_timeout(&self) -> Duration {
        match self {
            Chosen::Nginx(nginx) => nginx.pool_timeout(),
            Chosen::Apache(apache) => apache.pool_timeout(),
        }
    }

    async fn in_flight(&self, site: &SiteName, ago: Duration) -> Result<Option<bool>, Fault> {
        match self {
            Chosen::Nginx(nginx) => nginx.in_flight(site, ago).await,
            Chosen::Apache(apache) => apache.in_flight(site, ago).await,
        }
    }
}

/// The web servers of a machine, as its configuration has them; the one that it does not name, as the distribution has it.
pub(super) fn both(config: &AgentConfig) -> (NginxSettings, ApacheSettings) {
    let usual = PlacesConfig::default();
    let servers = &config.web_server;
    (
        nginx(servers.nginx.as_ref().unwrap_or(&usual), config.run_dir.join("nginx")),
        apache(servers.apache.as_ref().unwrap_or(&usual), config.run_dir.join("apache")),
    )
}

fn nginx(config: &PlacesConfig, work: PathBuf) -> NginxSettings {
    let usual = NginxSettings::default();
    NginxSettings {
        program: config.binary.clone().unwrap_or(usual.program),
        prefix: config.prefix.clone(),
        conf: config.conf.clone(),
        pid: config.pid_file.clone().unwrap_or(usual.pid),
        folders: folders(config, usual.folders),
        work,
        door: config.door.unwrap_or(usual.door),
        reload_within: usual.reload_within,
    }
}

fn apache(config: &PlacesConfig, work: PathBuf) -> ApacheSettings {
    let usual = ApacheSettings::default();
    ApacheSettings {
        program: config.binary.clone().unwrap_or(usual.program),
        prefix: config.prefix.clone(),
        conf: config.conf.clone(),
        pid: config.pid_file.clone().unwrap_or(usual.pid),
        folders: folders(config, usual.folders),
        work,
        door: config.door.unwrap_or(usual.door),
        reload_within: usual.reload_within,
    }
}

fn folders(config: &PlacesConfig, usual: Folders) -> Folders {
    Folders {
        sites: config.conf_dir.clone().unwrap_or(usual.sites),
        snippets: config.include_dir.clone().unwrap_or(usual.snippets),
    }
}
