//! Collects what is wrong, and the checks that every part needs.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::api::problem::Problem;
use crate::api::span;
use crate::api::types::Invalid;

/// The longest single argument or value of a variable that a program can be given, in bytes.
const LONGEST_TEXT: usize = 128 * 1024;

/// Collects what is wrong. A part that is wrong is `None`, and then at least one problem was said.
#[derive(Default)]
pub(super) struct Judge {
    pub(super) problems: Vec<Problem>,
}

impl Judge {
    pub(super) fn wrong(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    pub(super) fn narrow<T: FromStr<Err = Invalid>>(&mut self, path: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(path, error.to_string());
                None
            }
        }
    }

    /// [`narrow`](Judge::narrow) for what may be left out; the outer `None`: it is wrong.
    pub(super) fn maybe<T: FromStr<Err = Invalid>>(&mut self, path: &str, text: Option<&str>) -> Option<Option<T>> {
        text.map_or(Some(None), |text| self.narrow(path, text).map(Some))
    }

    pub(super) fn span(&mut self, path: &str, text: &str) -> Option<Duration> {
        match span::parse(text) {
            Ok(span) => Some(span),
            Err(error) => {
                self.wrong(path, error.to_string());
                None
            }
        }
    }

    pub(super) fn at_least(&mut self, path: &str, text: &str, least: Duration) -> Option<Duration> {
        let span = self.span(path, text)?;
        if span < least {
            self.wrong(path, format!("{text} is too short: at least {} is needed", span::format(least)));
            return None;
        }
        Some(span)
    }

    /// A number that the schema bounds too; checked here for a host, which has no API server.
    pub(super) fn number<T: TryFrom<i32>>(&mut self, path: &str, number: i32, low: i32, high: i32) -> Option<T> {
        let fits = (low..=high).contains(&number).then(|| T::try_from(number).ok()).flatten();
        if fits.is_none() {
            self.wrong(path, format!("{number} is out of range: from {low} to {high}"));
        }
        fits
    }

    /// Whether a program can be given this text. Line breaks and other control characters are refused: a unit file and an environment file
    /// are lines.
    pub(super) fn text(&mut self, path: &str, text: &str) -> bool {
        if let Some(bad) = text.chars().find(|letter| letter.is_control() && *letter != '\t') {
            self.wrong(
                path,
                format!(
                    "holds the control character {bad:?}: put what needs it into a file, and name that in configFiles"
                ),
            );
            return false;
        }
        if text.len() > LONGEST_TEXT {
            self.wrong(path, format!("is {} bytes long; a program can be given at most {LONGEST_TEXT}", text.len()));
            return false;
        }
        true
    }

    /// Judges each entry of a list; `None` if one is wrong.
    pub(super) fn each<T, U>(
        &mut self,
        path: &str,
        items: &[T],
        mut one: impl FnMut(&mut Self, &str, &T) -> Option<U>,
    ) -> Option<Vec<U>> {
        let all: Vec<Option<U>> =
            items.iter().enumerate().map(|(index, item)| one(self, &format!("{path}[{index}]"), item)).collect();
        all.into_iter().collect()
    }

    pub(super) fn once<T: Ord + Display>(&mut self, path: &str, items: &[T]) {
        self.once_at(path, "", items);
    }

    pub(super) fn once_at<T: Ord + Display>(&mut self, path: &str, field: &str, items: &[T]) {
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            if !seen.insert(item) {
                self.wrong(format!("{path}[{index}]{field}"), format!("{item} is named twice; keep one"));
            }
        }
    }
}
