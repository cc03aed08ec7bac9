//! What the suite has to know of a web server: how it is laid out and started, and how its administrator writes things. One implementation each.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bluegreen::platform::host::sockets;
use bluegreen::platform::host::web::apache::ApacheSettings;
use bluegreen::platform::host::web::files::Folders;
use bluegreen::platform::host::web::kind::Kind;
use bluegreen::platform::host::web::nginx::NginxSettings;
use rustix::process::{Pid, Signal};

/// A web server that the suite runs against.
pub trait Stands: Kind {
    /// Whether a GET that an instance has taken and not answered is sent to another one.
    const ASKS_ANOTHER: bool;
    /// The signal at which it reads its configuration again.
    const RELOAD: Signal;
    /// Before the path of what is included.
    const INCLUDE: &str;
    /// After it.
    const END: &str;
    /// What has each answer carry `X-Mine: yes`.
    const HEADER: &str;
    /// Whether a header that is set further in is added to those that are set further out.
    const ADDS_HEADERS: bool;
    /// What one says of itself that is too old, how that is told, and what is needed.
    const AN_OLD_ONE: (&str, &str, &str);
    /// Whether it counts the body of a request that doesn't say how long it is.
    const COUNTS_PIECES: bool;
    /// What a client is answered when the app was silent for too long.
    const TOO_LATE: u16;
    /// Has it speak TLS, where that has to be said.
    const LOADS_TLS: &str;

    /// Everything below a folder, the door at this address.
    fn at(dir: &Path, door: SocketAddr) -> Self;
    /// Where its program, its pid file and its patience are set.
    fn knobs(&mut self) -> (&mut PathBuf, &mut PathBuf, &mut Duration);
    /// Writes the main file: two workers, `lines`, then `conf.d/*.conf`, then `theirs/*`.
    fn write_main(dir: &Path, lines: &str);
    /// The program, to be run in the foreground or to be asked something.
    fn command(dir: &Path, run: bool) -> Command;
    /// Whether a child of the master takes new connections.
    fn accepts(child: Pid) -> bool;
    /// A server block of the administrator's, with these lines in it, on an address where it is the first or one of several.
    fn block(listen: SocketAddr, name: &str, first: bool, lines: &[&str]) -> String;
    /// A server block of the administrator's with a certificate.
    fn tls_block(listen: SocketAddr, name: &str, certificate: &Path, key: &Path) -> String;
    /// The block that is to be the default of an address which is listened on already.
    fn default_block(listen: SocketAddr) -> String;
    /// What answers 410 below a path, for the inside of a block.
    fn gone(path: &str) -> String;
    /// What stands before and after an include so that our snippet doesn't fit there, and how that is said.
    fn does_not_fit() -> (&'static str, &'static str, &'static str);
    /// A file whose third line is nonsense.
    fn broken() -> &'static str;
    /// Where the main file includes ours.
    fn main_file() -> &'static str;
}

fn folders(dir: &Path) -> Folders {
    Folders { sites: dir.join("conf.d"), snippets: dir.join("snippets") }
}

/// The nginx that the suite runs against: `BLUEGREEN_NGINX`, or the machine's.
fn nginx() -> OsString {
    std::env::var_os("BLUEGREEN_NGINX").unwrap_or_else(|| "/usr/sbin/nginx".into())
}

impl Stands for NginxSettings {
    const ASKS_ANOTHER: bool = true;
    const RELOAD: Signal = Signal::HUP;
    const INCLUDE: &str = "include ";
    const END: &str = ";";
    const HEADER: &str = "add_header X-Mine yes;";
    const ADDS_HEADERS: bool = false;
    const AN_OLD_ONE: (&str, &str, &str) = ("nginx version: nginx/1.14.2", "nginx 1.14.2", "1.15.8");
    const COUNTS_PIECES: bool = true;
    const TOO_LATE: u16 = 504;
    const LOADS_TLS: &str = "";

    fn at(dir: &Path, door: SocketAddr) -> NginxSettings {
        NginxSettings {
            program: nginx().into(),
            prefix: Some(dir.to_owned()),
            conf: Some(dir.join("nginx.conf")),
            pid: dir.join("web.pid"),
            folders: folders(dir),
            work: dir.join("work"),
            door,
            reload_within: Duration::from_secs(20),
        }
    }

    fn knobs(&mut self) -> (&mut PathBuf, &mut PathBuf, &mut Duration) {
        (&mut self.program, &mut self.pid, &mut self.reload_within)
    }

    fn write_main(dir: &Path, lines: &str) {
        let root = dir.display().to_string();
        let user = if rustix::process::geteuid().is_root() { "user nobody nogroup;" } else { "" };
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {root}/tmp/{kind};"))
            .join(" ");
        std::fs::write(
            dir.join("nginx.conf"),
            format!(
                "{user}\nworker_processes 2;\npid {root}/web.pid;\nerror_log {root}/error.log;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{\naccess_log off;\ntypes {{ text/html html; text/css css; }}\n{temp}\n{lines}\n\
                 include {root}/conf.d/*.conf;\ninclude {root}/theirs/*;\n}}\n"
            ),
        )
        .unwrap();
    }

    fn command(dir: &Path, run: bool) -> Command {
        let mut command = Command::new(nginx());
        command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
        if run {
            command.args(["-g", "daemon off;"]);
        }
        command
    }

    fn accepts(child: Pid) -> bool {
        let title = std::fs::read_to_string(format!("/proc/{}/cmdline", child.as_raw_nonzero())).unwrap_or_default();
        title.trim_end_matches('\0') == "nginx: worker process"
    }

    fn block(listen: SocketAddr, name: &str, _first: bool, lines: &[&str]) -> String {
        format!("server {{ listen {listen}; server_name {name}; {} }}\n", lines.join("\n"))
    }

    fn tls_block(listen: SocketAddr, name: &str, certificate: &Path, key: &Path) -> String {
        let (certificate, key) = (certificate.display(), key.display());
        format!(
            "server {{ listen {listen} ssl; server_name {name};\nssl_certificate {certificate};\nssl_certificate_key {key};\nreturn 410; }}\n"
        )
    }

    fn default_block(listen: SocketAddr) -> String {
        format!("server {{ listen {listen} default_server; return 410; }}")
    }

    fn gone(path: &str) -> String {
        match path {
            "/" => "return 410;".to_owned(),
            path => format!("location = {path} {{ return 410; }}"),
        }
    }

    fn does_not_fit() -> (&'static str, &'static str, &'static str) {
        ("location / { return 410; }", "", "duplicate location")
    }

    fn broken() -> &'static str {
        "server {\n  listen 127.0.0.1:1;\n  nonsense on;\n}\n"
    }

    fn main_file() -> &'static str {
        "nginx.conf"
    }
}

impl Stands for ApacheSettings {
    const ASKS_ANOTHER: bool = false;
    const RELOAD: Signal = Signal::USR1;
    const INCLUDE: &str = "Include ";
    const END: &str = "";
    const HEADER: &str = "Header set X-Mine yes";
    const ADDS_HEADERS: bool = true;
    const AN_OLD_ONE: (&str, &str, &str) = ("Server version: Apache/2.4.38 (Debian)", "Apache 2.4.38", "2.4.47");
    const COUNTS_PIECES: bool = false;
    // It makes no difference between an instance that hangs up and one that is silent.
    const TOO_LATE: u16 = 502;
    const LOADS_TLS: &str = "LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\n\
                             LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so";

    fn at(dir: &Path, door: SocketAddr) -> ApacheSettings {
        // It ends without a listener, so it has one that is nobody's.
        let idle = std::net::TcpListener::bind((door.ip(), 0)).unwrap().local_addr().unwrap();
        std::fs::write(dir.join("idle"), format!("Listen {idle}\n")).unwrap();
        ApacheSettings {
            program: "/usr/sbin/apache2".into(),
            prefix: Some(dir.to_owned()),
            conf: Some(dir.join("httpd.conf")),
            pid: dir.join("web.pid"),
            folders: folders(dir),
            work: dir.join("work"),
            door,
            reload_within: Duration::from_secs(20),
        }
    }

    fn knobs(&mut self) -> (&mut PathBuf, &mut PathBuf, &mut Duration) {
        (&mut self.program, &mut self.pid, &mut self.reload_within)
    }

    fn write_main(dir: &Path, lines: &str) {
        let lines = std::fs::read_to_string(dir.join("idle")).unwrap() + lines;
        std::fs::write(dir.join("httpd.conf"), bluegreen_rig::apache::main_file(dir, "web.pid", &lines)).unwrap();
    }

    fn command(dir: &Path, run: bool) -> Command {
        let mut command = Command::new("/usr/sbin/apache2");
        command.arg("-d").arg(dir).arg("-f").arg(dir.join("httpd.conf"));
        if run {
            command.arg("-DFOREGROUND");
        }
        command
    }

    fn accepts(child: Pid) -> bool {
        let pid = u32::try_from(child.as_raw_nonzero().get()).unwrap();
        !sockets::ports_of(&sockets::listeners().unwrap(), &[pid]).is_empty()
    }

    fn block(listen: SocketAddr, name: &str, first: bool, lines: &[&str]) -> String {
        let says = if first { format!("Listen {listen}\n") } else { String::new() };
        let lines = lines.join("\n");
        format!("<VirtualHost {listen}>\nServerName {name}\nRewriteEngine On\n{lines}\n</VirtualHost>\n{says}")
    }

    fn tls_block(listen: SocketAddr, name: &str, certificate: &Path, key: &Path) -> String {
        let certificate = format!("SSLCertificateFile {}", certificate.display());
        let key = format!("SSLCertificateKeyFile {}", key.display());
        Self::block(listen, name, true, &["SSLEngine on", &certificate, &key, &Self::gone("/")])
    }

    fn default_block(listen: SocketAddr) -> String {
        Self::block(listen, "default.test", false, &[&Self::gone("/")])
    }

    fn gone(path: &str) -> String {
        match path {
            "/" => "RewriteRule ^ - [R=410]".to_owned(),
            path => format!("RewriteRule ^{path}$ - [R=410,END]"),
        }
    }

    fn does_not_fit() -> (&'static str, &'static str, &'static str) {
        ("<Location />", "</Location>", "not allowed")
    }

    fn broken() -> &'static str {
        "<VirtualHost 127.0.0.1:1>\n  ServerName x\n  nonsense on\n</VirtualHost>\n"
    }

    fn main_file() -> &'static str {
        "httpd.conf"
    }
}
