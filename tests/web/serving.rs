//! What a request gets, through a real web server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bluegreen::platform::host::web::nginx::NginxSettings;
use bluegreen::platform::host::web::{Mode, WebServer};
use bluegreen::rollout::Colour;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Announcer, Client, Instance, Rig, point, release, statics, unroute, until, within, write};
use crate::stands::Stands;

on_every_server! {
    the_app_sees_the_path_as_the_client_wrote_it,
    a_release_at_the_root_leaves_what_is_no_file_as_it_was_written,
    two_hundred_cutovers_lose_no_request_and_reload_nothing,
    without_a_link_every_request_is_answered_503_and_the_door_says_so,
    a_post_that_was_sent_is_never_repeated_and_a_get_passes_over_a_failing_instance,
    an_instance_that_comes_back_is_found_again_within_its_second,
    the_app_is_told_who_asked_and_nobody_can_lie_to_it,
    a_websocket_passes_and_lives_across_a_cutover,
    events_arrive_one_by_one_as_they_are_sent,
    a_colour_without_instances_is_no_fault_of_the_other_one,
    a_host_name_that_is_no_site_s_gets_no_site,
    files_are_answered_from_the_live_release_and_those_kept_from_others,
    each_colour_s_files_lie_where_its_own_release_has_them,
    a_site_of_files_alone_has_its_index_and_its_folders,
    nothing_is_answered_through_a_symlink,
    a_block_of_the_user_s_shows_the_app_the_same_path,
    a_host_name_of_82_characters_is_served_and_told_whole,
}

async fn two_hundred_cutovers_lose_no_request_and_reload_nothing<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let shape = rig.site("shop", &[blue.address], &[green.address]);
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();

    let over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for number in 0..16 {
        let (over, answered, to) = (Arc::clone(&over), Arc::clone(&answered), rig.http);
        clients.push(tokio::spawn(async move {
            let mut client = Client::connect(to).await.unwrap();
            let mut failed = Vec::new();
            let method = if number % 2 == 0 { "GET" } else { "POST" };
            while !over.load(Ordering::Relaxed) {
                match client.send(method, "shop.test", "/", "x").await {
                    Ok(answer) if answer.status == 200 => {
                        answered.fetch_add(1, Ordering::Relaxed);
                        // A web server says when it closes a connection: that is no loss.
                        if answer.headers.get("connection").is_some_and(|value| value == "close") {
                            client = Client::connect(to).await.unwrap();
                        }
                    }
                    Ok(answer) => failed.push(format!("{method} {}", answer.status)),
                    Err(error) => {
                        failed.push(format!("{method} {error}"));
                        client = Client::connect(to).await.unwrap();
                    }
                }
            }
            failed
        }));
    }
    for cutover in 0..200u64 {
        let colour = if cutover % 2 == 0 { Colour::Green } else { Colour::Blue };
        let before = answered.load(Ordering::Relaxed);
        point(&shape.dir, colour);
        assert_eq!(rig.web.seen(&shape.site).await.unwrap(), Some(colour));
        assert_eq!(rig.get("shop.test", "/").await.body, colour.name());
        until("requests go on", async || answered.load(Ordering::Relaxed) > before + 20).await;
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.await.unwrap(), Vec::<String>::new());
    }
    assert!(answered.load(Ordering::Relaxed) > 4000);
    assert!(blue.requests.load(Ordering::Relaxed) > 1000 && green.requests.load(Ordering::Relaxed) > 1000);
    assert_eq!(rig.web.reloads(), 1);
}

async fn without_a_link_every_request_is_answered_503_and_the_door_says_so<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let mut shape = rig.site("shop", &[blue.address], &[green.address]);
    statics(&mut shape, "/assets/", "assets", true);
    release(&shape, Colour::Blue, 1, &[("assets/a.css", "a")]);
    rig.web.ensure(shape.clone()).await.unwrap();
    assert_eq!(rig.web.seen(&shape.site).await.unwrap(), None);
    for path in ["/", "/assets/a.css", "/assets/"] {
        assert_eq!(rig.get("shop.test", path).await.status, 503, "{path}");
    }
    point(&shape.dir, Colour::Blue);
    assert_eq!(rig.web.seen(&shape.site).await.unwrap(), Some(Colour::Blue));
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
    assert_eq!(rig.get("shop.test", "/assets/a.css").await.body, "a");

    unroute(&shape.dir);
    assert_eq!(rig.web.seen(&shape.site).await.unwrap(), None);
    assert_eq!(rig.get("shop.test", "/assets/a.css").await.status, 503);
    // Each worker may remember for a second that there was a link; never that it named another colour.
    let mut refused = 0;
    until("every worker has noticed", async || {
        let answer = rig.get("shop.test", "/").await;
        assert!(answer.status == 503 || answer.body == "blue", "{answer:?}");
        refused = if answer.status == 503 { refused + 1 } else { 0 };
        refused > 50
    })
    .await;
    assert_eq!(green.requests.load(Ordering::Relaxed), 0);

    // Removed by somebody's hand, with green live, it is the same.
    point(&shape.dir, Colour::Green);
    assert_eq!(rig.get("shop.test", "/").await.body, "green");
    std::fs::remove_file(shape.dir.live()).unwrap();
    until("it is noticed", async || rig.get("shop.test", "/").await.status == 503).await;
    point(&shape.dir, Colour::Green);
    assert_eq!(rig.get("shop.test", "/").await.body, "green", "put back, it serves at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_outlives_its_colour_is_answered_by_the_other_one() {
    let rig = Rig::<NginxSettings>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let shape = rig.site("shop", &[blue.address], &[green.address]);
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();

    let mut upload = TcpStream::connect(rig.http).await.unwrap();
    let head = "POST /size HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n";
    upload.write_all(head.as_bytes()).await.unwrap();
    upload.write_all(&[b'x'; 100_000]).await.unwrap();
    // The colour is chosen when the headers are in: before the body goes to a file, which nginx unlinks as soon as it is open.
    until("nginx buffers the body", async || rig.workers().into_iter().any(holds_a_body)).await;
    point(&shape.dir, Colour::Green);
    blue.stop().await;
    upload.write_all(&[b'x'; 100_000]).await.unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("green 200000"), "{answer}");
}

fn holds_a_body(worker: rustix::process::Pid) -> bool {
    let open = std::fs::read_dir(format!("/proc/{}/fd", worker.as_raw_nonzero()));
    let files = open.into_iter().flatten().flatten();
    files
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|target| target.to_string_lossy().contains("/tmp/client_body/"))
}

async fn a_post_that_was_sent_is_never_repeated_and_a_get_passes_over_a_failing_instance<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let good = Instance::start("good").await;
    let (bad, reached) = hangs_up().await;
    let shape = rig.site("shop", &[bad, good.address], &[]);
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();

    let mut refused = 0;
    until("a POST meets the failing instance", async || {
        refused += u32::from(post(&rig).await == 502);
        refused > 0
    })
    .await;
    // One arrival for each answer of 502: it went there once, and nowhere else.
    let (bad_had, good_had) = (reached.load(Ordering::Relaxed), good.requests.load(Ordering::Relaxed));
    assert_eq!(bad_had, u64::from(refused));
    until("a GET meets the failing instance", async || {
        let answer = rig.get("shop.test", "/").await;
        assert!(answer.body == "good" || !K::ASKS_ANOTHER && answer.status == 502, "{answer:?}");
        reached.load(Ordering::Relaxed) > bad_had
    })
    .await;
    assert!(good.requests.load(Ordering::Relaxed) > good_had);
}

async fn post(rig: &Rig<impl Stands>) -> u16 {
    let mut client = Client::connect(rig.http).await.unwrap();
    client.send("POST", "shop.test", "/", "x").await.unwrap().status
}

/// Takes a request and hangs up.
async fn hangs_up() -> (std::net::SocketAddr, Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, reached) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&reached);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 1024];
            if stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    (address, reached)
}

async fn an_instance_that_comes_back_is_found_again_within_its_second<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (one, two) = (Instance::start("one").await, Instance::start("two").await);
    let shape = rig.site("shop", &[one.address, two.address], &[]);
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    let address = one.address;
    one.stop().await;
    for _ in 0..20 {
        assert_eq!(rig.get("shop.test", "/").await.body, "two");
        assert_eq!(post(&rig).await, 200, "nothing was sent to the one that is gone");
    }
    let _back = Instance::start_at("one", address).await;
    until("it is in rotation again", async || rig.get("shop.test", "/").await.body == "one").await;
}

async fn the_app_is_told_who_asked_and_nobody_can_lie_to_it<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let shape = rig.site("shop", &[blue.address], &[]);
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    let mut client = Client::connect(rig.http).await.unwrap();
    let request = Request::builder()
        .uri("/headers")
        .header("host", "SHOP.test:8080")
        .header("x-real-ip", "6.6.6.6")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "evil")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-port", "6")
        .header("x-forwarded-ssl", "on")
        .header("x-forwarded-scheme", "https")
        .header("x-forwarded-prefix", "/evil")
        .header("client-ip", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6")
        .header("proxy", "evil")
        .header("connection", "upgrade")
        .header("upgrade", "h2c");
    let answer = client.request(request.body(Full::default()).unwrap()).await.unwrap();
    let told = answer.body.to_lowercase();
    // Whether it is said that the connection is kept is between the two.
    let mut said: Vec<&str> = told.lines().filter(|line| *line != "connection: keep-alive").collect();
    said.sort_unstable();
    let port = rig.http.port();
    assert_eq!(
        said,
        [
            "host: shop.test:8080",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: shop.test:8080",
            &format!("x-forwarded-port: {port}"),
            "x-forwarded-proto: http",
            "x-real-ip: 127.0.0.1",
        ]
    );
}

async fn a_websocket_passes_and_lives_across_a_cutover<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let shape = rig.site("shop", &[blue.address], &[green.address]);
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    let mut socket = TcpStream::connect(rig.http).await.unwrap();
    let head = "GET /socket HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    for colour in [Colour::Green, Colour::Blue] {
        socket.write_all(b"a").await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'A');
        point(&shape.dir, colour);
    }
    socket.write_all(b"b").await.unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'B');
}

async fn events_arrive_one_by_one_as_they_are_sent<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Announcer::start().await;
    let mut shape = rig.site("shop", &[blue.address], &[blue.address]);
    statics(&mut shape, "/", "public", false);
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    let stream = TcpStream::connect(rig.http).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<hyper::body::Bytes>>(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri("/events").header("host", "shop.test").header("accept", "text/event-stream");
    let asked = sender.send_request(request.body(Full::default()).unwrap());
    let mut response = within(asked).await.unwrap();
    assert_eq!(response.status(), 200);
    for event in ["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"] {
        blue.say.send(event.to_owned()).unwrap();
        let frame = within(response.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
        point(&shape.dir, Colour::Green);
    }
}

async fn a_colour_without_instances_is_no_fault_of_the_other_one<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let shape = rig.site("shop", &[blue.address], &[]);
    point(&shape.dir, Colour::Green);
    rig.web.ensure(shape.clone()).await.unwrap();
    assert_eq!(rig.get("shop.test", "/").await.status, 404);
    point(&shape.dir, Colour::Blue);
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
}

async fn a_host_name_that_is_no_site_s_gets_no_site<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    for name in ["shop", "blog"] {
        let shape = rig.site(name, &[blue.address], &[]);
        point(&shape.dir, Colour::Blue);
        rig.web.ensure(shape).await.unwrap();
    }
    assert_eq!(rig.get("blog.test", "/").await.body, "blue");
    assert_eq!(rig.get("evil.test", "/").await.status, 404);
    // Somebody marks a block of theirs later: nobody has an objection.
    rig.theirs("default", &K::default_block(rig.http));
    assert!(rig.test());
}

async fn files_are_answered_from_the_live_release_and_those_kept_from_others<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let mut shape = rig.site("shop", &[blue.address], &[green.address]);
    statics(&mut shape, "/assets/", "public/assets", true);
    statics(&mut shape, "/docs/", "docs", false);
    release(
        &shape,
        Colour::Blue,
        1,
        &[("public/assets/a-1.css", "one"), ("public/assets/same.css", "old"), ("docs/x", "1")],
    );
    release(
        &shape,
        Colour::Green,
        2,
        &[("public/assets/a-2.css", "two"), ("public/assets/same.css", "new"), ("docs/y", "2")],
    );
    write(&shape.dir.kept().join("0/a-0.css"), "zero");
    write(&shape.dir.kept().join("0/same.css"), "oldest");
    write(&shape.dir.kept().join("1/z"), "not kept");
    rig.web.ensure(shape.clone()).await.unwrap();
    for (colour, same, docs, missing) in [(Colour::Blue, "old", "x", "y"), (Colour::Green, "new", "y", "x")] {
        point(&shape.dir, colour);
        for (path, body) in [
            ("/assets/a-0.css", "zero"),
            ("/assets/a-1.css", "one"),
            ("/assets/a-2.css", "two"),
            ("/assets/same.css", same),
        ] {
            let answer = rig.get("shop.test", path).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, body), "{colour} {path}");
            assert_eq!(answer.headers["content-type"], "text/css");
        }
        assert_eq!(rig.get("shop.test", &format!("/docs/{docs}")).await.body.len(), 1);
        // What is no file is the app's, whatever it is.
        for path in [format!("/docs/{missing}"), "/docs/z".to_owned(), "/assets/none".to_owned(), "/assets/".to_owned()]
        {
            assert_eq!(rig.get("shop.test", &path).await.body, colour.name(), "{path}");
        }
        let mut client = Client::connect(rig.http).await.unwrap();
        let posted = client.send("POST", "shop.test", "/assets/same.css", "x").await.unwrap();
        assert_eq!(posted.body, colour.name(), "a file takes no POST, an app may");
    }
}

async fn each_colour_s_files_lie_where_its_own_release_has_them<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let mut shape = rig.site("shop", &[], &[]);
    statics(&mut shape, "/assets/", "public", true);
    shape.green.statics[0].root = "dist".parse().unwrap();
    shape.green.statics[0].keep = false;
    let only = shape.blue.statics[0].clone();
    shape.green.statics.push(bluegreen::platform::host::web::StaticPath { path: "/new/".parse().unwrap(), ..only });
    release(
        &shape,
        Colour::Blue,
        1,
        &[("public/a", "blue"), ("dist/a", "wrong"), ("public/b", "b"), ("public/n", "n")],
    );
    release(
        &shape,
        Colour::Green,
        2,
        &[("dist/a", "green"), ("public/a", "wrong"), ("dist/c", "c"), ("public/n", "N")],
    );
    rig.web.ensure(shape.clone()).await.unwrap();
    point(&shape.dir, Colour::Blue);
    assert_eq!(rig.get("shop.test", "/assets/a").await.body, "blue");
    assert_eq!(rig.get("shop.test", "/assets/c").await.body, "c", "blue keeps");
    assert_eq!(rig.get("shop.test", "/new/n").await.status, 404, "blue has no such path");
    point(&shape.dir, Colour::Green);
    assert_eq!(rig.get("shop.test", "/assets/a").await.body, "green");
    assert_eq!(rig.get("shop.test", "/assets/b").await.status, 404, "green doesn't");
    assert_eq!(rig.get("shop.test", "/new/n").await.body, "N");
}

async fn a_site_of_files_alone_has_its_index_and_its_folders<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let mut shape = rig.site("shop", &[], &[]);
    statics(&mut shape, "/", "public", false);
    release(
        &shape,
        Colour::Blue,
        1,
        &[
            ("public/index.html", "home"),
            ("public/docs/index.html", "docs"),
            ("public/empty/x", "x"),
            ("public/.well-known/security.txt", "safe"),
            ("public/.git/config", "secret"),
            ("public/docs/.env", "secret"),
            ("ledger.json", "secret"),
        ],
    );
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    for (path, status, body) in [
        ("/", 200, "home"),
        ("/?a=b", 200, "home"),
        ("/docs/", 200, "docs"),
        ("/docs/index.html", 200, "docs"),
        ("/.well-known/security.txt", 200, "safe"),
    ] {
        let answer = rig.get("shop.test", path).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{path}");
    }
    let moved = rig.get("shop.test", "/docs?a=b").await;
    assert_eq!(moved.status, 302);
    let to = moved.headers["location"].to_str().unwrap();
    assert!(["/docs/?a=b", "http://shop.test/docs/?a=b"].contains(&to), "{to}");
    for path in [
        "/empty/",
        "/empty",
        "/none",
        "/.git/config",
        "/docs/.env",
        "/%2e%2e/ledger.json",
        "/..%2fledger.json",
        "/../ledger.json",
        "/docs/%0a",
        "/docs/x%0a",
        "/ledger.json",
        "/release/public/index.html",
    ] {
        let answer = rig.get("shop.test", path).await;
        assert!(matches!(answer.status, 404 | 400), "{path} {answer:?}");
        assert!(!answer.body.contains("secret") && !answer.body.contains("Index of"), "{path}");
    }
    let mut client = Client::connect(rig.http).await.unwrap();
    assert_eq!(client.send("POST", "shop.test", "/index.html", "x").await.unwrap().status, 405);
}

async fn nothing_is_answered_through_a_symlink<K: Stands>() {
    use std::os::unix::fs::symlink;
    let rig = Rig::<K>::start().await;
    let mut shape = rig.site("shop", &[], &[]);
    statics(&mut shape, "/assets/", "public", true);
    let root =
        release(&shape, Colour::Blue, 1, &[("public/a", "a"), ("secret", "secret"), ("public/d/index.html", "d")]);
    let other = release(&shape, Colour::Green, 2, &[("public/g", "g")]);
    let outside = rig.path("outside");
    write(&outside.join("secret"), "secret");
    write(&outside.join("index.html"), "secret");
    // The one link that is followed: what is kept is exchanged whole, by moving it.
    let kept = shape.dir.kept().join(".tree");
    write(&kept.join("k"), "k");
    symlink(".tree", shape.dir.kept().join("0")).unwrap();
    for folder in [root.join("public"), other.join("public"), kept] {
        let name = folder.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        symlink(outside.join("secret"), folder.join(format!("file-{name}"))).unwrap();
        symlink(&outside, folder.join(format!("folder-{name}"))).unwrap();
        symlink("../secret", folder.join(format!("inside-{name}"))).unwrap();
    }
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    for (path, body) in [("a", "a"), ("g", "g"), ("k", "k"), ("d/", "d")] {
        assert_eq!(rig.get("shop.test", &format!("/assets/{path}")).await.body, body, "{path}");
    }
    for name in [root.file_name().unwrap().to_str().unwrap(), other.file_name().unwrap().to_str().unwrap(), "kept"] {
        for path in ["file-", "folder-", "inside-"].map(|kind| format!("/assets/{kind}{name}")) {
            for path in [path.clone(), format!("{path}/"), format!("{path}/secret"), format!("{path}/index.html")] {
                let answer = rig.get("shop.test", &path).await;
                assert_eq!(answer.status, 404, "{path} {answer:?}");
            }
        }
    }
}

pub const PATHS: [&str; 18] = [
    "/a%2Fb",
    "/a%2fb%3Fc",
    "/a%3Fb?c=%2F%3f&d=e+f",
    "//x//y/",
    "/a/..;/b;c=d",
    "/%C3%A9/%E2%82%AC",
    "/a%20b%25c%2B+",
    "/x'y$z!(*),~",
    "/a?x=a?b//c",
    "/%41%7e",
    "/a%23b%26c",
    "/a/./b",
    "/?",
    "/:80@x",
    "/é/€/한국어?q=한",
    "/..;/..;/x",
    "/a%2F%2e%2e%2Fb",
    "/%7f%80%ff",
];

async fn the_app_sees_the_path_as_the_client_wrote_it<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (echo().await, echo().await);
    let shape = rig.site("shop", &[blue], &[green]);
    rig.web.ensure(shape.clone()).await.unwrap();
    for colour in Colour::BOTH {
        point(&shape.dir, colour);
        for path in PATHS {
            assert_eq!(rig.raw(path).await, path);
        }
        // As to a proxy: the host is told by the request line, and is no part of the path.
        for path in ["/a%2Fb?c=d", "/"] {
            assert_eq!(rig.raw(&format!("http://shop.test{path}")).await, path);
        }
    }
}

async fn a_release_at_the_root_leaves_what_is_no_file_as_it_was_written<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = echo().await;
    let mut shape = rig.site("shop", &[blue], &[]);
    statics(&mut shape, "/", "public", true);
    release(&shape, Colour::Blue, 1, &[("public/style.css", "x")]);
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape).await.unwrap();
    for path in PATHS {
        assert_eq!(rig.raw(path).await, path);
    }
}

/// Answers with the path that it is asked for, to the letter.
pub async fn echo() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    asked.push(byte);
                }
                let asked = String::from_utf8_lossy(&asked);
                let path = asked.split(' ').nth(1).unwrap_or_default();
                let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", path.len());
                let _ = stream.write_all(format!("{head}{path}").as_bytes()).await;
            });
        }
    });
    address
}

async fn a_block_of_the_user_s_shows_the_app_the_same_path<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = echo().await;
    let mut shop = rig.site("shop", &[blue], &[]);
    shop.mode = Mode::Include;
    point(&shop.dir, Colour::Blue);
    let include = format!("{}{}{}", K::INCLUDE, rig.web.snippet(&shop.site).display(), K::END);
    rig.web.ensure(shop.clone()).await.unwrap_err();
    rig.theirs("shop", &K::block(rig.http, "shop.test", true, &[&include]));
    rig.web.ensure(shop).await.unwrap();
    for path in PATHS {
        assert_eq!(rig.raw(path).await, path);
    }
}

/// The longest that somebody was seen to have trouble with.
async fn a_host_name_of_82_characters_is_served_and_told_whole<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let name = format!("{}.{}.test", "a".repeat(38), "b".repeat(38));
    assert_eq!(name.len(), 82);
    let mut shop = rig.site("shop", &[blue.address], &[]);
    let Mode::Own { hostnames, .. } = &mut shop.mode else { panic!() };
    hostnames.push(name.parse().unwrap());
    point(&shop.dir, Colour::Blue);
    rig.web.ensure(shop).await.unwrap();
    for host in [name.clone(), format!("{name}:8443")] {
        let told = rig.get(&host, "/headers").await.body;
        assert!(told.lines().any(|line| line == format!("host: {host}")), "{told}");
        assert!(told.lines().any(|line| line == format!("x-forwarded-host: {host}")), "{told}");
    }
}
