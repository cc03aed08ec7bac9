//! Asks the repository again and again, and when somebody tells of a push; takes what is new.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::apply::Outcome;
use super::commit::{self, Commit};
use super::config::{GitConfig, WebhookConfig};
use super::error::{GitError, Refusal, Untaken};
use super::mirror::{Descent, LOOK_BACK, Mirror};
use super::state::Remembered;
use super::webhook::{self, Hook};
use crate::api::names::{events, reasons};
use crate::driver::agent::Agent;
use crate::platform::host::store;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;
use crate::platform::{Class, Fault};

/// However often somebody tells of a push, the repository is asked no more often than that.
const AT_MOST: Duration = Duration::from_secs(1);
/// What only costs again is tried again after so long, unless somebody tells of a push.
const COSTLY: Duration = Duration::from_secs(1800);
/// A commit of which something is in the way is tried again so soon.
const SOON: Duration = Duration::from_millis(500);
/// What was not read for so many intervals is told on the sites.
const PATIENCE: u32 = 5;
/// The webhook's address is tried again so often while somebody else has it.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// What is known while the agent runs.
struct Follower {
    mirror: Mirror,
    remembered: Remembered,
    /// What was read, while it is not applied.
    pending: Option<Commit>,
    /// Nothing but another commit will make a difference.
    settled: bool,
    /// What was last written down of when the server answered.
    noted: Option<Timestamp>,
}

impl<W: WebServer + 'static, S: Supervisor + 'static> Agent<W, S> {
    /// Follows the repository that the configuration names, if it names one, until the agent ends.
    pub(in crate::driver::agent) async fn follow_git(self: Arc<Self>) {
        let Some(config) = self.config.git.clone() else {
            let left = self.entries_from_git().len();
            if left > 0 {
                tracing::warn!(
                    "{left} sites came from a Git repository, and none is named any more: they go on as they are. Name it again (git.url), take them \
                     over with `bluegreen apply`, or end them with `bluegreen delete`"
                );
            }
            return std::future::pending().await;
        };
        let pushed = Arc::new(Notify::new());
        tokio::join!(self.keep_following(&config, &pushed), self.hear_of_pushes(config.webhook.as_ref(), &pushed));
    }

    async fn keep_following(self: &Arc<Self>, config: &GitConfig, pushed: &Notify) {
        let mut follower = None;
        let mut failures: u32 = 0;
        let mut said = None;
        let started = Timestamp::now();
        loop {
            let asked = Instant::now();
            let wait = match self.round(&mut follower, config).await {
                Ok(()) => {
                    (failures, said) = (0, None);
                    self.tell_git_sites(self.git.unread(None));
                    about(config.interval)
                }
                Err(error) => {
                    self.metrics.git.fetched(config.url.as_str(), error.label(), None);
                    let text = error.to_string();
                    if said.as_ref() != Some(&text) {
                        tracing::warn!(url = %config.url, "the repository is not read: {text}; what was applied goes on");
                    }
                    let last = follower
                        .as_ref()
                        .and_then(|follower: &Follower| follower.remembered.fetched)
                        .unwrap_or(started);
                    self.tell_unread(config, last, &text);
                    said = Some(text);
                    failures += 1;
                    let longer = about(config.interval.saturating_mul(1 << (failures - 1).min(3)));
                    if error.is_costly() { longer.max(COSTLY) } else { longer }
                }
            };
            self.rest(&mut follower, config, pushed, asked, asked + wait).await;
        }
    }

    /// Waits until the repository is to be asked again; meanwhile takes what could not be taken whole.
    async fn rest(
        self: &Arc<Self>,
        follower: &mut Option<Follower>,
        config: &GitConfig,
        pushed: &Notify,
        asked: Instant,
        until: Instant,
    ) {
        let mut changes = self.changes();
        loop {
            let pending = follower.as_ref().is_some_and(|follower| follower.pending.is_some());
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => return,
                () = pushed.notified() => {
                    tokio::time::sleep_until((asked + AT_MOST).into()).await;
                    return;
                }
                _ = changes.changed(), if pending => {
                    tokio::time::sleep(SOON).await;
                    if let Some(follower) = follower
                        && let Err(error) = self.take(follower, config).await
                    {
                        tracing::warn!("{error}");
                    }
                }
            }
        }
    }

    /// Asks the repository once, and takes what is new.
    async fn round(self: &Arc<Self>, kept: &mut Option<Follower>, config: &GitConfig) -> Result<(), GitError> {
        let follower = match kept {
            Some(follower) => follower,
            None => {
                let mut opened = self.open(config).await?;
                if opened.remembered.commit.is_some() && opened.mirror.tip().await.ok() == opened.remembered.commit {
                    // What was read before is what counts until the server says something else, whether it answers or not.
                    self.take(&mut opened, config).await?;
                }
                kept.insert(opened)
            }
        };
        let tip = follower.mirror.ask().await?;
        let is_here = async |follower: &Follower| follower.mirror.tip().await.ok() == follower.remembered.commit;
        if follower.remembered.tip.as_ref() != Some(&tip) || !is_here(follower).await {
            let commit = follower.mirror.fetch().await?;
            self.note(follower, config, tip, commit).await?;
        }
        let now = Timestamp::now();
        follower.remembered.fetched = Some(now);
        if follower.noted.is_none_or(|noted| now.duration_since(noted) > SignedDuration::from_secs(60)) {
            follower.remembered.save(&self.config.state_dir)?;
            follower.noted = Some(now);
        }
        self.metrics.git.fetched(config.url.as_str(), "ok", Some(now.as_second()));
        self.take(follower, config).await
    }

    async fn open(&self, config: &GitConfig) -> Result<Follower, GitError> {
        let mirror = Mirror::open(&self.config.state_dir, config)?;
        mirror.check_program().await?;
        let remembered = Remembered::load(&self.config.state_dir, config)?;
        if remembered.commit.is_none() {
            mirror.forget()?;
        }
        if mirror.is_roots() {
            tracing::info!("Git runs as root, since there is no user bluegreen-git and git.user names no other one");
        }
        Ok(Follower { mirror, remembered, pending: None, settled: false, noted: None })
    }

    /// Another commit was fetched: how it stands to the one of before.
    async fn note(
        &self,
        follower: &mut Follower,
        config: &GitConfig,
        tip: String,
        commit: String,
    ) -> Result<(), GitError> {
        let before = follower.remembered.commit.take().filter(|before| *before != commit);
        if let Some(before) = before {
            match follower.mirror.descent(&commit, &before).await {
                Descent::Follows => {}
                Descent::Rewritten => {
                    let message = format!(
                        "{} ({}): commit {before}, which was followed before, is not among the last {LOOK_BACK} ancestors of {commit}: its history was \
                         rewritten, and the new one is followed",
                        config.url, config.reference
                    );
                    tracing::warn!(event = events::HISTORY_REWRITTEN, "{message}");
                    self.tell_in_history(&self.entries_from_git(), events::HISTORY_REWRITTEN, &message);
                }
                Descent::Unknown(why) => {
                    tracing::info!("whether commit {commit} follows {before} could not be told: {why}");
                }
            }
        }
        tracing::info!(%commit, "fetched");
        (follower.remembered.tip, follower.remembered.commit) = (Some(tip), Some(commit));
        (follower.pending, follower.settled) = (None, false);
        Ok(follower.remembered.save(&self.config.state_dir)?)
    }

    /// Takes the commit that was fetched last, unless that is done.
    async fn take(self: &Arc<Self>, follower: &mut Follower, config: &GitConfig) -> Result<(), GitError> {
        let Some(id) = follower.remembered.commit.clone() else { return Ok(()) };
        if follower.settled {
            return Ok(());
        }
        let commit = match follower.pending.take() {
            Some(commit) => Ok(commit),
            None => commit::read(&follower.mirror, config, &id).await,
        };
        let (outcome, commit) = match commit {
            Ok(commit) => (self.apply_commit(config, &commit, follower.remembered.moved).await, Some(commit)),
            Err(Untaken::Unread(error)) => return Err(error),
            Err(Untaken::Refused(refusal)) => (Outcome::Refused(refusal), None),
        };
        let remembered = &mut follower.remembered;
        let before = remembered.clone();
        match outcome {
            Outcome::Applied => {
                if remembered.applied.as_ref() != Some(&id) {
                    tracing::info!(commit = %id, "applied");
                }
                follower.settled = true;
                remembered.applied = Some(id.clone());
                (remembered.refused, remembered.moved) = (None, false);
                self.tell_git_sites(self.git.refused(None));
                self.metrics.git.commit(config.url.as_str(), &id, true);
            }
            Outcome::Underway(why) => {
                tracing::debug!(commit = %id, "not applied whole yet: {why}");
                follower.pending = commit;
                self.metrics.git.commit(config.url.as_str(), &id, false);
                return Ok(());
            }
            Outcome::Refused(refusal) => {
                let message = words(config, &id, remembered.applied.as_deref(), &refusal);
                if remembered.refused.as_ref() != Some(&message) {
                    tracing::warn!(commit = %id, reason = refusal.reason, "{message}");
                }
                self.refuse_commit(&id, commit.as_ref(), &refusal, &message).await;
                let fault = Fault { class: Class::User, reason: reasons::COMMIT_REFUSED, message: message.clone() };
                self.tell_git_sites(self.git.refused(Some(fault)));
                self.metrics.git.commit(config.url.as_str(), &id, false);
                remembered.refused = Some(message);
                follower.settled = refusal.reason == reasons::INVALID;
                follower.pending = commit.filter(|_| !follower.settled);
            }
        }
        if *remembered != before {
            remembered.save(&self.config.state_dir)?;
        }
        Ok(())
    }

    fn tell_unread(&self, config: &GitConfig, last: Timestamp, why: &str) {
        let silent = Timestamp::now().duration_since(last).unsigned_abs();
        if silent < config.interval.saturating_mul(PATIENCE) {
            return;
        }
        let message = format!("{} was not read since {last:.0}: {why}. What was applied before goes on", config.url);
        let fault = Fault { class: Class::Transient, reason: reasons::GIT_NOT_FETCHED, message };
        self.tell_git_sites(self.git.unread(Some(fault)));
    }

    fn tell_git_sites(&self, news: bool) {
        if news {
            for entry in self.entries_from_git() {
                entry.wake.notify_one();
            }
        }
    }

    async fn hear_of_pushes(&self, config: Option<&WebhookConfig>, pushed: &Arc<Notify>) {
        let Some(config) = config else { return };
        loop {
            let heard = async {
                let listener = tokio::net::TcpListener::bind(config.listen).await?;
                let address = listener.local_addr()?;
                let file = self.config.run_dir.join("webhook.addr");
                store::write_bytes(&file, format!("{address}\n").as_bytes(), 0o644).map_err(std::io::Error::other)?;
                tracing::info!(%address, "listening for pushes");
                let hook = Hook {
                    secret_file: config.secret_file.clone(),
                    pushed: pushed.clone(),
                    metrics: self.metrics.clone(),
                };
                webhook::serve(listener, hook).await
            };
            if let Err(error) = heard.await {
                tracing::warn!(
                    "cannot listen on {} for pushes (git.webhook.listen): {error}; the interval goes on",
                    config.listen
                );
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    }
}

fn words(config: &GitConfig, id: &str, applied: Option<&str>, refusal: &Refusal) -> String {
    let goes_on =
        applied.map_or_else(String::new, |applied| format!("; what commit {} brought goes on", short(applied)));
    format!(
        "commit {} of {} ({}): nothing of it is applied{goes_on}: {}",
        short(id),
        config.url,
        config.reference,
        refusal.why
    )
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// A tenth more or less, so that many hosts don't ask at the same moment.
fn about(span: Duration) -> Duration {
    let dice = RandomState::new().build_hasher().finish() % 201;
    let thousandths = 900 + u32::try_from(dice).unwrap_or(100);
    span / 1000 * thousandths
}
