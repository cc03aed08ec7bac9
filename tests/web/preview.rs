//! The preview: the idle colour under names of its own, and never the live one.

use bluegreen::platform::host::route;
use bluegreen::platform::host::web::{Mode, Shape, WebServer, reason};
use bluegreen::rollout::Colour;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Answer, Client, Instance, Rig, point, release, statics, unroute};
use crate::stands::Stands;

on_every_server! {
    the_preview_follows_its_link_without_a_reload_and_never_shows_the_live_colour,
    nothing_that_the_preview_answers_is_kept_or_indexed,
    a_websocket_and_a_body_pass_through_the_preview,
    the_preview_of_files_shows_those_of_the_idle_release,
    a_wildcard_of_the_site_s_leaves_the_preview_its_name,
    a_preview_s_name_that_somebody_has_is_refused,
    a_preview_whose_colour_is_gone_says_so_or_that_it_does_not_answer,
}

const NAME: &str = "next.shop.test";

/// A site with blue live, and a preview.
async fn site<K: Stands>(rig: &Rig<K>, blue: &Instance, green: &Instance) -> Shape {
    let mut shape = rig.site("shop", &[blue.address], &[green.address]);
    previewed(&mut shape);
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    shape
}

fn previewed(shape: &mut Shape) {
    let Mode::Own { previews, .. } = &mut shape.mode else { panic!() };
    previews.push(NAME.parse().unwrap());
}

fn said(answer: &Answer, header: &str) -> Vec<String> {
    answer.headers.get_all(header).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn says_that_there_is_none(answer: &Answer) {
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("nothing to be seen here now: the site shop has no release ready"), "{answer:?}");
    assert_eq!(said(answer, "x-bluegreen-colour"), ["none"]);
    assert_eq!(said(answer, "cache-control"), ["no-store"]);
    assert_eq!(said(answer, "x-robots-tag"), ["noindex"]);
}

async fn the_preview_follows_its_link_without_a_reload_and_never_shows_the_live_colour<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let shop = site(&rig, &blue, &green).await;
    let show = |colour| route::preview(&shop.dir, colour).unwrap();
    for path in ["/", "/a%2Fb?c"] {
        says_that_there_is_none(&rig.get(NAME, path).await);
    }
    for _ in 0..20 {
        show(Some(Colour::Green));
        let answer = rig.get(NAME, "/").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "green"));
        assert_eq!(said(&answer, "x-bluegreen-colour"), ["green"]);
        assert_eq!(rig.get("shop.test", "/").await.body, "blue");
        // Somebody moves the live link, and the other one still names what is live by now.
        point(&shop.dir, Colour::Green);
        says_that_there_is_none(&rig.get(NAME, "/").await);
        assert_eq!(rig.get("shop.test", "/").await.body, "green");
        show(Some(Colour::Blue));
        assert_eq!(rig.get(NAME, "/").await.body, "blue");
        point(&shop.dir, Colour::Blue);
        says_that_there_is_none(&rig.get(NAME, "/").await);
        show(None);
        says_that_there_is_none(&rig.get(NAME, "/").await);
    }
    // Before its first cutover a site has a preview and nothing else.
    unroute(&shop.dir);
    std::fs::remove_file(shop.dir.live()).unwrap();
    for (colour, body) in [(Colour::Green, "green"), (Colour::Blue, "blue")] {
        show(Some(colour));
        assert_eq!(rig.get(NAME, "/").await.body, body);
    }
    assert_eq!(rig.web.reloads(), 1);
}

async fn nothing_that_the_preview_answers_is_kept_or_indexed<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let shop = site(&rig, &blue, &green).await;
    route::preview(&shop.dir, Some(Colour::Green)).unwrap();
    let live = rig.get("shop.test", "/cached").await;
    assert_eq!(said(&live, "cache-control"), ["public, max-age=3600"]);
    assert_eq!((said(&live, "x-robots-tag"), said(&live, "x-bluegreen-colour")), (Vec::new(), Vec::new()));
    let shown = rig.get(NAME, "/cached").await;
    assert_eq!(shown.body, "green");
    assert_eq!(said(&shown, "cache-control"), ["no-store"]);
    assert_eq!(said(&shown, "x-robots-tag"), ["noindex"]);
    assert_eq!(said(&shown, "expires"), Vec::<String>::new());
}

async fn a_websocket_and_a_body_pass_through_the_preview<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let shop = site(&rig, &blue, &green).await;
    route::preview(&shop.dir, Some(Colour::Green)).unwrap();
    let mut client = Client::connect(rig.http).await.unwrap();
    let answer = client.send("POST", NAME, "/size", &"x".repeat(100_000)).await.unwrap();
    assert_eq!(answer.body, "green 100000");
    let mut socket = TcpStream::connect(rig.http).await.unwrap();
    let head = format!("GET /socket HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    socket.write_all(b"a").await.unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'A');
}

async fn the_preview_of_files_shows_those_of_the_idle_release<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let mut shop = rig.site("shop", &[], &[]);
    statics(&mut shop, "/", "public", false);
    for side in [&mut shop.blue, &mut shop.green] {
        side.statics[0].cache = Some("public, max-age=60".parse().unwrap());
        side.statics[0].fallback = Some("index.html".parse().unwrap());
    }
    previewed(&mut shop);
    release(&shop, Colour::Blue, 1, &[("public/index.html", "first"), ("public/a.css", "a1")]);
    release(&shop, Colour::Green, 2, &[("public/index.html", "second"), ("public/a.css", "a2")]);
    point(&shop.dir, Colour::Blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    says_that_there_is_none(&rig.get(NAME, "/a.css").await);
    route::preview(&shop.dir, Some(Colour::Green)).unwrap();
    for (path, first, second) in [("/", "first", "second"), ("/a.css", "a1", "a2"), ("/nowhere", "first", "second")] {
        assert_eq!(rig.get("shop.test", path).await.body, first, "{path}");
        let shown = rig.get(NAME, path).await;
        assert_eq!(shown.body, second, "{path}");
        assert_eq!(said(&shown, "cache-control"), ["no-store"], "{path}");
        assert_eq!(said(&shown, "x-bluegreen-colour"), ["green"], "{path}");
    }
}

async fn a_wildcard_of_the_site_s_leaves_the_preview_its_name<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let mut shop = rig.site("shop", &[blue.address], &[green.address]);
    previewed(&mut shop);
    let Mode::Own { hostnames, .. } = &mut shop.mode else { panic!() };
    hostnames.push("*.shop.test".parse().unwrap());
    point(&shop.dir, Colour::Blue);
    rig.web.ensure(shop.clone()).await.unwrap();
    says_that_there_is_none(&rig.get(NAME, "/").await);
    route::preview(&shop.dir, Some(Colour::Green)).unwrap();
    assert_eq!(rig.get(NAME, "/").await.body, "green");
    assert_eq!(rig.get("www.shop.test", "/").await.body, "blue");
}

async fn a_preview_s_name_that_somebody_has_is_refused<K: Stands>() {
    let rig = Rig::<K>::laid_out();
    rig.theirs("next", &K::block(rig.http, NAME, true, &[&K::gone("/")]));
    let mut rig = rig;
    rig.run().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let mut shop = rig.site("shop", &[blue.address], &[green.address]);
    previewed(&mut shop);
    point(&shop.dir, Colour::Blue);
    let fault = rig.web.ensure(shop).await.unwrap_err();
    assert_eq!(fault.reason, reason::HOSTNAME_TAKEN);
    assert!(fault.message.contains(NAME), "{fault}");
}

async fn a_preview_whose_colour_is_gone_says_so_or_that_it_does_not_answer<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let (blue, green) = (Instance::start("blue").await, Instance::start("green").await);
    let shop = site(&rig, &blue, &green).await;
    route::preview(&shop.dir, Some(Colour::Green)).unwrap();
    assert_eq!(rig.get(NAME, "/").await.body, "green");
    green.stop().await;
    let answer = rig.get(NAME, "/").await;
    assert!(matches!(answer.status, 502 | 503), "{answer:?}");
    assert_eq!(rig.get("shop.test", "/").await.body, "blue");
}
