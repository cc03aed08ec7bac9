//! `runtime.wsgi`, `runtime.asgi`, `runtime.cgi`: as they are written.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::types::{AbsPath, PythonApp, RelPath};

/// A WSGI app (Django, Flask), served by gunicorn, which is one of its requirements.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WsgiSpec {
    /// The app: MODULE:ATTRIBUTE, imported from the release's folder, as in shop.wsgi:application.
    #[schemars(regex(pattern = PythonApp::PATTERN), length(max = 256))]
    pub app: String,
    /// How many processes each instance has.
    #[serde(default = "workers")]
    #[schemars(range(min = 1, max = 64))]
    pub workers: i32,
    /// How many requests each of them answers at once.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub threads: i32,
    /// The file of the release that lists what is to be installed, gunicorn too. A folder `wheels` in the release is installed from instead of
    /// an index.
    #[serde(default = "requirements")]
    #[schemars(regex(pattern = RelPath::PATTERN), length(max = 1024))]
    pub requirements: String,
    /// The Python that runs it, an absolute path.
    #[serde(default = "python")]
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub python: String,
}

/// An ASGI app (FastAPI, Starlette, Django), served by uvicorn, which is one of its requirements.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AsgiSpec {
    /// The app: MODULE:ATTRIBUTE, imported from the release's folder, as in main:app.
    #[schemars(regex(pattern = PythonApp::PATTERN), length(max = 256))]
    pub app: String,
    /// How many processes each instance has.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub workers: i32,
    /// The file of the release that lists what is to be installed, uvicorn too. A folder `wheels` in the release is installed from instead of an
    /// index.
    #[serde(default = "requirements")]
    #[schemars(regex(pattern = RelPath::PATTERN), length(max = 1024))]
    pub requirements: String,
    /// The Python that runs it, an absolute path.
    #[serde(default = "python")]
    #[schemars(regex(pattern = AbsPath::PATTERN), length(max = 4096))]
    pub python: String,
}

/// Programs that are started for each request: exactly one of script and folder. fcgiwrap runs them, as the site's user.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.script) != has(self.folder)").message("a CGI site is exactly one of script and folder"))]
pub struct CgiSpec {
    /// The program of the release that answers every path; it finds the path in PATH_INFO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RelPath::PATTERN), length(max = 1024))]
    pub script: Option<String>,
    /// The folder of the release whose programs answer at their own paths: cgi-bin/app.py at /cgi-bin/app.py, with the rest in PATH_INFO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RelPath::PATTERN), length(max = 1024))]
    pub folder: Option<String>,
    /// How many requests each instance answers at once; more of them wait.
    #[serde(default = "programs")]
    #[schemars(range(min = 1, max = 256))]
    pub workers: i32,
}

fn one() -> i32 {
    1
}

fn workers() -> i32 {
    2
}

fn programs() -> i32 {
    8
}

fn requirements() -> String {
    "requirements.txt".to_owned()
}

fn python() -> String {
    "/usr/bin/python3".to_owned()
}
