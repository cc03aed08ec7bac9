//! The folders in which instances work: `work/COLOUR.INDEX` below the site's. Made before an instance starts, gone after its colour stopped; what
//! the app itself writes into belongs to its user alone, everything else is root's.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};

use super::{Instance, each, spring, tomcat};
use crate::api::site::{Run, Runtime};
use crate::platform::host::layout::SiteDir;
use crate::platform::host::release;
use crate::platform::{Class, Fault};
use crate::rollout::{Colour, Revision};

/// Where an instance works.
pub(super) fn folder(dir: &SiteDir, colour: Colour, index: usize) -> PathBuf {
    dir.root().join("work").join(format!("{colour}.{index}"))
}

/// Makes what the instances of a colour need besides their release; what is there already stays. Blocks.
///
/// # Errors
/// It can't be made, or what is named isn't there.
pub fn prepare(dir: &SiteDir, colour: Colour, revision: Revision, run: &Run) -> Result<(), Fault> {
    each(dir, colour, revision, run, |instance| {
        let (writable, files) = match &run.runtime {
            Runtime::SpringBoot(app) => (spring::program(app, instance)?.writable, Vec::new()),
            Runtime::Tomcat(app) => (tomcat::writable(instance.work), tomcat::base(app, instance)?.files),
            Runtime::Command { .. } | Runtime::Static | Runtime::Wsgi(_) | Runtime::Asgi(_) | Runtime::Cgi(_) => {
                return Ok(());
            }
        };
        let account = release::check_user(&run.user)?;
        let owner = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        fill(instance, &writable, &files, owner).map_err(|error| Fault {
            class: Class::Transient,
            reason: "StateNotWritten",
            message: format!("cannot make the folder {}: {error}", instance.work.display()),
        })
    })
}

/// Removes what [`prepare`] made, and all that the instances wrote there. Blocks.
///
/// # Errors
/// It can't be removed.
pub fn clear(dir: &SiteDir, colour: Colour) -> io::Result<()> {
    for index in 0.. {
        match fs::remove_dir_all(folder(dir, colour, index)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn fill(
    instance: &Instance<'_>,
    writable: &[PathBuf],
    files: &[(&'static str, String)],
    (uid, gid): (Uid, Gid),
) -> io::Result<()> {
    for folder in [instance.work.parent().unwrap_or(instance.work), instance.work] {
        make(folder, 0o755)?;
    }
    for folder in writable {
        make(folder, 0o700)?;
        // The folder around it is root's, so nobody puts a link in its place.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::fchown(rustix::fs::open(folder, flags, Mode::empty())?, Some(uid), Some(gid))?;
    }
    for (name, content) in files {
        let file = instance.work.join(name);
        make(file.parent().unwrap_or(instance.work), 0o755)?;
        fs::write(&file, content)?;
        fs::set_permissions(&file, Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Makes a folder of root's with this mode, whatever the umask; one that is there stays as it is.
fn make(folder: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(mode))),
    }
}
