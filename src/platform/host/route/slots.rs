//! The slots: a folder for each colour, with the markers that a web server asks for behind the link, and a link to the release that it holds.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::CWD;

use super::place::{ensure_dir, ensure_marker, found, open_dir, place_link, read_link, remove, stat};
use crate::platform::host::layout::SiteDir;
use crate::platform::host::tick;
use crate::rollout::{Colour, Revision};

/// In both slots: tells "green" from "nothing can be read".
const SLOT: &str = "slot";
/// In blue's slot alone: says both at once, so that whoever finds it need not ask for the other two.
const BLUE_SLOT: &str = "blue-slot";
/// The link of a slot to the release that it holds.
const RELEASE: &str = "release";

/// Creates the slot folders and their markers where they are missing, and the folder of [`tick`], readable by the web server. Puts back what was changed; never
/// touches `live`.
///
/// # Errors
/// When a folder or marker can't be made, or something that is neither stands in its place.
pub fn prepare(dir: &SiteDir) -> io::Result<()> {
    std::fs::create_dir_all(dir.root().parent().unwrap_or(Path::new("/")))?;
    tick::prepare(&dir.ticks())?;
    let sites = open_dir(CWD, dir.root().parent().unwrap_or(Path::new("/")))?;
    let name = dir.root().file_name().unwrap_or_default();
    let root = ensure_dir(&sites, Path::new(name))?;
    let slots = ensure_dir(&root, Path::new("slots"))?;
    for colour in Colour::BOTH {
        let slot = ensure_dir(&slots, Path::new(colour.name()))?;
        let mut changed = false;
        for name in markers(colour.other()).iter().filter(|name| !markers(colour).contains(name)) {
            if stat(&slot, name)?.is_some() {
                remove(&slot, name)?;
                changed = true;
            }
        }
        for name in markers(colour) {
            changed |= ensure_marker(&slot, name)?;
        }
        if changed {
            rustix::fs::fsync(&slot)?;
        }
    }
    prepare_nowhere(&root)
}

pub(super) fn prepare_nowhere(root: &OwnedFd) -> io::Result<()> {
    let nowhere = ensure_dir(root, Path::new("nowhere"))?;
    let blue = ensure_dir(&nowhere, Path::new(Colour::Blue.name()))?;
    if ensure_marker(&blue, Colour::Blue.name())? {
        rustix::fs::fsync(&blue)?;
    }
    let green = ensure_dir(&nowhere, Path::new(Colour::Green.name()))?;
    remove(&green, Colour::Blue.name())
}

/// Makes a slot hold a release, or none.
///
/// # Errors
/// When it can't be written. Then the old link stands.
pub fn hold(dir: &SiteDir, colour: Colour, revision: Option<Revision>) -> io::Result<()> {
    let root = open_dir(CWD, dir.root())?;
    let slot = open_slot(&root, colour)?.ok_or(rustix::io::Errno::NOENT)?;
    match revision {
        Some(revision) => place_link(&slot, RELEASE, &format!("../../releases/{revision}")),
        None => {
            remove(&slot, RELEASE)?;
            rustix::fs::fsync(&slot)?;
            Ok(())
        }
    }
}

/// The revision that a slot holds. `None`: none, or the link says anything else than what [`hold`] writes.
///
/// # Errors
/// When it can't be looked at.
pub fn held(dir: &SiteDir, colour: Colour) -> io::Result<Option<Revision>> {
    let Some(root) = found(open_dir(CWD, dir.root()))? else {
        return Ok(None);
    };
    let Some(slot) = open_slot(&root, colour)? else {
        return Ok(None);
    };
    let text = read_link(&slot, RELEASE)?;
    let revision = text.as_deref().and_then(|text| text.to_str().ok());
    Ok(revision.and_then(|text| text.strip_prefix("../../releases/")).and_then(|text| text.parse().ok()))
}

/// What stands in the slot of a colour.
pub(super) fn markers(colour: Colour) -> &'static [&'static str] {
    match colour {
        Colour::Blue => &["blue", SLOT, BLUE_SLOT],
        Colour::Green => &["green", SLOT],
    }
}

pub(super) fn open_slot(root: &OwnedFd, colour: Colour) -> io::Result<Option<OwnedFd>> {
    let Some(slots) = found(open_dir(root, Path::new("slots")))? else {
        return Ok(None);
    };
    found(open_dir(&slots, Path::new(colour.name())))
}
