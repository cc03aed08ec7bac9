//! What people ask for, taken once each, in the order of [`VerbKind`](super::plan::VerbKind): abort beats approve.

use super::decision::News;
use super::ledger::{Reason, Rollback};
use super::plan::{Command, Verb};
use super::revision::Revision;
use super::rules::Rule;
use super::turn::Turn;

impl Turn<'_> {
    /// Takes each command that was not taken yet. One that names another attempt, or asks for what can't be, does nothing.
    pub(super) fn take_commands(&mut self) {
        let plan = self.plan;
        let mut waiting: Vec<&Command> = plan.commands.iter().collect();
        waiting.sort_by_key(|command| command.verb.kind());
        for command in waiting {
            let kind = command.verb.kind();
            if self.ledger.taken.get(&kind) == Some(&command.id) && self.rules.hold(Rule::TakenOnce) {
                continue;
            }
            self.ledger.taken.insert(kind, command.id.clone());
            let named = command.about == self.ledger.attempt(command.about.revision);
            let obeyed = named && self.obey(command.verb, command.about.revision);
            let news = if obeyed { News::Obeyed } else { News::Ignored };
            self.news.push(news(command.clone()));
        }
        self.let_rollback_die();
    }

    /// A rollback holds as long as the specification stays what it was, and what it goes to isn't rejected.
    fn let_rollback_die(&mut self) {
        let Some(rollback) = self.ledger.rollback else { return };
        let changed = self.plan.wanted.is_some_and(|wanted| Some(wanted) != rollback.while_wanted);
        let there = !self.rules.hold(Rule::RollbackHolds)
            && self.ledger.stable.is_some_and(|stable| stable.revision == rollback.to);
        if changed || there || self.ledger.rejects(rollback.to) {
            self.ledger.rollback = None;
        }
    }

    fn obey(&mut self, verb: Verb, revision: Revision) -> bool {
        let stable = self.ledger.stable.map(|held| held.revision);
        let intended = self.ledger.intent.map(|held| held.revision);
        let live = intended.or(stable);
        let candidate = intended.or(self.target());
        match verb {
            Verb::Abort => {
                let underway = candidate == Some(revision) && (intended.is_some() || stable != candidate);
                if underway {
                    self.reject(revision, Reason::Aborted);
                }
                underway
            }
            Verb::Pause => {
                let about_it = candidate == Some(revision) || live == Some(revision);
                if about_it && self.ledger.paused.is_none() {
                    self.ledger.paused = Some(self.now);
                }
                about_it
            }
            Verb::Resume => {
                let about_it = candidate == Some(revision) || live == Some(revision);
                if let Some(since) = self.ledger.paused.filter(|_| about_it) {
                    self.put_off(self.now.since(since));
                    self.ledger.paused = None;
                }
                about_it
            }
            Verb::Rollback(to) => {
                let can = live == Some(revision) && to != revision && self.ledger.cleared.contains(&to);
                if can {
                    // Whoever names what was rejected since wants it tried once more.
                    if self.ledger.rejected.remove(&to).is_some() {
                        *self.ledger.retries.entry(to).or_insert(0) += 1;
                    }
                    self.ledger.rollback = Some(Rollback { to, while_wanted: self.plan.wanted });
                    if self.rules.hold(Rule::RollbackHolds) {
                        self.reject(revision, Reason::RolledBack);
                    }
                }
                can
            }
            Verb::Retry => {
                let can = self.plan.wanted == Some(revision) && self.ledger.rejects(revision) && live != Some(revision);
                if can {
                    self.ledger.rejected.remove(&revision);
                    *self.ledger.retries.entry(revision).or_insert(0) += 1;
                    self.ledger.rollback = None;
                }
                can
            }
            Verb::Approve => {
                let can = candidate == Some(revision) && stable != Some(revision) && !self.ledger.rejects(revision);
                if can {
                    self.ledger.approval = Some(self.ledger.attempt(revision));
                }
                can
            }
        }
    }
}
