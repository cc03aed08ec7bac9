//! A Debian that is really booted, with systemd as its first process, for tests of what only a booted machine can show: units, reboots, power
//! cuts. It is a container made by systemd-nspawn; its processes, network and files are its own.
//!
//! The file system is made once by debootstrap, kept in the user's cache folder, and copied for each boot (see `image`).
//! All of this needs root, and the packages `debootstrap` and `systemd-container`.

mod image;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use self::image::Image;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const PATIENCE: Duration = Duration::from_secs(120);

/// A booted machine. Dropping it cuts its power and removes its files.
#[derive(Debug)]
pub struct Booted {
    name: String,
    dir: PathBuf,
    binds: Vec<(PathBuf, PathBuf)>,
    container: Option<Child>,
}

impl Booted {
    /// Boots a new machine, in which each of these files or folders of ours appears, read-only, at that place. Returns when it is up.
    ///
    /// # Errors
    /// This is not root, a program is missing, or the machine does not come up.
    pub fn boot(binds: &[(&Path, &str)]) -> io::Result<Booted> {
        Booted::boot_from(Image::Small, binds)
    }

    /// The same with more installed.
    ///
    /// # Errors
    /// As [`boot`](Booted::boot).
    pub fn boot_from(image: Image, binds: &[(&Path, &str)]) -> io::Result<Booted> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let image = image.files()?;
        let name = format!("bluegreen-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut machine = Booted {
            dir: std::env::temp_dir().join(&name),
            name,
            binds: binds.iter().map(|(ours, theirs)| (ours.to_path_buf(), PathBuf::from(theirs))).collect(),
            container: None,
        };
        run(Command::new("cp").args(["--archive", "--reflink=auto"]).args([&image, &machine.dir]))?;
        machine.power_on()?;
        Ok(machine)
    }

    /// The machine's files, as we see them.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.dir
    }

    /// A command that will run inside, with the environment of a root shell and without ours.
    ///
    /// # Errors
    /// The machine is off.
    pub fn command(&self, program: &str) -> io::Result<Command> {
        let leader = self.leader().ok_or_else(|| io::Error::other(format!("{} is off", self.name)))?;
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &leader.to_string(),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--root",
            "--wd",
            "--",
        ]);
        command.arg(program).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command inside and returns what it printed.
    ///
    /// # Errors
    /// It could not be run, or failed: then with all that it printed.
    pub fn run<A: AsRef<OsStr>>(&self, argv: &[A]) -> io::Result<String> {
        let output = self.output(argv)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(failed(argv, &output))
    }

    /// Runs a command inside to its end, whatever that is.
    ///
    /// # Errors
    /// It could not be run.
    pub fn output<A: AsRef<OsStr>>(&self, argv: &[A]) -> io::Result<Output> {
        let (program, arguments) = argv.split_first().ok_or_else(|| io::Error::other("no command"))?;
        let program = program.as_ref().to_str().ok_or_else(|| io::Error::other("a program's name is text"))?;
        self.command(program)?.args(arguments).output()
    }

    /// Does something in the machine's network. Threads that it starts stay there, and sockets that it makes.
    ///
    /// # Errors
    /// The machine is off, or the system refuses.
    pub fn in_its_network<T: Send>(&self, act: impl FnOnce() -> T + Send) -> io::Result<T> {
        let leader = self.leader().ok_or_else(|| io::Error::other(format!("{} is off", self.name)))?;
        let network = File::open(format!("/proc/{leader}/ns/net"))?;
        // A thread of its own, since there is no way back that could not fail.
        let acted = std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(act())
            });
            there.join()
        });
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Reboots in order, as `systemctl reboot` does, and returns when the machine is up again.
    ///
    /// # Errors
    /// It does not go down or come up.
    pub fn reboot(&mut self) -> io::Result<()> {
        // The connection may break before the answer: the machine goes down.
        let _ = self.output(&["systemctl", "reboot"]);
        // Whoever keeps the container's unit has to start it again; nspawn ends with this number.
        self.wait_for_the_end(Some(133))?;
        self.power_on()
    }

    /// Cuts the power at this very moment, and switches it on again. What was written without `fsync` is still there, unlike on a
    /// real machine.
    ///
    /// # Errors
    /// It does not come up.
    pub fn power_cut(&mut self) -> io::Result<()> {
        self.cut()?;
        self.power_on()
    }

    /// Shuts the machine down in order, for good.
    ///
    /// # Errors
    /// It does not go down.
    pub fn power_off(&mut self) -> io::Result<()> {
        let _ = self.output(&["systemctl", "poweroff"]);
        self.wait_for_the_end(Some(0))?;
        self.cut()
    }

    /// All that the journal holds of this boot, for the message of a test that failed.
    #[must_use]
    pub fn journal(&self) -> String {
        self.run(&["journalctl", "--boot", "--no-pager", "--output=short-monotonic"])
            .unwrap_or_else(|error| error.to_string())
    }

    fn power_on(&mut self) -> io::Result<()> {
        let mut nspawn: Vec<OsString> = Vec::new();
        let flags = [
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--console=pipe",
            "--boot",
        ];
        nspawn.extend(flags.map(OsString::from));
        nspawn.extend(["--machine".into(), (&self.name).into(), "--directory".into(), self.dir.clone().into()]);
        for (ours, theirs) in &self.binds {
            let mut bind = OsString::from("--bind-ro=");
            bind.push(ours);
            bind.push(":");
            bind.push(theirs);
            nspawn.push(bind);
        }
        let log = File::options().create(true).append(true).open(self.console())?;
        let mut command = in_a_group_of_its_own(&self.name)?;
        let container = command.args(nspawn).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        self.container = Some(container);
        self.wait_until_up()
    }

    fn wait_for_the_end(&mut self, code: Option<i32>) -> io::Result<()> {
        let mut end = None;
        wait("the machine goes down", || {
            end = self.container.as_mut().map(Child::try_wait).transpose()?.flatten();
            Ok(end.is_some() || self.container.is_none())
        })?;
        self.container = None;
        match end {
            Some(end) if end.code() != code => {
                Err(io::Error::other(format!("the machine did not go down in order: {end}")))
            }
            _ => Ok(()),
        }
    }

    fn wait_until_up(&mut self) -> io::Result<()> {
        let up = wait("the machine is up", || {
            if let Some(end) = self.container.as_mut().and_then(|c| c.try_wait().transpose()) {
                return Err(io::Error::other(format!("the machine ended: {}", end?)));
            }
            let Ok(output) = self.output(&["systemctl", "is-system-running"]) else {
                return Ok(false);
            };
            let state = String::from_utf8_lossy(&output.stdout);
            Ok(matches!(state.trim(), "running" | "degraded"))
        });
        up.map_err(|error| {
            let console = fs::read_to_string(self.console()).unwrap_or_default();
            io::Error::other(format!("{error}; its console says:\n{console}"))
        })
    }

    fn console(&self) -> PathBuf {
        self.dir.with_extension("console")
    }

    /// Its first process, as we see it: the only child of the program that made the container.
    fn leader(&self) -> Option<u32> {
        let made_by = self.container.as_ref()?.id();
        let children = fs::read_to_string(format!("/proc/{made_by}/task/{made_by}/children")).ok()?;
        children.split_ascii_whitespace().find_map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (name.trim() == "systemd").then(|| pid.parse().ok())?
        })
    }

    fn cut(&mut self) -> io::Result<()> {
        let leader = self.leader();
        if let Some(mut container) = self.container.take() {
            // The first process takes all others with it.
            if let Some(leader) = leader {
                run(Command::new("kill").args(["-KILL", &leader.to_string()]))?;
            } else {
                container.kill()?;
            }
            container.wait()?;
        }
        Ok(())
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // Nobody is there to be told; what can't be removed stays in the folder for temporary files.
        let _ = self.cut();
        for group in groups(&self.name) {
            remove_group(&group);
        }
        let _ = fs::remove_dir_all(&self.dir);
        let _ = fs::remove_file(self.console());
    }
}

/// What starts a container in a control group of its own: two machines in one would take each other's processes for theirs.
fn in_a_group_of_its_own(name: &str) -> io::Result<Command> {
    if Path::new("/run/systemd/system").exists() {
        let mut command = Command::new("systemd-run");
        command.args(["--quiet", "--scope", "--property=Delegate=yes", &format!("--unit={name}-{}", now())]);
        return Ok(command);
    }
    let mut command = Command::new("sh");
    // The groups come first, up to an empty word.
    command.args([
        "-c",
        r#"while [ -n "$1" ]; do echo $$ > "$1/cgroup.procs" || exit; shift; done; shift; exec "$@""#,
        "sh",
    ]);
    for group in groups(name) {
        fs::create_dir_all(&group)?;
        command.arg(group);
    }
    command.arg("");
    Ok(command)
}

fn now() -> u128 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos())
}

/// The group of this name in each hierarchy that systemd uses: one, or both of a hybrid.
fn groups(name: &str) -> Vec<PathBuf> {
    let mounted = |path: &&str| Path::new(path).join("cgroup.procs").exists();
    let all = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];
    all.iter().filter(|path| mounted(path)).map(|path| Path::new(path).join(name)).collect()
}

fn remove_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

fn wait(what: &str, mut is: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let begun = Instant::now();
    while !is()? {
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("waited in vain: {what}")));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn run(command: &mut Command) -> io::Result<()> {
    let name = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| io::Error::other(format!("{}: {error}", name.display())))?;
    if output.status.success() { Ok(()) } else { Err(failed(&[name], &output)) }
}

fn failed<A: AsRef<OsStr>>(argv: &[A], output: &Output) -> io::Error {
    let words: Vec<_> = argv.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    io::Error::other(format!("`{}` ended with {}\n{said}{complained}", words.join(" "), output.status))
}
