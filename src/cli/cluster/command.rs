//! Commands as annotations of the site, and what became of them: the operator notes in the ledger which it took.

use std::time::Duration;

use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::apply::MANAGER;
use super::{Cluster, ClusterError, resource};
use crate::api::command;
use crate::api::names::annotations;
use crate::api::status::SiteStatus;
use crate::cli::view::Site;
use crate::control::api::{CommandAnswer, CommandRequest, Outcome, UNTOLD};
use crate::rollout::{Attempt, Command, Ledger, Verb};

/// So long is waited for what becomes of a command; after that it is `Waiting`.
const OUTCOME_WITHIN: Duration = Duration::from_secs(5);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(100);

impl Cluster {
    /// Gives a command, and waits a little for what becomes of it.
    ///
    /// # Errors
    /// There is no such site, no answer, or it may not be commanded.
    pub async fn command(&self, site: &Site, request: &CommandRequest) -> Result<CommandAnswer, ClusterError> {
        let (name, word, about) = (&site.name, request.order.name(), request.about);
        if about == UNTOLD {
            return Err(ClusterError::Refused(format!(
                "there is nothing to {word} at {name}: {}; look at {} describe {name}",
                site.message(),
                self.called
            )));
        }
        let Some(verb) = request.order.verb() else {
            return self.restart(site, request).await;
        };
        let command = Command { verb, about, id: request.id.clone() };
        let (annotation, value) = command::format(&command);
        self.annotate(name, annotation, &value).await?;
        let taken = self
            .until(name, |status| {
                let ledger = &status.rollout.as_ref()?.ledger;
                let taken = ledger.taken.get(&verb.kind()) == Some(&request.id);
                taken.then(|| had_effect(&command, ledger))
            })
            .await?;
        let (outcome, message) = match taken {
            Some(true) => (Outcome::Obeyed, format!("{word} was taken")),
            Some(false) => (
                Outcome::Ignored,
                format!(
                    "{word} had no effect: {}/{} is not what it could be about now",
                    about.revision.short(),
                    about.number
                ),
            ),
            None => (Outcome::Waiting, self.waiting(site, word)),
        };
        Ok(CommandAnswer { id: request.id.clone(), outcome, message })
    }

    /// Has the live release rolled out once more.
    ///
    /// # Errors
    /// What is live is not what the specification describes, or was not when it was looked at; and as [`Cluster::command`].
    async fn restart(&self, site: &Site, request: &CommandRequest) -> Result<CommandAnswer, ClusterError> {
        let (name, about) = (&site.name, request.about);
        let wanted = site.attempts.wanted.map(|wanted| wanted.revision);
        if wanted != Some(about.revision) {
            return Err(ClusterError::Refused(format!(
                "what is live on site {name} is not what its specification describes, so a restart would roll out something else; apply the \
                 manifest of what is live first, or wait until it is: {} get {name} -w",
                self.called
            )));
        }
        self.annotate(name, annotations::RESTART, &request.id).await?;
        let begun = self.until(name, |status| another(status, about).then_some(())).await?;
        let (outcome, message) = match begun {
            Some(()) => (Outcome::Obeyed, "it is rolled out once more".to_owned()),
            None => (Outcome::Waiting, self.waiting(site, "restart")),
        };
        Ok(CommandAnswer { id: request.id.clone(), outcome, message })
    }

    async fn annotate(&self, name: &str, annotation: &str, value: &str) -> Result<(), ClusterError> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {annotation: value}}}));
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let sites = self.own_sites();
        let done = sites.patch(name, &params, &patch);
        self.answer("patch", &resource(), Some(name), done).await?;
        Ok(())
    }

    /// Looks at the status until it says what is sought; `None`: it did not, in time.
    async fn until<T>(
        &self,
        name: &str,
        mut sought: impl FnMut(&SiteStatus) -> Option<T>,
    ) -> Result<Option<T>, ClusterError> {
        let deadline = Instant::now() + OUTCOME_WITHIN;
        loop {
            let object: DynamicObject = self.object(name).await?;
            let status = serde_json::from_value::<SiteStatus>(object.data["status"].clone()).unwrap_or_default();
            if let Some(found) = sought(&status) {
                return Ok(Some(found));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(LOOK).await;
        }
    }

    fn waiting(&self, site: &Site, word: &str) -> String {
        let name = &site.name;
        if site.status.observed_generation.is_none() {
            return format!("{word} is written down, but {}", self.nobody(site));
        }
        format!(
            "{word} is written down and is taken when the operator next looks at the site: {} describe {name}; if that lasts, see whether the \
             operator runs: kubectl get pods -A -l {}",
            self.called,
            super::OPERATOR
        )
    }

    /// What is said of a site that nobody looked at, ever or since its specification changed.
    #[must_use]
    pub fn nobody(&self, site: &Site) -> String {
        let name = &site.name;
        let what = match site.status.observed_generation {
            None => format!("no operator has ever looked at {name}"),
            Some(seen) => format!(
                "no operator has looked at {name} since it changed (generation {}, seen {seen})",
                site.generation
            ),
        };
        format!(
            "{what}: is one running, and is it for namespace {}? kubectl get pods -A -l {}",
            self.namespace,
            super::OPERATOR
        )
    }
}

/// Whether a command that was taken did what it asks for. The ledger says so; whoever asks a moment later sees the same.
fn had_effect(command: &Command, ledger: &Ledger) -> bool {
    let revision = command.about.revision;
    let goes = |held: Option<crate::rollout::Held>| held.is_some_and(|held| held.revision == revision);
    match command.verb {
        Verb::Approve => ledger.approval == Some(command.about) || goes(ledger.intent) || goes(ledger.stable),
        Verb::Abort => ledger.rejects(revision),
        Verb::Retry => ledger.attempt(revision).number > command.about.number,
        Verb::Rollback(to) => {
            ledger.rollback.is_some_and(|rollback| rollback.to == to)
                || ledger.stable.is_some_and(|stable| stable.revision == to)
        }
        Verb::Pause => ledger.paused.is_some(),
        Verb::Resume => ledger.paused.is_none(),
    }
}

/// Whether something else than this attempt is on its way, or live.
fn another(status: &SiteStatus, about: Attempt) -> bool {
    let candidate = status.candidate.as_ref().map(|candidate| candidate.revision);
    let live = status.live.as_ref().and_then(|live| live.revision);
    candidate.or(live).is_some_and(|revision| revision != about.revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{Colour, Held, Reason, Rejection, Revision, Rollback, Time};

    #[test]
    fn the_ledger_tells_whether_a_command_had_its_effect() {
        let (one, two) = (Revision::new(1), Revision::new(2));
        let about = Attempt { revision: one, number: 1 };
        let did = |verb, ledger: &Ledger| had_effect(&Command { verb, about, id: "x".into() }, ledger);
        let nothing = Ledger::default();
        for verb in [Verb::Approve, Verb::Abort, Verb::Retry, Verb::Rollback(two), Verb::Pause] {
            assert!(!did(verb, &nothing), "{verb:?}");
        }
        let approved = Ledger { approval: Some(about), ..Ledger::default() };
        assert!(did(Verb::Approve, &approved));
        let gone_over = Ledger { intent: Some(Held { colour: Colour::Blue, revision: one }), ..Ledger::default() };
        assert!(did(Verb::Approve, &gone_over), "an approval may have led to its cutover already");
        let aborted = Ledger {
            rejected: [(one, Rejection { reason: Reason::Aborted, at: Time(0) })].into(),
            ..Ledger::default()
        };
        assert!(did(Verb::Abort, &aborted));
        let retried = Ledger { retries: [(one, 1)].into(), ..Ledger::default() };
        assert!(did(Verb::Retry, &retried));
        let back = Ledger { rollback: Some(Rollback { to: two, while_wanted: Some(one) }), ..Ledger::default() };
        assert!(did(Verb::Rollback(two), &back) && !did(Verb::Rollback(one), &back));
        let paused = Ledger { paused: Some(Time(0)), ..Ledger::default() };
        assert!(did(Verb::Pause, &paused) && !did(Verb::Resume, &paused) && did(Verb::Resume, &nothing));
    }
}
