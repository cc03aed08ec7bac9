//! What one kind of web server does otherwise than another. Everything else (which files are ours, tested before they are in place, one reload for
//! many sites, seen or taken back) is the same for all of them, and stands in `queue` and `apply`. A third one implements this trait and makes the
//! contract suite (`tests/web`) pass.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Shape;
use super::apply::Change;
use super::files::{Folders, Name, Set};
use super::no::No;
use super::serving::Serving;
use super::trial::{Refusal, TrialError};
use crate::api::types::SiteName;
use crate::platform::Fault;

/// Where a web server of ours has its things, whatever its kind.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Where our files go.
    pub folders: &'a Folders,
    /// A folder of root's for candidates; made when it is missing, emptied at will.
    pub work: &'a Path,
    /// Where the door listens.
    pub door: SocketAddr,
    /// Where the master writes its number.
    pub pid: &'a Path,
    /// How long a reload may take until every worker has it.
    pub reload_within: Duration,
}

/// What people are told in a kind's own words.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// Its name.
    pub name: &'static str,
    /// What asks it whether its configuration is good.
    pub test: &'static str,
    /// What serves a name: `server block`, `VirtualHost`.
    pub block: &'static str,
    /// Where our folder is included: `the http block of its configuration`.
    pub top: &'static str,
    /// Before the path of what is included.
    pub include: &'static str,
    /// After it.
    pub end: &'static str,
}

/// What a web server would read, as it says itself when it is asked to test its configuration.
pub trait Dump: Send {
    /// Whether it reads this file.
    fn reads(&self, file: &Path) -> bool;
}

/// The files of one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// For the folder that the whole configuration includes.
    pub site: String,
    /// For the user's own server block to include; only in that mode.
    pub snippet: Option<String>,
}

/// The text can't be written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RenderError(String);

impl RenderError {
    /// The reason is at the end of the chain: what stands before it names templates, which say nothing to anybody but us.
    pub(super) fn of(error: &minijinja::Error) -> RenderError {
        let mut last: &dyn std::error::Error = error;
        while let Some(source) = last.source() {
            last = source;
        }
        RenderError(last.to_string())
    }
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every worker has the new generation.
    Seen,
    /// It said no, in its log: it still has the configuration of before, or has ended.
    Refused(Refusal),
    /// Nothing came of it in time, for a reason that nobody gave. It may still come.
    Nothing,
    /// It was not running.
    Down,
}

/// A kind of web server, at its places.
pub trait Kind: Clone + fmt::Debug + Send + Sync + 'static {
    /// What it would read.
    type Dump: Dump;
    /// What the file that is common to all sites depends on.
    type Common: Default;

    /// Where it has its things.
    fn places(&self) -> Places<'_>;

    /// How it is spoken of.
    fn words(&self) -> Words;

    /// How long it keeps an idle connection to an instance.
    fn pool_timeout(&self) -> Duration;

    /// Renders the files of a site.
    fn site(&self, shape: &Shape) -> Result<Rendered, RenderError>;

    /// What the site wants and this one can't do, though it serves the site without.
    fn lacks(&self, _shape: &Shape) -> Option<Fault> {
        None
    }

    /// What takes a snippet's place when its site is gone and somebody still includes it: without it nothing would be accepted.
    fn stub(&self, site: &SiteName) -> Result<String, RenderError>;

    /// What the common file of these files of ours has to hold. `dump` is what would be read, where that is known.
    fn common(&self, wanted: &Set, dump: Option<&Self::Dump>, changes: &[&Change]) -> Result<Self::Common, No>;

    /// The common file's text. `generation` is what the door says while this configuration is in force.
    fn common_text(&self, common: &Self::Common, generation: &str) -> Result<String, RenderError>;

    /// The generation that the text of a common file names; empty where it names none.
    fn generation(&self, common: &str) -> String;

    /// The addresses on which a file of ours listens, the door's left out.
    fn listens(&self, name: &Name, text: &[u8]) -> BTreeSet<SocketAddr>;

    /// Whether it is one that takes files of ours at all.
    fn suits(&self) -> Result<(), TrialError> {
        Ok(())
    }

    /// Tests the whole configuration with each of `over` (what, over what) in place.
    fn trial(&self, over: &[(PathBuf, PathBuf)]) -> Result<Self::Dump, TrialError>;

    /// What is served by all of what would be read.
    fn serving(&self, dump: &Self::Dump) -> Serving;

    /// What a test of the configuration does not see, and a reload would end at. Looked at right before files are put in place.
    fn before_reload(&self, _dump: &Self::Dump, _live: &Set, _wanted: &Set) -> Result<(), Refusal> {
        Ok(())
    }

    /// Whether its master runs.
    fn runs(&self) -> bool;

    /// Has it read its configuration again, and waits until `generation` is seen to be in force. `logs` are where it may say why not.
    fn reload(&self, generation: &str, logs: &[PathBuf], within: Duration) -> Outcome;

    /// Whether a request to the site that came in longer than `ago` ago is being answered still. `None`: it can't tell, and the sockets of the
    /// instances have to.
    fn in_flight(&self, _site: &SiteName, _ago: Duration) -> Result<Option<bool>, Fault> {
        Ok(None)
    }
}
