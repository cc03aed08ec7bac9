//! The supervisor that the machine has: one type for both, chosen once at the start.

use tokio::sync::watch;

use super::config::{AgentConfig, SupervisorKind};
use crate::api::types::SiteName;
use crate::platform::Fault;
use crate::platform::host::supervise::direct::{self, Direct};
use crate::platform::host::supervise::systemd::{self, Systemd};
use crate::platform::host::supervise::{InstanceId, InstanceState, Launch, Supervisor};
use crate::rollout::Colour;

/// Either supervisor.
pub(super) enum Chosen {
    Direct(Direct),
    Systemd(Systemd),
}

impl Chosen {
    /// Opens the one that the configuration names, or that the machine has.
    pub(super) async fn open(config: &AgentConfig) -> Result<Chosen, Fault> {
        match config.supervisor() {
            SupervisorKind::Direct => {
                let settings = direct::Settings::new(config.state_dir.clone());
                Ok(Chosen::Direct(Direct::open(settings).await?))
            }
            SupervisorKind::Systemd => {
                let settings = systemd::Settings::new(config.state_dir.clone());
                Ok(Chosen::Systemd(Systemd::open(settings).await?))
            }
        }
    }
}

impl Supervisor for Chosen {
    async fn start(&self, site: &SiteName, colour: Colour, instances: &[Launch]) -> Result<(), Fault> {
        match self {
            Chosen::Direct(direct) => direct.start(site, colour, instances).await,
            Chosen::Systemd(systemd) => systemd.start(site, colour, instances).await,
        }
    }

    async fn stop(&self, site: &SiteName, colour: Colour) -> Result<(), Fault> {
        match self {
            Chosen::Direct(direct) => direct.stop(site, colour).await,
            Chosen::Systemd(systemd) => systemd.stop(site, colour).await,
        }
    }

    async fn states(&self, site: &SiteName, colour: Colour) -> Result<Vec<InstanceState>, Fault> {
        match self {
            Chosen::Direct(direct) => direct.states(site, colour).await,
            Chosen::Systemd(systemd) => systemd.states(site, colour).await,
        }
    }

    fn changes(&self, site: &SiteName, colour: Colour) -> watch::Receiver<u64> {
        match self {
            Chosen::Direct(direct) => direct.changes(site, colour),
            Chosen::Systemd(systemd) => systemd.changes(site, colour),
        }
    }

    async fn logs(&self, instance: &InstanceId, lines: usize) -> Result<Vec<String>, Fault> {
        match self {
            Chosen::Direct(direct) => direct.logs(instance, lines).await,
            Chosen::Systemd(systemd) => systemd.logs(instance, lines).await,
        }
    }

    async fn forget(&self, site: &SiteName) -> Result<(), Fault> {
        match self {
            Chosen::Direct(direct) => direct.forget(site).await,
            Chosen::Systemd(systemd) => systemd.forget(site).await,
        }
    }
}
