//! Runs the program `git`: with an environment of ours and nothing else, as a user that can do nothing where there is one, with an end to what it
//! may take of time, disk and memory.
//!
//! It is run with no shell, with no configuration but ours, with no hook, and may speak the one transport that the repository's address
//! names. A key or a token is in files and variables that only root and the user of Git can read, and for as long as one call lasts.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::error::{GitError, io};
use crate::platform::host::store;
use crate::platform::host::supervise::process::{Process, boot};

/// Where programs are: the agent's own `PATH` is whoever started it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// So much of what it complains of is kept: the end of it.
const COMPLAINT: usize = 4 << 10;
/// What the disk must keep for others.
const LEAVE: u64 = 64 << 20;
/// How often its disk use is looked at while it fetches.
const LOOK: Duration = Duration::from_millis(200);

/// Who Git runs as; `None`: as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

/// The program, and where it works.
#[derive(Clone, Debug)]
pub struct Git {
    /// `STATE/git`: root's.
    pub folder: PathBuf,
    /// Who it runs as.
    pub account: Option<Account>,
    /// What the repository may take, in bytes.
    pub size_limit: u64,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    /// In words, for a message.
    pub what: &'static str,
    /// The arguments. None of them was made by somebody else without being parsed into a narrow type.
    pub args: Vec<String>,
    /// What it reads.
    pub input: Vec<u8>,
    /// Configuration of this call.
    pub config: Vec<(String, String)>,
    /// More of its environment.
    pub env: Vec<(&'static str, String)>,
    /// The transport that it may speak; `None`: none.
    pub transport: Option<&'static str>,
    /// Whether it writes into the mirror.
    pub writes: bool,
    /// So much it may answer.
    pub most: usize,
    /// So long it may take.
    pub within: Duration,
}

impl Call {
    /// A call that needs nothing but the mirror.
    pub fn local(what: &'static str, args: &[&str]) -> Call {
        Call {
            what,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            input: Vec::new(),
            config: Vec::new(),
            env: Vec::new(),
            transport: None,
            writes: false,
            most: 64 << 10,
            within: Duration::from_secs(60),
        }
    }
}

/// What a call answered.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: Vec<u8>,
    /// What it complained of, made fit for a message.
    pub complaint: String,
}

/// What stands in `busy.json` while Git writes: an agent that was killed meanwhile ends it, and begins anew.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Busy {
    boot: String,
    process: Option<Process>,
}

impl Git {
    /// Where the repository is.
    #[must_use]
    pub fn mirror(&self) -> PathBuf {
        self.folder.join("mirror")
    }

    /// What only Git may read: keys.
    #[must_use]
    pub fn private(&self) -> PathBuf {
        self.folder.join("private")
    }

    fn busy(&self) -> PathBuf {
        self.folder.join("busy.json")
    }

    /// Ends what an agent before us left behind. The mirror that it was writing is not to be trusted: it is made anew.
    pub fn recover(&self) -> Result<(), GitError> {
        let left: Option<Busy> = match store::read(&self.busy(), store::LIMIT) {
            Err(store::StoreError::Damaged { .. }) => Some(Busy::default()),
            left => left?,
        };
        let Some(left) = left else { return Ok(()) };
        if let Some(process) = left.process.filter(|process| left.boot == boot() && process.is_alive()) {
            kill_group(process.pid);
        }
        tracing::warn!("an earlier agent ended while it fetched; the copy of the repository is made anew");
        self.forget_mirror()?;
        Ok(store::remove(&self.busy())?)
    }

    /// Removes the mirror, which is a copy and nothing else.
    pub fn forget_mirror(&self) -> Result<(), GitError> {
        let mirror = self.mirror();
        // Whoever still writes there may make a file between two looks.
        let mut last = Ok(());
        for _ in 0..5 {
            last = match std::fs::remove_dir_all(&mirror) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                done => done,
            };
        }
        last.map_err(io("remove", &mirror))
    }

    /// Runs it; what it answers, unless it answers with a failure.
    pub async fn run(&self, call: Call) -> Result<Vec<u8>, GitError> {
        let what = call.what;
        let answer = self.ask(call).await?;
        if answer.code == Some(0) {
            return Ok(answer.out);
        }
        let said = if answer.complaint.is_empty() {
            answer.code.map_or_else(|| "a signal ended it".to_owned(), |code| format!("exit code {code}"))
        } else {
            answer.complaint
        };
        Err(GitError::Failed { what, said })
    }

    /// Runs it.
    pub async fn ask(&self, call: Call) -> Result<Answer, GitError> {
        let writes = call.writes;
        if writes {
            // Before it is there, so that none is ever there that nobody knows of.
            store::write(&self.busy(), &Busy { boot: boot(), process: None }, 0o600)?;
        }
        let answer = match self.child(call).await {
            // The kernel was quicker than we.
            Ok(answer) if writes && is_cut(&answer) => Err(GitError::TooLarge { limit: self.size_limit }),
            answer => answer,
        };
        if matches!(answer, Err(GitError::TooLarge { .. } | GitError::NoRoom { .. })) {
            self.forget_mirror()?;
        }
        if writes {
            store::remove(&self.busy())?;
        }
        answer
    }

    async fn child(&self, call: Call) -> Result<Answer, GitError> {
        let mut command = self.command(&call);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GitError::NoProgram,
            _ => GitError::Io { what: "run", path: "git".into(), source: error },
        })?;
        let group = Group(child.id());
        self.limit(&group);
        if call.writes {
            let process = child.id().and_then(Process::find);
            store::write(&self.busy(), &Busy { boot: boot(), process }, 0o600)?;
        }
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // It may have ended without reading it all: its answer says why.
                let _ = stdin.write_all(&call.input).await;
            }
        };
        let talk = async { tokio::join!(write, read(stdout, call.most), read_end(stderr), wait(&mut child)) };
        let what = call.what;
        tokio::select! {
            ((), out, complaint, status) = talk => {
                let out = out.map_err(|error| GitError::Nonsense { what, said: error.to_string() })?;
                let status = status.map_err(|source| GitError::Io { what: "wait for", path: "git".into(), source })?;
                group.ended();
                Ok(Answer { code: status.code(), out, complaint })
            }
            error = self.watch(call.writes) => Err(error),
            () = tokio::time::sleep(call.within) => Err(GitError::TooLong { what, after: call.within }),
        }
    }

    fn command(&self, call: &Call) -> Command {
        let mirror = self.mirror();
        let mut command = Command::new("git");
        // What it names is named whole; and nobody takes it for an app of ours.
        command.args(&call.args).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true).process_group(0);
        if let Some(account) = self.account {
            // The standard library gives up all other groups with it.
            command.uid(account.uid).gid(account.gid);
        }
        command.env_clear();
        command.env("PATH", PATH).env("LC_ALL", "C").env("HOME", "/nonexistent").env("TMPDIR", &mirror);
        command.env("GIT_DIR", &mirror).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env("GIT_ATTR_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("GIT_NO_REPLACE_OBJECTS", "1");
        command.env("GIT_ASKPASS", "/bin/false").env("SSH_ASKPASS", "/bin/false").env("GIT_OPTIONAL_LOCKS", "0");
        // What isn't named can't be spoken, whatever a server or a file says.
        command.env("GIT_ALLOW_PROTOCOL", call.transport.unwrap_or("none"));
        for (key, value) in &call.env {
            command.env(key, value);
        }
        let always = ALWAYS.iter().map(|&(key, value)| (key, value));
        let all: Vec<(&str, &str)> =
            always.chain(call.config.iter().map(|(key, value)| (key.as_str(), value.as_str()))).collect();
        command.env("GIT_CONFIG_COUNT", all.len().to_string());
        for (number, (key, value)) in all.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        command
    }

    /// What it may take. The limits hold for what it starts, too.
    fn limit(&self, group: &Group) {
        let set = |resource, most| {
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            // It may have ended already.
            let _ = prlimit(group.leader(), resource, limit);
        };
        set(Resource::Fsize, self.size_limit);
        set(Resource::Core, 0);
    }

    /// Looks at what it takes, as long as it fetches; ends when that is too much.
    async fn watch(&self, writes: bool) -> GitError {
        if !writes {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(LOOK).await;
            let (mirror, limit) = (self.mirror(), self.size_limit);
            if size_of(&mirror) > limit {
                return GitError::TooLarge { limit };
            }
            let free = rustix::fs::statvfs(&self.folder).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
            if free.is_ok_and(|free| free < LEAVE) {
                return GitError::NoRoom { least: LEAVE, path: self.folder.clone() };
            }
        }
    }

    /// Makes a folder of `STATE/git` that belongs to root or to Git's user.
    pub fn make(&self, folder: &Path, mode: u32, owned: bool) -> Result<(), GitError> {
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io("make", folder)(error)),
            _ => {}
        }
        // The folder that it lies in may be that user's: what has its name may be a link by now.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = rustix::fs::openat(CWD, folder, flags, Mode::empty());
        let open = open.map(File::from).map_err(|error| io("open", folder)(error.into()))?;
        if let Some(account) = self.account {
            let owner = if owned { account.uid } else { 0 };
            std::os::unix::fs::fchown(&open, Some(owner), Some(account.gid)).map_err(io("give away", folder))?;
        }
        open.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(io("change the mode of", folder))
    }
}

/// What every call is told.
const ALWAYS: [(&str, &str); 18] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.packedGitLimit", "64m"),
    ("core.packedGitWindowSize", "1m"),
    ("core.deltaBaseCacheLimit", "8m"),
    // Larger ones are passed on in pieces instead of being held whole.
    ("core.bigFileThreshold", "1m"),
    ("pack.threads", "1"),
    ("index.threads", "1"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("transfer.fsckObjects", "true"),
    // A pack is written as it comes; loose objects would be held one by one.
    ("transfer.unpackLimit", "1"),
    ("fetch.recurseSubmodules", "false"),
    ("submodule.recurse", "false"),
    ("credential.helper", ""),
    ("protocol.version", "2"),
    ("http.followRedirects", "false"),
    ("safe.directory", "*"),
];

/// The processes of one call: they end with it.
struct Group(Option<u32>);

impl Group {
    fn leader(&self) -> Option<Pid> {
        self.0.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
    }

    /// The first of them ended by itself, and was waited for: its number may be somebody else's now.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            kill_group(pid);
        }
    }
}

fn kill_group(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Whether it met the limit of a file's size.
fn is_cut(answer: &Answer) -> bool {
    let signs = ["File too large", "died of signal 25"];
    answer.code != Some(0) && signs.iter().any(|sign| answer.complaint.contains(sign))
}

async fn wait(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    child.wait().await
}

async fn read(from: Option<impl AsyncRead + Unpin>, most: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let Some(from) = from else { return Ok(all) };
    from.take(most as u64 + 1).read_to_end(&mut all).await?;
    if all.len() > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {} KiB", most >> 10)));
    }
    Ok(all)
}

/// The end of what it says, in one line, without what would command a terminal.
async fn read_end(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept: Vec<u8> = Vec::new();
    if let Some(mut from) = from {
        let mut piece = [0; 1024];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            kept.extend_from_slice(&piece[..count]);
            kept.drain(..kept.len().saturating_sub(COMPLAINT));
        }
    }
    let text = String::from_utf8_lossy(&kept);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join("; ");
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// What a folder and all below it takes, in bytes. What can't be looked at counts nothing.
#[must_use]
pub fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size_of(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_whose_name_somebody_took_with_a_link_is_refused() {
        let all = tempfile::tempdir().unwrap();
        let git = Git { folder: all.path().to_owned(), account: None, size_limit: 0 };
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (theirs, link, own) = (all.path().join("theirs"), all.path().join("link"), all.path().join("own"));
        git.make(&theirs, 0o755, false).unwrap();
        std::os::unix::fs::symlink(&theirs, &link).unwrap();
        assert!(git.make(&link, 0o700, false).is_err());
        assert_eq!(mode(&theirs), 0o755);
        git.make(&own, 0o711, false).unwrap();
        git.make(&own, 0o700, false).unwrap();
        assert_eq!(mode(&own), 0o700);
    }
}
