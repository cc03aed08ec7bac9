//! How an instance is run, with everything resolved: the program's path, its port, its whole environment.
//!
//! Each kind of app is a file here: it turns its settings into a [`Program`]. What all kinds share (the environment, the working folder,
//! the account) is added in this one. `site` asks when a colour is started.

mod cgi;
mod command;
mod java;
mod python;
mod spring;
mod tomcat;
mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::api::site::{Run, Runtime};
use crate::api::types::{EnvName, Invalid, SiteName};
use crate::platform::host::layout::SiteDir;
use crate::platform::host::release;
use crate::platform::host::supervise::Launch;
use crate::platform::{Class, Fault};
use crate::rollout::{Colour, Revision};

pub use java::artifact;
pub use work::{clear, prepare};

/// Where programs are found when the site says nothing else.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What a kind of app is told of the instance that it is to run.
struct Instance<'a> {
    /// The release.
    release: &'a Path,
    /// The same, by the way that the web server takes to it: the colour's slot.
    slot: &'a Path,
    /// What was installed beside the release.
    environment: &'a Path,
    /// The instance's port.
    port: u16,
    /// A folder of the instance's own, made by [`prepare`] where the kind needs one.
    work: &'a Path,
    /// The release's configuration files, if it has any.
    config: Option<&'a Path>,
    /// From SIGTERM to SIGKILL.
    stop_within: Duration,
}

/// What a kind of app wants to be run.
#[derive(Debug, Default, PartialEq)]
struct Program {
    /// The program, absolute, and its arguments.
    argv: Vec<String>,
    /// Variables of the kind; the site's own `env` wins over them.
    env: Vec<(&'static str, String)>,
    /// Folders outside of the release in which it may write, besides the shared ones.
    writable: Vec<PathBuf>,
}

/// How to run the instances of a colour, by index; none for a site of files alone.
///
/// # Errors
/// Something in the release's record can't be run ([`Class::User`]).
pub fn launches(
    site: &SiteName,
    dir: &SiteDir,
    colour: Colour,
    revision: Revision,
    run: &Run,
) -> Result<Vec<Launch>, Fault> {
    let folder = dir.release(revision);
    let further = release::env(dir, revision, run)?;
    let config = release::config_dir(dir, revision);
    let mut launches = Vec::new();
    each(dir, colour, revision, run, |instance| {
        let index = launches.len();
        let program = match &run.runtime {
            Runtime::Command { argv, .. } => command::program(argv, instance)?,
            Runtime::Wsgi(wsgi) => python::wsgi(wsgi, instance)?,
            Runtime::Asgi(asgi) => python::asgi(asgi, instance)?,
            Runtime::Cgi(cgi) => cgi::program(cgi, instance)?,
            Runtime::Static => return Ok(()),
            Runtime::SpringBoot(app) => spring::program(app, instance)?,
            Runtime::Tomcat(app) => tomcat::program(app, instance)?,
        };
        let mut env = BTreeMap::new();
        let all = [
            ("PATH", PATH.to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("BLUEGREEN_SITE", site.to_string()),
            ("BLUEGREEN_COLOUR", colour.to_string()),
            ("BLUEGREEN_REVISION", revision.to_string()),
            ("BLUEGREEN_INSTANCE", index.to_string()),
            ("BLUEGREEN_CONFIG", config.display().to_string()),
        ];
        for (name, value) in all.into_iter().chain(program.env) {
            env.insert(variable(name)?, value);
        }
        env.extend(further.clone());
        env.extend(run.env.clone());
        env.insert(variable("PORT")?, instance.port.to_string());
        let shared = run.shared_dirs.iter().map(|shared| shared.source.as_path().to_owned());
        launches.push(Launch {
            argv: program.argv,
            env,
            dir: folder.clone(),
            user: run.user.clone(),
            writable: shared.chain(program.writable).collect(),
            stop_within: run.stop_within,
        });
        Ok(())
    })?;
    Ok(launches)
}

/// Whether a release can be run at all, before anything is started: `release` is its folder, wherever that lies now, and `reader` the program that
/// looks into a jar.
///
/// # Errors
/// What is missing, for people ([`Class::User`]).
pub fn check(release: &Path, run: &Run, reader: &Path) -> Result<(), Fault> {
    match &run.runtime {
        Runtime::Command { .. } | Runtime::Static | Runtime::Wsgi(_) | Runtime::Asgi(_) | Runtime::Cgi(_) => Ok(()),
        Runtime::SpringBoot(app) => {
            java::java(app.java.as_ref())?;
            java::check_jar(&java::artifact(release, app.jar.as_ref(), "jar")?, reader)
        }
        Runtime::Tomcat(app) => {
            java::java(app.java.as_ref())?;
            tomcat::check(app, release, reader)
        }
    }
}

/// Calls `with` for each instance of a colour, in the order of their indices.
fn each(
    dir: &SiteDir,
    colour: Colour,
    revision: Revision,
    run: &Run,
    mut with: impl FnMut(&Instance<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let (release, config) = (dir.release(revision), release::config_dir(dir, revision));
    let (slot, environment) = (dir.slot_release(colour), release::venv_dir(dir, revision));
    for (index, port) in run.ports.of(colour).iter().enumerate() {
        with(&Instance {
            release: &release,
            slot: &slot,
            environment: &environment,
            port: *port,
            work: &work::folder(dir, colour, index),
            config: (!run.config_files.is_empty()).then_some(config.as_path()),
            stop_within: run.stop_within,
        })?;
    }
    Ok(())
}

fn variable(name: &str) -> Result<EnvName, Fault> {
    name.parse().map_err(|e: Invalid| wrong(&e.to_string()))
}

fn wrong(what: &str) -> Fault {
    Fault { class: Class::User, reason: "RuntimeInvalid", message: format!("spec.target.host.runtime: {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instance of the release `/r`, in the slot `/s`.
    pub(super) fn instance(port: u16) -> Instance<'static> {
        Instance {
            release: Path::new("/r"),
            slot: Path::new("/s"),
            environment: Path::new("/r.venv"),
            port,
            work: Path::new("/w"),
            config: None,
            stop_within: Duration::from_secs(30),
        }
    }
}
