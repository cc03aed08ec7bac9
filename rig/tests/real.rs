//! The rig itself, tried on itself: what measures others must be right.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bluegreen_rig::app::Child;
use bluegreen_rig::cell::{Cell, NEIGHBOUR};
use bluegreen_rig::load::{Conversation, Fetch, Load, Loss, Stream, fetch, get};
use bluegreen_rig::nginx::Nginx;
use bluegreen_rig::{process, wait};
use rustix::process::Signal;
use serde_json::Value;

const HOST: &str = "shop.test";

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

#[test]
fn an_app_says_who_it_is_and_how_much_it_read() {
    let app = Child::start("v7", &["--colour", "green", "--instance", "1"]).expect("it comes up");
    let page = get(app.address(), HOST, "/").expect("a page");
    assert_eq!((page.status, page.version(), page.header("x-colour")), (200, Some("v7"), Some("green")));
    assert!(page.text().contains("v7"), "{}", page.text());

    let mut upload = Fetch::get(app.address(), HOST, "/upload");
    upload.method = "POST".to_owned();
    upload.body = vec![b'x'; 1 << 20];
    let answer = json(&fetch(&upload).expect("it was taken").text());
    assert_eq!(answer["bytes"], 1 << 20);
    // sha256sum of 2^20 times the letter x.
    assert_eq!(answer["sha256"], "8f990ba0b577b51cf009ea049368c16bbda1b21e1b93be07a824758bb253c39b");
}

#[test]
fn an_app_that_is_told_to_end_answers_what_is_in_flight_and_takes_no_more() {
    let mut app = Child::start("v1", &[]).expect("it comes up");
    let address = app.address();
    let mut events = Stream::open(&Fetch::get(address, HOST, "/events?ms=1500")).expect("a stream");
    events.next_piece().expect("an event").expect("an event");
    let mut socket = Conversation::open(address, HOST, "/ws").expect("a websocket");
    assert_eq!(socket.say("hello").expect("an answer"), "v1 hello");
    let slow = Stream::open(&Fetch::get(address, HOST, "/slow?ms=1000")).expect("a slow answer");
    let arrived = || TcpStream::connect(address).is_err().then_some(());
    app.process.signal(Signal::TERM);
    wait::until("nobody listens any more", wait::PATIENCE, arrived).expect("the app obeys");
    assert!(slow.rest().expect("it is not cut").ends_with("end\n"));
    let events = events.rest().expect("it ends as it should");
    assert!(events.contains("event: end"), "{events}");
    assert!(socket.say("are you there?").is_err(), "the app said goodbye");
    wait::until("the app has ended", wait::PATIENCE, || (!app.process.runs()).then_some(())).expect("it goes");
}

/// A server that answers the first request of a connection and then does `then`. Returns its address and how many requests it read.
fn server(then: fn(&mut TcpStream)) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let read = Arc::new(AtomicU64::new(0));
    let counted = read.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, counted) = (stream.expect("a client"), counted.clone());
            thread::spawn(move || {
                request(&mut stream, &counted);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                request(&mut stream, &counted);
                then(&mut stream);
            });
        }
    });
    (address, read)
}

fn request(stream: &mut TcpStream, counted: &AtomicU64) {
    let mut seen = Vec::new();
    let mut byte = [0u8; 1];
    while !seen.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        seen.push(byte[0]);
    }
    counted.fetch_add(1, Ordering::SeqCst);
}

fn lost_by(then: fn(&mut TcpStream)) -> Vec<(Loss, u64)> {
    let (address, read) = server(then);
    let asks = vec![bluegreen_rig::load::Ask::get("/")];
    let load = Load::to(address, HOST).clients(1).think(Duration::ZERO).asks(asks).of_any_app();
    let totals = load.count(10).start().expect("load").finish();
    assert_eq!((totals.requests, totals.failed), (10, 5), "{totals}");
    assert_eq!(read.load(Ordering::SeqCst), 10, "each request was sent once, and none again");
    totals.losses.into_iter().collect()
}

#[test]
fn a_request_that_gets_no_answer_is_lost_and_never_sent_again() {
    assert_eq!(lost_by(|_| {}), [(Loss::EofBeforeAnswer, 5)]);
    let half: fn(&mut TcpStream) = |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok");
    };
    assert_eq!(lost_by(half), [(Loss::BrokenAnswer, 5)]);
}

#[test]
fn a_server_that_says_close_loses_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            request(&mut stream, &AtomicU64::new(0));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let asks = vec![bluegreen_rig::load::Ask::get("/")];
    let load = Load::to(address, HOST).clients(1).think(Duration::ZERO).asks(asks).of_any_app().count(20);
    let totals = load.start().expect("load").finish();
    assert_eq!(totals.complaint(), None);
    assert_eq!(totals.connections, 20);
}

#[test]
fn an_app_that_is_killed_under_load_is_noticed() {
    let mut app = Child::start("v1", &[]).expect("it comes up");
    let load = Load::to(app.address(), HOST).clients(8).start().expect("load");
    load.wait_for_more(100).expect("it answers");
    app.process.kill();
    let refused = || load.totals().losses.contains_key(&Loss::Connect).then_some(());
    wait::until("clients were refused", wait::PATIENCE, refused).expect("nobody listens");
    assert!(load.stop().failed > 0);
}

#[test]
fn an_nginx_of_ones_own_serves_reloads_and_leaves_nothing_behind() {
    let nginx = Nginx::start().expect("it comes up");
    let server = |text: &str| format!("server {{ listen {}; return 200 \"{text}\"; }}", nginx.address());
    nginx.write("site.conf", &server("one")).expect("a file");
    nginx.reload_and_wait().expect("it reloads");
    assert_eq!(get(nginx.address(), HOST, "/").expect("an answer").text(), "one");
    nginx.write("site.conf", "this is no configuration").expect("a file");
    assert!(nginx.test().expect_err("it is nonsense").to_string().contains("site.conf"));
    nginx.write("site.conf", &server("two")).expect("a file");
    nginx.reload_and_wait().expect("it reloads");
    assert_eq!(get(nginx.address(), HOST, "/").expect("an answer").text(), "two");

    let (master, workers, folder) = (nginx.master(), nginx.workers(), nginx.folder().to_owned());
    let panicked = catch_unwind(move || {
        let _mine = &nginx;
        panic!("a test that fails");
    });
    assert!(panicked.is_err());
    assert!(!process::exists(master) && !folder.exists());
    let gone = || workers.iter().all(|worker| !process::exists(*worker)).then_some(());
    wait::until("its workers are gone", wait::PATIENCE, gone).expect("they end with their master");
}

#[test]
fn from_a_cell_one_way_leads_out_and_none_leads_in() {
    let hub = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = hub.local_addr().expect("it has one").port();
    let cell = Cell::new(port).expect("a network; this needs root");
    thread::spawn(move || {
        for mut stream in hub.incoming().flatten() {
            let _ = stream.write_all(b"hub");
        }
    });
    let knock = |address: SocketAddr| {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).ok().map(|_| said)
    };
    let other = cell.as_neighbour(|| TcpListener::bind((NEIGHBOUR, 0)).expect("a port")).expect("it may");
    let other = other.local_addr().expect("it has one");
    assert_eq!(cell.inside(|| knock((NEIGHBOUR, port).into())).expect("it may").as_deref(), Some("hub"));
    assert_eq!(cell.inside(|| knock(other)).expect("it may"), None);
    let listens = cell.inside(|| TcpListener::bind(("10.96.0.2", 0)).expect("a port")).expect("it may");
    let address = listens.local_addr().expect("it has one");
    assert_eq!(
        cell.as_neighbour(|| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()).ok(),
        Some(false)
    );
}
