//! The examples of the repository, as releases of the tests. Those in Java are built by `maven`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::wheels;

/// Where they are.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Makes a release of an example in `parent` that calls itself `version`, with the wheels that it requires. Returns its folder.
///
/// # Errors
/// When it can't be written, or the wheels can't be fetched.
pub fn release(example: &str, parent: &Path, version: &str) -> Result<PathBuf> {
    let to = parent.join(version);
    copy(&folder().join(example).join("app"), &to)?;
    fs::write(to.join("VERSION"), format!("{version}\n"))?;
    if let Ok(list) = fs::read_to_string(to.join("requirements.txt")) {
        wheels::put(&wheels::wheels(&list)?, &to)?;
    }
    Ok(to)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        // What a developer's own Python left there.
        if entry.file_name() == "__pycache__" {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
