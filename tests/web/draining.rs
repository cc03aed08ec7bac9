//! What a web server says of the requests that it is answering.

use std::time::Duration;

use bluegreen::platform::host::web::WebServer;
use bluegreen::platform::host::web::apache::ApacheSettings;
use bluegreen::platform::host::web::nginx::NginxSettings;
use bluegreen::platform::host::web::{Mode, Shape};
use bluegreen::rollout::Colour;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Instance, Rig, point, until};
use crate::stands::Stands;

const LATER: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "multi_thread")]
async fn nginx_has_no_account_of_its_requests_and_leaves_it_to_the_sockets() {
    let rig = Rig::<NginxSettings>::start().await;
    let shape = rig.site("shop", &[], &[]);
    assert_eq!(rig.web.in_flight(&shape.site, LATER).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_in_flight_on_apache_from_its_headers_to_its_end_also_across_a_graceful_restart() {
    let rig = Rig::<ApacheSettings>::start().await;
    let blue = Instance::start("blue").await;
    let (shop, blog) = (rig.site("shop", &[blue.address], &[]), rig.site("blog", &[blue.address], &[]));
    for shape in [&shop, &blog] {
        point(&shape.dir, Colour::Blue);
        rig.web.ensure(shape.clone()).await.unwrap();
    }
    // Its body never got so far that an instance has heard of it.
    upload(&rig, &shop, async || rig.signal(Signal::USR1)).await;
    assert_eq!(rig.web.in_flight(&blog.site, LATER).await.unwrap(), Some(false), "the other site's is none of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_a_block_of_the_user_s_is_in_flight_too() {
    let rig = Rig::<ApacheSettings>::start().await;
    let blue = Instance::start("blue").await;
    let mut shop = rig.site("shop", &[blue.address], &[]);
    shop.mode = Mode::Include;
    point(&shop.dir, Colour::Blue);
    let include = format!("Include {}", rig.web.snippet(&shop.site).display());
    assert!(rig.web.ensure(shop.clone()).await.is_err());
    rig.theirs("shop", &ApacheSettings::block(rig.http, "shop.test", true, &[&include]));
    rig.web.ensure(shop.clone()).await.unwrap();
    upload(&rig, &shop, async || {}).await;
}

/// Sends a part of a body, does something, and sends the rest.
async fn upload(rig: &Rig<ApacheSettings>, shape: &Shape, meanwhile: impl AsyncFnOnce()) {
    let is = async |expected: bool| rig.web.in_flight(&shape.site, LATER).await.unwrap() == Some(expected);
    assert!(is(false).await);
    let mut upload = TcpStream::connect(rig.http).await.unwrap();
    let head = "POST /size HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n";
    upload.write_all(head.as_bytes()).await.unwrap();
    upload.write_all(&[b'x'; 100]).await.unwrap();
    until("it is in flight", async || is(true).await).await;
    meanwhile().await;
    assert!(is(true).await);
    upload.write_all(&[b'x'; 199_900]).await.unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("blue 200000"), "{answer}");
    until("it is over", async || is(false).await).await;
}
