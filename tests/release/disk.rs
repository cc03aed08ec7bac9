//! A disk that is full: a small one of the test's own, in memory.

use std::fs;

use bluegreen::platform::Class;
use bluegreen::platform::host::release::{Step, keep_assets};
use bluegreen::platform::host::store;

use super::kit::{Shop, Tar, abs, laid, lay, look, write};

#[test]
fn a_release_that_cannot_fit_is_refused_before_a_byte_is_written() {
    let shop = Shop::on_disk("2m");
    write(&shop.upload("1.0/large"), vec![7; 3 << 20], 0o644);
    fs::write(shop.upload("large.jar"), vec![7; 3 << 20]).unwrap();
    for source in [shop.folder("1.0"), shop.archive("large.jar")] {
        let error = shop.take(&source).unwrap_err();
        assert_eq!((error.reason(), error.class()), ("DiskFull", Class::Transient));
        assert!(error.to_string().contains("3145728 bytes") && error.to_string().contains("make room"), "{error}");
        assert!(shop.shelf().is_empty());
    }
}

#[test]
fn a_release_never_takes_the_last_of_the_disk() {
    let mut shop = Shop::on_disk("8m");
    shop.limits.spare = 6 << 20;
    write(&shop.upload("1.0/large"), vec![7; 3 << 20], 0o644);
    assert_eq!(shop.take(&shop.folder("1.0")).unwrap_err().reason(), "DiskFull");
    // An archive tells nobody how large it is inside: the unpacker is stopped when it comes near.
    Tar::new().file("large", vec![7; 3 << 20]).write(&shop.upload("1.0.tgz"));
    let error = shop.take(&shop.archive("1.0.tgz")).unwrap_err();
    assert_eq!(error.reason(), "DiskFull", "{error}");
    assert!(shop.shelf().is_empty());
    shop.limits.spare = 0;
    shop.take(&shop.archive("1.0.tgz")).unwrap();
}

#[test]
fn a_disk_that_fills_up_while_a_release_is_taken_leaves_the_old_ones_and_is_taken_when_there_is_room() {
    let mut shop = Shop::on_disk("2m");
    write(&shop.upload("app.conf"), vec![7; 8192], 0o600);
    shop.config_files = vec![abs(&shop.upload("app.conf"))];
    lay(&shop.upload("1.0"), "one");
    let old = shop.take(&shop.folder("1.0")).unwrap();
    lay(&shop.upload("2.0"), &"two".repeat(9000));
    Tar::new().all(&shop.upload("2.0")).write(&shop.upload("2.0.tgz"));
    for (source, at) in [
        (shop.folder("2.0"), Step::Opened),
        (shop.folder("2.0"), Step::Entry(b"bin/app")),
        (shop.folder("2.0"), Step::Filled),
        (shop.archive("2.0.tgz"), Step::Secured),
        (shop.archive("2.0.tgz"), Step::Unpacked),
    ] {
        let identity = shop.identify(&source).unwrap();
        let error = shop
            .take_as(&source, &identity, &|step| {
                if step == at {
                    shop.fill();
                }
            })
            .unwrap_err();
        assert_eq!((error.reason(), error.class()), ("DiskFull", Class::Transient), "{at:?}: {error}");
        shop.relieve();
        assert_eq!(shop.shelf().len(), 3, "{at:?}: {:?}", shop.shelf());
        assert_eq!(look(&shop.release(old.revision)), laid("one"));
        let taken = shop.take_as(&source, &identity, &|_| {}).unwrap();
        assert_eq!(look(&shop.release(taken.revision)), laid(&"two".repeat(9000)));
        bluegreen::platform::host::release::prune(&shop.site, &[old.revision], 0).unwrap();
    }
}

#[test]
fn a_state_file_on_a_full_disk_stays_what_it_was() {
    let shop = Shop::on_disk("1m");
    let path = shop.dir.path().join("state/ledger.json");
    store::write(&path, &vec!["old"; 10], 0o600).unwrap();
    shop.fill();
    let error = store::write(&path, &vec!["new"; 100_000], 0o600).unwrap_err();
    assert_eq!((error.reason(), error.class()), ("DiskFull", Class::Transient));
    assert!(error.to_string().contains("ledger.json") && error.to_string().contains("make room"), "{error}");
    assert_eq!(store::read::<Vec<String>>(&path, store::LIMIT).unwrap().unwrap(), ["old"; 10]);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2, "nothing is left beside it");
    shop.relieve();
    store::write(&path, &vec!["new"; 10], 0o600).unwrap();
    assert_eq!(store::read::<Vec<String>>(&path, store::LIMIT).unwrap().unwrap(), ["new"; 10]);
}

#[test]
fn assets_on_a_full_disk_stay_what_they_were() {
    let mut shop = Shop::on_disk("1m");
    shop.statics = super::assets::statics(3);
    lay(&shop.upload("1.0"), "one");
    let one = shop.take(&shop.folder("1.0")).unwrap().revision;
    keep_assets(&shop.site, &[one], &[], &shop.statics).unwrap();
    write(&shop.upload("1.0/public/assets/b.js"), "b", 0o644);
    let two = shop.take(&shop.folder("1.0")).unwrap().revision;
    shop.fill();
    // A tmpfs has room for names when it has none for content: use the names up too.
    let filler = shop.dir.path().join("state/names");
    fs::create_dir(&filler).ok();
    let error = (0..).find_map(|n| fs::write(filler.join(n.to_string()), "").err());
    assert!(error.is_some());
    let error = keep_assets(&shop.site, &[two, one], &[], &shop.statics).unwrap_err();
    assert_eq!(error.reason(), "DiskFull", "{error}");
    let kept = bluegreen::platform::host::release::kept_dir(&shop.site, 0);
    assert_eq!(fs::read_to_string(kept.join("app.css")).unwrap(), "body{}");
    shop.relieve();
    fs::remove_dir_all(&filler).unwrap();
    keep_assets(&shop.site, &[two, one], &[], &shop.statics).unwrap();
    assert_eq!(fs::read_to_string(kept.join("b.js")).unwrap(), "b");
}
