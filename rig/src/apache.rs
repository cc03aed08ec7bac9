//! An Apache of one's own: in a temporary prefix, on a high port, without a word to the machine's own Apache. Gone when it is dropped.

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

/// Where Debian's package has the modules.
const MODULES: &str = "/usr/lib/apache2/modules";

/// A running Apache.
#[derive(Debug)]
pub struct Apache {
    // Dropped first: Apache is gone before its folder is.
    process: Guarded,
    folder: TempDir,
    port: Port,
}

/// The text of a main file for an Apache below `folder`: two children to begin with, then `lines`, `conf.d/*.conf` and `theirs/*`.
#[must_use]
pub fn main_file(folder: &Path, pid: &str, lines: &str) -> String {
    let root = folder.display();
    let user = if rustix::process::getuid().is_root() { "User nobody\nGroup nogroup\n" } else { "" };
    let modules: String = [
        "mpm_event",
        "authz_core",
        "rewrite",
        "proxy",
        "proxy_http",
        "proxy_fcgi",
        "proxy_balancer",
        "lbmethod_byrequests",
        "slotmem_shm",
        "headers",
        "mime",
        "status",
    ]
    .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
    .concat();
    format!(
        "ServerRoot {root}\nPidFile {root}/{pid}\nDefaultRuntimeDir {root}\nErrorLog {root}/error.log\nServerName localhost\n\
         {user}{modules}StartServers 2\nServerLimit 16\nThreadsPerChild 25\nMaxRequestWorkers 400\nTypesConfig /etc/mime.types\n\
         DocumentRoot {root}\nMaxKeepAliveRequests 0\n\
         <Directory />\nRequire all denied\n</Directory>\n{lines}\n\
         IncludeOptional {root}/conf.d/*.conf\nIncludeOptional {root}/theirs/*\n"
    )
}

impl Apache {
    /// One that includes `conf.d/*.conf` and serves nothing yet.
    ///
    /// # Errors
    /// When Apache isn't installed or refuses the configuration; what it said is in the error.
    pub fn start() -> Result<Apache> {
        Apache::with(&[])
    }

    /// [`start`](Apache::start), with further modules: `ssl`.
    ///
    /// # Errors
    /// As [`start`](Apache::start).
    pub fn with(modules: &[&str]) -> Result<Apache> {
        let folder = tempfile::Builder::new().prefix("bluegreen-apache.").tempdir()?;
        // Children that run as somebody else must get through to what a site serves.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(folder.path().join("conf.d"))?;
        let port = Port::take()?;
        // It ends without a listener, so it has one that is nobody's.
        let own = Port::take()?;
        // It ends no child because it has too many, and no child is ever out of threads: in both cases Apache closes idle connections, under
        // requests that are on their way, whatever anybody does to a site.
        let threads = "ThreadLimit 150\nThreadsPerChild 150\nMaxRequestWorkers 2400\nMaxSpareThreads 2400";
        let load = |name: &&str| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n");
        let modules: String = modules.iter().map(load).collect();
        let lines = format!("{modules}{threads}\nListen 127.0.0.1:{}", own.number());
        fs::write(folder.path().join("httpd.conf"), main_file(folder.path(), "apache.pid", &lines))?;
        let process = run(folder.path())?;
        drop(own);
        Ok(Apache { process, folder, port })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its main configuration file.
    #[must_use]
    pub fn conf(&self) -> PathBuf {
        self.folder().join("httpd.conf")
    }

    /// Where sites are configured.
    #[must_use]
    pub fn conf_d(&self) -> PathBuf {
        self.folder().join("conf.d")
    }

    /// The file that holds its process id.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.folder().join("apache.pid")
    }

    /// The address that was set aside for its sites.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number()))
    }

    /// The process id of its master.
    #[must_use]
    pub fn master(&self) -> u32 {
        self.process.pid()
    }

    /// What its error log says.
    #[must_use]
    pub fn error_log(&self) -> String {
        fs::read_to_string(self.folder().join("error.log")).unwrap_or_default()
    }

    /// Writes a file below `conf.d`. It has no effect before a [`graceful`](Apache::graceful).
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
    /// What Apache says about it.
    pub fn test(&self) -> Result<()> {
        process::run(command(self.folder()).arg("-t")).map(drop)
    }

    /// What everybody does: it returns before it has any effect.
    pub fn graceful(&mut self) {
        self.process.signal(Signal::USR1);
    }
}

/// Runs it and waits until it has written its process id.
fn run(folder: &Path) -> Result<Guarded> {
    let said = fs::File::create(folder.join("stderr.log"))?;
    let mut daemon = command(folder);
    daemon.arg("-DFOREGROUND").stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    let mut process = Guarded::start(&mut daemon, Signal::TERM, Duration::from_secs(10))?;
    let up = wait::until("Apache had its children", Duration::from_secs(20), || {
        let has = folder.join("apache.pid").exists() && process::children(process.pid()).len() >= 2;
        (!process.runs() || has).then_some(())
    });
    if up.is_err() || !process.runs() {
        let said = fs::read_to_string(folder.join("stderr.log")).unwrap_or_default();
        anyhow::bail!("Apache does not come up (is apache2 installed?): {said}");
    }
    Ok(process)
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new("/usr/sbin/apache2");
    command.arg("-d").arg(folder).arg("-f").arg(folder.join("httpd.conf"));
    command
}
