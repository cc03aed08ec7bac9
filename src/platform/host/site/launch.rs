//! How an instance is run, with everything resolved: the program's path, its port, its whole environment.

use std::collections::BTreeMap;
use std::path::Path;

use crate::api::site::{Run, Runtime};
use crate::api::types::{EnvName, Invalid, RelPath, SiteName};
use crate::platform::host::layout::SiteDir;
use crate::platform::host::release;
use crate::platform::host::supervise::Launch;
use crate::platform::{Class, Fault};
use crate::rollout::{Colour, Revision};

/// Where programs are found when the site says nothing else.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How to run the instances of a colour, by index; none for a site of files alone.
pub(super) fn launches(
    site: &SiteName,
    dir: &SiteDir,
    colour: Colour,
    revision: Revision,
    run: &Run,
) -> Result<Vec<Launch>, Fault> {
    let Runtime::Command { argv } = &run.runtime else {
        return Ok(Vec::new());
    };
    let folder = dir.release(revision);
    let mut launches = Vec::new();
    for (index, port) in super::ports(run, colour).iter().enumerate() {
        let mut env = BTreeMap::new();
        let config = release::config_dir(dir, revision);
        for (name, value) in [
            ("PATH", PATH.to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("BLUEGREEN_SITE", site.to_string()),
            ("BLUEGREEN_COLOUR", colour.to_string()),
            ("BLUEGREEN_REVISION", revision.to_string()),
            ("BLUEGREEN_INSTANCE", index.to_string()),
            ("BLUEGREEN_CONFIG", config.display().to_string()),
        ] {
            env.insert(variable(name)?, value);
        }
        env.extend(run.env.clone());
        env.insert(variable("PORT")?, port.to_string());
        launches.push(Launch {
            argv: arguments(argv, &folder, *port)?,
            env,
            dir: folder.clone(),
            user: run.user.clone(),
            writable: run.shared_dirs.iter().map(|shared| shared.source.as_path().to_owned()).collect(),
            stop_within: run.stop_within,
        });
    }
    Ok(launches)
}

fn arguments(argv: &[String], folder: &Path, port: u16) -> Result<Vec<String>, Fault> {
    let port = port.to_string();
    let mut all: Vec<String> = argv.iter().map(|word| word.replace("$(PORT)", &port)).collect();
    let program = all.first_mut().ok_or_else(|| wrong("argv is empty"))?;
    if !program.starts_with('/') {
        let inside: RelPath = program.parse().map_err(|e: Invalid| wrong(&format!("the program {e}")))?;
        let path = inside.below(folder);
        *program = path.to_str().ok_or_else(|| wrong("the state folder's path is not text"))?.to_owned();
    }
    Ok(all)
}

fn variable(name: &str) -> Result<EnvName, Fault> {
    name.parse().map_err(|e: Invalid| wrong(&e.to_string()))
}

fn wrong(what: &str) -> Fault {
    Fault { class: Class::User, reason: "CommandInvalid", message: format!("spec.target.host.runtime.command: {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_inside_the_release_becomes_absolute_and_the_port_is_filled_in() {
        let argv = ["bin/app".to_owned(), "--listen=127.0.0.1:$(PORT)".to_owned(), "$(PORT)".to_owned()];
        assert_eq!(
            arguments(&argv, Path::new("/r"), 8081).expect("valid"),
            ["/r/bin/app", "--listen=127.0.0.1:8081", "8081"]
        );
        assert_eq!(arguments(&["/usr/bin/java".to_owned()], Path::new("/r"), 1).expect("valid"), ["/usr/bin/java"]);
        assert!(arguments(&["../sh".to_owned()], Path::new("/r"), 1).is_err(), "it climbs out");
    }
}
