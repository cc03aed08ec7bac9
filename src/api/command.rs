//! Commands as annotations: `bluegreen.dev/approve: REVISION/ATTEMPT[@ID]`, and for a rollback `REVISION/ATTEMPT to REVISION[@ID]`.
//!
//! Nobody removes them: each is taken once, which the ledger remembers by the id. Without `@ID` the words themselves are the id, so
//! the same words count once; who wants the same thing again gives another id.

use std::collections::BTreeMap;

use super::names::annotations;
use super::problem::Problem;
use super::types::{Invalid, Token};
use crate::rollout::{Attempt, Command, Revision, Verb, VerbKind};

/// The commands among a site's annotations, and what is wrong with those that can't be read. A wrong one makes no site invalid: it
/// just does nothing.
#[must_use]
pub fn from_annotations(all: &BTreeMap<String, String>) -> (Vec<Command>, Vec<Problem>) {
    let mut commands = Vec::new();
    let mut problems = Vec::new();
    for kind in KINDS {
        let Some(text) = all.get(annotation(kind)) else {
            continue;
        };
        match parse(kind, text) {
            Ok(command) => commands.push(command),
            Err(error) => {
                problems.push(Problem::new(format!("metadata.annotations[{}]", annotation(kind)), error.to_string()))
            }
        }
    }
    (commands, problems)
}

/// The annotation of a kind of command.
#[must_use]
pub fn annotation(kind: VerbKind) -> &'static str {
    match kind {
        VerbKind::Abort => annotations::ABORT,
        VerbKind::Pause => annotations::PAUSE,
        VerbKind::Resume => annotations::RESUME,
        VerbKind::Rollback => annotations::ROLLBACK,
        VerbKind::Retry => annotations::RETRY,
        VerbKind::Approve => annotations::APPROVE,
    }
}

/// Reads the value of an annotation.
///
/// # Errors
/// It has another form; the message shows the right one.
pub fn parse(kind: VerbKind, text: &str) -> Result<Command, Invalid> {
    let wrong = || {
        let form = if kind == VerbKind::Rollback { "REVISION/ATTEMPT to REVISION" } else { "REVISION/ATTEMPT" };
        Invalid(format!(
            "{text:?} is no command: {form} is, optionally with @ID behind it, where a revision is 32 hexadecimal digits and an attempt counts \
             from 1 (bluegreen describe shows both)"
        ))
    };
    let (words, id) = match text.split_once('@') {
        Some((words, id)) => (words, id.parse::<Token>()?.to_string()),
        None => (text, text.to_owned()),
    };
    let (about, to) = match (kind, words.split_once(" to ")) {
        (VerbKind::Rollback, Some((about, to))) => (about, Some(to)),
        (VerbKind::Rollback, None) | (_, Some(_)) => return Err(wrong()),
        (_, None) => (words, None),
    };
    let about: Attempt = about.parse().map_err(|_| wrong())?;
    if about.number == 0 {
        return Err(wrong());
    }
    let to: Option<Revision> = to.map(str::parse).transpose().map_err(|_| wrong())?;
    let verb = match (kind, to) {
        (VerbKind::Abort, _) => Verb::Abort,
        (VerbKind::Pause, _) => Verb::Pause,
        (VerbKind::Resume, _) => Verb::Resume,
        (VerbKind::Retry, _) => Verb::Retry,
        (VerbKind::Approve, _) => Verb::Approve,
        (VerbKind::Rollback, Some(to)) => Verb::Rollback(to),
        (VerbKind::Rollback, None) => return Err(wrong()),
    };
    Ok(Command { verb, about, id })
}

/// Writes a command as an annotation and its value.
#[must_use]
pub fn format(command: &Command) -> (&'static str, String) {
    let words = match command.verb {
        Verb::Rollback(to) => format!("{} to {to}", command.about),
        _ => command.about.to_string(),
    };
    let value = if command.id == words { words } else { format!("{words}@{}", command.id) };
    (annotation(command.verb.kind()), value)
}

const KINDS: [VerbKind; 6] =
    [VerbKind::Abort, VerbKind::Pause, VerbKind::Resume, VerbKind::Rollback, VerbKind::Retry, VerbKind::Approve];

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32) -> Attempt {
        Attempt { revision: Revision::new(0xabc), number }
    }

    #[test]
    fn every_command_reads_back_as_it_was_written() {
        let to = Revision::new(7);
        for verb in [Verb::Abort, Verb::Pause, Verb::Resume, Verb::Retry, Verb::Approve, Verb::Rollback(to)] {
            for id in ["a-1", "2026-11-22T18:00:00Z"] {
                let command = Command { verb, about: attempt(2), id: id.to_owned() };
                let (_, value) = format(&command);
                assert_eq!(parse(verb.kind(), &value), Ok(command), "{value}");
            }
        }
    }

    #[test]
    fn without_an_id_the_words_are_the_id() {
        let words = format!("{}/1", Revision::new(0xabc));
        let command = parse(VerbKind::Approve, &words).expect("a command");
        assert_eq!(command.id, words);
        assert_eq!(format(&command), (annotations::APPROVE, words));
    }

    #[test]
    fn what_is_no_command_does_nothing_and_is_said_with_its_path() {
        let revision = Revision::new(1);
        let mut all: BTreeMap<String, String> = BTreeMap::from([
            (annotations::APPROVE.to_owned(), "yes".to_owned()),
            (annotations::ABORT.to_owned(), format!("{revision}/0")),
            (annotations::RETRY.to_owned(), format!("{revision}/1 to {revision}")),
            (annotations::ROLLBACK.to_owned(), format!("{revision}/1")),
            (annotations::PAUSE.to_owned(), format!("{revision}/1@a b")),
            ("example.com/other".to_owned(), "x".to_owned()),
        ]);
        let (commands, problems) = from_annotations(&all);
        assert_eq!(commands, []);
        assert_eq!(problems.len(), 5, "{problems:#?}");
        assert!(
            problems.iter().any(|problem| problem.path == "metadata.annotations[bluegreen.dev/rollback]"
                && problem.message.contains("REVISION/ATTEMPT to REVISION is")),
            "{problems:#?}"
        );
        all.insert(annotations::APPROVE.to_owned(), format!("{revision}/1"));
        assert_eq!(from_annotations(&all).0.len(), 1, "a wrong one does not hide a right one");
    }
}
