//! Limits of requests, through a real web server: how large a body may be, and how long an app may be silent.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bluegreen::platform::host::web::{Shape, WebServer};
use bluegreen::rollout::Colour;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Announcer, Client, Instance, Rig, point, within};
use crate::stands::Stands;

on_every_server! {
    a_body_over_the_limit_is_answered_413_and_one_at_it_passes,
    an_app_that_is_silent_for_too_long_is_answered_for_and_asked_only_once,
    websockets_and_event_streams_may_be_silent_for_longer,
    a_change_of_the_limits_is_taken_up_by_one_reload,
}

/// A site of one colour, in force.
async fn live<K: Stands>(rig: &Rig<K>, shape: &Shape) {
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
}

async fn size(rig: &Rig<impl Stands>, bytes: usize) -> (u16, String) {
    let mut client = Client::connect(rig.http).await.unwrap();
    let answer = client.send("POST", "shop.test", "/size", &"x".repeat(bytes)).await.unwrap();
    (answer.status, answer.body)
}

/// The same in pieces, with no word of how many bytes they are.
async fn size_in_pieces(rig: &Rig<impl Stands>, bytes: usize) -> String {
    let mut stream = TcpStream::connect(rig.http).await.unwrap();
    let head = "POST /size HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = format!("{head}{bytes:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(bytes));
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

async fn a_body_over_the_limit_is_answered_413_and_one_at_it_passes<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let mut shop = rig.site("shop", &[blue.address], &[]);
    shop.requests.max_body = 32 << 10;
    live(&rig, &shop).await;
    assert_eq!(size(&rig, 32_768).await, (200, "blue 32768".to_owned()));
    assert_eq!(size(&rig, 32_769).await.0, 413);
    let answer = size_in_pieces(&rig, 32_000).await;
    assert!(answer.ends_with("blue 32000"), "{answer}");
    let answer = size_in_pieces(&rig, 32_769).await;
    let expected = if K::COUNTS_PIECES { "HTTP/1.1 413" } else { "HTTP/1.1 200" };
    assert!(answer.starts_with(expected), "{answer}");
}

async fn an_app_that_is_silent_for_too_long_is_answered_for_and_asked_only_once<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (one, two) = (Instance::start("one").await, Instance::start("two").await);
    let patient = Announcer::start().await;
    let mut shop = rig.site("shop", &[one.address, two.address], &[]);
    shop.requests.timeout = Duration::from_secs(1);
    live(&rig, &shop).await;
    let slow = rig.site("slow", &[patient.address], &[]);
    live(&rig, &slow).await;
    // Asked before the other one is, and answered after that was given up: it took longer than the other site's limit.
    let http = rig.http;
    let waits = tokio::spawn(async move { Client::connect(http).await.unwrap().get("slow.test", "/").await });
    for method in ["GET", "POST"] {
        let before = one.requests.load(Ordering::Relaxed) + two.requests.load(Ordering::Relaxed);
        let mut client = Client::connect(rig.http).await.unwrap();
        let answer = client.send(method, "shop.test", "/silent", "").await.unwrap();
        assert_eq!(answer.status, K::TOO_LATE, "{method}");
        let after = one.requests.load(Ordering::Relaxed) + two.requests.load(Ordering::Relaxed);
        assert_eq!(after - before, 1, "{method}: what was sent is not sent again");
    }
    assert_eq!(rig.get("shop.test", "/").await.status, 200);
    patient.say.send("data: late\n\n".to_owned()).unwrap();
    drop(patient);
    let answer = within(waits).await.unwrap().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "data: late\n\n"));
}

async fn websockets_and_event_streams_may_be_silent_for_longer<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let news = Announcer::start().await;
    let second = Duration::from_secs(1);
    let mut shop = rig.site("shop", &[blue.address], &[]);
    shop.requests.timeout = second;
    live(&rig, &shop).await;
    let mut events = rig.site("news", &[news.address], &[]);
    events.requests.timeout = second;
    live(&rig, &events).await;

    let mut socket = TcpStream::connect(rig.http).await.unwrap();
    let head = "GET /socket HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    let stream = TcpStream::connect(rig.http).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri("/events").header("host", "news.test").header("accept", "text/event-stream");
    let mut response = within(sender.send_request(request.body(Full::default()).unwrap())).await.unwrap();

    // Both were open all the while that an ordinary request is waited for, twice.
    for _ in 0..2 {
        assert_eq!(rig.get("shop.test", "/silent").await.status, K::TOO_LATE);
    }
    socket.write_all(b"a").await.unwrap();
    assert_eq!(within(socket.read_u8()).await.unwrap(), b'A');
    news.say.send("data: 1\n\n".to_owned()).unwrap();
    let frame = within(response.frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "data: 1\n\n");
}

async fn a_change_of_the_limits_is_taken_up_by_one_reload<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("blue").await;
    let mut shop = rig.site("shop", &[blue.address], &[]);
    live(&rig, &shop).await;
    assert_eq!(size(&rig, 2000).await.0, 200);
    shop.requests.max_body = 1 << 10;
    rig.web.ensure(shop.clone()).await.unwrap();
    assert_eq!(size(&rig, 2000).await.0, 413);
    rig.web.ensure(shop).await.unwrap();
    assert_eq!(rig.web.reloads(), 2);
}
