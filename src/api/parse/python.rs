//! The runtimes of Python's and of CGI.

use super::host::HOST;
use super::judge::Judge;
use crate::api::site::{Asgi, Cgi, Installed, Programs, Runtime, Wsgi};
use crate::api::spec::{AsgiSpec, CgiSpec, WsgiSpec};

impl Judge {
    pub(super) fn wsgi(&mut self, wsgi: &WsgiSpec) -> Option<Runtime> {
        let path = format!("{HOST}.runtime.wsgi");
        let app = self.narrow(&format!("{path}.app"), &wsgi.app);
        let workers = self.count(&path, "workers", wsgi.workers, 64);
        let threads = self.count(&path, "threads", wsgi.threads, 256);
        let installed = self.installed(&path, &wsgi.requirements, &wsgi.python);
        Some(Runtime::Wsgi(Wsgi { app: app?, workers: workers?, threads: threads?, installed: installed? }))
    }

    pub(super) fn asgi(&mut self, asgi: &AsgiSpec) -> Option<Runtime> {
        let path = format!("{HOST}.runtime.asgi");
        let app = self.narrow(&format!("{path}.app"), &asgi.app);
        let workers = self.count(&path, "workers", asgi.workers, 64);
        let installed = self.installed(&path, &asgi.requirements, &asgi.python);
        Some(Runtime::Asgi(Asgi { app: app?, workers: workers?, installed: installed? }))
    }

    pub(super) fn cgi(&mut self, cgi: &CgiSpec) -> Option<Runtime> {
        let path = format!("{HOST}.runtime.cgi");
        let programs = match (&cgi.script, &cgi.folder) {
            (Some(script), None) => self.narrow(&format!("{path}.script"), script).map(Programs::Script),
            (None, Some(folder)) => self.narrow(&format!("{path}.folder"), folder).map(Programs::Folder),
            _ => {
                self.wrong(path.clone(), "needs exactly one of script (one program for every path) and folder (each program at its own path)");
                None
            }
        };
        let workers = self.count(&path, "workers", cgi.workers, 256);
        Some(Runtime::Cgi(Cgi { programs: programs?, workers: workers? }))
    }

    fn installed(&mut self, path: &str, requirements: &str, python: &str) -> Option<Installed> {
        let requirements = self.narrow(&format!("{path}.requirements"), requirements);
        let python = self.narrow(&format!("{path}.python"), python);
        Some(Installed { requirements: requirements?, python: python? })
    }

    fn count(&mut self, path: &str, field: &str, value: i32, most: i32) -> Option<u16> {
        self.number(&format!("{path}.{field}"), value, 1, most)
    }
}
