//! The runtimes of Python's and of CGI, parsed.

use serde::{Deserialize, Serialize};

use super::site::Runtime;
use super::types::{AbsPath, PythonApp, RelPath};

/// A WSGI app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wsgi {
    /// What is imported.
    pub app: PythonApp,
    /// Processes of each instance.
    pub workers: u16,
    /// Threads of each process.
    pub threads: u16,
    /// What is installed beside the release.
    pub installed: Installed,
}

/// An ASGI app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asgi {
    /// What is imported.
    pub app: PythonApp,
    /// Processes of each instance.
    pub workers: u16,
    /// What is installed beside the release.
    pub installed: Installed,
}

/// What is installed beside a release of Python's, in an environment of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Installed {
    /// The file of the release that lists it.
    pub requirements: RelPath,
    /// The interpreter.
    pub python: AbsPath,
}

/// Programs that are started for each request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cgi {
    /// Which.
    pub programs: Programs,
    /// How many of them run at once in each instance.
    pub workers: u16,
}

/// The programs of a CGI site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Programs {
    /// One that answers every path.
    Script(RelPath),
    /// Those of a folder, each at its own path.
    Folder(RelPath),
}

/// What the web server, and whoever asks for health, speaks with an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// FastCGI, to run these programs of the release.
    FastCgi(Programs),
}

impl Runtime {
    /// What has to be installed beside a release before it can run, and the server that must be a part of it.
    #[must_use]
    pub fn installed(&self) -> Option<(&Installed, &'static str)> {
        match self {
            Runtime::Wsgi(wsgi) => Some((&wsgi.installed, "gunicorn")),
            Runtime::Asgi(asgi) => Some((&asgi.installed, "uvicorn")),
            _ => None,
        }
    }
}
