//! A site in a folder of its own, small programs to run in it, and ways to wait for what they do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bluegreen::api::types::SiteName;
use bluegreen::platform::host::layout::SiteDir;
use bluegreen::platform::host::supervise::direct::{Direct, Settings};
use bluegreen::platform::host::supervise::{Accounts, InstanceState, Launch, Supervisor};
use bluegreen::rollout::Colour;

/// Longer than anything takes on a busy machine; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A program that does nothing for ever.
pub const SLEEP: &str = "import time\nprint('ready')\nwhile True: time.sleep(60)\n";

/// A folder with a state folder, a release and a list of users in it. What still runs when it is dropped is killed.
pub struct Ground {
    dir: tempfile::TempDir,
    pub site: SiteName,
    /// The user that runs the apps: nobody on this machine when root runs the tests, else who runs them.
    pub uid: u32,
}

impl Ground {
    pub fn new() -> Ground {
        let dir = tempfile::Builder::new().prefix("bluegreen-supervise-").tempdir().expect("a folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("open to the app's user");
        let root = rustix::process::geteuid().is_root();
        // A number that no user of the machine has, of this process alone.
        let uid = if root { 200_000 + std::process::id() } else { rustix::process::geteuid().as_raw() };
        let gid = if root { uid } else { rustix::process::getegid().as_raw() };
        fs::write(dir.path().join("passwd"), format!("root:x:0:0::/:/bin/sh\nshop:x:{uid}:{gid}::/:/bin/sh\n"))
            .expect("passwd");
        fs::write(dir.path().join("group"), format!("extra:x:{}:shop\n", gid + 1)).expect("group");
        fs::create_dir(dir.path().join("release")).expect("a release");
        Ground { dir, site: "shop".parse().expect("a name"), uid }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn site_dir(&self) -> SiteDir {
        SiteDir::new(&self.state(), &self.site)
    }

    pub fn settings(&self) -> Settings {
        Settings {
            launcher: env!("CARGO_BIN_EXE_bluegreen").into(),
            accounts: Accounts::new(self.dir.path().join("passwd"), self.dir.path().join("group")),
            ..Settings::new(self.state())
        }
    }

    pub async fn direct(&self) -> Direct {
        Direct::open(self.settings()).await.expect("a supervisor")
    }

    /// A folder that the app may write to.
    pub fn playground(&self) -> PathBuf {
        let folder = self.dir.path().join("playground");
        if !folder.exists() {
            fs::create_dir(&folder).expect("a folder");
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("open to the app");
        }
        folder
    }

    /// Runs a Python program.
    pub fn python(&self, program: &str, arguments: &[&str]) -> Launch {
        let file = self
            .dir
            .path()
            .join("release")
            .join(format!("app-{}.py", fs::read_dir(self.dir.path().join("release")).expect("a release").count()));
        fs::write(&file, program).expect("a program");
        let name = file.file_name().and_then(|name| name.to_str()).expect("text");
        Ground::launch_at(self.dir.path(), name, arguments)
    }

    /// Runs a Python program of the release below `ground`.
    pub fn launch_at(ground: &Path, program: &str, arguments: &[&str]) -> Launch {
        let dir = ground.join("release");
        let file = dir.join(program);
        let mut argv = vec!["/usr/bin/python3".to_owned(), "-u".to_owned(), file.to_str().expect("text").to_owned()];
        argv.extend(arguments.iter().map(|&word| word.to_owned()));
        Launch {
            argv,
            env: BTreeMap::from([("PATH".parse().expect("a name"), "/usr/bin:/bin".to_owned())]),
            dir,
            user: "shop".parse().expect("a name"),
            writable: Vec::new(),
            stop_within: Duration::from_secs(20),
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let mark = format!("BLUEGREEN_INSTANCE={}/", self.dir.path().display());
        for pid in marked(&mark) {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(pid).expect("a pid"),
                rustix::process::Signal::KILL,
            );
        }
    }
}

/// The living processes whose environment has an entry that begins so.
pub fn marked(entry: &str) -> Vec<i32> {
    let all = procfs::process::all_processes().expect("/proc").flatten();
    all.filter(|process| process.stat().is_ok_and(|stat| stat.state != 'Z'))
        .filter(|process| {
            let environ = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
            environ.split(|&byte| byte == 0).any(|found| found.starts_with(entry.as_bytes()))
        })
        .map(|process| process.pid)
        .collect()
}

/// Looks again and again until it is so.
pub async fn until<T, F: AsyncFnMut() -> Option<T>>(what: &str, mut look: F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the first instance runs its app (and is no launcher any more), with at least so many restarts.
pub async fn running(direct: &impl Supervisor, site: &SiteName, colour: Colour, at_least: u32) -> (Vec<u32>, u32) {
    until("the instance runs", async || {
        let states = direct.states(site, colour).await.expect("states");
        match states.into_iter().next() {
            Some(InstanceState::Running { pids, restarts }) if restarts >= at_least && !pids.is_empty() => {
                let launching =
                    cmdline(pids[0]).is_none_or(|line| line.contains("bluegreen\0launch") || line.is_empty());
                (!launching).then_some((pids, restarts))
            }
            _ => None,
        }
    })
    .await
}

pub fn cmdline(pid: u32) -> Option<String> {
    fs::read(format!("/proc/{pid}/cmdline")).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

pub fn alive(pid: u32) -> bool {
    procfs::process::Process::new(pid.cast_signed()).and_then(|p| p.stat()).is_ok_and(|stat| stat.state != 'Z')
}

/// Kills a process at once.
pub fn kill(pid: u32) {
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid"),
        rustix::process::Signal::KILL,
    )
    .expect("a signal");
}
