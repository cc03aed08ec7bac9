//! A repository that somebody pushes to, and real servers of it on loopback: Git's own HTTP backend behind nginx, and sshd.

use std::fs;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bluegreen_rig::certificate::SELF_SIGNED;
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::process::{Guarded, run};
use bluegreen_rig::wait;
use rustix::process::Signal;
use tempfile::TempDir;

/// What the HTTPS server wants to be shown.
pub const TOKEN: &str = "a-token-of-the-tests";

/// A bare repository, and somebody's clone of it.
pub struct Repository {
    folder: TempDir,
}

impl Repository {
    pub fn new() -> Repository {
        let folder = tempfile::Builder::new().prefix("bluegreen-origin.").tempdir().unwrap();
        let repository = Repository { folder };
        let bare = repository.bare();
        fs::create_dir(repository.parent()).unwrap();
        git(&repository.parent(), &["init", "--quiet", "--bare", "--initial-branch=main", "sites.git"]);
        git(&bare, &["config", "http.receivepack", "false"]);
        // What was pushed is served as it came, as by servers that tidy up: nothing large is packed anew for each fetch.
        git(&bare, &["config", "receive.unpackLimit", "1"]);
        repository.partial(true);
        git(repository.folder.path(), &["clone", "--quiet", &bare.display().to_string(), "clone"]);
        git(&repository.clone(), &["checkout", "--quiet", "-b", "main"]);
        git(&repository.clone(), &["config", "core.compression", "0"]);
        fs::create_dir(repository.clone().join("sites")).unwrap();
        fs::write(repository.clone().join("README.md"), "sites\n").unwrap();
        repository
    }

    /// Whether its servers can leave files out.
    pub fn partial(&self, so: bool) {
        git(&self.bare(), &["config", "uploadpack.allowFilter", if so { "true" } else { "false" }]);
    }

    pub fn bare(&self) -> PathBuf {
        self.parent().join("sites.git")
    }

    fn parent(&self) -> PathBuf {
        self.folder.path().join("served")
    }

    pub fn clone(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.clone().join(file), text).unwrap();
    }

    pub fn remove(&self, file: &str) {
        fs::remove_file(self.clone().join(file)).unwrap();
    }

    /// Commits all of the clone, and pushes it: the commit.
    pub fn push(&self, message: &str) -> String {
        self.push_with(&[], message)
    }

    /// [`push`](Repository::push), with these options of `git commit`.
    pub fn push_with(&self, options: &[&str], message: &str) -> String {
        git(&self.clone(), &["add", "--all"]);
        git(&self.clone(), &[&["commit", "--quiet", "--allow-empty", "-m", message], options].concat());
        git(&self.clone(), &["push", "--quiet", "--force", "origin", "main"]);
        self.head()
    }

    pub fn head(&self) -> String {
        git(&self.clone(), &["rev-parse", "HEAD"]).trim().to_owned()
    }
}

/// Runs git as a person would, with nothing of this machine's own configuration.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["GIT_AUTHOR", "GIT_COMMITTER"] {
        command.env(format!("{who}_NAME"), "Somebody").env(format!("{who}_EMAIL"), "somebody@example.com");
    }
    String::from_utf8(run(&mut command).unwrap().stdout).unwrap()
}

/// nginx with TLS, and Git's backend behind it.
pub struct Https {
    pub nginx: Nginx,
    _backends: Vec<Guarded>,
    folder: TempDir,
    served: PathBuf,
}

impl Https {
    pub fn start(repository: &Repository) -> Https {
        let folder = tempfile::Builder::new().prefix("bluegreen-https.").tempdir().unwrap();
        // nginx's workers are somebody else.
        run(Command::new("chmod").arg("755").arg(folder.path())).unwrap();
        let made = Command::new("openssl")
            .args(SELF_SIGNED)
            .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:TRUE", "-out", "ca.pem", "-keyout", "key.pem"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let socket = folder.path().join("backend.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        // Several processes rather than one that forks (`-c`): what that forks outlives it, and whoever reads what the tests print waits for it for ever.
        let backends = (0..4).map(|_| {
            let mut backend = Command::new("/usr/sbin/fcgiwrap");
            backend.stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
            Guarded::start(&mut backend, Signal::TERM, Duration::from_secs(5)).unwrap()
        });
        let backends = backends.collect();
        run(Command::new("chmod").arg("666").arg(&socket)).unwrap();
        let server = Https { nginx: Nginx::start().unwrap(), _backends: backends, folder, served: repository.parent() };
        server.configure("");
        server
    }

    /// Serves, with more of nginx's words.
    pub fn configure(&self, more: &str) {
        let (folder, port) = (self.folder.path().display(), self.nginx.port());
        let basic = basic("x-access-token", TOKEN);
        let text = format!(
            "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/ca.pem; ssl_certificate_key {folder}/key.pem; client_max_body_size 0;\n\
             if ($http_authorization != \"Basic {basic}\") {{ return 401; }}\n\
             location / {{ {more}\n fastcgi_pass unix:{folder}/backend.sock; fastcgi_read_timeout 600;\n\
             fastcgi_param SCRIPT_FILENAME {}/git-http-backend; fastcgi_param GIT_HTTP_EXPORT_ALL 1;\n\
             fastcgi_param GIT_PROJECT_ROOT {}; fastcgi_param PATH_INFO $uri; fastcgi_param QUERY_STRING $query_string;\n\
             fastcgi_param REQUEST_METHOD $request_method; fastcgi_param CONTENT_TYPE $content_type;\n\
             fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;\n\
             fastcgi_param GIT_PROTOCOL $http_git_protocol; fastcgi_param REMOTE_USER tests; }} }}\n",
            git(self.folder.path(), &["--exec-path"]).trim(),
            self.served.display(),
        );
        self.nginx.write("git.conf", &text).unwrap();
        self.nginx.reload_and_wait().unwrap();
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/sites.git", self.nginx.port())
    }

    /// `git:` of an agent's configuration.
    pub fn configuration(&self) -> String {
        let token = self.folder.path().join("token");
        private(&token, &format!("{TOKEN}\n"));
        format!(
            "  url: {}\n  caFile: {}/ca.pem\n  tokenFile: {}\n",
            self.url(),
            self.folder.path().display(),
            token.display()
        )
    }
}

fn basic(user: &str, token: &str) -> String {
    let mut command = Command::new("base64");
    let mut child = command.args(["-w", "0"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{user}:{token}").as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// Writes a file for root alone.
pub fn private(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    run(Command::new("chmod").arg("600").arg(file)).unwrap();
}

/// An sshd on a free port, with keys of its own.
pub struct Sshd {
    _process: Guarded,
    port: Port,
    folder: TempDir,
    repository: PathBuf,
}

impl Sshd {
    pub fn start(repository: &Repository) -> Sshd {
        let folder = tempfile::Builder::new().prefix("bluegreen-gitssh.").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "client"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)])).unwrap();
        }
        fs::copy(at("client.pub"), at("authorized")).unwrap();
        let port = Port::take().unwrap();
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\n\
             AcceptEnv GIT_PROTOCOL\n",
            port.number(),
            at("host"),
            at("authorized"),
        );
        fs::write(at("sshd_config"), config).unwrap();
        // Some systems make it on boot, for a server of root's.
        fs::create_dir_all("/run/sshd").unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        let log = fs::File::create(at("log")).unwrap();
        command.args(["-D", "-e", "-f", &at("sshd_config")]).stdin(Stdio::null()).stderr(log);
        let process = Guarded::start(&mut command, Signal::TERM, Duration::from_secs(5)).unwrap();
        wait::until("sshd listened", wait::PATIENCE, || TcpStream::connect(("127.0.0.1", port.number())).ok()).unwrap();
        Sshd { _process: process, port, folder, repository: repository.bare() }
    }

    /// `git:` of an agent's configuration.
    pub fn configuration(&self) -> String {
        let host = fs::read_to_string(self.folder.path().join("host.pub")).unwrap();
        self.knowing(&format!("[127.0.0.1]:{} {host}", self.port.number()))
    }

    /// The same, with these hosts known.
    pub fn knowing(&self, hosts: &str) -> String {
        let known = self.folder.path().join("known");
        fs::write(&known, hosts).unwrap();
        format!(
            "  url: ssh://root@127.0.0.1:{}{}\n  sshKeyFile: {}/client\n  knownHostsFile: {}\n",
            self.port.number(),
            self.repository.display(),
            self.folder.path().display(),
            known.display()
        )
    }
}
