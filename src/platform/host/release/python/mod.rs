//! What a release of Python's requires, installed into an environment (venv) of its own beside the release: once, before the rollout touches
//! anything that serves.
//!
//! Installing runs code of strangers (a package may be built), so it happens as unpacking does: in a process of its own, as the site's user, in a
//! world that holds the system's programs, the release and the environment (`jail`), bounded in time. What came of it is then taken over
//! like a release: looked at entry by entry, copied, root's and read-only. A folder `wheels` in the release is installed from instead of an index,
//! and then without a network.

mod jail;
mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{Gid, Mode, Uid};
use serde::{Deserialize, Serialize};

use super::error::TakeError;
use super::limits::Tally;
use super::seal::close;
use super::take::Order;
use super::tree::{self, Copy};
use super::work::Work;
use super::{beneath, shelf};
use crate::api::types::{AbsPath, RelPath};
use crate::platform::Class;
use crate::platform::host::layout::SiteDir;
use crate::rollout::Revision;

/// The name of the hidden subcommand.
pub const SUBCOMMAND: &str = "install";
/// What is run there.
const SCRIPT: &str = include_str!("install.py");
/// The folder of a release that is installed from, if it is there.
const WHEELS: &str = "wheels";
/// The most that is kept of what it prints: the end tells.
const LONGEST: usize = 256 << 10;
/// Variables of the site that installing gets besides those that begin with `PIP_`: how to reach an index.
const HANDED_ON: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
];

/// What a release requires could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// The list is missing.
    #[error(
        "the release has no file {0}, which lists what it requires (gunicorn or uvicorn too): add it, or name another one in runtime.….requirements"
    )]
    NoList(RelPath),
    /// The interpreter is missing.
    #[error(
        "there is no {0} on this machine: install Python (apt-get install python3 python3-venv), or name another one in runtime.….python"
    )]
    NoPython(AbsPath),
    /// It has no `venv`.
    #[error(
        "{0} can't make environments: install what it needs for that (apt-get install python3-venv), then `bluegreen retry`"
    )]
    NoVenv(AbsPath),
    /// The environment could not be made.
    #[error("{python} made no environment: {said}")]
    NotMade {
        /// The interpreter.
        python: AbsPath,
        /// What it said.
        said: String,
    },
    /// pip refused.
    #[error("what {list} asks for can't be installed: {said}")]
    Refused {
        /// The list.
        list: RelPath,
        /// What pip said, without secrets.
        said: String,
    },
    /// The index was not reached.
    #[error(
        "what {list} asks for could not be fetched: {said}; it is tried again, or put the packages into a folder {WHEELS} of the release"
    )]
    NotReached {
        /// The list.
        list: RelPath,
        /// What pip said, without secrets.
        said: String,
    },
    /// The server is not among what was installed.
    #[error("{list} does not bring {server}, which serves the app: add a line {server:?} to it")]
    NoServer {
        /// The list.
        list: RelPath,
        /// What is missing.
        server: &'static str,
    },
    /// It took too long.
    #[error(
        "what {list} asks for was not installed within {} s: put the packages as wheels into a folder {WHEELS} of the release (pip wheel -r {list} -w {WHEELS}), \
         or raise strategy.prepareWithin", .within.as_secs()
    )]
    TooSlow {
        /// The list.
        list: RelPath,
        /// What it had.
        within: Duration,
    },
    /// It could not be tried.
    #[error("the installer failed: {0}")]
    Failed(String),
}

impl PythonError {
    /// The condition's reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            PythonError::NoList(_) => "RequirementsMissing",
            PythonError::NoPython(_) | PythonError::NoVenv(_) | PythonError::NotMade { .. } => "PythonUnusable",
            PythonError::Refused { .. } => "RequirementsNotInstalled",
            PythonError::NotReached { .. } => "RequirementsNotFetched",
            PythonError::NoServer { .. } => "ServerNotRequired",
            PythonError::TooSlow { .. } => "RequirementsTooSlow",
            PythonError::Failed(_) => "InstallerFailed",
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            PythonError::NotReached { .. } | PythonError::Failed(_) => Class::Transient,
            _ => Class::User,
        }
    }
}

/// What the installer is told, on its standard input: a process list shows arguments to everybody, and there may be passwords of an index in it.
#[derive(Debug, Serialize, Deserialize)]
struct Task {
    uid: u32,
    gid: u32,
    /// The working folder, with `root`, `tmp` and `built` in it.
    work: PathBuf,
    /// The release, and where it will lie.
    release: [PathBuf; 2],
    /// Where the environment will lie.
    env: PathBuf,
    python: PathBuf,
    requirements: RelPath,
    wheels: bool,
    server: String,
    variables: BTreeMap<String, String>,
    /// Seconds of processor time.
    cpu: u64,
    /// Bytes of one file.
    bytes: u64,
}

/// Installs what the release at `at` requires into `env` of the working folder; `None`: it requires nothing.
pub(super) fn install(
    work: &Work<'_>,
    dir: &SiteDir,
    revision: Revision,
    at: &Path,
    order: &Order<'_>,
) -> Result<Option<Tally>, TakeError> {
    let Some((installed, server)) = order.run.runtime.installed() else { return Ok(None) };
    let list = &installed.requirements;
    if !list.below(at).is_file() {
        return Err(PythonError::NoList(list.clone()).into());
    }
    if !installed.python.as_path().exists() {
        return Err(PythonError::NoPython(installed.python.clone()).into());
    }
    let account = order.account;
    for name in ["root", "built", "tmp"] {
        work.make(name, Mode::RWXU)?;
        let owner = (name != "root").then(|| (Uid::from_raw(account.uid), Gid::from_raw(account.gid)));
        rustix::fs::fchown(work.open(name)?, owner.map(|o| o.0), owner.map(|o| o.1))
            .map_err(|error| work.failed("making a folder", error))?;
    }
    let handed_on = |name: &str| name.starts_with("PIP_") || HANDED_ON.contains(&name);
    let variables = order.run.env.iter().filter(|(name, _)| handed_on(name.as_str()));
    let task = Task {
        uid: account.uid,
        gid: account.gid,
        work: work.path.clone(),
        release: [at.to_owned(), dir.release(revision)],
        env: shelf::venv_dir(dir, revision),
        python: installed.python.as_path().to_owned(),
        requirements: list.clone(),
        wheels: at.join(WHEELS).is_dir(),
        server: server.to_owned(),
        variables: variables.map(|(name, value)| (name.to_string(), value.clone())).collect(),
        cpu: order.limits.cpu.as_secs().max(1),
        bytes: order.limits.bytes,
    };
    let (code, said) = run(order.unpacker, &task, order.install_within)?
        .ok_or_else(|| PythonError::TooSlow { list: list.clone(), within: order.install_within })?;
    let secrets: Vec<&str> = task.variables.values().map(String::as_str).collect();
    let said = words::Said::new(&said, &secrets);
    judge(code, &said, order, list, server)?;
    take_over(work, order, installed.python.as_path()).map(Some)
}

fn judge(
    code: Option<i32>,
    said: &words::Said,
    order: &Order<'_>,
    list: &RelPath,
    server: &'static str,
) -> Result<(), PythonError> {
    let python = || order.run.runtime.installed().map(|(installed, _)| installed.python.clone());
    let list = list.clone();
    Err(match (code, python()) {
        (Some(0), _) => return Ok(()),
        (Some(10), Some(python)) => PythonError::NotMade { python, said: said.decisive() },
        (Some(11), Some(python)) => PythonError::NoVenv(python),
        (Some(12), _) if said.is_unreached() => PythonError::NotReached { list, said: said.decisive() },
        (Some(12), _) => PythonError::Refused { list, said: said.decisive() },
        (Some(13), _) => PythonError::NoServer { list, server },
        _ => PythonError::Failed(said.decisive()),
    })
}

/// Copies what was built, and makes it lead to the interpreter again.
fn take_over(work: &Work<'_>, order: &Order<'_>, python: &Path) -> Result<Tally, TakeError> {
    let failed = |error| work.failed("taking the environment over", error);
    let built = work.open("built")?;
    work.make("venv", Mode::RWXU)?;
    let env = work.open("venv")?;
    let copy = Copy { to: env.as_fd(), progress: &|_| {} };
    let sum = tree::walk(built.as_fd(), Some(&copy), None, order.limits)
        .map_err(|source| TakeError::Tree { path: work.path.join("built"), source })?;
    let bin = beneath::folder(env.as_fd(), "bin").map_err(failed)?;
    for name in ["python", "python3"] {
        rustix::fs::symlinkat(python, &bin, name).map_err(failed)?;
    }
    close(env.as_fd(), Gid::from_raw(order.account.gid)).map_err(|source| TakeError::Io {
        path: work.path.clone(),
        what: "sealing the environment",
        source,
    })?;
    for name in ["root", "built", "tmp"] {
        beneath::remove_all(work.folder.as_fd(), name).map_err(failed)?;
    }
    Ok(sum.tally)
}

/// Its end code and what it printed; `None`: it was not done in time.
fn run(binary: &Path, task: &Task, within: Duration) -> Result<Option<(Option<i32>, String)>, PythonError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| PythonError::Failed(format!("{what}: {error}"));
    let text = serde_json::to_string(task).map_err(|error| failed("its task has no JSON", &error))?;
    let (output, printed) = io::pipe().map_err(|error| failed("no pipe", &error))?;
    let both = printed.try_clone().map_err(|error| failed("no pipe", &error))?;
    let mut command = Command::new(binary);
    command.args([SUBCOMMAND, "1"]).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(printed).stderr(both);
    let mut child =
        command.spawn().map_err(|error| failed(&format!("{} can't be started", binary.display()), &error))?;
    // Its ends of the pipe must not be held here, or no end is ever seen.
    drop(command);
    let told = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(text.as_bytes()));
    let said = listen(output, within);
    let _ = child.kill();
    let status = child.wait().map_err(|error| failed("it was lost", &error))?;
    told.map_err(|error| failed("it could not be told what to do", &error))?;
    Ok(said.map(|said| (status.code(), String::from_utf8_lossy(&said).into_owned())))
}

/// The end of everything that is printed until nobody is left to print; `None`: that was not in time.
fn listen(mut output: io::PipeReader, within: Duration) -> Option<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut said = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        while let Ok(got @ 1..) = output.read(&mut buffer) {
            said.extend_from_slice(buffer.get(..got).unwrap_or_default());
            if said.len() > LONGEST * 2 {
                said.drain(..said.len() - LONGEST);
            }
        }
        // Nobody listens any more: the time is up.
        let _ = sender.send(said);
    });
    receiver.recv_timeout(within).ok()
}

/// The hidden subcommand `bluegreen install STAGE`: the task on standard input. The first stage makes the second one the first process of a namespace of its
/// own, so that nothing which it starts outlives it; the second shuts itself in and becomes Python. To be called first thing in `main`, while
/// there is one thread.
pub fn install_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let stage = args.next().unwrap_or_default();
    let done = match stage.to_str() {
        Some("1") => first(),
        Some("2") => second(),
        _ => Err(io::Error::other(format!("`bluegreen {SUBCOMMAND}` is for the agent's own use"))),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            println!("ERROR: {error}");
            ExitCode::FAILURE
        }
    }
}

fn first() -> io::Result<ExitCode> {
    jail::die_with_parent()?;
    let namespace = jail::own_processes()?;
    let mut command = Command::new(super::OURSELVES);
    command.args([SUBCOMMAND, "2"]).env_clear().current_dir("/");
    let mut child: Child = command.spawn()?;
    let status = child.wait()?;
    if !namespace && !status.success() && status.code().is_none() {
        return Err(io::Error::other(format!("it ended by {status}")));
    }
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn second() -> io::Result<ExitCode> {
    jail::die_with_parent()?;
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let task: Task = serde_json::from_str(&text)?;
    let [release, env] = jail::enter(&task)?;
    let wheels = if task.wheels { release.join(WHEELS) } else { PathBuf::new() };
    let mut command = Command::new(&task.python);
    command.args(["-I", "-c", SCRIPT]).arg(&env).arg(task.requirements.below(&release)).arg(wheels).arg(&task.server);
    command.env_clear().envs(&task.variables);
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", jail::home(&task)).env("LANG", "C.UTF-8");
    command.env("TMPDIR", jail::home(&task)).stdin(Stdio::null()).current_dir(&release);
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    Err(io::Error::other(format!("{} can't be started: {error}", task.python.display())))
}
