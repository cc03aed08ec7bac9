//! The link that decides which colour is live, and the markers behind it. Shared by all web servers; called by the host platform.
//!
//! | part | what it does |
//! |---|---|
//! | this one | the link |
//! | `slots` | the folders that it may lead to: their markers, and the release that each holds |
//! | `place` | links and folders put in place, and looked at without being led astray |
//!
//! ```text
//! slots/blue/{blue,slot}     slots/green/{green,slot}      where `live` points while the site is routed
//! nowhere/blue/{blue}        nowhere/green/{}              where it points afterwards
//! ```
//!
//! The link `preview` points into the same slots: at the colour that the site's preview shows, and is missing while there is none.
//!
//! A web server asks for `live/blue` at each request, and for `live/slot` at least once a second. So that no request goes to the colour that
//! was *not* live within that second, a link that shall name no colour is not removed: it is moved to a folder that still says which
//! colour it was, and is no slot.
//!
//! A cutover is one rename(2) of `live`. The link is only ever *read*, as text: it names a colour when it says exactly what we write and the
//! markers behind it are in order, and nothing otherwise, whatever somebody planted there. All of it is root's; nothing is opened through
//! a link.

mod place;
mod slots;

use std::ffi::CStr;
use std::io;

use rustix::fs::CWD;

use self::place::{found, is_dir, open_dir, place_link, read_link, remove, stat};
pub use self::slots::{held, hold, prepare};
use self::slots::{markers, open_slot, prepare_nowhere};
use super::layout::SiteDir;
use crate::rollout::{Colour, Time};

/// The link that a cutover moves.
const LIVE: &str = "live";
/// The link that says which colour the preview shows; missing: none.
const PREVIEW: &str = "preview";
/// The colour that `live` names. `None`: there is no link, or it says anything else, or the markers behind it are not in order (so that a
/// web server would answer 503, or from the wrong colour).
///
/// # Errors
/// When it can't be looked at; a missing folder is no error.
pub fn live(dir: &SiteDir) -> io::Result<Option<Colour>> {
    let Some(root) = found(open_dir(CWD, dir.root()))? else {
        return Ok(None);
    };
    let Some(text) = read_link(&root, LIVE)? else {
        return Ok(None);
    };
    let Some(colour) = Colour::BOTH.into_iter().find(|c| text.to_bytes() == target(*c).as_bytes()) else {
        return Ok(None);
    };
    let Some(slot) = open_slot(&root, colour)? else {
        return Ok(None);
    };
    for name in markers(colour) {
        if !is_dir(&slot, name)? {
            return Ok(None);
        }
    }
    // Whatever it is: a web server asks whether it is there.
    for name in markers(Colour::Blue).iter().filter(|name| !markers(colour).contains(name)) {
        if stat(&slot, name)?.is_some() {
            return Ok(None);
        }
    }
    Ok(Some(colour))
}

/// Sends traffic to a colour: writes the link beside `live`, renames it over `live`, and returns when that is on disk. Does nothing when the link
/// says so already, so that [`moved`] keeps telling when traffic really moved.
///
/// # Errors
/// When it can't be written. Then the old link stands.
pub fn point(dir: &SiteDir, colour: Colour) -> io::Result<()> {
    let root = open_dir(CWD, dir.root())?;
    place_link(&root, LIVE, target(colour))
}

/// Sends traffic nowhere: within a second, every request is answered 503.
///
/// # Errors
/// When the link can't be moved.
pub fn unroute(dir: &SiteDir) -> io::Result<()> {
    let Some(root) = found(open_dir(CWD, dir.root()))? else {
        return Ok(());
    };
    let text = read_link(&root, LIVE)?;
    let names = |target: fn(Colour) -> &'static str| {
        let text = text.as_deref().map(CStr::to_bytes);
        Colour::BOTH.into_iter().find(|c| text == Some(target(*c).as_bytes()))
    };
    if let Some(colour) = names(target) {
        prepare_nowhere(&root)?;
        return place_link(&root, LIVE, nowhere(colour));
    }
    if names(nowhere).is_none() {
        // Whatever it is, it was never ours.
        remove(&root, LIVE)?;
        rustix::fs::fsync(&root)?;
    }
    Ok(())
}

/// Has the preview show a colour, or none. Does nothing where it does already. A web server shows no colour that `live` names, whatever this says;
/// so it need not survive a crash in the right order.
///
/// # Errors
/// When it can't be written. Then the old link stands.
pub fn preview(dir: &SiteDir, colour: Option<Colour>) -> io::Result<()> {
    let Some(root) = found(open_dir(CWD, dir.root()))? else {
        return Ok(());
    };
    match colour {
        Some(colour) => place_link(&root, PREVIEW, target(colour)),
        None => remove(&root, PREVIEW),
    }
}

/// When `live` was last moved, by the wall clock: read off the link itself, so it survives the agent's death and a reboot.
/// Also after [`unroute`]. `None`: it was never moved.
///
/// # Errors
/// When it can't be looked at.
pub fn moved(dir: &SiteDir) -> io::Result<Option<Time>> {
    let Some(root) = found(open_dir(CWD, dir.root()))? else {
        return Ok(None);
    };
    let Some(stat) = stat(&root, LIVE)? else {
        return Ok(None);
    };
    // The link is made a moment before it is renamed. A rename changes ctime on every file system that matters; where it doesn't,
    // mtime is early by that moment at most.
    let written = millis(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0));
    let renamed = millis(stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0));
    Ok(Some(Time(written.max(renamed))))
}

fn target(colour: Colour) -> &'static str {
    match colour {
        Colour::Blue => "slots/blue",
        Colour::Green => "slots/green",
    }
}

fn nowhere(colour: Colour) -> &'static str {
    match colour {
        Colour::Blue => "nowhere/blue",
        Colour::Green => "nowhere/green",
    }
}

fn millis(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::rollout::Revision;

    fn site() -> (tempfile::TempDir, SiteDir) {
        let state = tempfile::tempdir().unwrap();
        let dir = SiteDir::new(state.path(), &"shop".parse().unwrap());
        prepare(&dir).unwrap();
        (state, dir)
    }

    #[test]
    fn a_new_site_routes_nowhere_and_a_moved_link_names_its_colour() {
        let (_state, dir) = site();
        assert_eq!(live(&dir).unwrap(), None);
        assert_eq!(moved(&dir).unwrap(), None);
        for colour in [Colour::Blue, Colour::Green, Colour::Blue] {
            point(&dir, colour).unwrap();
            assert_eq!(live(&dir).unwrap(), Some(colour));
        }
        unroute(&dir).unwrap();
        let at = moved(&dir).unwrap();
        assert!(at.is_some(), "what lost traffic is drained from then on");
        unroute(&dir).unwrap();
        assert_eq!((live(&dir).unwrap(), moved(&dir).unwrap()), (None, at));
        point(&dir, Colour::Green).unwrap();
        assert_eq!(live(&dir).unwrap(), Some(Colour::Green));
    }

    #[test]
    fn a_site_that_is_unrouted_goes_on_saying_which_colour_it_was_to_whoever_still_asks_only_that() {
        let (_state, dir) = site();
        for colour in Colour::BOTH {
            point(&dir, colour).unwrap();
            unroute(&dir).unwrap();
            assert_eq!(dir.live().join("blue").exists(), colour == Colour::Blue);
            assert!(!dir.live().join("slot").exists());
        }
    }

    #[test]
    fn the_preview_shows_a_colour_or_none_and_leaves_the_live_link_alone() {
        let (_state, dir) = site();
        point(&dir, Colour::Blue).unwrap();
        for colour in [Some(Colour::Green), Some(Colour::Green), None, None, Some(Colour::Blue)] {
            preview(&dir, colour).unwrap();
            let shown = Colour::BOTH.into_iter().find(|shown| dir.preview().join(shown.name()).exists());
            assert_eq!((shown, live(&dir).unwrap()), (colour, Some(Colour::Blue)));
        }
    }

    #[test]
    fn pointing_where_it_points_already_does_not_count_as_a_move() {
        let (_state, dir) = site();
        point(&dir, Colour::Green).unwrap();
        let inode = |dir: &SiteDir| std::os::unix::fs::MetadataExt::ino(&dir.live().symlink_metadata().unwrap());
        let (first, at) = (inode(&dir), moved(&dir).unwrap());
        point(&dir, Colour::Green).unwrap();
        assert_eq!((inode(&dir), moved(&dir).unwrap()), (first, at));
        point(&dir, Colour::Blue).unwrap();
        assert_ne!(inode(&dir), first);
        assert!(moved(&dir).unwrap() >= at);
    }

    #[test]
    fn a_link_that_says_anything_else_names_no_colour() {
        let (state, dir) = site();
        let elsewhere = state.path().join("elsewhere");
        std::fs::create_dir_all(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("slot"), "").unwrap();
        std::fs::write(elsewhere.join("blue"), "").unwrap();
        for planted in [
            elsewhere.to_str().unwrap(),
            dir.slot(Colour::Blue).to_str().unwrap(),
            "slots/blue/",
            "./slots/blue",
            "slots/red",
            "slots",
            "../../elsewhere",
        ] {
            unroute(&dir).unwrap();
            symlink(planted, dir.live()).unwrap();
            assert_eq!(live(&dir).unwrap(), None, "{planted}");
        }
        unroute(&dir).unwrap();
        std::fs::write(dir.live(), "slots/blue").unwrap();
        assert_eq!(live(&dir).unwrap(), None, "a file");
        point(&dir, Colour::Blue).unwrap();
        assert_eq!(live(&dir).unwrap(), Some(Colour::Blue), "put back over the file");
    }

    #[test]
    fn a_slot_whose_markers_are_not_in_order_is_not_live_until_it_is_prepared_again() {
        let (state, dir) = site();
        point(&dir, Colour::Green).unwrap();
        std::fs::write(dir.slot(Colour::Green).join("blue"), "").unwrap();
        assert_eq!(live(&dir).unwrap(), None, "it would be answered from blue");
        prepare(&dir).unwrap();
        assert_eq!(live(&dir).unwrap(), Some(Colour::Green));

        std::fs::create_dir(dir.slot(Colour::Green).join("blue")).unwrap();
        assert_eq!(live(&dir).unwrap(), None, "whatever it is, it is there");
        prepare(&dir).unwrap();
        assert_eq!(live(&dir).unwrap(), Some(Colour::Green));

        std::fs::remove_dir(dir.slot(Colour::Green).join("slot")).unwrap();
        assert_eq!(live(&dir).unwrap(), None, "it would be answered 503");
        symlink("/etc/passwd", dir.slot(Colour::Green).join("slot")).unwrap();
        assert_eq!(live(&dir).unwrap(), None, "a marker that is a link is none");
        prepare(&dir).unwrap();
        assert_eq!(live(&dir).unwrap(), Some(Colour::Green));

        std::fs::rename(dir.slot(Colour::Green), state.path().join("moved")).unwrap();
        symlink(state.path().join("moved"), dir.slot(Colour::Green)).unwrap();
        assert_eq!(live(&dir).unwrap(), None, "a slot that is a link is none");
        assert!(prepare(&dir).is_err(), "and nothing is written through it");
    }

    #[test]
    fn a_link_left_behind_by_a_killed_agent_is_in_nobody_s_way() {
        let (_state, dir) = site();
        symlink("slots/blue", dir.root().join(".live.new")).unwrap();
        point(&dir, Colour::Green).unwrap();
        assert_eq!(live(&dir).unwrap(), Some(Colour::Green));
        assert!(dir.root().join(".live.new").symlink_metadata().is_err());
    }

    #[test]
    fn a_slot_holds_the_revision_that_its_link_says_and_nothing_planted() {
        let (_state, dir) = site();
        let revision = Revision::new(7);
        assert_eq!(held(&dir, Colour::Blue).unwrap(), None);
        hold(&dir, Colour::Blue, Some(revision)).unwrap();
        assert_eq!(held(&dir, Colour::Blue).unwrap(), Some(revision));
        assert_eq!(held(&dir, Colour::Green).unwrap(), None);
        hold(&dir, Colour::Blue, None).unwrap();
        assert_eq!(held(&dir, Colour::Blue).unwrap(), None);
        symlink("/srv/evil", dir.slot_release(Colour::Blue)).unwrap();
        assert_eq!(held(&dir, Colour::Blue).unwrap(), None);
    }

    #[test]
    fn the_web_server_gets_through_the_folders_whatever_the_umask() {
        let (_state, dir) = site();
        for path in [dir.root().to_owned(), dir.root().join("slots"), dir.slot(Colour::Green)] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o755, "{}", path.display());
        }
    }
}
