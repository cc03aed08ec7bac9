//! A site, its user, and somebody who uploads.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bluegreen::api::site::{HealthCheck, Ports, ReleaseSource, Run, Runtime, SettingsGuards, SharedDir, Static};
use bluegreen::api::types::AbsPath;
use bluegreen::platform::host::layout::SiteDir;
use bluegreen::platform::host::release::{
    Account, Config, Downloads, Fetching, Identity, Limits, Order, Record, Step, TakeError, read_fingerprint, take,
};
use bluegreen::rollout::Revision;
use tempfile::TempDir;

/// The unpacker that was built with these tests.
pub const UNPACKER: &str = env!("CARGO_BIN_EXE_bluegreen");

pub struct Shop {
    /// A disk of its own for the state. First, so that it is unmounted before the folder that it lies in is removed.
    pub disk: Option<Disk>,
    /// Everything; removed at the end.
    pub dir: TempDir,
    pub site: SiteDir,
    pub account: Account,
    pub limits: Limits,
    pub config_files: Vec<AbsPath>,
    pub env_file: Option<AbsPath>,
    pub shared_dirs: Vec<SharedDir>,
    pub statics: Vec<Static>,
    pub incarnation: String,
    /// What runs it.
    pub argv: Vec<String>,
}

impl Shop {
    pub fn new() -> Shop {
        let dir = tempfile::tempdir().unwrap();
        Shop::within(dir)
    }

    /// With the state on a small disk in memory.
    pub fn on_disk(size: &str) -> Shop {
        let mut shop = Shop::new();
        shop.disk = Some(Disk::mount(&shop.dir.path().join("state"), size));
        shop
    }

    /// Takes all that is left of the disk.
    pub fn fill(&self) {
        self.disk.as_ref().unwrap().fill();
    }

    /// Gives it back.
    pub fn relieve(&self) {
        self.disk.as_ref().unwrap().relieve();
    }

    /// With the state in a folder that is there already.
    pub fn within(dir: TempDir) -> Shop {
        assert!(rustix::process::geteuid().is_root(), "these tests need root, as the agent does");
        open_to_all(dir.path());
        fs::create_dir_all(dir.path().join("upload")).unwrap();
        Shop {
            disk: None,
            site: SiteDir::new(&dir.path().join("state"), &"shop".parse().unwrap()),
            dir,
            account: Account {
                name: "shop".parse().unwrap(),
                uid: 42_001,
                gid: 42_001,
                home: PathBuf::from("/nonexistent"),
                groups: vec![42_001, 42_100],
            },
            limits: Limits { spare: 0, ..Limits::default() },
            config_files: Vec::new(),
            env_file: None,
            shared_dirs: Vec::new(),
            statics: Vec::new(),
            incarnation: String::new(),
            argv: vec!["bin/app".to_owned()],
        }
    }

    pub fn upload(&self, name: &str) -> PathBuf {
        self.dir.path().join("upload").join(name)
    }

    pub fn folder(&self, name: &str) -> ReleaseSource {
        ReleaseSource::Path(abs(&self.upload(name)))
    }

    pub fn archive(&self, name: &str) -> ReleaseSource {
        ReleaseSource::Archive { file: abs(&self.upload(name)), sha256: None }
    }

    pub fn run(&self) -> Run {
        Run {
            runtime: Runtime::Command { argv: self.argv.clone(), fast_cgi: None },
            ports: Ports { blue: vec![8081], green: vec![8082] },
            user: "shop".parse().unwrap(),
            statics: self.statics.clone(),
            config_files: self.config_files.clone(),
            env_file: self.env_file.clone(),
            shared_dirs: self.shared_dirs.clone(),
            env: BTreeMap::new(),
            health: HealthCheck {
                path: "/".parse().unwrap(),
                successes: 1,
                failures: 1,
                interval: Duration::from_secs(1),
                timeout: Duration::from_secs(1),
                warm_up: None,
            },
            incarnation: None,
            stop_within: Duration::from_secs(1),
        }
    }

    pub fn identify(&self, source: &ReleaseSource) -> Result<Identity, TakeError> {
        Ok(Identity {
            fingerprint: read_fingerprint(source, &self.account, &self.limits)?,
            config: Config::of(&self.run(), &self.account)?.digest(),
            incarnation: self.incarnation.clone(),
        })
    }

    pub fn take_as(
        &self,
        source: &ReleaseSource,
        identity: &Identity,
        progress: &dyn Fn(Step<'_>),
    ) -> Result<Record, TakeError> {
        let downloads = Downloads::of(self.dir.path());
        let order = Order {
            fetching: Fetching { downloads: &downloads, within: Duration::from_secs(60), told: &|_| {}, secrets: None },
            source,
            identity,
            run: &self.run(),
            account: &self.account,
            limits: &self.limits,
            install_within: std::time::Duration::from_secs(60),
            unpacker: Path::new(UNPACKER),
            settings: SettingsGuards::default(),
            progress,
        };
        take(&self.site, &order)
    }

    pub fn take(&self, source: &ReleaseSource) -> Result<Record, TakeError> {
        self.take_as(source, &self.identify(source)?, &|_| {})
    }

    pub fn release(&self, revision: Revision) -> PathBuf {
        self.site.release(revision)
    }

    /// What lies in the folder of releases.
    pub fn shelf(&self) -> Vec<String> {
        let mut names: Vec<String> = match fs::read_dir(self.site.releases()) {
            Ok(entries) => entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect(),
            Err(_) => Vec::new(),
        };
        names.sort();
        names
    }
}

/// A small site of files, links and a program.
pub fn lay(at: &Path, version: &str) {
    write(&at.join("index.html"), version, 0o640);
    write(&at.join("bin/app"), "#!/bin/sh\n", 0o750);
    write(&at.join("public/assets/app.css"), "body{}", 0o644);
    fs::create_dir_all(at.join("empty")).unwrap();
    std::os::unix::fs::symlink("../index.html", at.join("public/home")).unwrap();
}

/// What a release of [`lay`] must be: path, kind and mode, content or target.
pub fn laid(version: &str) -> BTreeMap<String, String> {
    [
        ("bin", "folder 550"),
        ("bin/app", "file 550 #!/bin/sh\n"),
        ("empty", "folder 550"),
        ("index.html", &format!("file 440 {version}")),
        ("public", "folder 550"),
        ("public/assets", "folder 550"),
        ("public/assets/app.css", "file 440 body{}"),
        ("public/home", "link ../index.html"),
    ]
    .into_iter()
    .map(|(path, what)| (path.to_owned(), what.to_owned()))
    .collect()
}

/// What is below a folder; everything must be root's.
pub fn look(at: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![at.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            assert_eq!(meta.uid(), 0, "{} is not root's", path.display());
            let mode = meta.mode() & 0o7777;
            let what = if meta.is_dir() {
                todo.push(path.clone());
                format!("folder {mode:o}")
            } else if meta.is_symlink() {
                format!("link {}", fs::read_link(&path).unwrap().display())
            } else {
                format!("file {mode:o} {}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
            };
            found.insert(path.strip_prefix(at).unwrap().to_str().unwrap().to_owned(), what);
        }
    }
    found
}

pub fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn abs(path: &Path) -> AbsPath {
    path.to_str().unwrap().parse().unwrap()
}

pub fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A tar archive, entry by entry, with whatever names somebody likes.
pub struct Tar(tar::Builder<flate2::write::GzEncoder<Vec<u8>>>);

impl Tar {
    pub fn new() -> Tar {
        let packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        Tar(tar::Builder::new(packer))
    }

    pub fn add(mut self, kind: tar::EntryType, name: &str, mode: u32, target: &str, content: &[u8]) -> Tar {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Tar {
        self.add(tar::EntryType::Regular, name, 0o644, "", content.as_ref())
    }

    pub fn link(self, name: &str, target: &str) -> Tar {
        self.add(tar::EntryType::Symlink, name, 0o777, target, b"")
    }

    /// A folder with all that is in it, as `tar` packs it.
    pub fn all(mut self, folder: &Path) -> Tar {
        self.0.follow_symlinks(false);
        self.0.append_dir_all(".", folder).unwrap();
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap().finish().unwrap()
    }

    pub fn write(self, to: &Path) {
        fs::write(to, self.bytes()).unwrap();
    }
}

/// A small file system, gone at the end whatever happens.
pub struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Disk {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=755,nr_inodes=500");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "bluegreen-test"]).arg(at).status();
        assert!(mounted.unwrap().success());
        Disk(at.to_owned())
    }

    fn fill(&self) {
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        while std::io::Write::write(&mut ballast, &[1; 4096]).is_ok_and(|wrote| wrote > 0) {}
    }

    fn relieve(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
