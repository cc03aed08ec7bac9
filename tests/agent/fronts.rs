//! What the tests of many sites and of other people's sites need of a web server of either kind, and a machine behind one.

use std::net::SocketAddr;
use std::path::PathBuf;

use bluegreen_rig::agent::Agent;
use bluegreen_rig::apache::Apache;
use bluegreen_rig::certificate::Certificate;
use bluegreen_rig::load::Running;
use bluegreen_rig::manifest::{Manifest, release};
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::users::User;
use bluegreen_rig::web::WebServer;
use serde_json::json;

use crate::kit::{metrics, nothing_lost};

/// A web server that a test starts.
pub trait Front: WebServer + Sized {
    /// What its error log says of each time that it reads its configuration again.
    const RELOADED: &str;

    fn begin() -> Self;
    /// One that can speak HTTPS, and HTTP/2.
    fn begin_over_tls() -> Self;
    fn address(&self) -> SocketAddr;
    fn said(&self) -> String;
    /// Writes a file by hand, below `conf.d`.
    fn put(&self, name: &str, text: &str);
    /// Tells it to read its configuration again, as its administrator would.
    fn read_again(&mut self);
    /// A block for a name, as certbot and panels write them: a folder of its own, or what `lines` say. `first`: nobody else listens there.
    fn block(&self, name: &str, folder: &str, lines: &str, first: bool) -> String;
    /// A block for a name over HTTPS, as panels write it: with `inside`, which is a folder of its own or what includes a snippet.
    fn secure_block(&self, at: SocketAddr, name: &str, inside: &str, shows: &Certificate) -> String;
    /// The pair of blocks that certbot makes of one: it listens there with a certificate, and what comes without TLS is sent on.
    fn pair_of_certbot_s(&self, at: SocketAddr, name: &str, inside: &str, shows: &Certificate) -> String;
    /// What has a block hand out a folder.
    fn root(&self, folder: &str) -> String;
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

    fn begin_over_tls() -> Nginx {
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
        let root = if folder.is_empty() { String::new() } else { self.root(folder) };
        format!("server {{\n    listen {address};\n    server_name {name};\n{root}{lines}\n}}\n")
    }

    fn secure_block(&self, at: SocketAddr, name: &str, inside: &str, shows: &Certificate) -> String {
        let (certificate, key) = (shows.certificate.display(), shows.key.display());
        format!(
            "server {{\n    listen {at} ssl;\n    server_name {name};\n    ssl_certificate {certificate};\n    \
             ssl_certificate_key {key};\n{inside}\n}}\n"
        )
    }

    fn pair_of_certbot_s(&self, at: SocketAddr, name: &str, inside: &str, shows: &Certificate) -> String {
        let (certificate, key) = (shows.certificate.display(), shows.key.display());
        let (address, port) = (Front::address(self), at.port());
        let options = self.folder().join("options-ssl-nginx.conf");
        let said = "ssl_session_cache shared:le_nginx_SSL:10m;\nssl_session_timeout 1440m;\nssl_session_tickets off;\n\
                    ssl_protocols TLSv1.2 TLSv1.3;\nssl_prefer_server_ciphers off;\n";
        std::fs::write(&options, said).unwrap();
        let options = options.display();
        format!(
            "server {{\n    server_name {name};\n{inside}\n\n    listen {at} ssl; # managed by Certbot\n    \
             ssl_certificate {certificate}; # managed by Certbot\n    ssl_certificate_key {key}; # managed by Certbot\n    \
             include {options}; # managed by Certbot\n}}\n\
             server {{\n    if ($host = {name}) {{\n        return 301 https://$host:{port}$request_uri;\n    }} # managed by Certbot\n\n\n    \
             listen {address};\n    server_name {name};\n    return 404; # managed by Certbot\n}}\n"
        )
    }

    fn root(&self, folder: &str) -> String {
        format!("    root {folder};\n")
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

    fn begin_over_tls() -> Apache {
        Apache::with(&["ssl", "http2"]).unwrap()
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
        let root = if folder.is_empty() { String::new() } else { self.root(folder) };
        format!("{listen}<VirtualHost {address}>\n    ServerName {name}\n{root}{lines}\n</VirtualHost>\n")
    }

    fn secure_block(&self, at: SocketAddr, name: &str, inside: &str, shows: &Certificate) -> String {
        let (certificate, key) = (shows.certificate.display(), shows.key.display());
        format!(
            "Listen {at}\n<VirtualHost {at}>\n    ServerName {name}\n    SSLEngine on\n    SSLCertificateFile {certificate}\n    \
             SSLCertificateKeyFile {key}\n{inside}\n</VirtualHost>\n"
        )
    }

    fn pair_of_certbot_s(&self, at: SocketAddr, name: &str, inside: &str, shows: &Certificate) -> String {
        let (certificate, key) = (shows.certificate.display(), shows.key.display());
        let (address, port) = (Front::address(self), at.port());
        let options = self.folder().join("options-ssl-apache.conf");
        let said = "SSLEngine on\nSSLProtocol all -SSLv2 -SSLv3 -TLSv1 -TLSv1.1\nSSLHonorCipherOrder off\nSSLSessionTickets off\n\
                    SSLOptions +StrictRequire\n";
        std::fs::write(&options, said).unwrap();
        let options = options.display();
        format!(
            "Listen {address}\n<IfModule mod_ssl.c>\n    Listen {at}\n</IfModule>\n\
             <VirtualHost {address}>\n    ServerName {name}\nRewriteEngine on\nRewriteCond %{{SERVER_NAME}} ={name}\n\
             RewriteRule ^ https://%{{SERVER_NAME}}:{port}%{{REQUEST_URI}} [END,NE,R=permanent]\n</VirtualHost>\n\
             <IfModule mod_ssl.c>\n<VirtualHost {at}>\n    ServerName {name}\n{inside}\n\nSSLCertificateFile {certificate}\n\
             SSLCertificateKeyFile {key}\nInclude {options}\n</VirtualHost>\n</IfModule>\n"
        )
    }

    fn root(&self, folder: &str) -> String {
        format!("    DocumentRoot {folder}\n    <Directory {folder}>\n        Require all granted\n    </Directory>\n")
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

/// A machine with one site, two instances a colour, behind a web server that can speak HTTPS.
pub struct Shop<W> {
    // Dropped in this order: the agent and its apps before the web server in front of them.
    pub agent: Agent,
    pub web: W,
    ports: Vec<Port>,
    user: User,
    folder: tempfile::TempDir,
}

impl<W: Front> Shop<W> {
    pub fn start() -> Shop<W> {
        let web = W::begin_over_tls();
        Shop {
            agent: Agent::start(&web).unwrap(),
            web,
            ports: Port::take_many(5).unwrap(),
            user: User::ordinary().unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Where HTTPS is to be listened for.
    pub fn secure(&self) -> SocketAddr {
        SocketAddr::new(self.web.address().ip(), self.ports[4].number())
    }

    /// A certificate for `shop.test`, in a folder of that name.
    pub fn certificate(&self, name: &str) -> Certificate {
        Certificate::make(&self.folder.path().join(name), &["shop.test"]).unwrap()
    }

    /// A site without TLS.
    pub fn site(&self) -> Manifest {
        let ports: Vec<u16> = self.ports.iter().map(Port::number).collect();
        Manifest::app("shop", self.web.address(), self.user.name(), &ports[..2], &ports[2..4])
    }

    /// The site with this certificate.
    pub fn with(&self, shows: &Certificate) -> Manifest {
        let tls = json!({ "certificate": shows.certificate, "key": shows.key, "listen": [self.secure().to_string()] });
        self.site().set("/spec/target/host/tls", tls)
    }

    pub fn release(&self, version: &str) -> PathBuf {
        release(&self.agent.uploads(), version, "").unwrap()
    }

    /// Twenty cutovers, seen by each of these loads, which lose nothing; nobody reloads.
    pub fn twenty_cutovers(&self, site: &Manifest, loads: Vec<Running>) {
        let (reloads, told) = (self.web.reloads(), told_to_reload(&self.agent));
        for number in 1..=20 {
            let version = format!("v{number}");
            self.agent.apply_and_wait(&site.clone().release(&self.release(&version))).unwrap();
            for load in &loads {
                load.wait_for_version(&version).unwrap();
                load.wait_for_more(50).unwrap();
            }
        }
        for load in loads {
            let totals = load.stop();
            nothing_lost(&totals);
            assert_eq!(totals.versions.len(), 21, "{:?}", totals.versions);
        }
        assert_eq!((self.web.reloads(), told_to_reload(&self.agent)), (reloads, told));
    }
}
