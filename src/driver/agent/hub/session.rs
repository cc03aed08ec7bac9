//! One session with the hub: from the moment that it is reached until it isn't. Everything is begun anew in the next one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::sync::{Mutex, mpsc, watch};

use super::connection::{Trouble, within};
use super::desk::{Desk, Settled, Site};
use super::events::{self, Happening};
use super::known::Known;
use super::lease::{Claim, Presence};
use super::machine::{Identity, are_copies};
use super::membership::Membership;
use super::watch::{Seen, watch as watch_sites};
use super::write::Writer;
use crate::api::types::SiteName;
use crate::driver::agent::Agent;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;

/// What changes on this host is told no sooner than this after it was told before: a passing phase is not worth a write.
const CALM: Duration = Duration::from_millis(300);
/// Without any reason, everything is looked at again so often.
const ANYWAY: Duration = Duration::from_secs(30);

/// A session.
pub(super) struct Session<W, S> {
    desk: Desk<W, S>,
    client: Client,
    identity: Arc<Identity>,
    me: String,
    sites: BTreeMap<SiteName, Site>,
    /// Sites that the hub does not have any more: which object each was.
    gone: BTreeMap<SiteName, String>,
    /// Everything was listed.
    listed: bool,
}

impl<W: WebServer + 'static, S: Supervisor + 'static> Session<W, S> {
    /// A session that has not begun.
    pub(super) fn new(
        agent: Arc<Agent<W, S>>,
        joined: Membership,
        client: Client,
        identity: Arc<Identity>,
    ) -> Result<Self, Trouble> {
        let me = identity.get().map_err(|error| Trouble::Unusable(error.to_string()))?;
        let writer = Writer::new(client.clone(), joined.namespace.clone());
        let desk = Desk { agent, joined, writer };
        Ok(Session { desk, client, identity, me, sites: BTreeMap::new(), gone: BTreeMap::new(), listed: false })
    }

    /// Runs until the hub is not reached any more, and says why.
    pub(super) async fn run(mut self, happening: &Mutex<Happening>) -> Trouble {
        if let Err(trouble) = self.is_the_hub().await {
            return trouble;
        }
        let _secrets = self.desk.agent.vault.open(&self.desk.joined, self.client.clone());
        let (claims, claim) = watch::channel(Claim::Unsettled);
        let (seen, sees) = mpsc::channel(64);
        let presence = Presence::new(self.client.clone(), &self.desk.joined.namespace, self.identity.clone());
        let presence = match presence {
            Ok(presence) => presence,
            Err(error) => return Trouble::Unusable(error.to_string()),
        };
        let api = self.desk.writer.api().clone();
        let (agent, client, me) = (self.desk.agent.clone(), self.client.clone(), self.me.clone());
        let namespace = self.desk.joined.namespace.clone();
        let ended = tokio::select! {
            done = renew(presence, claims) => done,
            done = watch_sites(api, seen) => done,
            done = self.work(sees, claim) => done,
            done = events::tell(client, namespace, me, &agent.standing, happening) => done,
        };
        match ended {
            Err(trouble) => trouble,
            Ok(never) => match never {},
        }
    }

    /// Whether it is the hub that was joined: one that was made anew at the same address has another namespace of this name.
    async fn is_the_hub(&self) -> Result<(), Trouble> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let (name, joined) = (&self.desk.joined.namespace, &self.desk.joined.hub);
        let found = match within(api.get(name)).await {
            Err(Trouble::NotFound) => return Err(Trouble::Replaced(format!("it has no namespace {name}"))),
            found => found?.metadata.uid.unwrap_or_default(),
        };
        if found == *joined {
            return Ok(());
        }
        Err(Trouble::Replaced(format!("its namespace {name} is another one ({found}, and {joined} was joined)")))
    }

    async fn work(
        &mut self,
        mut sees: mpsc::Receiver<Seen>,
        mut claim: watch::Receiver<Claim>,
    ) -> Result<Infallible, Trouble> {
        let mut changes = self.desk.agent.changes();
        let mut passed = Instant::now();
        let mut due = passed + ANYWAY;
        loop {
            tokio::select! {
                seen = sees.recv() => {
                    let Some(seen) = seen else { return Err(Trouble::Away("the watch has ended".to_owned())) };
                    self.see(seen);
                    while let Ok(more) = sees.try_recv() {
                        self.see(more);
                    }
                    due = Instant::now();
                }
                // Several sites change at once, and each tells of several things.
                _ = changes.changed() => due = due.min(passed + CALM / 3),
                _ = claim.changed() => due = Instant::now(),
                () = tokio::time::sleep_until(due.into()) => {}
            }
            if Instant::now() < due {
                continue;
            }
            let whose = claim.borrow_and_update().clone();
            self.stand(&whose);
            passed = Instant::now();
            due = passed + ANYWAY;
            if whose.acts() && self.listed {
                due = due.min(self.pass().await?);
            }
        }
    }

    /// Tells people here whether this host acts for its hub.
    fn stand(&self, whose: &Claim) {
        let (standing, joined) = (&self.desk.agent.standing, &self.desk.joined);
        match whose {
            Claim::Theirs(other) if are_copies(other, &self.me) => standing.away(
                joined,
                &format!(
                    "another machine with the same machine-id goes by the name {} there and was alive a moment ago, so this one does nothing for the hub. After a \
                     reboot that is this machine itself, and passes within a minute; otherwise one is a copy of the other: give it a machine-id of its own \
                     (rm /etc/machine-id && systemd-machine-id-setup) and another name (`bluegreen host leave --force`, then `bluegreen host join`)",
                    joined.host
                ),
            ),
            Claim::Theirs(other) => standing.away(
                joined,
                &format!(
                    "another machine ({other}) goes by the name {} there and is alive, so this one ({}) does nothing for the hub; give one of them another \
                     name (`bluegreen host leave`, then `bluegreen host join`)",
                    joined.host, self.me
                ),
            ),
            Claim::Ours(_) if self.listed && whose.acts() => standing.reached(joined),
            _ => {}
        }
    }

    /// Does what is to be done about everything. Says when to look again whatever happens.
    async fn pass(&mut self) -> Result<Instant, Trouble> {
        for (name, uid) in std::mem::take(&mut self.gone) {
            self.desk.torn_out(&name, &uid).await?;
        }
        self.desk.found(self.sites.keys());
        let mut due = Instant::now() + ANYWAY;
        let names: Vec<SiteName> = self.sites.keys().cloned().collect();
        for name in names {
            let Some(site) = self.sites.get_mut(&name) else { continue };
            match self.desk.settle(&name, site).await? {
                Settled::Until(at) => due = due.min(at.unwrap_or(due)),
                Settled::Gone => drop(self.sites.remove(&name)),
            }
        }
        Ok(due)
    }

    /// Takes over what was seen of the hub.
    fn see(&mut self, seen: Seen) {
        match seen {
            Seen::All(objects) => {
                let all: BTreeMap<SiteName, Known> = objects.into_iter().filter_map(Known::of).collect();
                self.desk.miss(&all);
                self.gone.extend(self.desk.refused_and_gone(&all));
                self.sites.retain(|name, _| all.contains_key(name));
                for (name, known) in all {
                    self.know(name, known);
                }
                self.listed = true;
            }
            Seen::One(object) => {
                if let Some((name, known)) = Known::of(*object) {
                    self.know(name, known);
                }
            }
            Seen::Gone(object) => {
                let Some((name, known)) = Known::of(*object) else { return };
                if self.sites.get(&name).is_none_or(|site| site.known.uid == known.uid) {
                    self.sites.remove(&name);
                    self.gone.insert(name, known.uid);
                }
            }
        }
    }

    fn know(&mut self, name: SiteName, known: Known) {
        match self.sites.get_mut(&name) {
            Some(site) => site.know(known),
            None => drop(self.sites.insert(name, Site::new(known))),
        }
    }
}

/// Holds the name, and tells whose it is, until the hub can't be reached.
async fn renew(mut presence: Presence, claims: watch::Sender<Claim>) -> Result<Infallible, Trouble> {
    loop {
        let wait = presence.step().await?;
        claims.send_if_modified(|claim| {
            let news = claim != presence.claim();
            claim.clone_from(presence.claim());
            news
        });
        tokio::time::sleep(wait).await;
    }
}
