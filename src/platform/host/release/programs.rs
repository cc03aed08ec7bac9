//! The programs of a CGI site: there, and executable, before anything of the site starts.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::api::site::{Programs, Runtime};
use crate::api::types::RelPath;

/// What runs programs: where Debian's package has it.
pub const FCGIWRAP: &str = "/usr/sbin/fcgiwrap";
/// What listens for it.
pub const SPAWN_FCGI: &str = "/usr/bin/spawn-fcgi";
/// So many programs a folder may hold: each becomes an argument.
const MOST: usize = 256;
/// So many folders a program may lie below the named one.
const DEEPEST: usize = 8;

/// A CGI site can't be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// What runs them is not installed.
    #[error(
        "there is no {0}, which running CGI programs takes: install it (apt-get install fcgiwrap spawn-fcgi), then `bluegreen retry`"
    )]
    NoRunner(&'static str),
    /// The one program is missing.
    #[error(
        "spec.target.host.runtime.cgi.script: the release has no file {0}: name one that it has, or upload a release that has it"
    )]
    Missing(RelPath),
    /// It can't be executed.
    #[error(
        "spec.target.host.runtime.cgi.script: {0} is not executable: `chmod +x` it, and make its first line name its interpreter (#!/usr/bin/python3); \
         an upload by SFTP often loses the mode, an archive (.tar.gz) keeps it"
    )]
    NotExecutable(RelPath),
    /// The folder is missing, or holds nothing that could be executed.
    #[error(
        "spec.target.host.runtime.cgi.folder: the release has no executable file in {0}: `chmod +x` the programs, or name another folder"
    )]
    Nothing(RelPath),
    /// The folder holds more than can be named.
    #[error(
        "spec.target.host.runtime.cgi.folder: more than {MOST} executable files are in {0}: keep programs alone there"
    )]
    TooMany(RelPath),
    /// The system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// What was being looked at.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl ProgramError {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            ProgramError::NoRunner(_) => "FcgiwrapMissing",
            ProgramError::Missing(_) => "ScriptMissing",
            ProgramError::NotExecutable(_) | ProgramError::Nothing(_) => "ScriptNotExecutable",
            ProgramError::TooMany(_) => "TooManyScripts",
            ProgramError::Io { .. } => "ReleaseNotTaken",
        }
    }
}

/// The executable files in a folder of a complete release, as paths inside the release, sorted. Links are none of them: the file that they lead
/// to is.
///
/// # Errors
/// See [`ProgramError`].
pub fn programs(release: &Path, folder: &RelPath) -> Result<Vec<PathBuf>, ProgramError> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.as_path().to_owned(), 0)];
    while let Some((inside, depth)) = folders.pop() {
        let path = release.join(&inside);
        let failed = |source| ProgramError::Io { path: path.clone(), source };
        let entries = match std::fs::read_dir(&path) {
            Err(error)
                if depth == 0 && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                break;
            }
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let kind = entry.metadata().map_err(failed)?;
            let inside = inside.join(entry.file_name());
            if kind.is_dir() && depth < DEEPEST {
                folders.push((inside, depth + 1));
            } else if kind.is_file() && kind.permissions().mode() & 0o111 != 0 {
                found.push(inside);
            }
        }
    }
    found.sort();
    match found.len() {
        0 => Err(ProgramError::Nothing(folder.clone())),
        many if many > MOST => Err(ProgramError::TooMany(folder.clone())),
        _ => Ok(found),
    }
}

/// Whether the programs of a release can be run, if it has any.
pub(super) fn check(release: &Path, runtime: &Runtime) -> Result<(), ProgramError> {
    let Runtime::Cgi(cgi) = runtime else { return Ok(()) };
    if let Some(missing) = [FCGIWRAP, SPAWN_FCGI].into_iter().find(|program| !Path::new(program).exists()) {
        return Err(ProgramError::NoRunner(missing));
    }
    match &cgi.programs {
        Programs::Folder(folder) => programs(release, folder).map(drop),
        Programs::Script(script) => {
            let file = std::fs::metadata(script.below(release)).ok().filter(std::fs::Metadata::is_file);
            let file = file.ok_or_else(|| ProgramError::Missing(script.clone()))?;
            let executable = file.permissions().mode() & 0o111 != 0;
            if executable { Ok(()) } else { Err(ProgramError::NotExecutable(script.clone())) }
        }
    }
}
