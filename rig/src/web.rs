//! A web server of one's own, of whatever kind: what an agent in front of it is told.

use std::path::{Path, PathBuf};

use crate::apache::Apache;
use crate::nginx::Nginx;

/// A running web server.
pub trait WebServer {
    /// What the agent's configuration calls it.
    fn kind(&self) -> &'static str;
    /// Its folder, with `conf.d` in it.
    fn folder(&self) -> &Path;
    /// Its main configuration file.
    fn conf(&self) -> PathBuf;
    /// The file that holds its process id.
    fn pid_file(&self) -> PathBuf;
    /// The program, where it isn't the usual one.
    fn program(&self) -> Option<&'static str> {
        None
    }
}

impl WebServer for Nginx {
    fn kind(&self) -> &'static str {
        "nginx"
    }

    fn folder(&self) -> &Path {
        Nginx::folder(self)
    }

    fn conf(&self) -> PathBuf {
        Nginx::conf(self)
    }

    fn pid_file(&self) -> PathBuf {
        Nginx::pid_file(self)
    }
}

impl WebServer for Apache {
    fn kind(&self) -> &'static str {
        "apache"
    }

    fn folder(&self) -> &Path {
        Apache::folder(self)
    }

    fn conf(&self) -> PathBuf {
        Apache::conf(self)
    }

    fn pid_file(&self) -> PathBuf {
        Apache::pid_file(self)
    }

    fn program(&self) -> Option<&'static str> {
        // Debian's apache2ctl adds what only its own folder needs.
        Some("/usr/sbin/apache2")
    }
}
