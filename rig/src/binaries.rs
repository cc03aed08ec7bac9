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

/// A program that needs nothing but the kernel, for an image that holds nothing else: the product as the Containerfile builds it, which takes
/// minutes; anything else quickly.
///
/// # Errors
/// When it can't be built.
pub fn fixed(name: &str) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/build-static.sh");
    let profile = if name == "bluegreen" { "dist" } else { "dev" };
    let said = process::run(untold(&mut Command::new(script)).args([name, profile]))?;
    let program = PathBuf::from(String::from_utf8_lossy(&said.stdout).trim());
    anyhow::ensure!(
        program.is_file(),
        "scripts/build-static.sh said where {name} is, and it isn't: {}",
        program.display()
    );
    Ok(program)
}

/// Cargo as somebody at a prompt has it. What it tells a test of the test's own package would look to the build of others (ring's) like a change, and
/// build them and everything that needs them again, in every test and after it.
fn untold(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix));
        if told {
            command.env_remove(name);
        }
    }
    command
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
        untold(&mut cargo);
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
