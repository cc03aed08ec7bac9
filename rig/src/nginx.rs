//! An nginx of one's own: in a temporary prefix, on a high port, without a word to the machine's own nginx. Gone when it is dropped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::{self, Guarded};
use crate::wait;

/// What nginx to make.
#[derive(Clone, Debug)]
pub struct Builder {
    workers: u16,
    main: String,
    http: String,
}

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    // Dropped first: nginx is gone before its folder is.
    process: Guarded,
    folder: TempDir,
    port: Port,
}

impl Nginx {
    /// One with two workers, which includes `conf.d/*.conf` and serves nothing yet.
    #[must_use]
    pub fn builder() -> Builder {
        Builder { workers: 2, main: String::new(), http: String::new() }
    }

    /// The builder's nginx, as it is.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start() -> Result<Nginx> {
        Nginx::builder().start()
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its main configuration file.
    #[must_use]
    pub fn conf(&self) -> PathBuf {
        self.folder().join("nginx.conf")
    }

    /// Where sites are configured.
    #[must_use]
    pub fn conf_d(&self) -> PathBuf {
        self.folder().join("conf.d")
    }

    /// The file that holds its process id.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.folder().join("nginx.pid")
    }

    /// The port that was set aside for its sites.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The address that was set aside for its sites.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()))
    }

    /// The process id of its master.
    #[must_use]
    pub fn master(&self) -> u32 {
        self.process.pid()
    }

    /// The process ids of its workers, of the old ones that still shut down too.
    #[must_use]
    pub fn workers(&self) -> Vec<u32> {
        process::children(self.master())
    }

    /// What its error log says.
    #[must_use]
    pub fn error_log(&self) -> String {
        fs::read_to_string(self.folder().join("error.log")).unwrap_or_default()
    }

    /// Writes a file below `conf.d`. It has no effect before a [`reload`](Nginx::reload).
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.conf_d().join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Tests the configuration.
    ///
    /// # Errors
    /// What nginx says about it.
    pub fn test(&self) -> Result<()> {
        process::run(self.command().arg("-t")).map(drop)
    }

    /// What everybody does: `nginx -s reload`, which returns before it has any effect.
    ///
    /// # Errors
    /// What nginx says.
    pub fn reload(&self) -> Result<()> {
        process::run(self.command().args(["-s", "reload"])).map(drop)
    }

    /// Reloads and waits until only workers of the new configuration are left that accept.
    ///
    /// # Errors
    /// What nginx says, or that nothing happened in time.
    pub fn reload_and_wait(&self) -> Result<()> {
        let old = self.workers();
        self.reload()?;
        wait::until("nginx had new workers", wait::PATIENCE, || {
            let now = self.workers();
            let new = now.iter().any(|pid| !old.contains(pid));
            let gone = now.iter().all(|pid| !old.contains(pid) || is_shutting_down(*pid));
            (new && gone).then_some(())
        })?;
        Ok(())
    }

    /// Stops it as an administrator would.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Starts it again after [`stop`](Nginx::stop) or [`kill`](Nginx::kill), with whatever is configured by now.
    ///
    /// # Errors
    /// What nginx says.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = run(self.folder(), 1)?;
        Ok(())
    }

    /// Kills its master and its workers.
    pub fn kill(&mut self) {
        let workers = self.workers();
        self.process.kill();
        for worker in workers {
            if let Some(pid) = i32::try_from(worker).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }

    /// `nginx`, told to use this one's files.
    #[must_use]
    pub fn command(&self) -> Command {
        command(self.folder())
    }
}

impl Builder {
    /// So many workers.
    #[must_use]
    pub fn workers(self, workers: u16) -> Builder {
        Builder { workers, ..self }
    }

    /// Further lines outside of `http`.
    #[must_use]
    pub fn main(self, main: &str) -> Builder {
        Builder { main: main.to_owned(), ..self }
    }

    /// Further lines within `http`.
    #[must_use]
    pub fn http(self, http: &str) -> Builder {
        Builder { http: http.to_owned(), ..self }
    }

    /// Starts it and waits until its workers are there.
    ///
    /// # Errors
    /// When nginx isn't installed or refuses the configuration; what it said is in the error.
    pub fn start(self) -> Result<Nginx> {
        let folder = tempfile::Builder::new().prefix("bluegreen-nginx.").tempdir()?;
        // Workers that run as somebody else must get through to what a site serves.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(folder.path().join("conf.d"))?;
        fs::write(folder.path().join("nginx.conf"), self.configuration(folder.path()))?;
        let port = Port::take()?;
        let process = run(folder.path(), usize::from(self.workers))?;
        Ok(Nginx { process, folder, port })
    }

    fn configuration(&self, folder: &Path) -> String {
        let folder = folder.display();
        // Root's workers stay root: temporary folders of tests are nobody else's to read.
        let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
        let (workers, main, http) = (self.workers, &self.main, &self.http);
        format!(
            "{user}\nworker_processes {workers};\npid {folder}/nginx.pid;\nerror_log {folder}/error.log notice;\n\
             worker_rlimit_nofile 8192;\n{main}\nevents {{ worker_connections 2048; }}\nhttp {{\n    \
             access_log off;\n    default_type application/octet-stream;\n    keepalive_requests 1000000;\n    \
             client_body_temp_path {folder}/body;\n    proxy_temp_path {folder}/proxy;\n    \
             fastcgi_temp_path {folder}/fastcgi;\n    uwsgi_temp_path {folder}/uwsgi;\n    scgi_temp_path {folder}/scgi;\n    \
             {http}\n    include {folder}/conf.d/*.conf;\n}}\n"
        )
    }
}

/// Runs it and waits until so many workers are there.
fn run(folder: &Path, workers: usize) -> Result<Guarded> {
    let mut daemon = command(folder);
    daemon.args(["-g", "daemon off;"]).stdin(Stdio::null()).stdout(Stdio::null());
    let said = fs::File::create(folder.join("stderr.log"))?;
    let mut process = Guarded::start(daemon.stderr(said), Signal::TERM, Duration::from_secs(10))?;
    let up = wait::until("nginx had its workers", Duration::from_secs(20), || {
        (!process.runs() || process::children(process.pid()).len() >= workers).then_some(())
    });
    if up.is_err() || !process.runs() {
        let said = fs::read_to_string(folder.join("stderr.log")).unwrap_or_default();
        anyhow::bail!("nginx does not come up (is nginx-light installed?): {said}");
    }
    Ok(process)
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    command.arg("-e").arg(folder.join("error.log"));
    command
}

fn is_shutting_down(worker: u32) -> bool {
    let title = fs::read_to_string(format!("/proc/{worker}/cmdline")).unwrap_or_default();
    title.is_empty() || title.contains("is shutting down")
}
