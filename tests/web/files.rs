//! What is said of static files beyond where they lie: what is answered where none is, how long they may be kept, and which are compressed already.

use bluegreen::platform::host::web::{Shape, StaticPath, WebServer};
use bluegreen::rollout::Colour;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;

use crate::fixture::{Answer, Client, Instance, Rig, point, release, statics, write};
use crate::stands::Stands;

on_every_server! {
    what_meets_no_file_gets_the_page_of_the_same_colour,
    with_an_app_behind_it_pages_are_answered_by_the_fallback_and_all_else_by_the_app,
    a_fallback_opens_no_way_to_what_is_never_answered,
    files_say_how_long_they_may_be_kept_and_nothing_else_does,
    a_user_s_own_headers_are_left_to_what_says_nothing_of_caching,
    what_was_compressed_is_answered_to_who_accepts_it,
    a_compressed_file_is_held_to_the_rules_of_every_other,
    each_colour_says_for_itself,
}

/// Sets something of the first static path, for both colours.
fn both(shape: &mut Shape, set: impl Fn(&mut StaticPath)) {
    for side in [&mut shape.blue, &mut shape.green] {
        set(side.statics.last_mut().unwrap());
    }
}

async fn ask(rig: &Rig<impl Stands>, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "shop.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut client = Client::connect(rig.http).await.unwrap();
    client.request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap()
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let all: Vec<&str> = answer.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
    assert!(all.len() < 2, "{name} is said more than once: {all:?}");
    all.first().copied()
}

async fn what_meets_no_file_gets_the_page_of_the_same_colour<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let mut shape = rig.site("shop", &[], &[]);
    statics(&mut shape, "/", "dist", false);
    both(&mut shape, |entry| entry.fallback = Some("app/page.html".parse().unwrap()));
    statics(&mut shape, "/assets/", "dist/assets", true);
    for (colour, number) in [(Colour::Blue, 1), (Colour::Green, 2)] {
        let name = colour.name();
        let asset = format!("dist/assets/{name}.css");
        release(
            &shape,
            colour,
            number,
            &[
                ("dist/index.html", "home"),
                ("dist/app/page.html", name),
                ("dist/docs/index.html", "docs"),
                (&asset, "x"),
            ],
        );
    }
    rig.web.ensure(shape.clone()).await.unwrap();
    for colour in Colour::BOTH {
        point(&shape.dir, colour);
        for path in [
            "/cart",
            "/cart/",
            "/a/b/c?d=e",
            "/docs/none.html",
            "/a%20b",
            "/empty/",
            "/%EC%9E%A5%EB%B0%94%EA%B5%AC%EB%8B%88",
        ] {
            let answer = ask(&rig, "GET", path, &[]).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, colour.name()), "{path}");
            assert_eq!(header(&answer, "content-type").map(|is| is.split(';').next().unwrap()), Some("text/html"));
            assert_eq!(header(&answer, "cache-control"), Some("no-cache"), "{path}");
        }
        let head = ask(&rig, "HEAD", "/cart", &[]).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(ask(&rig, "POST", "/cart", &[]).await.status, 405);
        // Files are files all the same.
        for (path, body) in [("/", "home"), ("/docs/", "docs"), ("/assets/blue.css", "x"), ("/assets/green.css", "x")] {
            assert_eq!(rig.get("shop.test", path).await.body, body, "{path}");
        }
        assert_eq!(rig.get("shop.test", "/docs").await.status, 302);
        // A longer path without a fallback has none: an asset that is gone is no page.
        assert_eq!(rig.get("shop.test", "/assets/none.css").await.status, 404);
    }
    let known = ask(&rig, "GET", "/cart", &[]).await.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(ask(&rig, "GET", "/cart", &[("if-none-match", &known)]).await.status, 304);
}

async fn with_an_app_behind_it_pages_are_answered_by_the_fallback_and_all_else_by_the_app<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("app").await;
    let mut shape = rig.site("shop", &[blue.address], &[]);
    statics(&mut shape, "/admin/", "dist", false);
    both(&mut shape, |entry| entry.fallback = Some("index.html".parse().unwrap()));
    release(&shape, Colour::Blue, 1, &[("dist/index.html", "page"), ("dist/x.css", "x")]);
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    for (method, path, headers, body) in [
        ("GET", "/admin/", None, "page"),
        ("GET", "/admin/x.css", None, "x"),
        ("GET", "/admin/users/1", None, "page"),
        ("POST", "/admin/users/1", None, "app"),
        ("PUT", "/admin/x.css", None, "app"),
        ("GET", "/admin/users/1", Some(("accept", "text/event-stream")), "app"),
        ("GET", "/admin/.env", None, "app"),
        ("GET", "/users/1", None, "app"),
    ] {
        let answer = ask(&rig, method, path, headers.as_slice()).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{method} {path} {headers:?}");
    }
    let socket = [("connection", "upgrade"), ("upgrade", "websocket")];
    assert_eq!(ask(&rig, "GET", "/admin/socket", &socket).await.body, "app", "a websocket is the app's");
}

async fn a_fallback_opens_no_way_to_what_is_never_answered<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let mut shape = rig.site("shop", &[], &[]);
    statics(&mut shape, "/", "dist", true);
    both(&mut shape, |entry| entry.fallback = Some("index.html".parse().unwrap()));
    let root = release(
        &shape,
        Colour::Blue,
        1,
        &[
            ("dist/index.html", "page"),
            ("dist/.env", "secret"),
            ("dist/.git/config", "secret"),
            ("secret", "secret"),
            ("dist/d/x", "x"),
        ],
    );
    std::os::unix::fs::symlink("../secret", root.join("dist/link")).unwrap();
    std::os::unix::fs::symlink("..", root.join("dist/up")).unwrap();
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    for path in ["/.env", "/.git/config", "/.git/", "/d/.none"] {
        assert_eq!(rig.get("shop.test", path).await.status, 404, "{path}");
    }
    for path in [
        "/d/",
        "/d",
        "/link",
        "/up/secret",
        "/up/",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/d/..;/secret",
        "/release/secret",
    ] {
        let answer = rig.get("shop.test", path).await;
        assert!(answer.body == "page" || matches!(answer.status, 400 | 404), "{path} {answer:?}");
    }
    // A fallback that is a link by now is none.
    std::fs::remove_file(root.join("dist/index.html")).unwrap();
    std::os::unix::fs::symlink("../secret", root.join("dist/index.html")).unwrap();
    for path in ["/", "/cart"] {
        let answer = rig.get("shop.test", path).await;
        assert_eq!(answer.status, 404, "{path} {answer:?}");
        assert_eq!(header(&answer, "cache-control"), None);
    }
}

async fn files_say_how_long_they_may_be_kept_and_nothing_else_does<K: Stands>() {
    const KEPT: Option<&str> = Some("public, max-age=31536000, immutable");
    let rig = Rig::<K>::start().await;
    let blue = Instance::start("app").await;
    let mut shape = rig.site("shop", &[blue.address], &[blue.address]);
    statics(&mut shape, "/assets/", "dist", true);
    both(&mut shape, |entry| entry.cache = KEPT.map(|value| value.parse().unwrap()));
    statics(&mut shape, "/docs/", "docs", false);
    release(&shape, Colour::Blue, 1, &[("dist/b.css", "b"), ("dist/d/index.html", "d"), ("docs/x.css", "x")]);
    release(&shape, Colour::Green, 2, &[("dist/g.css", "g"), ("docs/x.css", "x")]);
    write(&shape.dir.kept().join("0/k.css"), "k");
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    for (path, status, said) in [
        ("/assets/b.css", 200, KEPT),
        ("/assets/g.css", 200, KEPT),
        ("/assets/k.css", 200, KEPT),
        ("/assets/d/", 200, KEPT),
        ("/assets/d", 302, None),
        ("/docs/x.css", 200, None),
        ("/assets/none.css", 200, None),
        ("/", 200, None),
    ] {
        let answer = ask(&rig, "GET", path, &[]).await;
        assert_eq!((answer.status, header(&answer, "cache-control")), (status, said), "{path}");
    }
    let known = ask(&rig, "HEAD", "/assets/b.css", &[]).await.headers["etag"].to_str().unwrap().to_owned();
    let same = ask(&rig, "GET", "/assets/b.css", &[("if-none-match", &known)]).await;
    assert_eq!((same.status, header(&same, "cache-control")), (304, KEPT));

    // Where no app is behind it, what is missing says nothing either.
    let mut files = rig.site("files", &[], &[]);
    statics(&mut files, "/", "dist", false);
    both(&mut files, |entry| {
        entry.cache = KEPT.map(|value| value.parse().unwrap());
        entry.fallback = Some("index.html".parse().unwrap());
    });
    release(&files, Colour::Blue, 1, &[("dist/x.css", "x")]);
    point(&files.dir, Colour::Blue);
    rig.web.ensure(files.clone()).await.unwrap();
    let missing = rig.get("files.test", "/none").await;
    assert_eq!((missing.status, header(&missing, "cache-control")), (404, None));
    release(&files, Colour::Blue, 1, &[("dist/index.html", "page")]);
    let page = rig.get("files.test", "/none").await;
    assert_eq!((page.status, header(&page, "cache-control")), (200, Some("no-cache")));
    assert_eq!(header(&rig.get("files.test", "/x.css").await, "cache-control"), KEPT);
}

async fn a_user_s_own_headers_are_left_to_what_says_nothing_of_caching<K: Stands>() {
    let rig = Rig::<K>::start().await;
    rig.write_main(K::HEADER);
    rig.reload();
    let mut shape = rig.site("shop", &[], &[]);
    statics(&mut shape, "/", "docs", false);
    statics(&mut shape, "/assets/", "dist", false);
    both(&mut shape, |entry| entry.cache = Some("max-age=60".parse().unwrap()));
    release(&shape, Colour::Blue, 1, &[("dist/x.css", "x"), ("docs/x.css", "x")]);
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape).await.unwrap();
    let said = |answer: &Answer| header(answer, "x-mine").map(str::to_owned);
    assert_eq!(said(&rig.get("shop.test", "/x.css").await).as_deref(), Some("yes"));
    // nginx takes all of a location's `add_header`, or none.
    let asset = rig.get("shop.test", "/assets/x.css").await;
    assert_eq!(header(&asset, "cache-control"), Some("max-age=60"));
    assert_eq!(said(&asset).as_deref(), K::ADDS_HEADERS.then_some("yes"));
}

async fn what_was_compressed_is_answered_to_who_accepts_it<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let mut shape = rig.site("shop", &[], &[]);
    statics(&mut shape, "/", "dist", true);
    both(&mut shape, |entry| {
        entry.precompressed = true;
        entry.fallback = Some("index.html".parse().unwrap());
        entry.cache = Some("max-age=60".parse().unwrap());
    });
    release(
        &shape,
        Colour::Blue,
        1,
        &[
            ("dist/index.html", "page"),
            ("dist/index.html.gz", "PAGE, packed"),
            ("dist/a.css", "css"),
            ("dist/a.css.gz", "CSS, packed"),
            ("dist/plain.css", "plain"),
            ("dist/only.css.gz", "ONLY, packed"),
        ],
    );
    release(&shape, Colour::Green, 2, &[("dist/g.css", "green"), ("dist/g.css.gz", "GREEN, packed")]);
    write(&shape.dir.kept().join("0/k.css"), "kept");
    write(&shape.dir.kept().join("0/k.css.gz"), "KEPT, packed");
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    for (path, kind, plain, packed) in [
        ("/a.css", "text/css", "css", "CSS, packed"),
        ("/g.css", "text/css", "green", "GREEN, packed"),
        ("/k.css", "text/css", "kept", "KEPT, packed"),
        ("/", "text/html", "page", "PAGE, packed"),
        ("/cart", "text/html", "page", "PAGE, packed"),
    ] {
        for accepts in ["gzip", "gzip, deflate, br", "deflate, GZIP;q=0.5", "br;q=1.0,gzip;q=0.8,*;q=0.1"] {
            let answer = ask(&rig, "GET", path, &[("accept-encoding", accepts)]).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, packed), "{path} {accepts}");
            assert_eq!(header(&answer, "content-encoding"), Some("gzip"), "{path}");
            assert_eq!(header(&answer, "vary"), Some("Accept-Encoding"), "{path}");
            assert_eq!(header(&answer, "content-type").map(|is| is.split(';').next().unwrap()), Some(kind), "{path}");
            assert_eq!(header(&answer, "cache-control"), Some(if path == "/cart" { "no-cache" } else { "max-age=60" }));
        }
        let mut tags = vec![ask(&rig, "GET", path, &[("accept-encoding", "gzip")]).await.headers["etag"].clone()];
        for accepts in [None, Some("identity"), Some("gzip;q=0"), Some("br"), Some("xgzip, gzipx")] {
            let accepts: Vec<_> = accepts.map(|accepts| ("accept-encoding", accepts)).into_iter().collect();
            let answer = ask(&rig, "GET", path, &accepts).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, plain), "{path} {accepts:?}");
            assert_eq!(header(&answer, "content-encoding"), None, "{path}");
            assert_eq!(header(&answer, "vary"), Some("Accept-Encoding"), "{path}: a cache has to know");
            tags.push(answer.headers["etag"].clone());
        }
        assert_ne!(tags[0], tags[1], "{path}: they are told apart");
    }
    let gzip = [("accept-encoding", "gzip")];
    let plain = ask(&rig, "GET", "/plain.css", &gzip).await;
    assert_eq!((plain.body.as_str(), header(&plain, "content-encoding")), ("plain", None));
    // A file that lies there compressed alone is no file by the other name, and by its own one it is an archive.
    assert_eq!(ask(&rig, "GET", "/only.css", &gzip).await.body, "PAGE, packed");
    let archive = ask(&rig, "GET", "/a.css.gz", &gzip).await;
    assert_eq!((archive.body.as_str(), header(&archive, "content-encoding")), ("CSS, packed", None));
    let head = ask(&rig, "HEAD", "/a.css", &gzip).await;
    assert_eq!((head.status, header(&head, "content-length")), (200, Some("11")));
}

async fn a_compressed_file_is_held_to_the_rules_of_every_other<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let mut shape = rig.site("shop", &[], &[]);
    statics(&mut shape, "/", "dist", false);
    both(&mut shape, |entry| entry.precompressed = true);
    let root = release(
        &shape,
        Colour::Blue,
        1,
        &[
            ("dist/a.css", "a"),
            ("secret", "secret"),
            ("dist/.b.css", "secret"),
            ("dist/.b.css.gz", "secret"),
            ("dist/d.css/x", "x"),
        ],
    );
    std::os::unix::fs::symlink("../secret", root.join("dist/a.css.gz")).unwrap();
    write(&root.join("dist/d.css.gz"), "secret");
    std::fs::create_dir(root.join("dist/c.css.gz")).unwrap();
    write(&root.join("dist/c.css"), "c");
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape).await.unwrap();
    let gzip = [("accept-encoding", "gzip")];
    for (path, body) in [("/a.css", "a"), ("/c.css", "c")] {
        assert_eq!(ask(&rig, "GET", path, &gzip).await.body, body, "{path}");
    }
    for path in ["/.b.css", "/d.css", "/d.css/", "/a.css/"] {
        assert_eq!(ask(&rig, "GET", path, &gzip).await.status, 404, "{path}");
    }
}

async fn each_colour_says_for_itself<K: Stands>() {
    let rig = Rig::<K>::start().await;
    let mut shape = rig.site("shop", &[], &[]);
    statics(&mut shape, "/", "dist", false);
    let files = |name: &'static str| {
        [("dist/x.css", name), ("dist/x.css.gz", "packed"), ("dist/index.html", name), ("dist/200.html", name)]
    };
    release(&shape, Colour::Blue, 1, &files("blue"));
    release(&shape, Colour::Green, 2, &files("green"));
    let green = &mut shape.green.statics[0];
    green.fallback = Some("200.html".parse().unwrap());
    green.cache = Some("public, max-age=1".parse().unwrap());
    green.precompressed = true;
    point(&shape.dir, Colour::Blue);
    rig.web.ensure(shape.clone()).await.unwrap();
    let gzip = [("accept-encoding", "gzip")];
    assert_eq!(rig.get("shop.test", "/none").await.status, 404);
    let file = ask(&rig, "GET", "/x.css", &gzip).await;
    assert_eq!((file.body.as_str(), header(&file, "cache-control")), ("blue", None));
    point(&shape.dir, Colour::Green);
    assert_eq!(rig.get("shop.test", "/none").await.body, "green");
    assert_eq!(header(&rig.get("shop.test", "/x.css").await, "cache-control"), Some("public, max-age=1"));
    shape.blue.statics[0] = shape.green.statics[0].clone();
    rig.web.ensure(shape).await.unwrap();
    assert_eq!(ask(&rig, "GET", "/x.css", &gzip).await.body, "packed", "once both want it");
}
