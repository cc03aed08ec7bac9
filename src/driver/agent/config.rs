//! The agent's own configuration, by default `/etc/bluegreen/agent.yaml`. Every key may be left out.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::allow::Allow;
use super::git::config::{GitConfig, GitWords};
use crate::driver::log::LogFormat;

/// Where the configuration is unless another file is named.
pub const DEFAULT_FILE: &str = "/etc/bluegreen/agent.yaml";

/// What the agent is told about the machine that it runs on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AgentConfig {
    /// The folder of manifests, one file a site: `NAME.yaml`. Root's alone.
    pub sites_dir: PathBuf,
    /// Where sites, releases and what must not be forgotten lie.
    pub state_dir: PathBuf,
    /// Where sockets and the like lie.
    pub run_dir: PathBuf,
    /// The control socket. Default: `control.sock` in `runDir`.
    pub socket: Option<PathBuf>,
    /// Where metrics and health are served.
    pub metrics: MetricsConfig,
    /// Who keeps the instances running. Default: systemd where it runs, `direct` elsewhere.
    pub supervisor: Option<SupervisorKind>,
    /// The front door.
    pub web_server: WebServerConfig,
    /// What closes the ports of apps to others than this machine. Default: nftables.
    pub firewall: FirewallKind,
    /// What sites from afar (a hub, a Git repository) may ask for. Left out: no such site is taken.
    pub allow: Option<Allow>,
    /// How the log is written.
    pub log_format: LogFormat,
    /// A Git repository with sites for this host. Default: none.
    pub git: Option<GitConfig>,
    /// The file that this was read from.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// What closes the ports of apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FirewallKind {
    /// A table of the agent's own, beside whatever else there is.
    Nftables {},
    /// Nothing: another firewall does, or every app listens on loopback alone.
    Off,
}

/// Where metrics and health are served.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// A loopback address; with port 0 a free one is taken, and stands in `RUNDIR/metrics.addr`.
    pub listen: SocketAddr,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        MetricsConfig { listen: (Ipv4Addr::LOCALHOST, 9415).into() }
    }
}

/// Who keeps instances running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SupervisorKind {
    /// The machine's service manager.
    Systemd,
    /// The agent itself, where there is none.
    Direct,
}

/// Which web server, and where it is: one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WebServerConfig {
    /// nginx; what is used where nothing is said, as Debian installs it.
    pub nginx: Option<PlacesConfig>,
    /// Apache; `apache: {}` is the one that Debian installs.
    pub apache: Option<PlacesConfig>,
}

/// Where the web server is. What is left out is as the distribution has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PlacesConfig {
    /// The program.
    pub binary: Option<PathBuf>,
    /// Its prefix (nginx `-p`, Apache `-d`).
    pub prefix: Option<PathBuf>,
    /// Its main configuration file (nginx `-c`, Apache `-f`).
    pub conf: Option<PathBuf>,
    /// Where our server blocks go: a folder whose `*.conf` the main file includes (nginx: within `http`).
    pub conf_dir: Option<PathBuf>,
    /// Where snippets for server blocks of your own go.
    pub include_dir: Option<PathBuf>,
    /// Where its master writes its pid.
    pub pid_file: Option<PathBuf>,
    /// Where it answers the agent which colour it serves: an address of loopback, and a port that only root can take.
    pub door: Option<SocketAddr>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        AgentConfig {
            sites_dir: "/etc/bluegreen/sites".into(),
            state_dir: "/var/lib/bluegreen".into(),
            run_dir: "/run/bluegreen".into(),
            socket: None,
            metrics: MetricsConfig::default(),
            supervisor: None,
            web_server: WebServerConfig::default(),
            firewall: FirewallKind::Nftables {},
            allow: None,
            log_format: LogFormat::default(),
            git: None,
            file: None,
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("cannot read the agent's configuration {}: {source}; name another with --config", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says something that isn't understood.
    #[error("{}: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What, where, and what would be right.
        why: String,
    },
}

impl AgentConfig {
    /// Reads the file; without one, the usual file if it is there, and otherwise nothing but defaults.
    pub fn load(file: Option<&Path>) -> Result<AgentConfig, ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound && file.is_none() => return Ok(AgentConfig::default()),
            Err(source) => {
                return Err(ConfigError::Read { path: path.to_owned(), source });
            }
        };
        let read = AgentConfig::parse(&text);
        let config = read.map_err(|why| ConfigError::Invalid { path: path.to_owned(), why })?;
        Ok(AgentConfig { file: Some(path.to_owned()), ..config })
    }

    fn parse(text: &str) -> Result<AgentConfig, String> {
        let config: Option<AgentConfig> = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
        let config = config.unwrap_or_default();
        if !config.metrics.listen.ip().is_loopback() {
            return Err(format!(
                "metrics.listen: {} is not a loopback address: metrics tell who deploys what, so they are for this machine only; \
                 use 127.0.0.1:PORT, and let your collector run here or come through a tunnel",
                config.metrics.listen
            ));
        }
        if config.web_server.nginx.is_some() && config.web_server.apache.is_some() {
            return Err("webServer: names both nginx and apache; keep the one that serves the sites".to_owned());
        }
        if let Some(allow) = &config.allow {
            allow.check()?;
        }
        let folders = [("sitesDir", &config.sites_dir), ("stateDir", &config.state_dir), ("runDir", &config.run_dir)];
        for (key, folder) in folders {
            if !folder.is_absolute() {
                return Err(format!("{key}: {} is not an absolute path", folder.display()));
            }
        }
        config.check_git()?;
        Ok(config)
    }

    fn check_git(&self) -> Result<(), String> {
        let Some(git) = &self.git else { return Ok(()) };
        let allowed = self.allow.iter().flat_map(|allow| &allow.users);
        if let Some(user) = allowed.into_iter().find(|user| git.is_its_user(user)) {
            return Err(format!(
                "allow.users: {user} is who Git runs as (git.user): an app that runs as it could write commits of its own into the copy of the \
                 repository; name another one in one of the two"
            ));
        }
        git.check(&self.state_dir)
    }

    /// Takes what the command line says of a repository.
    pub fn follow(mut self, words: GitWords) -> Result<AgentConfig, ConfigError> {
        let invalid = |why| ConfigError::Invalid { path: "the command line".into(), why };
        self.git = GitConfig::with(self.git, words).map_err(invalid)?;
        self.check_git().map_err(invalid)?;
        Ok(self)
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.run_dir.join("control.sock"))
    }

    /// What the agent keeps for itself: nothing of it is given to a site from afar, whatever `allow` says.
    #[must_use]
    pub fn ours(&self) -> Vec<PathBuf> {
        let folders = [self.state_dir.clone(), self.sites_dir.clone(), self.run_dir.clone(), self.socket()];
        let files = [Some(PathBuf::from(DEFAULT_FILE)), self.file.clone()].into_iter().flatten();
        let of_git = self.git.iter().flat_map(GitConfig::files).map(Path::to_owned);
        folders.into_iter().chain(files).chain(of_git).collect()
    }

    /// Who keeps instances running on this machine.
    #[must_use]
    pub fn supervisor(&self) -> SupervisorKind {
        let booted = Path::new("/run/systemd/system").is_dir();
        self.supervisor.unwrap_or(if booted { SupervisorKind::Systemd } else { SupervisorKind::Direct })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults() {
        for text in ["", "# nothing\n", "{}"] {
            assert_eq!(AgentConfig::parse(text).expect("valid"), AgentConfig::default(), "{text:?}");
        }
    }

    #[test]
    fn every_key_is_read() {
        let text = "
sitesDir: /a
stateDir: /b
runDir: /c
socket: /d
metrics: { listen: '127.0.0.1:0' }
supervisor: direct
webServer:
  nginx: { binary: /e, prefix: /f, conf: /g, confDir: /h, includeDir: /i, pidFile: /j, door: '127.0.0.9:948' }
firewall: off
allow: { users: [k], releases: [/l], hostnames: ['*.m.example'], runtimes: [springBoot], files: [/n], credentials: [/q], certificates: [/r], ports: [8000-8999, 9001], programs: [/o], listen: ['*:80'] }
logFormat: json
";
        let config = AgentConfig::parse(text).expect("valid");
        assert_eq!(config.socket(), Path::new("/d"));
        assert_eq!(config.supervisor(), SupervisorKind::Direct);
        let nginx = config.web_server.nginx.expect("it is named");
        assert_eq!(nginx.pid_file.as_deref(), Some(Path::new("/j")));
        let apache = AgentConfig::parse(&text.replace("  nginx:", "  apache:")).expect("valid").web_server;
        assert_eq!((apache.apache, apache.nginx), (Some(nginx), None));
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.allow.expect("it is there").files.len(), 1);
        assert_eq!(config.firewall, FirewallKind::Off);
        let nftables = AgentConfig::parse("firewall: { nftables: {} }").expect("valid");
        assert_eq!(nftables.firewall, FirewallKind::Nftables {});
        assert_eq!(config.metrics.listen.port(), 0);
    }

    #[test]
    fn the_agents_configuration_and_all_that_git_names_are_its_own() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = "git: { url: 'https://git.example.com/sites.git', tokenFile: /g/token, caFile: /g/ca, \
                    webhook: { listen: '127.0.0.1:0', secretFile: /g/secret }, requireSignature: { allowedSigners: /g/signers } }";
        std::fs::write(file.path(), text).expect("written");
        let ours = AgentConfig::load(Some(file.path())).expect("valid").ours();
        let mut named = ["/g/token", "/g/ca", "/g/secret", "/g/signers", DEFAULT_FILE, "/var/lib/bluegreen"]
            .map(Path::new)
            .to_vec();
        named.push(file.path());
        for path in named {
            assert!(ours.iter().any(|ours| ours == path), "{}: {ours:?}", path.display());
        }
        let text = "git: { url: 'ssh://git@git.example.com/sites.git', sshKeyFile: /g/key, knownHostsFile: /g/hosts }";
        let ours = AgentConfig::parse(text).expect("valid").ours();
        assert!(["/g/key", "/g/hosts"].iter().all(|path| ours.contains(&PathBuf::from(path))), "{ours:?}");
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (text, says) in [
            ("siteDir: /a", "siteDir"),
            ("sitesDir: a", "absolute"),
            ("metrics: { listen: '0.0.0.0:9415' }", "loopback"),
            ("supervisor: upstart", "upstart"),
            ("firewall: ufw", "ufw"),
            ("allow: { users: [root] }", "allow.users"),
            ("allow: { user: [shop] }", "user"),
            ("webServer: { nginx: {}, apache: {} }", "both nginx and apache"),
        ] {
            let why = AgentConfig::parse(text).expect_err("invalid");
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
