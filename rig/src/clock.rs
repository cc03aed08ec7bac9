//! A wrong date for one process, by a library that answers in the place of libc. The clock that measures spans is left alone, as it is on a machine whose
//! date is wrong.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The environment of a process whose date is off by so much: `+1h`, `-365d`.
///
/// # Errors
/// The library isn't there: `scripts/setup.sh test` installs it.
pub fn off_by(shift: &str) -> Result<Vec<(&'static str, String)>> {
    // Where Debian puts it, on any architecture.
    let folders = std::fs::read_dir("/usr/lib").context("there is no /usr/lib")?.flatten();
    let found: Option<PathBuf> =
        folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|path| path.exists());
    let library = found.context("libfaketime isn't there: scripts/setup.sh test installs it")?;
    Ok(vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", shift.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_DISABLE_SHM", "1".to_owned()),
    ])
}

/// A program in this folder that is that one with a date that is off by so much.
///
/// # Errors
/// As [`off_by`], or it can't be written.
pub fn program(folder: &Path, program: &Path, shift: &str) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let set: Vec<String> = off_by(shift)?.iter().map(|(name, value)| format!("export {name}='{value}'")).collect();
    let file = folder.join("off");
    std::fs::write(&file, format!("#!/bin/sh\n{}\nexec '{}' \"$@\"\n", set.join("\n"), program.display()))?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
    Ok(file)
}
