//! What the sites on disk say, read without the agent: it may be what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Notes, Places};
use crate::api::site::{Front, Release, ReleaseSource, Run, Site};
use crate::api::spec::BlueGreenSite;
use crate::api::types::SiteName;
use crate::platform::host::layout::SiteDir;
use crate::platform::host::{release, route, store};
use crate::rollout::{Colour, Revision};

/// A site, as far as it can be read.
pub(super) struct Known {
    pub(super) name: SiteName,
    /// The ports of all its releases' instances.
    pub(super) ports: BTreeSet<u16>,
    /// The ports at which the web server answers for it.
    pub(super) doors: BTreeSet<u16>,
    /// Its configuration files and its file of variables, outside of any release.
    pub(super) config_files: Vec<PathBuf>,
    /// What somebody uploaded.
    pub(super) source: Option<PathBuf>,
    /// The releases that were taken.
    pub(super) releases: Vec<PathBuf>,
    /// The size of the largest of them.
    pub(super) largest: u64,
    /// The live colour, if one runs alone.
    pub(super) alone: Option<Colour>,
}

/// All sites.
#[derive(Default)]
pub(super) struct Sites {
    pub(super) all: Vec<Known>,
}

impl Sites {
    /// Whose app's port it is.
    pub(super) fn owner(&self, port: u16) -> Option<&Known> {
        self.all.iter().find(|site| site.ports.contains(&port))
    }

    /// Where the web server answers for a site.
    pub(super) fn doors(&self) -> BTreeSet<u16> {
        self.all.iter().flat_map(|site| site.doors.iter().copied()).collect()
    }
}

#[derive(Deserialize)]
struct Accepted {
    object: BlueGreenSite,
}

pub(super) fn read(places: &Places, notes: &mut Notes) -> Sites {
    let mut sites = Sites::default();
    let folder = places.state.join("sites");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return sites,
        Err(error) => {
            notes.unseen(format!("the sites in {}: {error}", folder.display()));
            return sites;
        }
    };
    for entry in entries.flatten() {
        let Some(name) = entry.file_name().to_str().and_then(|name| name.parse::<SiteName>().ok()) else { continue };
        let dir = SiteDir::new(&places.state, &name);
        sites.all.push(site(name, &dir, notes));
    }
    sites.all.sort_by(|a, b| a.name.cmp(&b.name));
    sites
}

fn site(name: SiteName, dir: &SiteDir, notes: &mut Notes) -> Known {
    let mut known = Known {
        name,
        ports: BTreeSet::new(),
        doors: BTreeSet::new(),
        config_files: Vec::new(),
        source: None,
        releases: Vec::new(),
        largest: 0,
        alone: None,
    };
    match store::read::<Accepted>(&dir.root().join("accepted.json"), store::LIMIT) {
        Ok(Some(accepted)) => wanted(&mut known, &accepted.object),
        Ok(None) => {}
        Err(error) => notes.unseen(format!("what site {} is to be: {error}", known.name)),
    }
    let mut runs: BTreeMap<Revision, Run> = BTreeMap::new();
    match release::list(dir) {
        Ok(listed) => {
            for (revision, record) in listed {
                known.releases.push(dir.release(revision));
                if let Ok(record) = record {
                    known.largest = known.largest.max(record.size.bytes);
                    runs.insert(revision, record.run);
                }
            }
        }
        Err(error) => notes.unseen(format!("the releases of site {}: {error}", known.name)),
    }
    let mut held = Vec::new();
    for colour in Colour::BOTH {
        if let Some(run) = route::held(dir, colour).ok().flatten().and_then(|revision| runs.get(&revision)) {
            known.ports.extend(run.ports.all());
            held.push(colour);
        }
    }
    if let ([colour], Ok(live)) = (held.as_slice(), route::live(dir)) {
        known.alone = Some(*colour).filter(|colour| live == Some(*colour));
    }
    known
}

fn wanted(known: &mut Known, object: &BlueGreenSite) {
    let Some(site) = Site::parse(object).ok().and_then(|site| site.on_host().ok()) else { return };
    let run = &site.target.run;
    known.ports.extend(run.ports.all());
    if let Front::Own { listen, .. } = &site.target.front {
        known.doors.extend(listen.iter().map(std::net::SocketAddr::port));
    }
    known.config_files = run.config_files.iter().chain(&run.env_file).map(|file| file.as_path().to_owned()).collect();
    known.source = match &site.target.release {
        Release::Given(ReleaseSource::Path(path)) | Release::Uploads { uploads: path } => {
            Some(path.as_path().to_owned())
        }
        Release::Given(ReleaseSource::Archive { file, .. }) => Some(file.as_path().to_owned()),
        Release::Given(ReleaseSource::Url { .. } | ReleaseSource::Oci { .. }) => None,
    };
}

/// Whether `inner` lies in `outer`, or is it.
pub(super) fn within(inner: &Path, outer: &Path) -> bool {
    inner.starts_with(outer)
}
