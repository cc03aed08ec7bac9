//! What is wrong with a manifest: all of it at once, each with its path, what is wrong and what would be right.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where, as in `spec.target.host.ports.blue[0]`; empty for the manifest as a whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
    /// Where in the text, if it was text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
}

/// A place in a text; both numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The character of that line.
    pub column: u64,
}

impl Problem {
    /// A problem of the field at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), message: message.into(), at: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.at {
            write!(f, "line {}, column {}: ", place.line, place.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with one manifest; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Exactly one.
    #[must_use]
    pub fn one(problem: Problem) -> Problems {
        Problems(vec![problem])
    }

    /// These, unless there are none: in the order of the text as far as that is known, and none twice.
    ///
    /// # Errors
    /// There is at least one.
    pub fn check(mut all: Vec<Problem>) -> Result<(), Problems> {
        all.sort_by_key(|problem| problem.at);
        let mut kept: Vec<Problem> = Vec::with_capacity(all.len());
        for problem in all {
            let twice = kept.iter().any(|other| other.path == problem.path && other.message == problem.message);
            if !twice {
                kept.push(problem);
            }
        }
        if kept.is_empty() { Ok(()) } else { Err(Problems(kept)) }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.0
    }
}

/// One a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(problem, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
