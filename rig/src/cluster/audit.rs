//! Who asked the API server for what, as it wrote down itself. The control plane's own requests, discovery and health are left out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

use super::plane::ControlPlane;

/// A moment in the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark(u64);

/// A request that was answered (a watch: that began).
#[derive(Clone, Debug)]
pub struct Request {
    /// When it arrived, to the microsecond.
    pub at: Timestamp,
    /// When it was answered.
    pub answered: Timestamp,
    /// As whom.
    pub user: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The group of what was asked for, empty for the core.
    pub group: String,
    /// The resource, plural.
    pub resource: String,
    /// `status`, `scale`, …, or empty.
    pub subresource: String,
    /// Its namespace, or empty.
    pub namespace: String,
    /// Its name, or empty.
    pub name: String,
    /// Whether nothing was to be stored.
    pub dry_run: bool,
    /// The status code of the answer.
    pub code: u16,
}

impl Request {
    /// Whether it asked for a change, dry runs included.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// The verb, and what it was for: `patch deployments`, `update bluegreensites/status`, `create services (dry run)`.
    #[must_use]
    pub fn summary(&self) -> String {
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        let dry = if self.dry_run { " (dry run)" } else { "" };
        format!("{} {}{slash}{}{dry}", self.verb, self.resource, self.subresource)
    }
}

/// A watch.
#[derive(Clone, Debug)]
pub struct Watch {
    /// As whom.
    pub user: String,
    /// The resource, plural.
    pub resource: String,
    /// When it began.
    pub began: Timestamp,
    /// When it ended, if it has.
    pub ended: Option<Timestamp>,
}

/// The most watches that each user had at one moment, whatever they were of and however narrow.
#[must_use]
pub fn most_at_once<'a>(watches: impl IntoIterator<Item = &'a Watch>) -> BTreeMap<String, usize> {
    let mut moments: BTreeMap<String, Vec<(Timestamp, i8)>> = BTreeMap::new();
    for watch in watches {
        let all = moments.entry(watch.user.clone()).or_default();
        all.push((watch.began, 1));
        all.extend(watch.ended.map(|ended| (ended, -1)));
    }
    let most = |mut all: Vec<(Timestamp, i8)>| {
        // One that ends when another one begins is not there beside it.
        all.sort();
        let counts = all.iter().scan(0_isize, |open, (_, by)| {
            *open += isize::from(*by);
            Some(*open)
        });
        usize::try_from(counts.max().unwrap_or_default()).unwrap_or_default()
    };
    moments.into_iter().map(|(user, all)| (user, most(all))).collect()
}

/// How often each [summary](Request::summary) occurs.
#[must_use]
pub fn counted<'a>(requests: impl IntoIterator<Item = &'a Request>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(request.summary()).or_default() += 1;
    }
    counts
}

impl ControlPlane {
    /// From here on.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.audit_log().metadata().map_or(0, |file| file.len()))
    }

    /// What was asked for since, in the order of the answers. The server writes a request down when it has answered it: who has just got
    /// an answer may have to look twice.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn requests_since(&self, mark: Mark) -> Result<Vec<Request>> {
        Ok(self.lines_since(mark)?.lines().filter_map(request).collect())
    }

    fn lines_since(&self, mark: Mark) -> Result<String> {
        let path = self.audit_log();
        let mut file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may be half there.
        text.truncate(text.rfind('\n').unwrap_or_default());
        Ok(text)
    }

    /// The watches that began since.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn watches_since(&self, mark: Mark) -> Result<Vec<Watch>> {
        let mut watches: BTreeMap<String, Watch> = BTreeMap::new();
        for line in self.lines_since(mark)?.lines() {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (id, at) = (text("/auditID"), text("/stageTimestamp").parse().ok());
            match (text("/verb"), text("/stage"), at) {
                ("watch", "ResponseStarted", Some(began)) => {
                    let (user, resource) = (text("/user/username").to_owned(), text("/objectRef/resource").to_owned());
                    watches.insert(id.to_owned(), Watch { user, resource, began, ended: None });
                }
                ("watch", _, ended) => {
                    if let Some(watch) = watches.get_mut(id) {
                        watch.ended = ended;
                    }
                }
                _ => {}
            }
        }
        Ok(watches.into_values().collect())
    }

    fn audit_log(&self) -> PathBuf {
        self.folder().join("audit.log")
    }
}

fn request(line: &str) -> Option<Request> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let verb = text("/verb");
    // A watch ends when it ends; that it began is what counts, and counts once.
    let stage = if verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
    if text("/stage") != stage {
        return None;
    }
    let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default();
    let uri = text("/requestURI");
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    Some(Request {
        at: text("/requestReceivedTimestamp").parse().ok()?,
        answered: text("/stageTimestamp").parse().ok()?,
        user: text("/user/username"),
        user_agent: text("/userAgent"),
        verb,
        group: text("/objectRef/apiGroup"),
        resource: text("/objectRef/resource"),
        subresource: text("/objectRef/subresource"),
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        dry_run: query.split('&').any(|pair| pair.starts_with("dryRun=")),
        code: u16::try_from(code).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_count_beside_each_other_and_not_one_after_the_other() {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        let watch = |user: &str, began: i64, ended: Option<i64>| Watch {
            user: user.to_owned(),
            resource: "leases".to_owned(),
            began: at(began),
            ended: ended.map(at),
        };
        let all = [
            watch("a", 0, Some(60)),
            watch("a", 60, Some(120)),
            watch("a", 120, None),
            watch("b", 0, None),
            watch("b", 9, Some(10)),
        ];
        assert_eq!(most_at_once(&all), BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
    }
}
