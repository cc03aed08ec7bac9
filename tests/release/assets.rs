//! Hashed assets of earlier releases, and releases that go.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bluegreen::api::site::Static;
use bluegreen::platform::host::release::{is_complete, keep_assets, kept_dir, list, prune};
use bluegreen::rollout::Revision;
use rustix::fs::OFlags;

use super::kit::{Shop, until, write};

pub fn statics(keep: u8) -> Vec<Static> {
    vec![Static {
        path: "/assets/".parse().unwrap(),
        root: "public/assets".parse().unwrap(),
        keep,
        fallback: None,
        cache_control: None,
        precompressed: false,
    }]
}

/// Releases 0 to `count`, each with a file of its own, one that all have, and one in a folder.
fn shop_with(count: usize, keep: u8) -> (Shop, Vec<Revision>) {
    fill(Shop::new(), count, keep)
}

fn fill(mut shop: Shop, count: usize, keep: u8) -> (Shop, Vec<Revision>) {
    shop.statics = statics(keep);
    let mut revisions = Vec::new();
    for n in 0..count {
        let name = n.to_string();
        for (path, content) in [
            (format!("public/assets/app.{n}.js"), format!("js {n}")),
            ("public/assets/same.css".to_owned(), format!("css {n}")),
            (format!("public/assets/img/{n}.svg"), format!("svg {n}")),
            ("secret".to_owned(), name.clone()),
        ] {
            write(&shop.upload(&name).join(path), content, 0o644);
        }
        revisions.push(shop.take(&shop.folder(&name)).unwrap().revision);
    }
    (shop, revisions)
}

fn kept(shop: &Shop) -> Vec<String> {
    let mut found = Vec::new();
    let top = kept_dir(&shop.site, 0);
    let mut todo = vec![top.clone()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.push(path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn assets_of_the_slots_and_of_so_many_earlier_releases_are_kept_and_the_newest_wins() {
    let (shop, r) = shop_with(5, 1);
    keep_assets(&shop.site, &[r[4], r[3]], &[r[2], r[1], r[0]], &shop.statics).unwrap();
    assert_eq!(kept(&shop), ["app.2.js", "app.3.js", "app.4.js", "img/2.svg", "img/3.svg", "img/4.svg", "same.css"]);
    let kept_file = kept_dir(&shop.site, 0).join("same.css");
    assert_eq!(fs::read_to_string(&kept_file).unwrap(), "css 4");
    let original = fs::metadata(shop.release(r[4]).join("public/assets/same.css")).unwrap();
    assert_eq!(fs::metadata(&kept_file).unwrap().ino(), original.ino(), "a link costs no room");

    // A way back: the other slot is the newer one in use now.
    keep_assets(&shop.site, &[r[3], r[4]], &[r[2]], &shop.statics).unwrap();
    assert_eq!(fs::read_to_string(&kept_file).unwrap(), "css 3");
    keep_assets(&shop.site, &[r[4]], &[], &shop.statics).unwrap();
    assert_eq!(kept(&shop), ["app.4.js", "img/4.svg", "same.css"]);
}

#[test]
fn kept_assets_outlive_the_release_that_brought_them_until_they_are_not_asked_for() {
    let (shop, r) = shop_with(3, 2);
    keep_assets(&shop.site, &[r[2], r[1]], &[r[0]], &shop.statics).unwrap();
    prune(&shop.site, &[r[2], r[1]], 0).unwrap();
    assert!(!is_complete(&shop.site, r[0]));
    assert!(kept(&shop).contains(&"app.0.js".to_owned()));
    keep_assets(&shop.site, &[r[2], r[1]], &[r[0]], &shop.statics).unwrap();
    assert_eq!(kept(&shop), ["app.1.js", "app.2.js", "img/1.svg", "img/2.svg", "same.css"]);
}

#[test]
fn a_request_that_was_on_its_way_through_the_kept_assets_still_finds_its_file() {
    let (shop, r) = shop_with(2, 1);
    keep_assets(&shop.site, &[r[1]], &[r[0]], &shop.statics).unwrap();
    // As a web server does: the folder first, the file a moment later.
    let folder = fs::canonicalize(kept_dir(&shop.site, 0)).unwrap();
    keep_assets(&shop.site, &[r[1]], &[], &shop.statics).unwrap();
    keep_assets(&shop.site, &[r[1]], &[], &shop.statics).unwrap();
    assert_eq!(fs::read_to_string(folder.join("app.0.js")).unwrap(), "js 0");
    assert!(!kept(&shop).contains(&"app.0.js".to_owned()));
}

#[test]
fn a_file_that_was_there_is_never_missing_while_the_kept_assets_change() {
    // In memory, so that it changes as often as it can.
    let (shop, r) = fill(Shop::on_disk("4m"), 4, 3);
    keep_assets(&shop.site, &[r[3]], &[r[0]], &shop.statics).unwrap();
    let file = kept_dir(&shop.site, 0).join("app.0.js");
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(fs::read_to_string(&file).expect("it was there"), "js 0");
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        until("the reader is at work", || reads.load(Ordering::Relaxed) > 0);
        for n in 0..200 {
            let earlier = if n % 2 == 0 { vec![r[2], r[1], r[0]] } else { vec![r[0]] };
            keep_assets(&shop.site, &[r[3]], &earlier, &shop.statics).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert!(fs::read_dir(shop.site.kept()).unwrap().count() <= 3, "what is not used is removed");
}

#[test]
fn kept_assets_are_put_right_after_a_kill_in_their_building() {
    let (shop, r) = shop_with(2, 1);
    fs::create_dir_all(shop.site.kept().join(".building/img")).unwrap();
    write(&shop.site.kept().join(".building/half"), "half", 0o644);
    symlink("nowhere", shop.site.kept().join(".linking")).unwrap();
    keep_assets(&shop.site, &[r[1]], &[r[0]], &shop.statics).unwrap();
    assert_eq!(kept(&shop), ["app.0.js", "app.1.js", "img/0.svg", "img/1.svg", "same.css"]);
    assert_eq!(fs::read_dir(shop.site.kept()).unwrap().count(), 2);
}

#[test]
fn a_static_path_that_keeps_nothing_or_is_gone_leaves_nothing() {
    let (shop, r) = shop_with(2, 1);
    keep_assets(&shop.site, &[r[1]], &[r[0]], &shop.statics).unwrap();
    keep_assets(&shop.site, &[r[1]], &[r[0]], &statics(0)).unwrap();
    assert_eq!(fs::read_dir(shop.site.kept()).unwrap().count(), 0);
}

#[test]
fn old_releases_go_but_never_one_that_is_named_or_that_a_slot_runs() {
    let (shop, r) = shop_with(9, 0);
    let slot = shop.site.slot_release(bluegreen::rollout::Colour::Green);
    fs::create_dir_all(slot.parent().unwrap()).unwrap();
    symlink(format!("../../releases/{}", r[0]), &slot).unwrap();

    let gone = prune(&shop.site, &[r[1], r[8]], 3).unwrap();
    let mut left: Vec<Revision> = list(&shop.site).unwrap().into_iter().map(|(revision, _)| revision).collect();
    let mut wanted = vec![r[0], r[1], r[5], r[6], r[7], r[8]];
    left.sort();
    wanted.sort();
    assert_eq!(left, wanted);
    assert_eq!(gone.len(), 3);
    assert_eq!(shop.shelf().len(), 12, "records go with their releases: {:?}", shop.shelf());
    assert!(prune(&shop.site, &[r[1], r[8]], 3).unwrap().is_empty());
}

#[test]
fn a_removal_that_was_killed_is_finished_the_next_time() {
    let (shop, r) = shop_with(2, 0);
    fs::rename(shop.release(r[0]), shop.site.releases().join(format!(".gone-{}", r[0]))).unwrap();
    prune(&shop.site, &[], 5).unwrap();
    assert_eq!(shop.shelf(), [r[1].to_string(), format!("{}.json", r[1])]);
}

#[test]
fn a_folder_deeper_than_any_stack_is_removed_like_any_other() {
    let (shop, r) = shop_with(1, 0);
    const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
    let left = shop.site.releases().join(".taking-by-somebody-wild");
    fs::create_dir(&left).unwrap();
    let mut at = rustix::fs::open(&left, FOLDER, rustix::fs::Mode::empty()).unwrap();
    write(&left.join(".hoisted-1"), "in the way", 0o644);
    for _ in 0..20_000 {
        rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "d", FOLDER, rustix::fs::Mode::empty()).unwrap();
    }
    prune(&shop.site, &[r[0]], 0).unwrap();
    assert!(!left.exists());
}

#[test]
fn a_release_without_the_file_that_every_other_request_gets_is_refused() {
    let (mut shop, _) = shop_with(0, 0);
    shop.statics[0].fallback = Some("pages/index.html".parse().unwrap());
    let upload = shop.upload("1");
    write(&upload.join("public/assets/x.js"), "x", 0o644);
    let missing = |shop: &Shop| {
        let error = shop.take(&shop.folder("1")).unwrap_err();
        assert_eq!(error.reason(), "StaticFallbackMissing", "{error}");
        let said = "spec.target.host.static[0].fallback: the release has no file public/assets/pages/index.html";
        assert!(error.to_string().starts_with(said), "{error}");
    };
    missing(&shop);
    fs::create_dir_all(upload.join("public/assets/pages/index.html")).unwrap();
    missing(&shop);
    fs::remove_dir(upload.join("public/assets/pages/index.html")).unwrap();
    // The web server answers nothing through a link.
    symlink("../x.js", upload.join("public/assets/pages/index.html")).unwrap();
    missing(&shop);
    fs::remove_file(upload.join("public/assets/pages/index.html")).unwrap();
    write(&upload.join("public/assets/pages/index.html"), "page", 0o644);
    shop.take(&shop.folder("1")).unwrap();
}
