//! The launcher: the agent's own program, started anew for each instance, which makes itself the app. It runs before anything else in the
//! process does, on its only thread, since who a thread is belongs to the thread.
//!
//! It exists because the agent may die at any moment: the process that is to become the app writes down itself who it is, under a
//! lock, before it becomes it. Secrets reach it in a file that only root can read, never in an argument.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Gid, Resource, Rlimit, Uid, geteuid, getpid, getrlimit, setrlimit, setsid, umask};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::log;
use super::record::{Born, Record, Spec};
use crate::platform::host::supervise::oom;
use crate::platform::host::supervise::process::{self, MARKER, Process};

/// The hidden word on the command line that makes the program a launcher: `bluegreen launch --spec FILE --restarts N`.
pub const WORD: &str = "launch";

/// The launcher's own end codes; they count only while the record names another process.
pub(crate) mod code {
    /// Somebody else's launcher was quicker: the instance runs.
    pub(crate) const ALREADY: i32 = 75;
    /// Nobody wants the instance any more.
    pub(crate) const UNWANTED: i32 = 76;
    /// The app could not be executed; the record says why.
    pub(crate) const FAILED: i32 = 78;
}

const OPEN_FILES: u64 = 65_536;

enum End {
    Already,
    Unwanted,
    /// Why, for people.
    Failed(String),
}

/// Becomes the app that the arguments after [`WORD`] name; returns only if it can't. To be called first thing in `main`, before any thread
/// is made.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let (code, message) = match run(arguments) {
        End::Already => (code::ALREADY, None),
        End::Unwanted => (code::UNWANTED, None),
        End::Failed(why) => (code::FAILED, Some(why)),
    };
    if let Some(message) = message {
        // Nobody may be listening: a launcher has no terminal.
        let _ = writeln!(io::stderr(), "{message}");
    }
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn run(mut arguments: impl Iterator<Item = String>) -> End {
    let mut spec = None;
    let mut restarts = 0;
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--spec" => spec = arguments.next().map(PathBuf::from),
            "--restarts" => restarts = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(0),
            _ => {
                return End::Failed(format!("{word:?} is no argument of `launch`, which only the agent calls"));
            }
        }
    }
    let Some(record) = spec.as_deref().and_then(Record::of_spec) else {
        return End::Failed("`launch` is called by the agent only, with `--spec FILE.json`".to_owned());
    };
    // It fails when we lead a group already; then the agent's session is ours, which the record will show.
    let _ = setsid();
    match prepare(&record, restarts) {
        Ok(Ready { spec, log, mut error, lock }) => {
            let why = become_app(&record, &spec, &log);
            let _ = writeln!(error, "{why}");
            let _ = writeln!(&log, "bluegreen: {why}");
            drop(lock);
            End::Failed(why)
        }
        Err(end) => end,
    }
}

struct Ready {
    spec: Spec,
    log: File,
    error: File,
    /// Closed when the app is executed.
    lock: File,
}

fn prepare(record: &Record, restarts: u32) -> Result<Ready, End> {
    let said = |what: &str, source: &io::Error| End::Failed(format!("{what} {}: {source}", record.marker().display()));
    let lock = record.lock().map_err(|e| said("cannot lock", &e))?;
    // A record that can't be read names nobody; the agent looked for the process by its mark before it called us.
    if record.born().ok().flatten().is_some_and(|born| born.alive().is_some()) {
        return Err(End::Already);
    }
    let mut error = record.new_error().map_err(|e| said("cannot write the error of", &e))?;
    let mut fail = |what: &str, source: &io::Error| {
        let why = format!("{what}: {source}");
        let _ = writeln!(error, "{why}");
        End::Failed(why)
    };
    let spec = record.spec().map_err(|e| fail("cannot read how to run it", &e))?;
    let Some(spec) = spec.filter(|spec| spec.wanted) else {
        return Err(End::Unwanted);
    };
    log::rotate(&spec.log).map_err(|e| fail("cannot rotate the log", &e))?;
    let log = open_log(&spec.log).map_err(|e| fail("cannot open the log", &e))?;
    let me = u32::try_from(getpid().as_raw_nonzero().get()).ok().and_then(Process::find);
    let born = Born {
        process: me.ok_or_else(|| fail("/proc does not show this process", &io::ErrorKind::NotFound.into()))?,
        boot: process::boot(),
        restarts,
    };
    record.set_born(&born).map_err(|e| fail("cannot write who the instance is", &e))?;
    Ok(Ready { spec, log, error, lock })
}

/// Returns only if it can't; why, for people.
fn become_app(record: &Record, spec: &Spec, log: &File) -> String {
    let output = || log.try_clone().map(Stdio::from);
    let (stdout, stderr) = match (output(), output()) {
        (Ok(stdout), Ok(stderr)) => (stdout, stderr),
        (Err(error), _) | (_, Err(error)) => return format!("cannot hand the log to the app: {error}"),
    };
    let Some((program, arguments)) = spec.argv.split_first() else {
        return "the command is empty: say in `runtime.command` what to run".to_owned();
    };
    if let Err(why) = give_up_power(record, spec) {
        return why;
    }
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name.as_str(), value)))
        .env(MARKER, record.marker())
        .current_dir(&spec.dir)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .exec();
    format!("cannot execute {program} in {}: {error}", spec.dir.display())
}

fn give_up_power(record: &Record, spec: &Spec) -> Result<(), String> {
    let colour = record.place().map(|(colour, _)| colour.name());
    let expendable =
        fs::read_link(&spec.live).ok().as_deref().and_then(Path::file_name) != colour.map(std::ffi::OsStr::new);
    // A container may not let us choose; the app runs all the same.
    let _ = oom::prefer(std::process::id(), expendable);
    limit(Resource::Nofile, OPEN_FILES);
    limit(Resource::Core, 0);
    umask(Mode::from_raw_mode(0o027));
    set_no_new_privs(true).map_err(|e| format!("cannot forbid new privileges: {e}"))?;
    let me = geteuid();
    if spec.uid == 0 || spec.gid == 0 {
        return Err("an app never runs as root: name another user in `user`".to_owned());
    }
    if !me.is_root() {
        return if me.as_raw() == spec.uid {
            Ok(())
        } else {
            Err(format!(
                "only root can run an app as another user (uid {} as uid {}): start the agent as root",
                me.as_raw(),
                spec.uid
            ))
        };
    }
    let groups: Vec<Gid> = spec.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(spec.uid), Gid::from_raw(spec.gid));
    set_thread_groups(&groups).map_err(|e| format!("cannot set the groups: {e}"))?;
    set_thread_res_gid(gid, gid, gid).map_err(|e| format!("cannot become group {}: {e}", spec.gid))?;
    set_thread_res_uid(uid, uid, uid).map_err(|e| format!("cannot become user {}: {e}", spec.uid))?;
    Ok(())
}

/// What the agent raised or lowered for itself is not the app's affair.
fn limit(resource: Resource, soft: u64) {
    let now = getrlimit(resource);
    let current = now.maximum.map_or(soft, |hard| hard.min(soft));
    let _ = setrlimit(resource, Rlimit { current: Some(current), maximum: now.maximum });
}

fn open_log(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed();
    OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)
}
