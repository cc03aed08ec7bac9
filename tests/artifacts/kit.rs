//! A certificate authority, servers that it vouches for, and archives of releases to put there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bluegreen_rig::manifest::Manifest;
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::ports::Port;
use bluegreen_rig::process;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A folder with `ca.pem`, and with `cert.pem` and `key.pem` of 127.0.0.1.
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let here = |arguments: &[&str]| {
            process::run(Command::new("openssl").args(arguments).current_dir(folder.path())).unwrap();
        };
        std::fs::write(folder.path().join("ext"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
        here(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key"]);
        here(&["req", "-x509", "-new", "-key", "ca.key", "-days", "2", "-subj", "/CN=tests", "-out", "ca.pem"]);
        here(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ec.key"]);
        here(&["pkcs8", "-topk8", "-nocrypt", "-in", "ec.key", "-out", "key.pem"]);
        here(&["req", "-new", "-key", "key.pem", "-subj", "/CN=127.0.0.1", "-out", "csr.pem"]);
        here(&[
            "x509",
            "-req",
            "-in",
            "csr.pem",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "ext",
            "-out",
            "cert.pem",
        ]);
        std::fs::set_permissions(folder.path().join("ca.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
        Authority { folder }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file that root alone may read, unless `mode` says otherwise.
    pub fn secret(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

/// An nginx that serves the files of a folder over TLS; below `/private/` to `joe` alone.
pub struct Files {
    pub nginx: Nginx,
    pub port: Port,
    pub authority: Authority,
}

impl Files {
    pub fn start() -> Files {
        let (authority, port) = (Authority::new(), Port::take().unwrap());
        let nginx = Nginx::start().unwrap();
        let root = nginx.folder().join("files");
        std::fs::create_dir_all(root.join("private")).unwrap();
        std::fs::write(nginx.folder().join("users"), "joe:{PLAIN}hunter2-of-the-tests\n").unwrap();
        let (root, folder, number) = (root.display(), nginx.folder().display(), port.number());
        let (cert, key) = (authority.file("cert.pem"), authority.file("key.pem"));
        let server = format!(
            "log_format sent '$request_method $uri $status $body_bytes_sent';\nserver {{\n listen 127.0.0.1:{number} ssl;\n \
             ssl_certificate {};\n ssl_certificate_key {};\n root {root};\n access_log {folder}/sent.log sent;\n \
             location /private/ {{ auth_basic x; auth_basic_user_file {folder}/users; }}\n \
             location /to-http/ {{ return 302 http://127.0.0.1:1$uri; }}\n location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}\n \
             location /round/ {{ return 302 $uri; }}\n location /broken/ {{ return 503; }}\n}}\n",
            cert.display(),
            key.display()
        );
        nginx.write("files.conf", &server).unwrap();
        nginx.reload_and_wait().unwrap();
        Files { nginx, port, authority }
    }

    /// Puts a file there; what it must be.
    pub fn put(&self, name: &str, content: &[u8]) -> String {
        std::fs::write(self.nginx.folder().join("files").join(name), content).unwrap();
        sum(content)
    }

    pub fn url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/{name}", self.port.number())
    }

    /// What was asked for and answered: method, path, status, bytes.
    pub fn sent(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.nginx.folder().join("sent.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    pub fn release(&self, name: &str, sha256: &str) -> Value {
        json!({ "url": self.url(name), "sha256": sha256, "caFile": self.authority.file("ca.pem") })
    }
}

pub fn sum(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

pub fn with(site: &Manifest, release: Value) -> Manifest {
    site.clone().set("/spec/target/host/release", release)
}

/// A release as a tar archive that is packed by gzip.
pub fn packed(folder: &Path) -> Vec<u8> {
    let tar = process::run(Command::new("tar").arg("-C").arg(folder).args(["-czf", "-", "."])).unwrap();
    tar.stdout
}

/// What a server over TLS is asked for.
#[derive(Default)]
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
    /// Where the range begins, if it is asked for one.
    pub from: Option<usize>,
    pub if_range: Option<String>,
}

/// What it does then.
pub enum Then {
    /// It ends the connection as it should be ended.
    Close,
    /// It says no more, and keeps the connection.
    Hang,
    /// It goes on with one byte after the other, slowly enough to last for ever.
    Trickle(Vec<u8>),
}

/// How slow a server is that trickles: never quiet, and of no use.
const TRICKLE: std::time::Duration = std::time::Duration::from_millis(200);

type Answer = dyn Fn(&Asked) -> (Vec<u8>, Then) + Send + Sync;

/// A server over TLS that answers with any bytes at all. Gone when it is dropped.
pub struct Odd {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Odd {
    pub fn start(authority: &Authority, answer: impl Fn(&Asked) -> (Vec<u8>, Then) + Send + Sync + 'static) -> Odd {
        let certs = CertificateDer::pem_file_iter(authority.file("cert.pem")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(authority.file("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(certs, key).unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, answer): (_, Arc<Answer>) = (listener.local_addr().unwrap(), Arc::new(answer));
        let (asked, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (heard, over) = (asked.clone(), ends.clone());
        let thread = std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                kept.extend(serve(stream, &config, &heard, &*answer));
            }
        });
        Odd { address, asked, ends, thread: Some(thread) }
    }

    pub fn release(&self, authority: &Authority, sha256: &str) -> Value {
        json!({ "url": format!("https://{}/shop.tar.gz", self.address), "sha256": sha256, "caFile": authority.file("ca.pem") })
    }

    /// What was asked for, in order.
    pub fn paths(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.path.clone()).collect()
    }

    /// Where the questions began, in order.
    pub fn began(&self) -> Vec<usize> {
        self.asked.lock().unwrap().iter().map(|asked| asked.from.unwrap_or(0)).collect()
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers one question; what is to be kept open.
fn serve(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    heard: &Mutex<Vec<Asked>>,
    answer: &Answer,
) -> Option<TcpStream> {
    let kept = stream.try_clone().ok()?;
    let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).ok()?, stream);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if tls.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let field = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
        line.split_once(": ").map(|(_, value)| value.to_owned())
    };
    let from = field("range:").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let asked = Asked { path, authorization: field("authorization:"), from, if_range: field("if-range:") };
    let (bytes, then) = answer(&asked);
    heard.lock().unwrap().push(asked);
    tls.write_all(&bytes).and_then(|()| tls.flush()).ok()?;
    match then {
        Then::Hang => Some(kept),
        Then::Trickle(rest) => {
            for byte in rest {
                tls.write_all(&[byte]).and_then(|()| tls.flush()).ok()?;
                std::thread::sleep(TRICKLE);
            }
            None
        }
        Then::Close => {
            tls.conn.send_close_notify();
            let _ = tls.flush();
            let _ = tls.sock.shutdown(std::net::Shutdown::Write);
            // Until the other side has read it all: closed earlier, the kernel would throw it away.
            let _ = tls.sock.read(&mut byte);
            None
        }
    }
}
