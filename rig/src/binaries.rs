//! Where the built programs are. They are built when they are asked for, so that no test runs against an old one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};

use crate::process;

/// The small web app.
///
/// # Errors
/// When it can't be built.
pub fn rig_app() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, "rig-app")
}

/// The client that counts what is lost.
///
/// # Errors
/// When it can't be built.
pub fn rig_load() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, "rig-load")
}

/// The product; or the one that `BLUEGREEN_PROGRAM` names, for a look at an installed one.
///
/// # Errors
/// When it can't be built.
pub fn bluegreen() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("BLUEGREEN_PROGRAM") {
        return Ok(PathBuf::from(program));
    }
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, "bluegreen")
}

/// A program that needs nothing but the kernel, for an image that holds nothing else: `rig-app`, `bluegreen`.
///
/// # Errors
/// When it can't be built.
pub fn fixed(name: &str) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("target/static");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--workspace", "--bin", name, "--target", &target])
        .arg("--target-dir")
        .arg(&folder);
    // The C library that is here anyway: musl's would need another toolchain.
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").current_dir(root);
    process::run(&mut cargo)?;
    Ok(folder.join(target).join("debug").join(name))
}

fn built(once: &OnceLock<Result<PathBuf, String>>, name: &str) -> Result<PathBuf> {
    let built = once.get_or_init(|| build(name).map_err(|error| format!("{error:#}")));
    built.clone().map_err(|error| anyhow!(error))
}

/// With the profile, and into the folder, of the program that asks.
fn build(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe().context("cannot tell where this program is")?;
    let folder = me.parent().context("this program is nowhere")?;
    let folder = if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.parent().context("this program is nowhere")?
    } else {
        folder
    };
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    if let (Some(target), true) = (folder.parent(), manifest.exists()) {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // The whole workspace, as the Makefile does: a package alone would choose other features, and build everything again.
        cargo.args(["build", "--quiet", "--workspace", "--bin", name, "--manifest-path"]);
        cargo.arg(&manifest).arg("--target-dir").arg(target);
        // What cargo told this program of its package is another input to the build scripts of dependencies: they would run again, and whatever
        // stands on them would be built anew, each time that somebody's `cargo test` and this take turns.
        let of_a_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in names.filter(|name| of_a_package(name)) {
            cargo.env_remove(name);
        }
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        process::run(&mut cargo)?;
    }
    let program = folder.join(name);
    if !program.exists() {
        anyhow::bail!("{} is not there: build it with `cargo build --workspace`", program.display());
    }
    Ok(program)
}
