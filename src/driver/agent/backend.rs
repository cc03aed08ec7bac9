//! What the control socket answers with.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use super::Agent;
use super::entry::{Entry, Problem};
use super::intake::Cause;
use super::origin::Origin;
use crate::api::names::reasons;
use crate::api::parse;
use crate::api::types::{SiteName, Token};
use crate::control::api::{
    Applied, ApplyOutcome, CommandAnswer, CommandRequest, Deleted, Failure, History, InstanceLog, Logs, LogsQuery,
    Order, Outcome, SiteList, SiteView, UNTOLD,
};
use crate::control::server::Backend;
use crate::platform::host::state::FileStore;
use crate::platform::host::store;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;
use crate::rollout::Colour;
use sha2::{Digest, Sha256};

/// So long is waited for what becomes of a command; after that it is `Waiting`.
const OUTCOME_WITHIN: Duration = Duration::from_secs(5);
/// So many lines of a log are told unless others are asked for, and at most.
const LINES: usize = 100;
const LINES_AT_MOST: usize = 10_000;

/// The agent, as the control socket sees it.
pub(super) struct Answers<W, S>(pub(super) Arc<Agent<W, S>>);

impl<W: WebServer + 'static, S: Supervisor + 'static> Backend for Answers<W, S> {
    fn list(&self) -> SiteList {
        SiteList {
            items: self.0.entries().iter().filter_map(|entry| entry.view()).collect(),
            notes: self.0.standing.view().and_then(|view| view.words()).into_iter().collect(),
        }
    }

    fn site(&self, name: &SiteName) -> Option<SiteView> {
        self.0.entry(name)?.view()
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.0.changes()
    }

    async fn history(&self, name: &SiteName) -> Result<History, Failure> {
        let entry = self.0.entry(name).ok_or_else(|| no_such(name))?;
        let items =
            FileStore::new(entry.dir().clone()).read_history().map_err(|fault| Failure::internal(fault.message))?;
        Ok(History { items })
    }

    async fn logs(&self, name: &SiteName, query: LogsQuery) -> Result<Logs, Failure> {
        let entry = self.0.entry(name).ok_or_else(|| no_such(name))?;
        let site = self.0.platform(name).ok_or_else(|| no_such(name))?;
        let slots = entry.view().map(|view| view.slots).unwrap_or_default();
        let colour = match query.colour {
            Some(colour) => colour,
            None => slots
                .iter()
                .find(|slot| slot.live)
                .or_else(|| slots.iter().find(|slot| !slot.instances.is_empty()))
                .map(|slot| slot.colour)
                .ok_or_else(|| {
                    Failure::not_found(format!("nothing runs for {name} yet; see `bluegreen describe {name}`"))
                })?,
        };
        let instances: Vec<u16> = match query.instance {
            Some(instance) => vec![instance],
            None => slots
                .iter()
                .find(|slot| slot.colour == colour)
                .map(|slot| slot.instances.iter().map(|one| one.index).collect::<Vec<u16>>())
                .filter(|instances| !instances.is_empty())
                // What was rejected is stopped, and why stands in what it printed.
                .unwrap_or_else(|| configured(&entry, colour)),
        };
        let mut items = Vec::new();
        for instance in instances {
            let lines = query.lines.unwrap_or(LINES).min(LINES_AT_MOST);
            items.push(InstanceLog {
                colour,
                instance,
                lines: site.logs(colour, instance, lines).await.map_err(|fault| Failure::internal(fault.message))?,
            });
        }
        Ok(Logs { items })
    }

    async fn apply(&self, manifest: &str, dry_run: bool) -> Result<Applied, Failure> {
        let agent = &self.0;
        let (_, site) = parse::manifest(manifest).map_err(|problems| Failure::invalid(problems.to_string()))?;
        let name = site.name;
        let _turn = agent.intake.lock().await;
        let before = agent.entry(&name).map(|entry| entry.state());
        let taken = |state: &&super::entry::State| {
            state.accepted.is_some() && !state.origin().is_folder() && !agent.lets_go(state.origin(), &name)
        };
        if let Some(state) = before.as_ref().filter(taken) {
            return Err(Failure::conflict(state.origin().elsewhere(&name)));
        }
        if before.as_ref().is_some_and(super::entry::State::deleting) {
            return Err(Failure::conflict(format!(
                "site {name} is being deleted; apply again when `bluegreen get {name}` says that it is gone"
            )));
        }
        let (object, _) = agent.judge(&name, manifest, &Origin::Folder).map_err(refusal)?;
        let accepted = before.as_ref().and_then(|state| state.accepted.as_ref());
        if dry_run {
            let same_spec = accepted.is_some_and(|old| old.object.spec == object.spec);
            let generation = before.as_ref().map_or(0, super::entry::State::generation) + i64::from(!same_spec);
            let outcome = match accepted {
                None => ApplyOutcome::Created,
                Some(_) if same_spec => ApplyOutcome::Unchanged,
                Some(_) => ApplyOutcome::Configured,
            };
            return Ok(Applied { name: name.to_string(), outcome, generation, look: 0, warnings: Vec::new() });
        }
        let folder = agent.folder().map_err(|why| Failure::internal(format!("the manifest can't be kept: {why}")))?;
        let digest = hex::encode(Sha256::digest(manifest.as_bytes()));
        let entry = agent.entry_or_new(&name);
        entry.change(|state| state.written = Some(digest));
        store::write_bytes(&folder.file(&name), manifest.as_bytes(), 0o600)
            .map_err(|error| Failure::internal(error.to_string()))?;
        let offer = agent.offer(&name, manifest, Cause::Apply, &Origin::Folder).map_err(refusal)?;
        Ok(Applied {
            name: name.to_string(),
            outcome: offer.outcome,
            generation: offer.generation,
            look: offer.look,
            warnings: offer.warnings,
        })
    }

    async fn delete(&self, name: &SiteName) -> Result<Deleted, Failure> {
        let agent = &self.0;
        let _turn = agent.intake.lock().await;
        let state = agent.entry(name).ok_or_else(|| no_such(name))?.state();
        if !state.origin().is_folder() && !agent.lets_go(state.origin(), name) {
            return Err(Failure::conflict(state.origin().elsewhere(name)));
        }
        let folder =
            agent.folder().map_err(|why| Failure::internal(format!("the manifest can't be removed: {why}")))?;
        store::remove(&folder.file(name)).map_err(|error| Failure::internal(error.to_string()))?;
        agent.begin_deletion(name)?;
        Ok(Deleted { name: name.to_string() })
    }

    async fn command(&self, name: &SiteName, command: CommandRequest) -> Result<CommandAnswer, Failure> {
        let entry = self.0.entry(name).ok_or_else(|| no_such(name))?;
        command.id.parse::<Token>().map_err(|e| Failure::invalid(format!("the command's id: {e}")))?;
        let state = entry.state();
        if state.accepted.is_none() || state.deleting() {
            return Err(Failure::conflict(format!(
                "site {name} takes no commands: {}",
                if state.deleting() { "it is being deleted" } else { "its manifest was never accepted" }
            )));
        }
        if command.order == Order::Retry && command.about == UNTOLD {
            entry.change(|state| state.resolve += 1);
            entry.wake.notify_one();
            return Ok(CommandAnswer {
                id: command.id,
                outcome: Outcome::Obeyed,
                message: format!("site {name}: what was uploaded is looked at again"),
            });
        }
        let mut outcomes = entry.outcomes.subscribe();
        if command.order == Order::Restart {
            let live = entry.view().and_then(|view| view.attempts.live);
            let wanted = entry.view().and_then(|view| view.attempts.wanted);
            restartable(name, &command, live, wanted)?;
        }
        let taken = entry.change(|state| -> Result<_, String> {
            let mut orders = state.orders.clone();
            let taken = orders.order(&command)?;
            state.orders = orders;
            if command.order == Order::Restart {
                state.reparse()?;
            }
            if matches!(command.order, Order::Retry | Order::Restart) {
                state.resolve += 1;
            }
            Ok(taken)
        });
        let taken = taken.map_err(Failure::invalid)?;
        entry.save().map_err(|fault| Failure::internal(fault.message))?;
        entry.wake.notify_one();
        if taken.is_none() {
            return Ok(CommandAnswer {
                id: command.id,
                outcome: Outcome::Obeyed,
                message: format!("site {name} is rolled out once more"),
            });
        }
        Ok(answer(name, command, &mut outcomes).await)
    }

    fn answered(&self, what: &'static str, code: u16) {
        self.0.metrics.answered(what, code);
    }
}

/// A restart rolls the wanted release out once more; so it must be the live one.
fn restartable(
    name: &SiteName,
    command: &CommandRequest,
    live: Option<crate::rollout::Attempt>,
    wanted: Option<crate::rollout::Attempt>,
) -> Result<(), Failure> {
    if live != Some(command.about) {
        return Err(Failure::conflict(format!(
            "{} of site {name} is not live any more; look with `bluegreen get {name}` and try again",
            command.about.revision.short()
        )));
    }
    if wanted.map(|wanted| wanted.revision) != Some(command.about.revision) {
        return Err(Failure::conflict(format!(
            "what is live on site {name} is not what its manifest describes, so a restart would roll out something else; apply the manifest of \
             what is live first"
        )));
    }
    Ok(())
}

async fn answer(
    name: &SiteName,
    command: CommandRequest,
    outcomes: &mut broadcast::Receiver<(String, bool)>,
) -> CommandAnswer {
    let word = command.order.name();
    let heard = tokio::time::timeout(OUTCOME_WITHIN, async {
        loop {
            match outcomes.recv().await {
                Ok((id, obeyed)) if id == command.id => return Some(obeyed),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    let (outcome, message) = match heard.await {
        Ok(Some(true)) => (Outcome::Obeyed, format!("site {name}: {word} was taken")),
        Ok(Some(false)) => (
            Outcome::Ignored,
            format!(
                "site {name}: {word} had no effect: {}/{} is not what it could be about now; see `bluegreen describe {name}`",
                command.about.revision.short(),
                command.about.number
            ),
        ),
        Ok(None) | Err(_) => (
            Outcome::Waiting,
            format!(
                "site {name}: {word} is written down and is taken when the site can be looked at; see `bluegreen describe {name}`"
            ),
        ),
    };
    CommandAnswer { id: command.id, outcome, message }
}

fn refusal(problem: Problem) -> Failure {
    match problem.reason {
        reasons::CONFLICT => Failure::conflict(problem.message),
        reasons::INVALID => Failure::invalid(problem.message),
        _ => Failure::internal(format!("{}; the manifest is kept, and taken as soon as that passes", problem.message)),
    }
}

fn no_such(name: &SiteName) -> Failure {
    Failure::not_found(format!("there is no site {name}; `bluegreen get` lists those that there are"))
}

/// The instances that a colour has when it runs.
fn configured(entry: &Entry, colour: Colour) -> Vec<u16> {
    let count = entry.state().site.as_ref().map_or(0, |site| site.target.run.ports.of(colour).len());
    (0..u16::try_from(count).unwrap_or(u16::MAX)).collect()
}
