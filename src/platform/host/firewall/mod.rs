//! Closes the ports of apps to everybody but this machine, by one nftables table of ours (`inet bluegreen`) that lives beside ufw, iptables,
//! firewalld and Docker and says nothing about any other port.
//!
//! | part | what it does |
//! |---|---|
//! | `table` | the table, as text of port numbers and nothing else |
//! | `nft` | puts it into force in one transaction, and reads it |
//! | `watch` | hears when somebody changes it |
//! | `boot` | the unit that loads it at a reboot |
//!
//! Each site says which ports are its own ([`Firewall::want`]); a task ([`Firewall::keep`]) keeps the table equal to all of them, and puts it back
//! when somebody flushed it. What is closed is known by looking, never by having done it.

mod boot;
mod nft;
mod table;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::{Notify, watch as channel};

pub use self::boot::UNIT;
use self::nft::NftError;
pub(crate) use self::nft::program;
use self::watch::Ear;
use crate::api::types::SiteName;
use crate::platform::host::store;

/// The table is looked at so often, for what nobody told of.
const LOOK: Duration = Duration::from_secs(10);

/// Whether the ports of apps are closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The configuration says that they are not to be.
    Off,
    /// Not looked at yet.
    Unknown,
    /// These ports are closed.
    Closed(BTreeSet<u16>),
    /// They can't be; why, and what to do.
    Unable(String),
}

impl State {
    /// Whether this port is closed to others than this machine.
    #[must_use]
    pub fn closes(&self, port: u16) -> bool {
        matches!(self, State::Closed(ports) if ports.contains(&port))
    }
}

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The agent's state folder.
    pub state: PathBuf,
    /// The administrator's units; `None`: there is no systemd.
    pub units: Option<PathBuf>,
}

/// The firewall of this machine.
pub struct Firewall {
    /// `None`: it is off.
    settings: Option<Settings>,
    wanted: Mutex<Ports>,
    state: channel::Sender<State>,
    wake: Notify,
    /// What the table looked like right after it was put into force.
    inner: tokio::sync::Mutex<InForce>,
}

/// The ports of each site's apps.
type Ports = BTreeMap<SiteName, BTreeSet<u16>>;

#[derive(Default)]
struct InForce {
    ports: BTreeSet<u16>,
    listing: Option<Value>,
    /// What is on disk for the next start, and the program that loads it there.
    written: Option<(Ports, Option<PathBuf>)>,
}

impl Firewall {
    /// One that closes nothing.
    #[must_use]
    pub fn off() -> Firewall {
        Firewall::new(None, BTreeMap::new(), State::Off)
    }

    /// Takes back what an earlier run of the agent closed, now that it is to close nothing any more.
    pub async fn take_back(settings: &Settings) {
        let rules = settings.state.join(RULES);
        if !rules.exists() {
            return;
        }
        let undo = || {
            if let Some(units) = &settings.units {
                let _was_there = boot::remove(units)?;
            }
            store::remove(&settings.state.join(MEMORY))
        };
        let table = nft::apply(&table::transaction(&BTreeSet::new())).await;
        if let Err(error) = &table {
            tracing::warn!(%error, "the table inet bluegreen was not removed");
        }
        // The rules go last: while they are there, all of this is tried again at the next start.
        if let Err(error) = undo().and_then(|()| if table.is_ok() { store::remove(&rules) } else { Ok(()) }) {
            tracing::warn!(%error, "what closes the ports at a reboot was not removed");
        }
    }

    /// The firewall, with what an earlier run of the agent closed for these sites: it stays closed until they say something else.
    #[must_use]
    pub fn open(settings: Settings, sites: &BTreeSet<SiteName>) -> Firewall {
        let file = settings.state.join(MEMORY);
        let before = store::read::<Ports>(&file, store::LIMIT);
        let mut wanted = before.unwrap_or_else(|error| {
            tracing::warn!(%error, "which ports were closed is not known any more; the sites say it anew");
            None
        });
        if let Some(wanted) = &mut wanted {
            wanted.retain(|site, _| sites.contains(site));
        }
        Firewall::new(Some(settings), wanted.unwrap_or_default(), State::Unknown)
    }

    fn new(settings: Option<Settings>, wanted: Ports, state: State) -> Firewall {
        Firewall {
            settings,
            wanted: Mutex::new(wanted),
            state: channel::Sender::new(state),
            wake: Notify::new(),
            inner: tokio::sync::Mutex::default(),
        }
    }

    /// These are the site's ports from now on.
    pub fn want(&self, site: &SiteName, ports: &BTreeSet<u16>) {
        let mut wanted = self.wanted();
        if wanted.get(site).is_none_or(|before| before != ports) {
            wanted.insert(site.clone(), ports.clone());
            self.wake.notify_one();
        }
    }

    /// The site's ports, as it said them last.
    #[must_use]
    pub fn of(&self, site: &SiteName) -> BTreeSet<u16> {
        self.wanted().get(site).cloned().unwrap_or_default()
    }

    /// The site is gone.
    pub fn forget(&self, site: &SiteName) {
        if self.wanted().remove(site).is_some() {
            self.wake.notify_one();
        }
    }

    /// Whether the ports of apps are closed, as far as was seen last.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Looks at the table, and puts it into force where it is not what is wanted.
    pub async fn ensure(&self) -> State {
        if self.settings.is_none() {
            return State::Off;
        }
        let mut inner = self.inner.lock().await;
        let state = match self.round(&mut inner).await {
            Ok(ports) => State::Closed(ports),
            Err(error) => State::Unable(error.to_string()),
        };
        let before = self.state.send_replace(state.clone());
        if before != state {
            match &state {
                State::Closed(ports) => {
                    tracing::info!(?ports, "the ports of apps are closed to others than this machine")
                }
                State::Unable(why) => tracing::warn!(reason = UNAVAILABLE, "{}", unavailable(why)),
                State::Off | State::Unknown => {}
            }
        }
        state
    }

    /// Keeps the table as it shall be, for ever.
    pub async fn keep(&self) {
        if self.settings.is_none() {
            return std::future::pending().await;
        }
        let ear = Ear::open();
        if let Err(error) = &ear {
            tracing::debug!(%error, "changes of the firewall are not heard; it is looked at now and then");
        }
        loop {
            self.ensure().await;
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                heard = async {
                    match &ear {
                        Ok(ear) => ear.heard().await,
                        Err(_) => std::future::pending().await,
                    }
                } => if heard.is_err() {
                    tokio::time::sleep(LOOK).await;
                },
            }
        }
    }

    async fn round(&self, inner: &mut InForce) -> Result<BTreeSet<u16>, NftError> {
        let wanted = self.wanted().clone();
        let ports: BTreeSet<u16> = wanted.values().flatten().copied().collect();
        self.write_down(&wanted, &ports, inner).await;
        let now = nft::list().await?.as_deref().and_then(table::normal);
        let known = inner.ports == ports && now == inner.listing && (now.is_some() || ports.is_empty());
        if known {
            return Ok(ports);
        }
        if now.is_none() && !ports.is_empty() && inner.ports == ports && inner.listing.is_some() {
            tracing::warn!(reason = "FirewallFlushed", "somebody removed the table inet bluegreen; it is put back");
        }
        nft::apply(&table::transaction(&ports)).await?;
        let listing = nft::list().await?.as_deref().and_then(table::normal);
        let closed = listing.as_ref().map(table::closed).unwrap_or_default();
        if closed != ports {
            return Err(NftError::Failed(format!(
                "the table inet bluegreen was put into force, and holds {closed:?} instead of {ports:?}: does another program change it?"
            )));
        }
        inner.ports.clone_from(&ports);
        inner.listing = listing;
        Ok(ports)
    }

    /// For the next boot, before anything is in force. What can't be written is tried again at the next look; the ports are closed all the same.
    async fn write_down(&self, wanted: &Ports, ports: &BTreeSet<u16>, inner: &mut InForce) {
        let now = (wanted.clone(), program());
        let Some(settings) = self.settings.as_ref().filter(|_| inner.written.as_ref() != Some(&now)) else { return };
        let rules = settings.state.join(RULES);
        let write = || {
            if ports.is_empty() {
                store::remove(&rules)?;
                store::remove(&settings.state.join(MEMORY))?;
                return settings.units.as_deref().map_or(Ok(false), boot::remove);
            }
            store::write_bytes(&rules, table::transaction(ports).as_bytes(), 0o644)?;
            store::write(&settings.state.join(MEMORY), wanted, 0o644)?;
            match (&settings.units, &now.1) {
                (Some(units), Some(nft)) => boot::write(units, nft, &rules, &settings.state),
                _ => Ok(false),
            }
        };
        match write() {
            Ok(unit) => {
                inner.written = Some(now);
                if unit {
                    tell_systemd(ports.is_empty()).await;
                }
            }
            Err(error) => tracing::warn!(%error, "what closes the ports at a reboot was not written"),
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Ports> {
        // Whole values are put in and taken out, so none is left half changed.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason of a warning: nothing closes the ports of apps.
pub const UNAVAILABLE: &str = "FirewallUnavailable";

/// The same, in words.
#[must_use]
pub fn unavailable(why: &str) -> String {
    format!(
        "the ports of apps are not closed by a firewall: {why}; until then a candidate must listen on 127.0.0.1 alone"
    )
}

/// What each site said last.
pub const MEMORY: &str = "firewall.json";
/// The transaction that a reboot loads.
pub const RULES: &str = "firewall.nft";

/// systemd reads units at a boot anyway; until then it should not show an old one. To stop the unit changes no rule.
async fn tell_systemd(gone: bool) {
    let stop: &[&[&str]] = if gone {
        &[&["--quiet", "stop", UNIT], &["--quiet", "daemon-reload"]]
    } else {
        &[&["--quiet", "daemon-reload"]]
    };
    for arguments in stop {
        let done = Command::new("systemctl").args(*arguments).kill_on_drop(true).output().await;
        if let Err(error) = done {
            tracing::debug!(%error, "systemd was not told of the boot unit");
        }
    }
}

/// The ports that the table closes now, whoever put it there.
///
/// # Errors
/// In words: `nft` is missing, or does not tell.
pub async fn closed() -> Result<BTreeSet<u16>, String> {
    let listing = nft::list().await.map_err(|error| error.to_string())?;
    let listing = listing.as_deref().and_then(table::normal);
    Ok(listing.as_ref().filter(|listing| table::is_in_force(listing)).map(table::closed).unwrap_or_default())
}
