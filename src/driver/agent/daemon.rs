//! Starts the agent, says when it is ready, and ends without touching an app: what runs goes on running.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use super::Agent;
use super::backend::Answers;
use super::config::{AgentConfig, ConfigError, FirewallKind, SupervisorKind};
use super::front;
use super::git::config::GitWords;
use super::lock::{Lock, LockError};
use super::metrics::{self, Metrics};
use super::supervisor::Chosen;
use crate::control::server::{self, SocketError};
use crate::driver::log;
use crate::driver::process;
use crate::platform::Fault;
use crate::platform::host::firewall::{self, Firewall};
use crate::platform::host::probe::Prober;
use crate::platform::host::release::{Limits, OURSELVES};
use crate::platform::host::site::Host;
use crate::platform::host::state::make_folder;
use crate::platform::host::store;

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It has no control socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A part of the machine can't be used.
    #[error("{0}")]
    Machine(#[from] Fault),
    /// The system refused.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs the agent until somebody asks it to end. `config`: its configuration file; `git`: what the command line says of a repository.
///
/// # Errors
/// It could not start.
pub fn run(config: Option<&Path>, git: GitWords) -> Result<(), AgentError> {
    let config = AgentConfig::load(config)?.follow(git)?;
    process::with_one_heap().map_err(|source| io_error("begin anew with one heap", source))?;
    log::to_stderr(config.log_format);
    let runtime = process::runtime().map_err(|source| io_error("start its threads", source))?;
    runtime.block_on(serve(config))?;
    // What still blocks on a disk must not hold up the end: nothing that it does is half done.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

async fn serve(config: AgentConfig) -> Result<(), AgentError> {
    if !rustix::process::geteuid().is_root() {
        return Err(io_error(
            "run the agent as this user: it starts apps as other users and writes the web server's files, so it needs root",
            io::ErrorKind::PermissionDenied.into(),
        ));
    }
    for folder in [&config.state_dir, &config.run_dir] {
        make_folder(folder).map_err(|source| io_error(&format!("make {}", folder.display()), source))?;
    }
    let _lock = Lock::take(&config.state_dir)?;
    // Asked for before anything takes long, so that a signal in the meantime is not lost.
    let end = process::end().map_err(|source| io_error("listen for signals", source))?;
    let socket = server::bind(&config.socket())?;
    let listener = metrics::listen(config.metrics.listen).await.map_err(|source| {
        io_error(&format!("listen on {} for metrics (metrics.listen)", config.metrics.listen), source)
    })?;
    let address = listener.local_addr().map_err(|source| io_error("tell where metrics are", source))?;
    store::write_bytes(&config.run_dir.join("metrics.addr"), format!("{address}\n").as_bytes(), 0o644)
        .map_err(Fault::from)?;

    let metrics = Arc::new(Metrics::default());
    let supervisor = Arc::new(Chosen::open(&config).await?);
    let web = front::Chosen::new(&config);
    metrics.count_reloads(web.clone());
    let firewall = Arc::new(firewall(&config).await);
    let host = Arc::new(Host {
        state: config.state_dir.clone(),
        firewall: firewall.clone(),
        web,
        prober: Prober::new(supervisor.clone()),
        supervisor,
        unpacker: PathBuf::from(OURSELVES),
        limits: Limits::default(),
    });
    let (agent, again) = Agent::new(config, host, metrics.clone());
    // Before a site of an earlier run is looked at: what it needs closed was written down.
    firewall.ensure().await;
    let happened = agent.happened.subscribe();
    agent.take_over()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), %address, sites = agent.names().len(),
        "the agent runs"
    );
    tell_systemd(&[NotifyState::Ready]);
    tokio::select! {
        () = end => {}
        done = server::serve(socket, Arc::new(Answers(agent.clone()))) => {
            done.map_err(|source| io_error("answer at the control socket", source))?;
        }
        done = metrics::serve(listener, metrics) => {
            done.map_err(|source| io_error("serve metrics", source))?;
        }
        () = agent.clone().watch_folder(again) => {}
        () = agent.clone().follow_git() => {}
        () = agent.clone().follow_hub(happened) => {}
        () = watchdog() => {}
        () = firewall.keep() => {}
    }
    tell_systemd(&[NotifyState::Stopping]);
    tracing::info!("the agent ends; the apps go on");
    Ok(())
}

/// What closes the ports of apps, with what an earlier run closed.
async fn firewall(config: &AgentConfig) -> Firewall {
    let booted = config.supervisor() == SupervisorKind::Systemd;
    let settings =
        firewall::Settings { state: config.state_dir.clone(), units: booted.then(|| "/etc/systemd/system".into()) };
    if config.firewall == FirewallKind::Off {
        Firewall::take_back(&settings).await;
        return Firewall::off();
    }
    let folders = std::fs::read_dir(config.state_dir.join("sites")).into_iter().flatten().flatten();
    let sites = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok()).collect();
    Firewall::open(settings, &sites)
}

/// Tells systemd that the agent is alive, twice as often as it wants to know.
async fn watchdog() {
    let Some(within) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    loop {
        tell_systemd(&[NotifyState::Watchdog]);
        tokio::time::sleep(within / 2).await;
    }
}

fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}

fn io_error(what: &str, source: io::Error) -> AgentError {
    AgentError::Io { what: what.to_owned(), source }
}
