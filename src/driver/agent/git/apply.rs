//! Makes the sites of this host what a commit says, or refuses it as a whole.

use std::sync::Arc;

use jiff::Timestamp;

use super::commit::{Commit, Manifest};
use super::config::GitConfig;
use super::error::Refusal;
use crate::api::conflicts::conflicts;
use crate::api::names::{events, reasons};
use crate::api::site::SiteOnHost;
use crate::api::types::SiteName;
use crate::api::yaml;
use crate::control::api::{ApplyOutcome, HistoryEntry};
use crate::driver::agent::Agent;
use crate::driver::agent::entry::{Entry, Problem, State};
use crate::driver::agent::intake::Cause;
use crate::driver::agent::origin::Origin;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;

/// So many problems of a commit are told.
const TOLD: usize = 20;

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is applied.
    Applied,
    /// All of it is good, and something is still in the way: a site that goes away, a full disk. To be tried again soon.
    Underway(String),
    /// It is refused, and nothing of it is applied.
    Refused(Refusal),
}

impl<W: WebServer + 'static, S: Supervisor + 'static> Agent<W, S> {
    /// Judges a commit as a whole, and applies it if all of it is good. `moved`: the sites that there are may have come from another place.
    pub(super) async fn apply_commit(self: &Arc<Self>, config: &GitConfig, commit: &Commit, moved: bool) -> Outcome {
        let _turn = self.intake.lock().await;
        if let Err(refusal) = self.judge_commit(config, commit, moved) {
            return Outcome::Refused(refusal);
        }
        let origin = Origin::Git { commit: commit.id.clone() };
        let mut underway = Vec::new();
        for (name, manifest) in &commit.manifests {
            match self.offer(name, &manifest.text, Cause::Again, &origin) {
                Ok(offer) if offer.outcome != ApplyOutcome::Unchanged => {
                    self.tell_of_commit(config, commit, name, manifest)
                }
                Ok(_) => {}
                Err(problem) => underway.push(format!("{}: {}", manifest.file, problem.message)),
            }
        }
        if !underway.is_empty() {
            // Nothing is taken away before all that was added is safe.
            return Outcome::Underway(underway.join("; "));
        }
        for entry in self.entries_from_git() {
            let wanted = commit.manifests.contains_key(&entry.name);
            if !wanted
                && !entry.state().deleting()
                && let Err(failure) = self.begin_deletion(&entry.name)
            {
                underway.push(failure.message);
            }
        }
        for (name, manifest) in &commit.manifests {
            if !self.entry(name).is_some_and(|entry| is(&entry.state(), manifest)) {
                underway.push(format!("{}: the site of before goes away first", manifest.file));
            }
        }
        if underway.is_empty() { Outcome::Applied } else { Outcome::Underway(underway.join("; ")) }
    }

    /// Judges all manifests of a commit, each alone, among the sites that there are, and among each other.
    fn judge_commit(&self, config: &GitConfig, commit: &Commit, moved: bool) -> Result<(), Refusal> {
        let sites = self.entries_from_git().into_iter().filter(|entry| entry.state().accepted.is_some());
        let known: Vec<SiteName> = sites.map(|entry| entry.name.clone()).collect();
        if !known.is_empty() && !config.allow_empty {
            let kept = known.iter().any(|name| commit.manifests.contains_key(name));
            let why = if commit.manifests.is_empty() {
                Some("it holds no manifest")
            } else if moved && !kept {
                Some("it is another repository, branch or folder than before, and holds none of them")
            } else {
                None
            };
            if let Some(why) = why {
                return Err(Refusal {
                    reason: reasons::COMMIT_REFUSED,
                    why: format!(
                        "folder {}: {why}, and {} sites of this host come from there ({}): nothing is deleted because of it. Name the right folder \
                         (git.path), or write `allowEmpty: true` below `git:` if they are all to go away",
                        config.path,
                        known.len(),
                        known.iter().take(5).map(SiteName::as_str).collect::<Vec<_>>().join(", ")
                    ),
                    at_fault: Vec::new(),
                });
            }
        }
        let origin = Origin::Git { commit: commit.id.clone() };
        let mut found: Vec<(SiteName, &'static str, String)> = Vec::new();
        let mut judged: Vec<SiteOnHost> = Vec::new();
        for (name, manifest) in &commit.manifests {
            let place = |message: &str| lines(manifest, message);
            let state = self.entry(name).map(|entry| entry.state());
            if let Some(rival) = state.as_ref().and_then(|state| rival(state, &origin)) {
                found.push((name.clone(), reasons::CONFLICT, place(&rival.elsewhere(name))));
                continue;
            }
            match self.judge(name, &manifest.text, &origin) {
                Ok((_, site)) => judged.push(site),
                Err(Problem { reason, message }) => found.push((name.clone(), reason, place(&message))),
            }
        }
        for (name, problem) in conflicts(&judged) {
            if let Some(manifest) = commit.manifests.get(&name) {
                found.push((name, reasons::CONFLICT, lines(manifest, &problem.to_string())));
            }
        }
        let Some((_, reason, _)) = found.first() else { return Ok(()) };
        // Invalid is the text itself; anything else may pass without another commit.
        let reason =
            found.iter().map(|(_, reason, _)| *reason).find(|reason| *reason == reasons::INVALID).unwrap_or(reason);
        let more = found.len().saturating_sub(TOLD);
        let mut why: Vec<String> = found.iter().take(TOLD).map(|(_, _, message)| message.clone()).collect();
        if more > 0 {
            why.push(format!("and {more} more"));
        }
        Err(Refusal { reason, why: why.join("\n"), at_fault: found.into_iter().map(|(name, ..)| name).collect() })
    }

    /// Tells of a commit that is refused, on each site that it would have changed.
    pub(super) async fn refuse_commit(
        self: &Arc<Self>,
        id: &str,
        commit: Option<&Commit>,
        refusal: &Refusal,
        message: &str,
    ) {
        let _turn = self.intake.lock().await;
        let Some(commit) = commit else { return };
        let origin = Origin::Git { commit: id.to_owned() };
        for (name, manifest) in &commit.manifests {
            let entry = self.entry_or_new(name);
            let state = entry.state();
            if rival(&state, &origin).is_some() {
                continue;
            }
            if is(&state, manifest) {
                // It is what this commit says as well; what an earlier one said of it is over.
                if entry.change(|state| state.problem.take()).is_some() {
                    entry.wake.notify_one();
                }
                continue;
            }
            entry.change(|state| state.judged_from = origin.clone());
            let reason = if refusal.at_fault.contains(name) { refusal.reason } else { reasons::COMMIT_REFUSED };
            self.refuse(name, Problem { reason, message: message.to_owned() });
        }
        for entry in self.entries_from_git() {
            if entry.state().accepted.is_none() && !commit.manifests.contains_key(&entry.name) {
                // Only an earlier commit, which was refused too, said anything of it.
                let _ = self.begin_deletion(&entry.name);
            }
        }
    }

    /// The sites that come from the repository, and those that it would have had.
    pub(super) fn entries_from_git(&self) -> Vec<Arc<Entry>> {
        let theirs = |entry: &Arc<Entry>| matches!(entry.state().origin(), Origin::Git { .. });
        self.entries().into_iter().filter(theirs).collect()
    }

    /// Puts something into the history of these sites.
    pub(super) fn tell_in_history(&self, entries: &[Arc<Entry>], reason: &str, message: &str) {
        for entry in entries {
            let event = HistoryEntry {
                time: Timestamp::now(),
                reason: reason.to_owned(),
                message: message.to_owned(),
                revision: None,
            };
            entry.change(|state| state.news.push(event));
            entry.wake.notify_one();
        }
    }

    fn tell_of_commit(&self, config: &GitConfig, commit: &Commit, name: &SiteName, manifest: &Manifest) {
        let signed = commit.signer.as_ref().map(|signer| format!(", signed by {signer}")).unwrap_or_default();
        let message =
            format!("commit {} of {} ({}){signed}: {}", commit.id, config.url, config.reference, manifest.file);
        tracing::info!(site = %name, event = events::COMMIT_TAKEN, "{message}");
        let entries: Vec<Arc<Entry>> = self.entry(name).into_iter().collect();
        self.tell_in_history(&entries, events::COMMIT_TAKEN, &message);
    }
}

/// Whether a site is what a manifest says.
fn is(state: &State, manifest: &Manifest) -> bool {
    !state.deleting() && state.accepted.as_ref().is_some_and(|accepted| accepted.manifest == manifest.digest())
}

/// Where a site comes from, if that is another place than this one.
fn rival<'a>(state: &'a State, origin: &Origin) -> Option<&'a Origin> {
    state.accepted.as_ref().map(|accepted| &accepted.origin).filter(|theirs| !theirs.is_where(origin))
}

/// Each line of a message, with its file, and with its place there where it names a field.
fn lines(manifest: &Manifest, message: &str) -> String {
    let document = yaml::read(&manifest.text).ok();
    let line = |line: &str| {
        let field = line.split_once(": ").map(|(field, _)| field).filter(|field| field.starts_with("spec."));
        let place = field.and_then(|field| document.as_ref()?.place(field));
        let place = place.map(|place| format!("line {}, column {}: ", place.line, place.column)).unwrap_or_default();
        format!("{}: {place}{line}", manifest.file)
    };
    message.lines().map(line).collect::<Vec<_>>().join("\n")
}
