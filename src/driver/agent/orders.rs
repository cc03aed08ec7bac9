//! The commands that stand for a site: of each kind the last one that was given, by an annotation of the manifest or over the control socket.
//!
//! An annotation is a command when its text changes, not because it stands there: otherwise an old annotation and a new command over the
//! socket would take turns for ever. What was taken is the ledger's to know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::command;
use crate::api::names::annotations;
use crate::api::types::Token;
use crate::control::api::CommandRequest;
use crate::rollout::{Command, VerbKind};

/// What stands in `commands.json` of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Orders {
    /// Of each kind the last one.
    current: BTreeMap<VerbKind, Command>,
    /// The annotations as they were when they were last looked at.
    seen: BTreeMap<String, String>,
    /// The incarnation that was asked for last.
    restart: Option<Token>,
}

impl Orders {
    /// The commands, for the plan.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        self.current.values().cloned().collect()
    }

    /// The incarnation that was asked for last.
    #[must_use]
    pub fn restart(&self) -> Option<&Token> {
        self.restart.as_ref()
    }

    /// Takes what changed in a manifest's annotations. What can't be understood is said, and is no command.
    pub fn annotate(&mut self, annotations: &BTreeMap<String, String>) -> Vec<String> {
        let mut problems = Vec::new();
        for name in annotations::ALL {
            let text = annotations.get(name);
            if self.seen.get(name) == text {
                continue;
            }
            match text {
                None => {
                    self.seen.remove(name);
                    if name == annotations::RESTART {
                        self.restart = None;
                    }
                }
                Some(text) => {
                    self.seen.insert(name.to_owned(), text.clone());
                    if let Err(why) = self.take(name, text) {
                        problems.push(format!("metadata.annotations[{name}]: {why}"));
                    }
                }
            }
        }
        problems
    }

    fn take(&mut self, name: &str, text: &str) -> Result<(), String> {
        if name == annotations::RESTART {
            self.restart = Some(text.parse().map_err(|e: crate::api::types::Invalid| e.to_string())?);
            return Ok(());
        }
        let (commands, problems) = command::from_annotations(&[(name.to_owned(), text.to_owned())].into());
        if let Some(problem) = problems.first() {
            return Err(problem.message.clone());
        }
        for command in commands {
            self.current.insert(command.verb.kind(), command);
        }
        Ok(())
    }

    /// Takes a command from the socket. Returns it, unless it is a restart, which is no command to the logic but another revision.
    pub fn order(&mut self, request: &CommandRequest) -> Result<Option<Command>, String> {
        let Some(verb) = request.order.verb() else {
            self.restart = Some(request.id.parse().map_err(|e: crate::api::types::Invalid| e.to_string())?);
            return Ok(None);
        };
        let command = Command { verb, about: request.about, id: request.id.clone() };
        self.current.insert(verb.kind(), command.clone());
        Ok(Some(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::Order;
    use crate::rollout::{Attempt, Revision, Verb};

    fn attempt(hash: u128) -> Attempt {
        Attempt { revision: Revision::new(hash), number: 1 }
    }

    fn annotations(all: &[(&str, String)]) -> BTreeMap<String, String> {
        all.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()
    }

    fn request(order: Order, id: &str) -> CommandRequest {
        CommandRequest { order, about: attempt(1), id: id.into() }
    }

    #[test]
    fn an_annotation_is_a_command_once_and_the_socket_may_follow_it() {
        let mut orders = Orders::default();
        let manifest = annotations(&[(annotations::APPROVE, format!("{}@x", attempt(1)))]);
        assert!(orders.annotate(&manifest).is_empty());
        assert_eq!(orders.commands()[0].id, "x");
        orders.order(&request(Order::Approve, "y")).expect("taken");
        assert!(orders.annotate(&manifest).is_empty());
        assert_eq!(orders.commands().len(), 1);
        assert_eq!(orders.commands()[0].id, "y", "the annotation has not changed since");
    }

    #[test]
    fn a_rollback_names_where_to() {
        let mut orders = Orders::default();
        let text = format!("{} to {}", attempt(1), Revision::new(2));
        assert!(orders.annotate(&annotations(&[(annotations::ROLLBACK, text)])).is_empty());
        assert_eq!(orders.commands()[0].verb, Verb::Rollback(Revision::new(2)));
    }

    #[test]
    fn what_names_no_attempt_is_said_once_and_is_no_command() {
        let mut orders = Orders::default();
        for text in ["yes".to_owned(), Revision::new(1).to_string(), format!("{} to x", attempt(1))] {
            let manifest = annotations(&[(annotations::APPROVE, text)]);
            assert_eq!(orders.annotate(&manifest).len(), 1);
            assert!(orders.annotate(&manifest).is_empty());
        }
        assert!(orders.commands().is_empty());
    }

    #[test]
    fn a_restart_is_another_incarnation_and_no_command() {
        let mut orders = Orders::default();
        assert_eq!(orders.order(&request(Order::Restart, "again-1")), Ok(None));
        assert_eq!(orders.restart().map(Token::as_str), Some("again-1"));
        assert!(orders.commands().is_empty());
    }
}
