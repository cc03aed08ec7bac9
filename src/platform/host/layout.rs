//! Where everything of a site lies on disk.
//!
//! ```text
//! STATE/sites/shop/
//!     ledger.json status.json          the two memories
//!     releases/REVISION/               a release: read-only, root's, complete before it is visible
//!     releases/REVISION.json           how to run it
//!     slots/blue/{blue,slot}           markers, empty folders: `blue` names the colour, `slot` is in both,
//!     slots/blue/blue-slot             and this one, in blue's alone, says both at once
//!     slots/blue/release               → ../../releases/REVISION
//!     live                             → slots/blue; the only thing that a cutover changes
//!     kept/                            hashed assets of earlier revisions
//!     logs/blue.0.log                  what an instance printed (supervisor `direct`)
//!     work/blue.0/                     what an instance may write into besides, while it runs (see `runtime`)
//!     run/blue.0.json                  what supervisor `direct` knows of an instance; holds secrets
//! STATE/tick/                          other names for the same, one for each millisecond of a second (see `tick`)
//!     000 … 999                        → ../sites
//! ```

use std::path::{Path, PathBuf};

use crate::api::types::SiteName;
use crate::rollout::{Colour, Revision};

/// The folder of one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteDir {
    root: PathBuf,
}

impl SiteDir {
    /// The folder of `site` below the agent's state folder (by default `/var/lib/bluegreen`).
    #[must_use]
    pub fn new(state: &Path, site: &SiteName) -> SiteDir {
        SiteDir { root: state.join("sites").join(site.as_str()) }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The link that decides which colour is live.
    #[must_use]
    pub fn live(&self) -> PathBuf {
        self.root.join("live")
    }

    /// The link that decides which colour the preview shows.
    #[must_use]
    pub fn preview(&self) -> PathBuf {
        self.root.join("preview")
    }

    /// The folder of other names for all sites' folders (see `tick`).
    #[must_use]
    pub fn ticks(&self) -> PathBuf {
        let state = self.root.parent().and_then(Path::parent);
        state.unwrap_or(Path::new("/")).join("tick")
    }

    /// The folder of a colour.
    #[must_use]
    pub fn slot(&self, colour: Colour) -> PathBuf {
        self.root.join("slots").join(colour.name())
    }

    /// The link of a colour to the release that it runs.
    #[must_use]
    pub fn slot_release(&self, colour: Colour) -> PathBuf {
        self.slot(colour).join("release")
    }

    /// The folder of all releases.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.root.join("releases")
    }

    /// A release's tree.
    #[must_use]
    pub fn release(&self, revision: Revision) -> PathBuf {
        self.releases().join(revision.to_string())
    }

    /// How to run a release.
    #[must_use]
    pub fn release_json(&self, revision: Revision) -> PathBuf {
        self.releases().join(format!("{revision}.json"))
    }

    /// The hashed assets of earlier revisions.
    #[must_use]
    pub fn kept(&self) -> PathBuf {
        self.root.join("kept")
    }

    /// The folder of what instances printed.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The folder of what supervisor `direct` knows of instances.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }
}
