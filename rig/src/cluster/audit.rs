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
        let path = self.audit_log();
        let mut file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may be half there.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(whole.lines().filter_map(request).collect())
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
