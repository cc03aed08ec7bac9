//! A push that somebody tells of.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use bluegreen_rig::process::run;
use bluegreen_rig::wait;

use crate::kit::{Followed, counted};
use crate::server::private;

const SECRET: &str = "the-secret-of-the-tests";

/// The status that is answered to these headers and this body.
fn answer(address: SocketAddr, method: &str, headers: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!("{method} /hook HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    // Whoever refuses a body need not read it.
    let _ = stream.write_all(body);
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// As OpenSSL signs it.
fn signature(secret: &str, body: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), body).unwrap();
    let mut openssl = Command::new("openssl");
    let output = run(openssl.args(["dgst", "-sha256", "-hmac", secret, "-r"]).arg(file.path())).unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn a_signed_word_of_a_push_is_heard_at_once_and_any_other_is_not() {
    let mut followed = Followed::prepared();
    let shop = followed.shop();
    let first = followed.push(&shop, "v1");
    let file = followed.machine.agent.folder().join("secret");
    private(&file, SECRET);
    // An hour: whatever is heard within this test was told.
    followed
        .follow(&format!("  interval: 1h\n  webhook: {{ listen: '127.0.0.1:0', secretFile: {} }}\n", file.display()));
    followed.live_by("shop", &first);
    let address = followed.machine.agent.run_dir().join("webhook.addr");
    let address: SocketAddr = std::fs::read_to_string(address).unwrap().trim().parse().unwrap();
    let asked = || counted(&followed.machine, "bluegreen_git_fetches_total{result=\"ok\"}");
    let before = asked();
    let second = followed.push(&shop, "v2");
    let body = format!("{{\"after\": \"{second}\"}}").into_bytes();
    let hub = |signature: &str| format!("X-Hub-Signature-256: sha256={signature}\r\n");
    let right = signature(SECRET, &body);
    assert_eq!(answer(address, "GET", &hub(&right), b""), 405);
    assert_eq!(answer(address, "POST", "", &body), 401);
    assert_eq!(answer(address, "POST", &hub(&signature("another secret of some length", &body)), &body), 401);
    assert_eq!(answer(address, "POST", &hub(&right), b"another body"), 401);
    assert_eq!(answer(address, "POST", "X-Gitlab-Token: the-secret-of-the-test\r\n", &body), 401);
    assert_eq!(answer(address, "POST", &hub(&right), &vec![b'x'; (1 << 20) + 1]), 413);
    // A client that says nothing, or says it slowly, keeps nobody else out.
    let silent: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(asked(), before, "nobody who knows the secret told of anything");
    assert_eq!(answer(address, "POST", &hub(&right), &body), 202);
    followed.live_by("shop", &second);
    let third = followed.push(&shop, "v3");
    assert_eq!(answer(address, "POST", &format!("X-Gitlab-Token: {SECRET}\r\n"), b"{}"), 202);
    followed.live_by("shop", &third);
    // However often it is told, the repository is not asked as often.
    let (so_far, begun) = (asked(), Instant::now());
    for _ in 0..50 {
        assert_eq!(answer(address, "POST", &format!("X-Gitlab-Token: {SECRET}\r\n"), b"{}"), 202);
    }
    wait::until("it was heard", wait::PATIENCE, || (asked() > so_far).then_some(())).unwrap();
    let most = so_far + begun.elapsed().as_secs_f64() + 2.0;
    assert!(asked() <= most, "{} after {so_far}, {most} at most", asked());
    drop(silent);
    assert!(counted(&followed.machine, "bluegreen_git_webhook_requests_total{code=\"401\"}") >= 4.0);
}
