//! What the files look like. `UPDATE=1` writes the golden ones anew.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bluegreen::api::requests::Requests;
use bluegreen::platform::host::layout::SiteDir;
use bluegreen::platform::host::web::apache::render as apache;
use bluegreen::platform::host::web::kind::{RenderError, Rendered};
use bluegreen::platform::host::web::nginx::knows::Knows;
use bluegreen::platform::host::web::nginx::render as nginx;
use bluegreen::platform::host::web::{Mode, Shape, Side, Tls};

use bluegreen::api::site::{Programs, Protocol};

use crate::fixture::statics;

const DOOR: &str = "127.98.103.1:947";

fn shape(mode: Mode, blue: &[&str], green: &[&str]) -> Shape {
    let side = |instances: &[&str]| Side {
        instances: instances.iter().map(|address| address.parse().unwrap()).collect(),
        ..Side::default()
    };
    Shape {
        site: "shop".parse().unwrap(),
        dir: SiteDir::new(Path::new("/var/lib/bluegreen"), &"shop".parse().unwrap()),
        mode,
        requests: Requests::default(),
        blue: side(blue),
        green: side(green),
    }
}

fn own() -> Mode {
    Mode::Own {
        hostnames: vec!["shop.example.com".parse().unwrap(), "*.shop.example.com".parse().unwrap()],
        previews: Vec::new(),
        listen: vec!["0.0.0.0:80".parse().unwrap(), "[::]:80".parse().unwrap()],
        tls: None,
    }
}

fn over_tls() -> Mode {
    let Mode::Own { hostnames, previews, listen, .. } = own() else { panic!() };
    let tls = Tls {
        certificate: "/var/lib/bluegreen/sites/shop/tls/0123456789abcdef/certificate.pem".into(),
        key: "/var/lib/bluegreen/sites/shop/tls/0123456789abcdef/key.pem".into(),
        listen: vec!["0.0.0.0:443".parse().unwrap(), "[::]:443".parse().unwrap()],
    };
    Mode::Own { hostnames, previews, listen, tls: Some(tls) }
}

#[track_caller]
fn golden(server: &str, name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/web/golden").join(server).join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{server}/{name} differs; look at it, and run with UPDATE=1 if it is right:\n{text}");
}

fn usual_nginx(shape: &Shape, door: SocketAddr) -> Result<Rendered, RenderError> {
    nginx::site(shape, door, Knows::default())
}

type Render = fn(&Shape, SocketAddr) -> Result<Rendered, RenderError>;

#[test]
fn the_files_of_a_site_are_the_golden_ones() {
    let mut app = shape(own(), &["127.0.0.1:8081", "[::1]:8082"], &["127.0.0.1:8083", "127.0.0.1:8084"]);
    statics(&mut app, "/assets/", "public/assets", true);
    statics(&mut app, "/a.b+c/", "public/c", false);
    let tls = shape(over_tls(), &["127.0.0.1:8081"], &["127.0.0.1:8083"]);
    let mut preview = shape(over_tls(), &["127.0.0.1:8081"], &["127.0.0.1:8083"]);
    statics(&mut preview, "/assets/", "public/assets", true);
    let Mode::Own { previews, .. } = &mut preview.mode else { panic!() };
    previews.push("next.shop.example.com".parse().unwrap());
    preview.requests = Requests {
        max_body: 20 << 20,
        timeout: Duration::from_secs(90),
        stream_timeout: Duration::from_secs(7200),
        connect_timeout: Duration::from_secs(2),
    };
    let mut files = shape(own(), &[], &[]);
    statics(&mut files, "/", "public", false);
    files.green.statics[0].cache = Some("no-cache".parse().unwrap());
    statics(&mut files, "/assets/", "public/assets", true);
    for side in [&mut files.blue, &mut files.green] {
        side.statics[0].fallback = Some("index.html".parse().unwrap());
        side.statics[1].cache = Some("public, max-age=31536000, immutable".parse().unwrap());
        side.statics[1].precompressed = true;
    }
    let mut include = shape(Mode::Include, &["127.0.0.1:8081"], &[]);
    statics(&mut include, "/assets/", "old", true);
    include.green.statics[0].root = "new".parse().unwrap();

    // From an app that speaks HTTP to a program, and back.
    let mut programs = shape(own(), &["127.0.0.1:8081"], &["127.0.0.1:8083"]);
    programs.green.protocol = Protocol::FastCgi(Programs::Script("cgi-bin/app.py".parse().unwrap()));
    let mut folder = shape(own(), &["127.0.0.1:8081"], &["127.0.0.1:8083"]);
    for side in [&mut folder.blue, &mut folder.green] {
        side.protocol = Protocol::FastCgi(Programs::Folder("cgi-bin".parse().unwrap()));
    }

    let door = DOOR.parse().unwrap();
    let site = "shop".parse().unwrap();
    let renders: [(&str, Render, String); 2] =
        [("nginx", usual_nginx, nginx::stub(&site).unwrap()), ("apache", apache::site, apache::stub(&site).unwrap())];
    for (server, render, stub) in renders {
        golden(server, "app.conf", &render(&app, door).unwrap().site);
        golden(server, "program.conf", &render(&programs, door).unwrap().site);
        golden(server, "programs.conf", &render(&folder, door).unwrap().site);
        golden(server, "tls.conf", &render(&tls, door).unwrap().site);
        golden(server, "preview.conf", &render(&preview, door).unwrap().site);
        golden(server, "files.conf", &render(&files, door).unwrap().site);
        let include = render(&include, door).unwrap();
        golden(server, "include.conf", &include.site);
        golden(server, "include-snippet.conf", &include.snippet.unwrap());
        golden(server, "stub.conf", &stub);
    }
}

#[test]
fn what_another_nginx_understands_is_written_for_it_and_for_no_other() {
    let (door, usual) = (DOOR.parse().unwrap(), Knows::default());
    let tls = shape(over_tls(), &["127.0.0.1:8081"], &["127.0.0.1:8083"]);
    let newer = nginx::site(&tls, door, Knows { http2_on: true, ..usual }).unwrap().site;
    let older = nginx::site(&tls, door, usual).unwrap().site;
    assert_eq!(newer.matches("ssl;").count(), older.matches("ssl http2;").count());
    assert_eq!(newer.replace("    http2 on;\n", "").replace(" ssl;", " ssl http2;"), older);
    let mut files = shape(own(), &[], &[]);
    statics(&mut files, "/", "public", false);
    for side in [&mut files.blue, &mut files.green] {
        side.statics[0].precompressed = true;
    }
    let without = nginx::site(&files, door, Knows { gzip_static: false, ..usual }).unwrap().site;
    assert!(!without.contains("gzip"), "{without}");
    assert!(nginx::site(&files, door, usual).unwrap().site.contains("gzip_static on;"));
}

#[test]
fn the_common_file_is_the_golden_one() {
    let (door, generation) = (DOOR.parse().unwrap(), "0123456789abcdef");
    let common = nginx::Common {
        catch: ["0.0.0.0:80".parse().unwrap(), "[::]:80".parse().unwrap()].into(),
        catch_tls: ["0.0.0.0:443".parse().unwrap()].into(),
        hash_bucket: Some(128),
    };
    golden("nginx", "common.conf", &nginx::common(&common, door, generation).unwrap());
    let common = apache::Common {
        listen: vec!["80".to_owned(), "127.0.0.1:8080".to_owned()],
        catch_tls: [("*:443".to_owned(), ("/s/certificate.pem".to_owned(), "/s/key.pem".to_owned()))].into(),
        catch: ["*:80".to_owned(), "127.0.0.1:8080".to_owned()].into(),
    };
    golden("apache", "common.conf", &apache::common(&common, door, generation).unwrap());
}

#[test]
fn a_folder_whose_name_could_be_read_as_syntax_is_refused() {
    for bad in
        ["/srv/a;b", "/srv/a b", "/srv/{", "/srv/a\nb", "/srv/a\"b", "/srv/a'b", "/srv/a#b", "/srv/a\\b", "/srv/a$b"]
    {
        let mut shape = shape(own(), &[], &[]);
        shape.dir = SiteDir::new(Path::new(bad), &shape.site);
        for render in [usual_nginx, apache::site] {
            let error = render(&shape, DOOR.parse().unwrap()).unwrap_err();
            assert!(error.to_string().contains("configuration because of"), "{bad}: {error}");
        }
    }
}

#[test]
fn host_names_get_as_much_room_as_nginx_counts() {
    for (length, bucket) in [(1, 64), (46, 64), (47, 128), (110, 128), (111, 192), (253, 320)] {
        let name = "a".repeat(length);
        assert_eq!(nginx::hash_bucket([name.as_str()]), bucket, "{length}");
    }
}
