//! A site over HTTPS, asked by curl: with the certificate that it names, and nobody else's.

use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

use bluegreen::platform::host::route;
use bluegreen::platform::host::web::{Mode, Shape, Tls, WebServer};
use bluegreen::rollout::Colour;
use bluegreen_rig::load::{Line, Trust};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::faults::openssl;
use crate::fixture::{Announcer, Client, Instance, Rig, free, point, until, within};
use crate::serving::{PATHS, echo};
use crate::stands::Stands;

on_every_server! {
    a_site_speaks_https_and_what_comes_without_is_sent_on,
    another_certificate_is_shown_after_one_reload,
    a_name_that_is_no_site_s_is_shown_no_site,
    the_app_is_told_who_asked_over_https_and_nobody_can_lie_to_it,
    the_preview_is_shown_with_the_site_s_certificate,
    the_app_sees_the_path_as_the_client_wrote_it,
    a_host_name_of_82_characters_is_served_and_told_whole,
    a_websocket_passes_and_lives_across_a_cutover,
    events_arrive_one_by_one_as_they_are_sent,
    a_request_by_ipv6_is_answered_with_tls_and_sent_on_without,
}

async fn start<K: Stands>() -> Rig<K> {
    let mut rig = Rig::<K>::laid_out();
    rig.write_main(K::LOADS_TLS);
    rig.run().await;
    rig
}

/// Makes a certificate for a name, which is what a client is shown.
fn certificate(rig: &Rig<impl Stands>, file: &str, name: &str) -> Tls {
    let (certificate, key) = (rig.path(&format!("{file}.crt")), rig.path(&format!("{file}.key")));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        &format!("subjectAltName=DNS:{name}"),
        "-keyout",
        key.to_str().unwrap(),
        "-out",
        certificate.to_str().unwrap(),
    ]);
    Tls { certificate, key, listen: vec![rig.free()] }
}

fn over_tls(shape: &mut Shape, with: &Tls) {
    let Mode::Own { tls, .. } = &mut shape.mode else { panic!() };
    *tls = Some(with.clone());
}

/// What curl, which trusts this certificate alone, prints of an answer: its head and its body. What is wrong, if there is none.
async fn curl(tls: &Tls, trusts: &Path, host: &str, path: &str, more: &[&str]) -> Result<String, String> {
    let at = tls.listen[0];
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--include",
            "--path-as-is",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--cacert",
        ])
        .arg(trusts)
        .args(["--resolve", &format!("{host}:{}:[{}]", at.port(), at.ip())])
        .args(more)
        .arg(format!("https://{host}:{}{path}", at.port()))
        .output()
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

async fn a_site_speaks_https_and_what_comes_without_is_sent_on<K: Stands>() {
    let rig = start::<K>().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let mut shop = rig.site("shop", &[blue.address], &[green.address]);
    let tls = certificate(&rig, "shop", "shop.test");
    over_tls(&mut shop, &tls);
    point(&shop.dir, Colour::Blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    let port = tls.listen[0].port();
    let ask = async |path: &str, more: &[&str]| curl(&tls, &tls.certificate, "shop.test", path, more).await.unwrap();

    let answer = ask("/", &["--http2"]).await;
    assert!(answer.starts_with("HTTP/2 200") && answer.ends_with("blue"), "{answer}");
    for version in ["--http1.1", "--http2"] {
        let told = ask("/headers", &[version]).await.to_ascii_lowercase();
        for line in [
            "x-forwarded-proto: https".to_owned(),
            format!("x-forwarded-port: {port}"),
            format!("host: shop.test:{port}"),
            format!("x-forwarded-host: shop.test:{port}"),
        ] {
            assert!(told.contains(&line), "{version}: no {line:?} in {told}");
        }
    }
    let body = "x".repeat(100_000);
    let answer = ask("/size", &["--http2", "--data-raw", &body]).await;
    assert!(answer.ends_with("blue 100000"), "{answer}");
    point(&shop.dir, Colour::Green);
    let answer = ask("/", &["--http2"]).await;
    assert!(answer.ends_with("green"), "{answer}");

    for (path, method) in [("/a%2Fb?c=%20d", "GET"), ("/", "POST")] {
        let mut client = crate::fixture::Client::connect(rig.http).await.unwrap();
        let sent_on = client.send(method, "shop.test", path, "").await.unwrap();
        assert_eq!(sent_on.status, 308);
        assert_eq!(sent_on.headers["location"], format!("https://shop.test:{port}{path}"));
    }
    assert_eq!(rig.web.reloads(), 1);
}

async fn the_app_is_told_who_asked_over_https_and_nobody_can_lie_to_it<K: Stands>() {
    let rig = start::<K>().await;
    let blue = Instance::start("blue").await;
    let mut shop = rig.site("shop", &[blue.address], &[]);
    let tls = certificate(&rig, "shop", "shop.test");
    over_tls(&mut shop, &tls);
    point(&shop.dir, Colour::Blue);
    rig.web.ensure(shop).await.unwrap();
    let mut lies = Vec::new();
    for lie in [
        "X-Forwarded-For: 6.6.6.6",
        "X-Real-IP: 6.6.6.6",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Port: 6",
        "X-Forwarded-Ssl: off",
        "X-Forwarded-Scheme: http",
        "X-Forwarded-Prefix: /evil",
        "Client-IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6;proto=http",
    ] {
        lies.extend(["--header", lie]);
    }
    let answer = curl(&tls, &tls.certificate, "shop.test", "/headers", &lies).await.unwrap();
    let (_, told) = answer.split_once("\r\n\r\n").unwrap();
    let about = ["x-", "forwarded", "client-ip", "host"];
    let mut said: Vec<&str> = told.lines().filter(|line| about.iter().any(|start| line.starts_with(start))).collect();
    said.sort_unstable();
    let port = tls.listen[0].port();
    let ip = said.iter().find_map(|line| line.strip_prefix("x-real-ip: ")).unwrap_or_default();
    assert!(ip.starts_with("127."), "{told}");
    assert_eq!(
        said,
        [
            format!("host: shop.test:{port}"),
            format!("x-forwarded-for: {ip}"),
            format!("x-forwarded-host: shop.test:{port}"),
            format!("x-forwarded-port: {port}"),
            "x-forwarded-proto: https".to_owned(),
            format!("x-real-ip: {ip}"),
        ]
    );
}

async fn the_preview_is_shown_with_the_site_s_certificate<K: Stands>() {
    let rig = start::<K>().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let mut shop = rig.site("shop", &[blue.address], &[green.address]);
    let tls = certificate(&rig, "shop", "*.shop.test");
    over_tls(&mut shop, &tls);
    let Mode::Own { hostnames, previews, .. } = &mut shop.mode else { panic!() };
    *hostnames = vec!["www.shop.test".parse().unwrap()];
    previews.push("next.shop.test".parse().unwrap());
    point(&shop.dir, Colour::Blue);
    route::preview(&shop.dir, Some(Colour::Green)).unwrap();
    rig.web.ensure(shop).await.unwrap();
    for (host, body) in [("www.shop.test", "blue"), ("next.shop.test", "green")] {
        for version in ["--http1.1", "--http2"] {
            let answer = curl(&tls, &tls.certificate, host, "/", &[version]).await.unwrap();
            assert!(answer.ends_with(body), "{host}: {answer}");
        }
        assert_eq!(rig.try_get(host).await, Some(308), "what comes without TLS is sent on");
    }
}

async fn another_certificate_is_shown_after_one_reload<K: Stands>() {
    let rig = start::<K>().await;
    let blue = Instance::start("blue").await;
    let mut shop = rig.site("shop", &[blue.address], &[]);
    let first = certificate(&rig, "first", "shop.test");
    over_tls(&mut shop, &first);
    point(&shop.dir, Colour::Blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    curl(&first, &first.certificate, "shop.test", "/", &[]).await.unwrap();
    let second = Tls { listen: first.listen.clone(), ..certificate(&rig, "second", "shop.test") };
    over_tls(&mut shop, &second);
    rig.web.ensure(shop.clone()).await.unwrap();
    curl(&second, &second.certificate, "shop.test", "/", &[]).await.unwrap();
    let error = curl(&second, &first.certificate, "shop.test", "/", &[]).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(rig.web.reloads(), 2);
}

async fn a_name_that_is_no_site_s_is_shown_no_site<K: Stands>() {
    let rig = start::<K>().await;
    let blue = Instance::start("blue").await;
    let mut shop = rig.site("shop", &[blue.address], &[]);
    let tls = certificate(&rig, "shop", "shop.test");
    over_tls(&mut shop, &tls);
    point(&shop.dir, Colour::Blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    let stranger = curl(&tls, &tls.certificate, "other.test", "/", &["--insecure"]).await;
    assert!(stranger.as_ref().map_or(true, |answer| answer.contains(" 404")), "{stranger:?}");
    assert_eq!(blue.requests.load(std::sync::atomic::Ordering::Relaxed), 0);
    until("the site itself goes on", async || curl(&tls, &tls.certificate, "shop.test", "/", &[]).await.is_ok()).await;
}

async fn the_app_sees_the_path_as_the_client_wrote_it<K: Stands>() {
    let rig = start::<K>().await;
    let app = echo().await;
    let mut shop = rig.site("shop", &[app], &[]);
    let tls = certificate(&rig, "shop", "shop.test");
    over_tls(&mut shop, &tls);
    point(&shop.dir, Colour::Blue);
    rig.web.ensure(shop).await.unwrap();
    for version in ["--http1.1", "--http2"] {
        // HTTP/2 knows no path that isn't ASCII.
        for path in PATHS.iter().filter(|path| path.is_ascii()) {
            let answer = curl(&tls, &tls.certificate, "shop.test", path, &[version, "--globoff"]).await.unwrap();
            assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, *path, "{version}");
        }
    }
}

async fn a_host_name_of_82_characters_is_served_and_told_whole<K: Stands>() {
    let rig = start::<K>().await;
    let blue = Instance::start("blue").await;
    let name = format!("{}.{}.test", "a".repeat(38), "b".repeat(38));
    assert_eq!(name.len(), 82);
    let mut shop = rig.site("shop", &[blue.address], &[]);
    let tls = certificate(&rig, "shop", &name);
    over_tls(&mut shop, &tls);
    let Mode::Own { hostnames, .. } = &mut shop.mode else { panic!() };
    *hostnames = vec![name.parse().unwrap()];
    point(&shop.dir, Colour::Blue);
    rig.web.ensure(shop).await.unwrap();
    for version in ["--http1.1", "--http2"] {
        let told = curl(&tls, &tls.certificate, &name, "/headers", &[version]).await.unwrap();
        let host = format!("{name}:{}", tls.listen[0].port());
        for header in ["host", "x-forwarded-host"] {
            assert!(told.lines().any(|line| line == format!("{header}: {host}")), "{version}: {told}");
        }
    }
}

/// A connection to the site over TLS.
async fn connect(tls: &Tls) -> Line {
    let trust = Trust::only(&tls.certificate).unwrap();
    Line::connect(tls.listen[0], "shop.test", Some(&trust), Duration::from_secs(20)).await.unwrap()
}

async fn a_websocket_passes_and_lives_across_a_cutover<K: Stands>() {
    let rig = start::<K>().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let mut shop = rig.site("shop", &[blue.address], &[green.address]);
    let tls = certificate(&rig, "shop", "shop.test");
    over_tls(&mut shop, &tls);
    point(&shop.dir, Colour::Blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    let mut socket = connect(&tls).await;
    let head = "GET /socket HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(within(socket.read_u8()).await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    for colour in [Colour::Green, Colour::Blue] {
        socket.write_all(b"a").await.unwrap();
        assert_eq!(within(socket.read_u8()).await.unwrap(), b'A');
        point(&shop.dir, colour);
    }
    socket.write_all(b"b").await.unwrap();
    assert_eq!(within(socket.read_u8()).await.unwrap(), b'B');
}

async fn events_arrive_one_by_one_as_they_are_sent<K: Stands>() {
    let rig = start::<K>().await;
    let blue = Announcer::start().await;
    let mut shop = rig.site("shop", &[blue.address], &[blue.address]);
    let tls = certificate(&rig, "shop", "shop.test");
    over_tls(&mut shop, &tls);
    point(&shop.dir, Colour::Blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(connect(&tls).await)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri("/events").header("host", "shop.test").header("accept", "text/event-stream");
    let mut response = within(sender.send_request(request.body(Full::default()).unwrap())).await.unwrap();
    assert_eq!(response.status(), 200);
    for event in ["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"] {
        blue.say.send(event.to_owned()).unwrap();
        let frame = within(response.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
        point(&shop.dir, Colour::Green);
    }
}

async fn a_request_by_ipv6_is_answered_with_tls_and_sent_on_without<K: Stands>() {
    let loopback = Ipv6Addr::LOCALHOST.into();
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("this machine has no IPv6: nothing was tried");
        return;
    }
    let rig = start::<K>().await;
    let blue = Instance::start("blue").await;
    let (plain, secure) = (free(loopback), free(loopback));
    let tls = certificate(&rig, "shop", "shop.test");
    let mut shop = rig.site("shop", &[blue.address], &[]);
    over_tls(&mut shop, &Tls { listen: vec![tls.listen[0], secure], ..tls.clone() });
    let mut blog = rig.site("blog", &[blue.address], &[]);
    for shape in [&mut shop, &mut blog] {
        let Mode::Own { listen, .. } = &mut shape.mode else { panic!() };
        listen.push(plain);
        point(&shape.dir, Colour::Blue);
        rig.web.ensure(shape.clone()).await.unwrap();
    }
    let plainly = async |host| Client::connect(plain).await.unwrap().get(host, "/").await.unwrap();
    assert_eq!(plainly("blog.test").await.body, "blue");
    let by_v6 = Tls { listen: vec![secure], ..tls.clone() };
    for (way, version) in [(&tls, "--http1.1"), (&by_v6, "--http1.1"), (&by_v6, "--http2")] {
        let answer = curl(way, &tls.certificate, "shop.test", "/", &[version]).await.unwrap();
        assert!(answer.ends_with("blue"), "{answer}");
    }
    assert_eq!(plainly("shop.test").await.status, 308);
    assert_eq!(plainly("other.test").await.status, 404, "nobody's name is nobody's site here too");
    let told = curl(&by_v6, &tls.certificate, "shop.test", "/headers", &[]).await.unwrap();
    assert!(told.lines().any(|line| line == "x-forwarded-for: ::1"), "{told}");
}
