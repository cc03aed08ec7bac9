//! Files that are there whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Puts a file with this content and mode in place of what is there; `durable`: it survives a power cut.
pub(super) fn write_whole(file: &Path, content: &[u8], mode: u32, durable: bool) -> io::Result<()> {
    let mut name = OsString::from(file.as_os_str());
    name.push(".new");
    let new = PathBuf::from(name);
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed();
    let mut out =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).custom_flags(flags).open(&new)?;
    out.write_all(content)?;
    // Independent of the umask, and of a mode that a file of this name had before.
    out.set_permissions(Permissions::from_mode(mode))?;
    if durable {
        out.sync_all()?;
    }
    fs::rename(&new, file)?;
    if durable && let Some(folder) = file.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Removes a file; nothing happens if there is none.
pub(super) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a folder that only root can enter; one that is there stays as it is.
pub(super) fn make_private_folder(folder: &Path) -> io::Result<()> {
    // Those above it are other people's affair too: the web server has to pass through a site's folder.
    folder.parent().map_or(Ok(()), fs::create_dir_all)?;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
