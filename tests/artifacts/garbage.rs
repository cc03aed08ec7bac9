//! A registry that is slow, or answers with garbage: it is asked again, or what is wrong is said; the site goes on, and nothing wrong is ever used.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::bad::{is_tried_again, refused};
use crate::kit::{Asked, Authority, Odd, Then, packed, sum, with};
use crate::served::Served;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image of one layer, behind an index as images of several platforms are.
struct Image {
    layer: Vec<u8>,
    manifest: Vec<u8>,
    index: Vec<u8>,
}

impl Image {
    fn of(layer: Vec<u8>) -> Image {
        let described = |kind: &str, content: &[u8]| json!({ "mediaType": kind, "digest": format!("sha256:{}", sum(content)), "size": content.len() });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described("application/vnd.oci.image.config.v1+json", b"{}"),
            "layers": [described("application/vnd.oci.image.layer.v1.tar+gzip", &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = described(MANIFEST, &manifest);
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        let index =
            json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry] });
        Image { layer, manifest, index: index.to_string().into_bytes() }
    }

    /// The right answer.
    fn answer(&self, asked: &Asked) -> (Vec<u8>, Then) {
        match self.part(asked) {
            Part::Index => ok(&self.index),
            Part::Manifest => ok(&self.manifest),
            Part::Layer => ok(&self.layer),
            Part::Other => (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(), Then::Close),
        }
    }

    fn part(&self, asked: &Asked) -> Part {
        let is = |content: &[u8]| asked.path.ends_with(&sum(content));
        match &asked.path {
            path if path.starts_with("/v2/shop/manifests/") && is(&self.index) => Part::Index,
            path if path.starts_with("/v2/shop/manifests/") && is(&self.manifest) => Part::Manifest,
            path if path.starts_with("/v2/shop/blobs/") && is(&self.layer) => Part::Layer,
            _ => Part::Other,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Index,
    Manifest,
    Layer,
    Other,
}

fn ok(body: &[u8]) -> (Vec<u8>, Then) {
    let mut all = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    all.extend(body);
    (all, Then::Close)
}

/// The same number of other bytes.
fn garbled(content: &[u8]) -> (Vec<u8>, Then) {
    ok(&content.iter().map(|byte| byte ^ 0x55).collect::<Vec<u8>>())
}

fn redirect(to: &str) -> (Vec<u8>, Then) {
    let head = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    (head.into_bytes(), Then::Close)
}

/// Wants a token that this place gives.
fn who_asks(realm: std::net::SocketAddr) -> (Vec<u8>, Then) {
    let challenge = format!("Bearer realm=\"https://{realm}/token\",service=\"tests\"");
    let head = format!("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n");
    (head.into_bytes(), Then::Close)
}

fn release(odd: &Odd, authority: &Authority, digest: &str) -> Value {
    json!({ "oci": { "image": format!("{}/shop@sha256:{digest}", odd.address) }, "caFile": authority.file("ca.pem") })
}

#[test]
fn a_manifest_or_a_layer_of_other_bytes_than_its_digest_says_is_never_used_and_fetched_anew() {
    let served = Served::start();
    let authority = Authority::new();
    let image = Image::of(packed(&served.machine.release("v2")));
    let digest = sum(&image.index);
    let (manifests, layers) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let odd = Odd::start(&authority, move |asked| match image.part(asked) {
        Part::Manifest if manifests.fetch_add(1, Ordering::Relaxed) == 0 => garbled(&image.manifest),
        Part::Layer => match layers.fetch_add(1, Ordering::Relaxed) {
            0 => garbled(&image.layer),
            // Too short, too long.
            1 => ok(&image.layer[1..]),
            2 => ok(&[&image.layer[..], b"x"].concat()),
            _ => image.answer(asked),
        },
        _ => image.answer(asked),
    });
    served.agent().apply_and_wait(&with(&served.site, release(&odd, &authority, &digest))).unwrap();
    served.load().wait_for_version("v2").unwrap();
    let log = served.agent().log();
    for words in ["was wanted; nothing of it is kept", "it is fetched anew", "answers with another size than"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert_eq!(odd.paths().iter().filter(|path| path.contains("/blobs/")).count(), 4, "{:?}", odd.paths());
    served.lost_nothing();
}

#[test]
fn what_only_another_manifest_can_mend_is_said_and_not_asked_for_again() {
    let served = Served::start();
    let authority = Authority::new();
    let image = Image::of(packed(&served.machine.release("v2")));
    let wrong = sum(&image.index);
    let garbage: [(&[u8], &str); 4] = [
        (b"\0\x01 what is this?", "has a manifest that is none"),
        (b"<html>Sign in</html>", "has a manifest that is none"),
        (b"{}", "it names no layers"),
        (br#"{"layers":[{"digest":"md5:../../etc/passwd","size":1,"mediaType":"application/vnd.oci.image.layer.v1.tar"}],"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0","size":1}}"#, "is no SHA-256 digest"),
    ];
    let of_digest: Vec<(String, Vec<u8>)> = garbage.iter().map(|(body, _)| (sum(body), body.to_vec())).collect();
    let odd = Odd::start(&authority, move |asked| {
        let found = of_digest.iter().find(|(digest, _)| asked.path.ends_with(digest));
        match (found, image.part(asked)) {
            (Some((_, body)), _) => ok(body),
            (None, Part::Index) => garbled(&image.index),
            (None, _) => redirect(&asked.path),
        }
    });
    refused(&served, release(&odd, &authority, &wrong), &[&wrong, "was wanted; nothing of it is kept"]);
    // What is no manifest is kept, since it is what its digest says.
    let useless = |digest: &str, words: &str| {
        let site = with(&served.site, release(&odd, &authority, digest));
        let error = format!("{:#}", served.agent().apply_and_wait(&site).unwrap_err());
        assert!(error.contains(words), "{words}: {error}");
        served.is_untouched();
    };
    for (body, words) in garbage {
        useless(&sum(body), words);
    }
    let before = odd.paths().len();
    useless(&sum(b"round and round"), "more than 5 times");
    assert_eq!(odd.paths().len() - before, 6, "{:?}", odd.paths());
    served.lost_nothing();
}

#[test]
fn a_registry_that_says_nothing_is_asked_again() {
    let served = Served::start();
    let authority = Authority::new();
    let image = Image::of(packed(&served.machine.release("v2")));
    let (digest, count) = (sum(&image.index), AtomicUsize::new(0));
    let odd = Odd::start(&authority, move |asked| match (count.fetch_add(1, Ordering::Relaxed), image.part(asked)) {
        // It accepts, and is silent; it says what comes, and nothing comes.
        (0, _) => (Vec::new(), Then::Hang),
        (1, _) => (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{".to_vec(), Then::Hang),
        (2, _) => (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".to_vec(), Then::Close),
        _ => image.answer(asked),
    });
    served.agent().apply(&with(&served.site, release(&odd, &authority, &digest))).unwrap();
    is_tried_again(&served, &["took too long"]);
    served.is_untouched();
    served.load().wait_for_version("v2").unwrap();
    assert!(served.agent().log().contains("502"));
    served.lost_nothing();
}

#[test]
fn a_token_that_ends_is_asked_for_anew_and_an_answer_that_is_none_is_not_shown() {
    let served = Served::start();
    let authority = Authority::new();
    let image = Image::of(packed(&served.machine.release("v2")));
    let (digest, tokens) = (sum(&image.index), AtomicUsize::new(0));
    let own = std::sync::Arc::new(std::sync::OnceLock::new());
    let address = own.clone();
    let odd = Odd::start(&authority, move |asked| {
        if asked.path.starts_with("/token?") {
            return match tokens.fetch_add(1, Ordering::Relaxed) {
                0 => ok(b"<html>hunter2-of-the-tests</html>"),
                1 => ok(br#"{"expires_in": 300}"#),
                // No header can hold it.
                2 => ok(b"{\"token\": \"hunter2\\r\\nX-Other: 1\"}"),
                number => ok(json!({ "token": format!("number-{number}") }).to_string().as_bytes()),
            };
        }
        // Each is good for one part.
        let good = match image.part(asked) {
            Part::Index => "Bearer number-3",
            Part::Manifest => "Bearer number-4",
            _ => "Bearer number-5",
        };
        if asked.authorization.as_deref() == Some(good) {
            return image.answer(asked);
        }
        who_asks(*address.wait())
    });
    own.set(odd.address).unwrap();
    served.agent().apply(&with(&served.site, release(&odd, &authority, &digest))).unwrap();
    is_tried_again(&served, &["the answer is no token"]);
    served.is_untouched();
    served.load().wait_for_version("v2").unwrap();
    let asked = odd.paths().into_iter().filter(|path| path.starts_with("/token?")).collect::<Vec<_>>();
    assert_eq!(asked.len(), 6, "{asked:?}");
    assert!(
        asked.iter().all(|path| path.contains("service=tests") && path.contains("scope=repository:shop:pull")),
        "{asked:?}"
    );
    assert!(!served.agent().log().contains("hunter2"), "{}", served.agent().log());
    served.lost_nothing();
}

#[test]
fn a_place_that_a_registry_sends_us_on_to_is_not_told_who_asks() {
    let served = Served::start();
    let authority = Authority::new();
    let image = Image::of(packed(&served.machine.release("v2")));
    let digest = sum(&image.index);
    // It asks for credentials in the registry's name.
    let own = std::sync::Arc::new(std::sync::OnceLock::new());
    let address = own.clone();
    let elsewhere = Odd::start(&authority, move |_| who_asks(*address.wait()));
    own.set(elsewhere.address).unwrap();
    let to = elsewhere.address;
    let odd = Odd::start(&authority, move |asked| match image.part(asked) {
        Part::Index | Part::Manifest => image.answer(asked),
        _ => redirect(&format!("https://{to}/blob")),
    });
    let login = json!({ "auths": { odd.address.to_string(): { "auth": "am9lOmh1bnRlcjI=" } } }).to_string();
    let mut release = release(&odd, &authority, &digest);
    release["credentials"] = json!({ "file": authority.secret("login", &login, 0o600) });
    let error = format!("{:#}", served.agent().apply_and_wait(&with(&served.site, release)).unwrap_err());
    assert!(error.contains("401"), "{error}");
    served.is_untouched();
    let asked = elsewhere.paths();
    assert!(!asked.is_empty() && asked.iter().all(|path| path == "/blob"), "{asked:?}");
    served.lost_nothing();
}
