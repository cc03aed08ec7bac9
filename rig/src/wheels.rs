//! Packages of Python's, fetched once and kept: tests install them without a network, and at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::process;

/// The interpreter of the tests.
pub const PYTHON: &str = "/usr/bin/python3";

/// A folder with the wheels of everything in this list of requirements, fetched by pip unless another run has.
///
/// # Errors
/// When they can't be fetched; what pip said is in the error.
pub fn wheels(requirements: &str) -> Result<PathBuf> {
    let version = process::run(Command::new(PYTHON).arg("--version"))?;
    let mut hash = Sha256::new();
    hash.update(&version.stdout);
    hash.update(requirements.as_bytes());
    let cache = cache()?;
    let folder = cache.join(format!("wheels-{}", &hex::encode(hash.finalize())[..16]));
    if folder.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(&cache)?;
    let work = tempfile::Builder::new().prefix(".wheels-").tempdir_in(&cache)?;
    let list = work.path().join("requirements.txt");
    fs::write(&list, requirements)?;
    process::run(Command::new(PYTHON).args(["-m", "venv"]).arg(work.path().join("env")))?;
    let mut pip = Command::new(work.path().join("env/bin/pip"));
    pip.args(["wheel", "--quiet", "--no-input", "--wheel-dir"]).arg(work.path().join("wheels")).arg("-r").arg(&list);
    process::run(&mut pip)?;
    match fs::rename(work.path().join("wheels"), &folder) {
        // Another test was quicker.
        Err(_) if folder.exists() => {}
        other => other.with_context(|| format!("cannot make {}", folder.display()))?,
    }
    Ok(folder)
}

/// Copies wheels into a folder `wheels` of a release.
///
/// # Errors
/// When they can't be copied.
pub fn put(wheels: &Path, release: &Path) -> Result<()> {
    let to = release.join("wheels");
    fs::create_dir_all(&to)?;
    for wheel in fs::read_dir(wheels)? {
        let wheel = wheel?;
        fs::copy(wheel.path(), to.join(wheel.file_name()))?;
    }
    Ok(())
}

fn cache() -> Result<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    Ok(cache.or_else(home).context("there is no HOME to keep a cache in")?.join("bluegreen"))
}
