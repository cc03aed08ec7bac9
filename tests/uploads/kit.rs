//! A site whose releases arrive in a folder, and an sshd of the test's own on loopback.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::ports::Port;
use bluegreen_rig::process::{Guarded, run};
use bluegreen_rig::wait;
use rustix::process::Signal;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::machine::Machine;
use crate::served::Served;

/// A site that serves v1, which arrived in its folder.
pub struct Site {
    pub sshd: Sshd,
    pub served: Served,
    pub folder: PathBuf,
}

impl Site {
    pub fn start() -> Site {
        Site::behind(false)
    }

    /// Behind an sshd that is root's, whose sessions have a shell.
    pub fn with_shell() -> Site {
        Site::behind(true)
    }

    fn behind(shell: bool) -> Site {
        let machine = Machine::start();
        let folder = machine.agent.folder().join("arrives");
        fs::create_dir(&folder).unwrap();
        run(Command::new("chown").arg(machine.user.name()).arg(&folder)).unwrap();
        let sshd = Sshd::start((!shell).then(|| machine.user.name()), &machine.agent);
        let served = Served::on(machine);
        let site = manifest(&served, &folder);
        // The first arrives as the others do; nobody names it.
        fs::write(folder.join("shop-1.tar.gz"), packed(&served.machine.release("v1b"))).unwrap();
        fs::write(folder.join("shop-1.tar.gz.done"), "").unwrap();
        served.agent().apply_and_wait(&site).unwrap();
        served.load().wait_for_version("v1b").unwrap();
        let served = served.anew();
        Site { sshd, served, folder }
    }

    pub fn agent(&self) -> &Agent {
        self.served.agent()
    }

    /// An archive of the release that calls itself `version`.
    pub fn archive(&self, version: &str) -> PathBuf {
        self.archive_that(version, "")
    }

    pub fn archive_that(&self, version: &str, behaviour: &str) -> PathBuf {
        let file = self.agent().folder().join(format!("{version}.tar.gz"));
        fs::write(&file, packed(&self.served.machine.release_that(version, behaviour))).unwrap();
        file
    }

    /// Puts something into the folder, as if a client had.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.join(name), bytes).unwrap();
    }

    pub fn goes_live(&self, version: &str) {
        self.served.load().wait_for_version(version).unwrap();
        self.agent().wait_for("shop", "is ready", |site| crate::machine::why(site, "Ready") == "Live").unwrap();
    }

    /// How many rollouts ever began.
    pub fn begun(&self) -> usize {
        let log = self.agent().log();
        log.lines()
            .filter(|line| line.contains("\"event\":\"PhaseEntered\"") && line.contains("\"message\":\"Preparing"))
            .count()
    }
}

/// The site of a machine, with this folder for its releases.
pub fn manifest(served: &Served, folder: &Path) -> Manifest {
    served.site.clone().set("/spec/target/host/release", serde_json::json!({ "uploads": folder }))
}

/// What `sha256sum` prints.
pub fn sum(file: &Path) -> String {
    hex::encode(Sha256::digest(fs::read(file).unwrap()))
}

/// A folder as `tar` packs it.
pub fn packed(folder: &Path) -> Vec<u8> {
    let packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(packer);
    tar.append_dir_all(".", folder).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

/// An sshd on a free port of loopback, with keys of its own; its sessions find the built program, and the agent.
pub struct Sshd {
    _process: Guarded,
    _port: Port,
    folder: TempDir,
}

impl Sshd {
    /// `user`: who it runs as, and whom alone it lets in, for SFTP; `None`: root, with a shell.
    fn start(user: Option<&str>, agent: &Agent) -> Sshd {
        let folder = tempfile::Builder::new().prefix("bluegreen-sshd.").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "client"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)])).unwrap();
        }
        fs::copy(at("client.pub"), at("authorized")).unwrap();
        let port = Port::take().unwrap();
        let bin = bluegreen_rig::binaries::bluegreen().unwrap().parent().unwrap().display().to_string();
        let socket = agent.run_dir().join("control.sock");
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\n\
             Subsystem sftp internal-sftp\nSetEnv PATH={bin}:/usr/bin:/bin BLUEGREEN_SOCKET={}\n",
            port.number(),
            at("host"),
            at("authorized"),
            socket.display()
        );
        fs::write(at("sshd_config"), config).unwrap();
        let mut command = match user {
            // Some systems make it on boot, for a server of root's.
            None => {
                fs::create_dir_all("/run/sshd").unwrap();
                Command::new("/usr/sbin/sshd")
            }
            Some(user) => {
                run(Command::new("chown").arg("-R").arg(user).arg(folder.path())).unwrap();
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", user, "--clear-groups", "/usr/sbin/sshd"]);
                command
            }
        };
        let log = fs::File::create(at("log")).unwrap();
        command.args(["-D", "-e", "-f", &at("sshd_config")]).stdin(Stdio::null()).stderr(log);
        let process = Guarded::start(&mut command, Signal::TERM, Duration::from_secs(5)).unwrap();
        wait::until("sshd listened", wait::PATIENCE, || TcpStream::connect(("127.0.0.1", port.number())).ok()).unwrap();
        let name = user.unwrap_or("root");
        let client = format!(
            "Host *\n HostName 127.0.0.1\n Port {}\n User {name}\n IdentityFile {}\n IdentitiesOnly yes\n UserKnownHostsFile {}\n \
             StrictHostKeyChecking accept-new\n LogLevel ERROR\n BatchMode yes\n",
            port.number(),
            at("client"),
            at("known")
        );
        fs::write(at("ssh_config"), client).unwrap();
        Sshd { _process: process, _port: port, folder }
    }

    /// The clients' configuration.
    pub fn config(&self) -> String {
        self.folder.path().join("ssh_config").display().to_string()
    }

    /// A client with a host called `site`.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-F", &self.config()]);
        command
    }

    /// Runs these commands of SFTP.
    pub fn sftp(&self, lines: &[String]) -> Output {
        let mut command = self.client("sftp");
        command.args(["-b", "-", "site"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(format!("{}\n", lines.join("\n")).as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(output.status.success(), "{lines:?}: {}\n{log}", String::from_utf8_lossy(&output.stderr));
        output
    }
}
