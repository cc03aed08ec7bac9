//! A real web server in a prefix of its own, instances to stand behind it, and a client that never repeats a request.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bluegreen::api::requests::Requests;
use bluegreen::platform::host::layout::SiteDir;
use bluegreen::platform::host::route;
use bluegreen::platform::host::web::queue::Front;
use bluegreen::platform::host::web::{Mode, Shape, Side, StaticPath};
use bluegreen::rollout::Colour;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::stands::Stands;

/// Waits for what must come true.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for what must come.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it never came")
}

/// A web server of its own: its prefix, its loopback address, its process. Ends, and leaves nothing, when it is dropped.
pub struct Rig<K: Stands> {
    dir: tempfile::TempDir,
    ip: IpAddr,
    pub settings: K,
    pub web: Front<K>,
    pub http: SocketAddr,
    child: Option<Child>,
}

impl<K: Stands> Rig<K> {
    /// Laid out, and running.
    pub async fn start() -> Rig<K> {
        let mut rig = Rig::laid_out();
        rig.run().await;
        rig
    }

    /// Laid out, not running.
    pub fn laid_out() -> Rig<K> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::Builder::new().prefix("bg-web-").tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        // An address of loopback that nothing else uses: no outgoing connection takes one of its ports.
        let [a, b] = u16::try_from(std::process::id() % 60_000).unwrap().to_be_bytes();
        let n = u8::try_from(COUNT.fetch_add(1, Ordering::Relaxed) % 250).unwrap();
        let ip = IpAddr::V4(Ipv4Addr::new(127, 100 + a % 100, b, n + 1));
        for folder in ["conf.d", "theirs", "tmp", "state"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let settings = K::at(dir.path(), free(ip));
        let rig = Rig { web: Front::new(settings.clone()), http: free(ip), settings, ip, dir, child: None };
        rig.write_main("");
        rig
    }

    /// Writes the main file, with `lines` in it before our files.
    pub fn write_main(&self, lines: &str) {
        K::write_main(&self.path(""), lines);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.dir.path().to_owned() } else { self.dir.path().join(name) }
    }

    /// A file that somebody wrote by hand.
    pub fn theirs(&self, name: &str, text: &str) {
        std::fs::write(self.path("theirs").join(name), text).unwrap();
    }

    /// An address on which nobody listens.
    pub fn free(&self) -> SocketAddr {
        free(self.ip)
    }

    /// Starts it and waits until its workers are there.
    pub async fn run(&mut self) {
        assert!(self.child.is_none());
        let log = std::fs::File::create(self.path("start.log")).unwrap();
        let command = K::command(&self.path(""), true);
        // Ends with the test, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        until("the web server starts", async || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {}", std::fs::read_to_string(self.path("start.log")).unwrap());
            self.workers().len() >= 2 && self.path("web.pid").exists()
        })
        .await;
    }

    /// Has it read its configuration again, as its administrator would.
    pub fn reload(&self) {
        self.signal(K::RELOAD);
    }

    /// Sends the master a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.master(), signal).unwrap();
    }

    fn master(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    /// The workers that take connections.
    pub fn workers(&self) -> Vec<Pid> {
        let master = self.master().as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        let pids = children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().unwrap()));
        pids.filter(|pid| K::accepts(*pid)).collect()
    }

    /// Ends it, at once and with all of its processes, as a lost machine would.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let master = Pid::from_child(&child).as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        let _ = child.kill();
        let _ = child.wait();
        for pid in children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// What it says of what is in place when it is asked.
    pub fn test(&self) -> bool {
        K::command(&self.path(""), false).arg("-t").output().unwrap().status.success()
    }

    /// The agent, started again: it remembers nothing.
    pub fn forget(&mut self) {
        self.web = Front::new(self.settings.clone());
    }

    /// Everything in our folders, to be compared.
    pub fn ours(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for folder in [self.path("conf.d"), self.path("snippets")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                files.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
        files
    }

    /// A site that answers to `NAME.test` on the rig's address, prepared, with no route yet.
    pub fn site(&self, name: &str, blue: &[SocketAddr], green: &[SocketAddr]) -> Shape {
        let dir = SiteDir::new(&self.path("state"), &name.parse().unwrap());
        route::prepare(&dir).unwrap();
        let side = |instances: &[SocketAddr]| Side { instances: instances.to_vec(), ..Side::default() };
        Shape {
            site: name.parse().unwrap(),
            dir,
            mode: Mode::Own {
                hostnames: vec![format!("{name}.test").parse().unwrap()],
                previews: Vec::new(),
                listen: vec![self.http],
                tls: None,
            },
            requests: Requests::default(),
            blue: side(blue),
            green: side(green),
        }
    }

    /// The status of a request, if there is an answer.
    pub async fn try_get(&self, host: &str) -> Option<u16> {
        let mut client = Client::connect(self.http).await.ok()?;
        Some(client.get(host, "/").await.ok()?.status)
    }

    /// What is answered to a path that is sent as it stands here.
    pub async fn raw(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        let asked = format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// One request on a connection of its own.
    pub async fn get(&self, host: &str, path: &str) -> Answer {
        Client::connect(self.http).await.unwrap().get(host, path).await.unwrap()
    }
}

impl<K: Stands> Drop for Rig<K> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address on which nobody listens.
pub fn free(ip: IpAddr) -> SocketAddr {
    StdListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// Moves the link, and waits for the next millisecond: what a worker was told of the link it remembers until then.
pub fn point(dir: &SiteDir, colour: Colour) {
    route::point(dir, colour).unwrap();
    next_millisecond();
}

/// Moves the link to no colour, and waits for the next millisecond.
pub fn unroute(dir: &SiteDir) {
    route::unroute(dir).unwrap();
    next_millisecond();
}

fn next_millisecond() {
    let milliseconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let moved = milliseconds();
    while milliseconds() == moved {
        std::thread::yield_now();
    }
}

/// A static path for both colours.
pub fn statics(shape: &mut Shape, path: &str, root: &str, keep: bool) {
    for side in [&mut shape.blue, &mut shape.green] {
        side.statics.push(StaticPath {
            path: path.parse().unwrap(),
            root: root.parse().unwrap(),
            keep,
            fallback: None,
            cache: None,
            precompressed: false,
        });
    }
}

/// Makes a colour hold a release with these files.
pub fn release(shape: &Shape, colour: Colour, revision: u128, files: &[(&str, &str)]) -> PathBuf {
    let revision = bluegreen::rollout::Revision::new(revision);
    let root = shape.dir.release(revision);
    for (name, text) in files {
        write(&root.join(name), text);
    }
    route::hold(&shape.dir, colour, Some(revision)).unwrap();
    root
}

pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    pub body: String,
}

/// One connection. What fails is said; nothing is repeated.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub async fn connect(to: SocketAddr) -> Result<Client, String> {
        let stream = TcpStream::connect(to).await.map_err(|e| e.to_string())?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        Ok(Client { sender })
    }

    pub async fn get(&mut self, host: &str, path: &str) -> Result<Answer, String> {
        self.send("GET", host, path, "").await
    }

    pub async fn send(&mut self, method: &str, host: &str, path: &str, body: &str) -> Result<Answer, String> {
        let request =
            Request::builder().method(method).uri(path).header("host", host).body(Full::from(body.to_owned())).unwrap();
        self.request(request).await
    }

    pub async fn request(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let response = within(self.sender.send_request(request)).await.map_err(|e| e.to_string())?;
        let (head, body) = response.into_parts();
        let body = within(body.collect()).await.map_err(|e| e.to_string())?.to_bytes();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

/// An instance: answers with its name. Gone, sockets and all, when it is stopped or dropped.
pub struct Instance {
    pub address: SocketAddr,
    pub requests: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Instance {
    pub async fn start(name: &'static str) -> Instance {
        Instance::start_at(name, "127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(name: &'static str, address: SocketAddr) -> Instance {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (count, open) = (Arc::clone(&requests), Arc::clone(&connections));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                let serve = service_fn(move |request| {
                    count.fetch_add(1, Ordering::Relaxed);
                    answer(name, request)
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), serve)
                    .with_upgrades();
                let task = tokio::spawn(async move {
                    let _ = connection.await;
                });
                open.lock().unwrap().push(task);
            }
        });
        Instance { address, requests, accepting, connections }
    }

    /// Returns when nothing listens there any more.
    pub async fn stop(self) {
        let address = self.address;
        drop(self);
        until("the instance is gone", async || TcpStream::connect(address).await.is_err()).await;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.accepting.abort();
        for task in self.connections.lock().unwrap().drain(..) {
            task.abort();
        }
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(name: &'static str, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let text = |text: String| Response::new(Full::from(text).boxed());
    match request.uri().path() {
        "/headers" => {
            let lines = request.headers().iter();
            let lines: Vec<String> = lines.map(|(k, v)| format!("{k}: {}", v.to_str().unwrap())).collect();
            Ok(text(lines.join("\n")))
        }
        // Taken, and never answered.
        "/silent" => std::future::pending().await,
        "/cached" => {
            let response = Response::builder().header("cache-control", "public, max-age=3600");
            Ok(response.header("expires", "Thu, 01 Jan 2099 00:00:00 GMT").body(Full::from(name).boxed()).unwrap())
        }
        "/size" => Ok(text(format!("{name} {}", request.collect().await?.to_bytes().len()))),
        "/socket" if upgrades(&request) => {
            let upgrade = hyper::upgrade::on(request);
            tokio::spawn(async move {
                let mut socket = TokioIo::new(upgrade.await.unwrap());
                let mut byte = [0; 1];
                while socket.read_exact(&mut byte).await.is_ok() {
                    if socket.write_all(&[byte[0].to_ascii_uppercase()]).await.is_err() {
                        break;
                    }
                }
            });
            let response =
                Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
            Ok(response.body(Full::default().boxed()).unwrap())
        }
        _ => {
            request.collect().await?;
            Ok(text(name.to_owned()))
        }
    }
}

fn upgrades(request: &Request<Incoming>) -> bool {
    let is = |name: &str, value: &str| {
        request.headers().get(name).is_some_and(|found| found.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    is("upgrade", "websocket") && is("connection", "upgrade")
}

/// An instance of the old kind: its answers end when the connection does.
pub struct Announcer {
    pub address: SocketAddr,
    /// What is said here is sent to whoever asked last.
    pub say: mpsc::UnboundedSender<String>,
}

impl Announcer {
    pub async fn start() -> Announcer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (say, mut said) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            assert!(stream.read(&mut asked).await.unwrap() > 0);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            while let Some(event) = said.recv().await {
                stream.write_all(event.as_bytes()).await.unwrap();
            }
        });
        Announcer { address, say }
    }
}
