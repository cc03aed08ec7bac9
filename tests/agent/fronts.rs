//! What the tests of many sites and of other people's sites need of a web server of either kind, and a machine behind one.

use std::net::SocketAddr;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::apache::Apache;
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::web::WebServer;

use crate::kit::metrics;

/// A web server that a test starts.
pub trait Front: WebServer + Sized {
    /// What its error log says of each time that it reads its configuration again.
    const RELOADED: &str;

    fn begin() -> Self;
    fn address(&self) -> SocketAddr;
    fn said(&self) -> String;
    /// Writes a file by hand, below `conf.d`.
    fn put(&self, name: &str, text: &str);
    /// Tells it to read its configuration again, as its administrator would.
    fn read_again(&mut self);
    /// A block for a name, as certbot and panels write them: a folder of its own, or what `lines` say. `first`: nobody else listens there.
    fn block(&self, name: &str, folder: &str, lines: &str, first: bool) -> String;
    /// What includes a snippet.
    fn include(&self, snippet: &str) -> String;

    /// How often it has read its configuration again, by its own account.
    fn reloads(&self) -> usize {
        self.said().matches(Self::RELOADED).count()
    }
}

impl Front for Nginx {
    const RELOADED: &str = ", reconfiguring";

    fn begin() -> Nginx {
        Nginx::start().unwrap()
    }

    fn address(&self) -> SocketAddr {
        Nginx::address(self)
    }

    fn said(&self) -> String {
        self.error_log()
    }

    fn put(&self, name: &str, text: &str) {
        self.write(name, text).unwrap();
    }

    fn read_again(&mut self) {
        self.reload_and_wait().unwrap();
    }

    fn block(&self, name: &str, folder: &str, lines: &str, _first: bool) -> String {
        let address = Front::address(self);
        let root = if folder.is_empty() { String::new() } else { format!("    root {folder};\n") };
        format!("server {{\n    listen {address};\n    server_name {name};\n{root}{lines}\n}}\n")
    }

    fn include(&self, snippet: &str) -> String {
        format!("    include {snippet};")
    }
}

impl Front for Apache {
    const RELOADED: &str = "Doing graceful restart";

    fn begin() -> Apache {
        Apache::start().unwrap()
    }

    fn address(&self) -> SocketAddr {
        Apache::address(self)
    }

    fn said(&self) -> String {
        self.error_log()
    }

    fn put(&self, name: &str, text: &str) {
        self.write(name, text).unwrap();
    }

    fn read_again(&mut self) {
        let ready = |apache: &Apache| apache.said().matches("resuming normal operations").count();
        let before = ready(self);
        self.graceful();
        bluegreen_rig::wait::until("Apache restarted", bluegreen_rig::wait::PATIENCE, || {
            (ready(self) > before).then_some(())
        })
        .unwrap();
    }

    fn block(&self, name: &str, folder: &str, lines: &str, first: bool) -> String {
        let address = Front::address(self);
        let listen = if first { format!("Listen {address}\n") } else { String::new() };
        let root = match folder {
            "" => String::new(),
            folder => format!(
                "    DocumentRoot {folder}\n    <Directory {folder}>\n        Require all granted\n    </Directory>\n"
            ),
        };
        format!("{listen}<VirtualHost {address}>\n    ServerName {name}\n{root}{lines}\n</VirtualHost>\n")
    }

    fn include(&self, snippet: &str) -> String {
        format!("    Include {snippet}")
    }
}

/// How often the agent has told the web server to reload, by the agent's own account.
pub fn told_to_reload(agent: &Agent) -> String {
    let all = metrics(agent, "/metrics");
    let line = all.lines().find(|line| line.starts_with("bluegreen_web_server_reloads "));
    line.unwrap_or_else(|| panic!("{all}")).to_owned()
}
