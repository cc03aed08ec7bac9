//! The Java examples, built by the real Maven: each once for each content, in a cache outside of the checkout.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;
use sha2::{Digest, Sha256};

use crate::process;

/// Builds `examples/NAME` and returns what it makes, as `target/shop.jar`.
///
/// # Errors
/// What Maven said.
pub fn example(name: &str, makes: &str) -> Result<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    let mut files = vec![project.join("pom.xml")];
    list(&project.join("src"), &mut files)?;
    let mut hash = Sha256::new();
    for file in &files {
        hash.update(file.strip_prefix(&project)?.to_string_lossy().as_bytes());
        let mut content = Vec::new();
        File::open(file)?.read_to_end(&mut content)?;
        hash.update(content);
    }
    let folder = cache()?.join(format!("{name}-{}", &hex::encode(hash.finalize())[..16]));
    fs::create_dir_all(&folder)?;
    // Tests run side by side, and in several processes.
    let lock = File::create(folder.join("lock"))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    let ready = folder.join(Path::new(makes).file_name().context("it makes nothing")?);
    if ready.exists() {
        return Ok(ready);
    }
    let build = tempfile::tempdir_in(&folder)?;
    for file in &files {
        let to = build.path().join(file.strip_prefix(&project)?);
        fs::create_dir_all(to.parent().context("a file is nowhere")?)?;
        fs::copy(file, to)?;
    }
    process::run(Command::new("mvn").args(["--quiet", "--batch-mode", "package"]).current_dir(build.path()))?;
    let made = build.path().join(makes);
    if !made.exists() {
        bail!("Maven made no {makes} of {}", project.display());
    }
    fs::rename(made, &ready)?;
    Ok(ready)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// Where the Makefile keeps such things too.
fn cache() -> Result<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = named.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("bluegreen/java"))
}
