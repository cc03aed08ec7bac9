//! `cgi`: fcgiwrap, which starts a program of the release for each request.
//!
//! Apache could do that itself (mod_cgid), but as its own user, and nginx can't. With fcgiwrap the programs run as the site's user behind either of
//! them, in a unit like any other app's, with the same evidence of what is in flight. It runs those programs alone that are named to it
//! here, so that no path which a client thinks up leads out of the release.

use std::path::Path;

use super::{Instance, Program, wrong};
use crate::api::site::{Cgi, Programs};
use crate::platform::Fault;
use crate::platform::host::release;

pub(super) fn program(cgi: &Cgi, instance: &Instance<'_>) -> Result<Program, Fault> {
    let (port, workers) = (instance.port.to_string(), cgi.workers.to_string());
    // fcgiwrap could listen itself, but not again before the last connections to its port are forgotten, a minute after they ended.
    let listen = [release::SPAWN_FCGI, "-n", "-a", "127.0.0.1", "-p", &port, "--", release::FCGIWRAP, "-c", &workers];
    let mut argv: Vec<String> = listen.map(str::to_owned).to_vec();
    for program in programs(&cgi.programs, instance.release)? {
        argv.extend(["-p".to_owned(), text(&instance.slot.join(program))?]);
    }
    Ok(Program { argv, ..Program::default() })
}

/// The programs that may be run, as paths inside the release.
fn programs(programs: &Programs, release: &Path) -> Result<Vec<std::path::PathBuf>, Fault> {
    match programs {
        Programs::Script(script) => Ok(vec![script.as_path().to_owned()]),
        Programs::Folder(folder) => release::programs(release, folder).map_err(|error| wrong(&error.to_string())),
    }
}

fn text(path: &Path) -> Result<String, Fault> {
    Ok(path.to_str().ok_or_else(|| wrong("a program's path is not text"))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::instance;
    use super::*;

    #[test]
    fn fcgiwrap_runs_the_named_program_alone() {
        let cgi = Cgi { programs: Programs::Script("cgi-bin/app.py".parse().expect("a path")), workers: 8 };
        assert_eq!(
            super::program(&cgi, &instance(8081)).expect("valid").argv.join(" "),
            "/usr/bin/spawn-fcgi -n -a 127.0.0.1 -p 8081 -- /usr/sbin/fcgiwrap -c 8 -p /s/cgi-bin/app.py"
        );
    }
}
