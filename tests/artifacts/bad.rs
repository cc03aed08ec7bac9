//! What can't be fetched leaves the site as it is, and is said.

use std::sync::atomic::{AtomicUsize, Ordering};

use bluegreen_rig::wait;
use serde_json::{Value, json};

use crate::kit::{Authority, Files, Odd, Then, packed, sum, with};
use crate::served::Served;

fn nothing_is_kept(served: &Served) {
    let folder = served.agent().state_dir().join("downloads");
    let left: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

pub fn refused(served: &Served, release: Value, words: &[&str]) {
    let error = served.agent().apply_and_wait(&with(&served.site, release)).unwrap_err();
    let error = format!("{error:#}");
    for word in words {
        assert!(error.contains(word), "{word}: {error}");
    }
    served.is_untouched();
    nothing_is_kept(served);
}

#[test]
fn what_is_not_what_the_manifest_says_is_rejected_and_nothing_of_it_is_kept() {
    let served = Served::start();
    let files = Files::start();
    let is = files.put("v2.tar.gz", &packed(&served.machine.release("v2")));
    let wanted = sum(b"another one");
    refused(&served, files.release("v2.tar.gz", &wanted), &[&is, &wanted, "nothing of it is kept"]);
    refused(&served, files.release("none.tar.gz", &is), &["404", "it is not there"]);
    let other = |n: u32| sum(&n.to_be_bytes());
    refused(&served, files.release("to-http/v2.tar.gz", &other(1)), &["a place that is not https"]);
    refused(&served, files.release("round/v2.tar.gz", &other(2)), &["more than 5 times"]);
    // Whom nobody vouches for.
    let mut stranger = files.release("v2.tar.gz", &other(3));
    stranger.as_object_mut().unwrap().remove("caFile");
    served.agent().apply(&with(&served.site, stranger)).unwrap();
    is_tried_again(&served, &["TLS", "certificate"]);
    served.is_untouched();
    served.agent().apply_and_wait(&with(&served.site, files.release("v2.tar.gz", &is)).env("AGAIN", "1")).unwrap();
    served.load().wait_for_version("v2").unwrap();
    served.lost_nothing();
}

#[test]
fn what_is_larger_than_the_limit_is_not_fetched() {
    let served = Served::start();
    let authority = Authority::new();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3000000000\r\n\r\nx";
    let odd = Odd::start(&authority, move |_| (head.as_bytes().to_vec(), Then::Hang));
    refused(&served, odd.release(&authority, &sum(b"1")), &["3000000000 bytes", "2147483648 are fetched at most"]);
    served.lost_nothing();
}

#[test]
fn a_server_that_fails_answers_nonsense_or_nothing_is_asked_again_until_it_is_well() {
    let served = Served::start();
    let authority = Authority::new();
    let content = packed(&served.machine.release("v2"));
    let (digest, count) = (sum(&content), AtomicUsize::new(0));
    let odd = Odd::start(&authority, move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec(), Then::Close),
        1 => (b"\0\x01\x02 what is this? \r\n\r\n".to_vec(), Then::Close),
        2 => (
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-9/10\r\nContent-Length: 3\r\n\r\nabc".to_vec(),
            Then::Close,
        ),
        // It says nothing at all until its time is up.
        3 => (Vec::new(), Then::Hang),
        _ => {
            let mut all = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len()).into_bytes();
            all.extend(&content);
            (all, Then::Close)
        }
    });
    served.agent().apply(&with(&served.site, odd.release(&authority, &digest))).unwrap();
    is_tried_again(&served, &["trying again"]);
    served.is_untouched();
    // From one try to the next it takes longer and longer; all of them together take most of a minute.
    wait::until("all that goes wrong had gone wrong", wait::PATIENCE, || (odd.began().len() >= 4).then_some(()))
        .unwrap();
    served.load().wait_for_version("v2").unwrap();
    let log = served.agent().log();
    for words in ["503", "another part than it was asked for", "took too long"] {
        assert!(log.contains(words), "{words}");
    }
    served.lost_nothing();
}

#[test]
fn what_is_written_wrongly_is_said_before_anything_is_asked() {
    let served = Served::start();
    let sum = sum(b"1");
    let image = format!("registry.example/shop@sha256:{sum}");
    for (release, words) in [
        (json!({ "url": "http://a.example/a.zip", "sha256": sum }), "only https://"),
        (json!({ "url": "https://a.example/a.zip" }), "sha256: is needed with url"),
        (json!({ "url": "https://joe:secret-of-mine@a.example/a.zip", "sha256": sum }), "holds a user or a password"),
        (json!({ "oci": { "image": "registry.example/shop:1.4" } }), "names no digest"),
        (json!({ "oci": { "image": image }, "sha256": sum }), "of an image the digest says it all"),
        (json!({ "oci": { "image": image }, "path": "/srv" }), "has path and oci"),
        (json!({ "path": "/srv", "caFile": "/etc/ca.pem" }), "for what is fetched"),
        (json!({ "oci": { "image": image }, "credentials": {} }), "exactly one of file"),
    ] {
        let error = format!("{:#}", served.agent().apply(&with(&served.site, release.clone())).unwrap_err());
        assert!(error.contains(words), "{release}: {error}");
        assert!(!error.contains("secret-of-mine"), "{error}");
    }
    served.is_untouched();
    served.lost_nothing();
}

/// Waits until the site says that it tries again, and why.
pub fn is_tried_again(served: &Served, words: &[&str]) {
    let so = |site: &Value| {
        let all = site.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        all.iter().any(|one| {
            let message = one["message"].as_str().unwrap_or_default();
            let tried = one["type"] == "Reconciling" && one["reason"] == "FetchFailed";
            tried && words.iter().all(|word| message.contains(word))
        })
    };
    served.agent().wait_for("shop", &format!("is tried again: {words:?}"), so).unwrap();
}
