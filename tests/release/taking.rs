//! From an upload to a release, and what is refused on the way when the upload is a folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use bluegreen::api::site::{ReleaseSource, SharedDir, Static};
use bluegreen::platform::Class;
use bluegreen::platform::host::release::{Fingerprints, Step, list, read_fingerprint, record};
use rustix::fs::{CWD, FileType, Mode};

use super::kit::{Shop, abs, laid, lay, look, write};

#[test]
fn a_folder_becomes_a_release_that_is_roots_and_read_only_and_readable_by_its_user() {
    let shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    let then = fs::File::open(shop.upload("1.0/index.html")).unwrap();
    then.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567_890)).unwrap();

    let taken = shop.take(&shop.folder("1.0")).unwrap();
    let release = shop.release(taken.revision);
    assert_eq!(look(&release), laid("one"));
    assert_eq!(fs::metadata(&release).unwrap().mode() & 0o7777, 0o550);
    assert_eq!(fs::metadata(release.join("index.html")).unwrap().mtime(), 1_234_567_890);
    assert_eq!(shop.shelf(), [taken.revision.to_string(), format!("{}.json", taken.revision)]);
    assert_eq!(record(&shop.site, taken.revision).unwrap(), taken);
    assert_eq!((taken.size.entries, taken.size.bytes), (8, 19));

    let read = Command::new("cat")
        .arg(release.join("public/home"))
        .uid(shop.account.uid)
        .gid(shop.account.gid)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout), "one", "{}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn others_read_what_the_web_server_answers_from_and_nothing_else() {
    let mut shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    write(&shop.upload("1.0/.env"), "PASSWORD=x", 0o600);
    write(&shop.upload("1.0/public/notes.txt"), "for us", 0o644);
    let outside = shop.dir.path().join("outside");
    write(&outside.join("theirs"), "the app's own", 0o600);
    std::os::unix::fs::chown(&outside, Some(shop.account.uid), Some(shop.account.gid)).unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o700)).unwrap();
    let shared = SharedDir { path: "media".parse().unwrap(), source: abs(&outside) };
    shop.shared_dirs.push(shared);
    let answered = |root: &str| Static { root: root.parse().unwrap(), ..super::assets::statics(0).remove(0) };
    shop.statics = vec![answered("public/assets"), answered("media/uploads")];

    let taken = shop.take(&shop.folder("1.0")).unwrap();
    let release = shop.release(taken.revision);
    let modes: Vec<String> = look(&release).iter().map(|(path, what)| format!("{path}: {what}")).collect();
    let modes: Vec<&str> = modes.iter().map(String::as_str).collect();
    let media = format!("media: link {}", outside.display());
    let wanted = [
        ".env: file 440 PASSWORD=x",
        "bin: folder 550",
        "bin/app: file 550 #!/bin/sh\n",
        "empty: folder 550",
        "index.html: file 440 one",
        &media,
        "public: folder 551",
        "public/assets: folder 555",
        "public/assets/app.css: file 444 body{}",
        "public/home: link ../index.html",
        "public/notes.txt: file 440 for us",
    ];
    assert_eq!(modes, wanted);
    assert_eq!(fs::metadata(&release).unwrap().mode() & 0o7777, 0o551);
    assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o7777, 0o700, "what is the app's own is left as it is");

    let reads = |path: &str, uid: u32, gid: u32| {
        Command::new("cat").arg(release.join(path)).uid(uid).gid(gid).output().unwrap().status.success()
    };
    assert!(reads(".env", shop.account.uid, shop.account.gid));
    assert!(!reads(".env", 42_002, 42_002), "another account of the machine read what was uploaded for its user alone");
    assert!(reads("public/assets/app.css", 42_002, 42_002), "a web server must reach it");
}

#[test]
fn taking_it_again_changes_nothing_and_returns_what_was_recorded() {
    let shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    let first = shop.take(&shop.folder("1.0")).unwrap();
    let inode = fs::metadata(shop.release(first.revision)).unwrap().ino();
    assert_eq!(shop.take(&shop.folder("1.0")).unwrap(), first);
    assert_eq!(fs::metadata(shop.release(first.revision)).unwrap().ino(), inode);
}

#[test]
fn two_takes_of_one_release_at_once_make_one_release() {
    let shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    let source = shop.folder("1.0");
    let identity = shop.identify(&source).unwrap();
    let start = Barrier::new(2);
    let take = || {
        start.wait();
        shop.take_as(&source, &identity, &|_| {}).unwrap()
    };
    let (a, b) = std::thread::scope(|scope| {
        let other = scope.spawn(take);
        (take(), other.join().unwrap())
    });
    assert_eq!(a, b);
    assert_eq!(look(&shop.release(a.revision)), laid("one"));
    assert_eq!(shop.shelf().len(), 2);
}

#[test]
fn equal_content_is_one_revision_and_any_difference_another() {
    let shop = Shop::new();
    let revision = |shop: &Shop, name: &str| {
        let identity = shop.identify(&shop.folder(name)).unwrap();
        identity.revision(&shop.run()).unwrap()
    };
    lay(&shop.upload("a"), "one");
    lay(&shop.upload("b"), "one");
    let base = revision(&shop, "a");
    assert_eq!(base, revision(&shop, "b"), "the same content elsewhere");
    fs::set_permissions(shop.upload("b/index.html"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::File::open(shop.upload("b/index.html")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(base, revision(&shop, "b"), "times and permissions are not content");

    let mut seen = vec![base];
    let mut another = |what: &str, revision| {
        assert!(!seen.contains(&revision), "{what} makes no difference");
        seen.push(revision);
    };
    fs::set_permissions(shop.upload("b/index.html"), fs::Permissions::from_mode(0o755)).unwrap();
    another("that a file may be executed", revision(&shop, "b"));
    write(&shop.upload("b/index.html"), "two", 0o644);
    another("a file's content", revision(&shop, "b"));
    fs::rename(shop.upload("b/index.html"), shop.upload("b/index.htm")).unwrap();
    another("a file's name", revision(&shop, "b"));
    fs::create_dir(shop.upload("b/empty/inner")).unwrap();
    another("an empty folder", revision(&shop, "b"));
    fs::remove_file(shop.upload("b/public/home")).unwrap();
    symlink("../bin/app", shop.upload("b/public/home")).unwrap();
    another("a link's target", revision(&shop, "b"));

    let identity = shop.identify(&shop.folder("a")).unwrap();
    let mut run = shop.run();
    run.ports.blue = vec![9999];
    another("a port", identity.revision(&run).unwrap());
    let mut run = shop.run();
    run.env.insert("A".parse().unwrap(), "b".to_owned());
    another("a variable", identity.revision(&run).unwrap());
    let mut restarted = identity.clone();
    restarted.incarnation = "2".to_owned();
    another("the incarnation", restarted.revision(&shop.run()).unwrap());
}

#[test]
fn a_fingerprint_is_read_again_only_when_somebody_asks() {
    let shop = Shop::new();
    let source = shop.folder("1.0");
    let known = Fingerprints::default();
    assert!(known.known(&source).is_none());
    lay(&shop.upload("1.0"), "one");
    let first = known.read(&source, &shop.account, &shop.limits).unwrap();
    write(&shop.upload("1.0/index.html"), "two", 0o644);
    assert_eq!(known.known(&source), Some(first.clone()));
    let second = known.read(&source, &shop.account, &shop.limits).unwrap();
    assert_ne!(first, second);
    fs::remove_dir_all(shop.upload("1.0")).unwrap();
    known.read(&source, &shop.account, &shop.limits).unwrap_err();
    assert!(known.known(&source).is_none(), "what failed to be read is not known");
}

#[test]
fn what_is_missing_or_empty_or_of_no_known_kind_is_said_with_the_way_on() {
    let shop = Shop::new();
    for source in [shop.folder("none"), shop.archive("none.zip")] {
        let error = shop.take(&source).unwrap_err();
        assert_eq!((error.reason(), error.class()), ("ReleaseMissing", Class::User), "{error}");
        assert!(error.to_string().contains("/upload/none"), "{error}");
        assert!(error.to_string().contains("upload the release"), "{error}");
    }
    fs::create_dir(shop.upload("empty")).unwrap();
    fs::write(shop.upload("empty.tar.gz"), "").unwrap();
    for source in [shop.folder("empty"), shop.archive("empty.tar.gz")] {
        assert_eq!(shop.take(&source).unwrap_err().reason(), "ReleaseIncomplete");
    }
    fs::write(shop.upload("a.rar"), "x").unwrap();
    let error = shop.take(&shop.archive("a.rar")).unwrap_err();
    assert_eq!(error.reason(), "ReleaseUnknownKind");
    assert!(error.to_string().contains(".tar.gz"), "{error}");
    fs::create_dir(shop.upload("folder.zip")).unwrap();
    assert_eq!(shop.take(&shop.archive("folder.zip")).unwrap_err().reason(), "ReleaseUnknownKind");
    assert_eq!(shop.take(&shop.folder("a.rar")).unwrap_err().reason(), "ReleaseUnknownKind");
    assert!(shop.shelf().is_empty());

    lay(&shop.upload("none"), "one");
    shop.take(&shop.folder("none")).unwrap();
}

#[test]
fn an_upload_behind_a_link_is_refused_with_the_path_that_would_do() {
    let shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    symlink("1.0", shop.upload("current")).unwrap();
    let error = shop.take(&shop.folder("current")).unwrap_err();
    assert_eq!(error.reason(), "ReleaseUnsafe");
    assert!(error.to_string().contains("name what it leads to: "), "{error}");
    assert!(error.to_string().ends_with("/upload/1.0"), "{error}");

    symlink(shop.upload("1.0"), shop.upload("elsewhere")).unwrap();
    for way in ["elsewhere/public", "current/public"] {
        let error = shop.take(&shop.folder(way)).unwrap_err();
        assert_eq!(error.reason(), "ReleaseUnsafe");
        assert!(error.to_string().contains("/upload/1.0/public"), "{error}");
    }
}

#[test]
fn what_has_no_place_in_a_release_is_refused_by_name() {
    type Spoil = fn(&std::path::Path);
    let cases: [(&str, &str, Spoil); 9] = [
        ("null", "device", |at| {
            rustix::fs::mknodat(CWD, at.join("null"), FileType::CharacterDevice, Mode::RWXU, rustix::fs::makedev(1, 3))
                .unwrap();
        }),
        ("pipe", "named pipe", |at| {
            rustix::fs::mknodat(CWD, at.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        }),
        ("sock", "socket", |at| drop(std::os::unix::net::UnixListener::bind(at.join("sock")).unwrap())),
        ("bin/su", "setuid", |at| write(&at.join("bin/su"), "x", 0o4755)),
        ("bin/sg", "setgid", |at| write(&at.join("bin/sg"), "x", 0o2755)),
        ("passwd", "link to \"/etc/passwd\"", |at| symlink("/etc/passwd", at.join("passwd")).unwrap()),
        ("bin/up", "link to \"../../x\"", |at| symlink("../../x", at.join("bin/up")).unwrap()),
        ("bin/bend", "link to \"app/../../x\"", |at| symlink("app/../../x", at.join("bin/bend")).unwrap()),
        ("bin/empty", "hard link", |at| {
            // Somebody who owns the folder puts a secret of root's there, to have it handed out.
            let secret = at.with_file_name("secret");
            write(&secret, "of root", 0o600);
            fs::hard_link(&secret, at.join("bin/empty")).unwrap();
        }),
    ];
    for (entry, words, spoil) in cases {
        let shop = Shop::new();
        lay(&shop.upload("1.0"), "one");
        let good = shop.identify(&shop.folder("1.0")).unwrap();
        spoil(&shop.upload("1.0"));
        let reading = read_fingerprint(&shop.folder("1.0"), &shop.account, &shop.limits).unwrap_err();
        // Also when it came after the fingerprint.
        let taking = shop.take_as(&shop.folder("1.0"), &good, &|_| {}).unwrap_err();
        for (reason, message) in [(reading.reason(), reading.to_string()), (taking.reason(), taking.to_string())] {
            assert_eq!(reason, "ReleaseUnsafe", "{message}");
            assert!(message.contains(&format!("{entry:?}")) && message.contains(words), "{message}");
        }
        assert!(shop.shelf().is_empty(), "{entry}: {:?}", shop.shelf());
    }
}

#[test]
fn a_hard_link_that_the_user_may_read_anyway_is_fine() {
    let shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    fs::hard_link(shop.upload("1.0/public/assets/app.css"), shop.upload("1.0/public/app.css")).unwrap();
    let taken = shop.take(&shop.folder("1.0")).unwrap();
    assert_eq!(fs::metadata(shop.release(taken.revision).join("public/app.css")).unwrap().nlink(), 1);
}

#[test]
fn a_folder_that_changes_while_it_is_taken_is_not_that_release() {
    type Meddle = fn(&std::path::Path);
    let ways: [(&str, Meddle); 6] = [
        ("a file that was not reached yet", |at| write(&at.join("index.html"), "two", 0o644)),
        ("a new file", |at| write(&at.join("public/new"), "new", 0o644)),
        ("a new file in a folder whose names were read", |at| write(&at.join("new"), "new", 0o644)),
        ("a file gone", |at| fs::remove_file(at.join("public/assets/app.css")).unwrap()),
        ("a file that became a link to elsewhere", |at| {
            fs::remove_file(at.join("index.html")).unwrap();
            symlink("/etc/shadow", at.join("index.html")).unwrap();
        }),
        ("a folder that became a link to elsewhere", |at| {
            fs::remove_dir_all(at.join("public")).unwrap();
            symlink("/etc", at.join("public")).unwrap();
        }),
    ];
    for (what, meddle) in ways {
        let shop = Shop::new();
        lay(&shop.upload("1.0"), "one");
        let source = shop.folder("1.0");
        let identity = shop.identify(&source).unwrap();
        let done = AtomicBool::new(false);
        let error = shop
            .take_as(&source, &identity, &|step| {
                // `bin` is the first folder to be copied; everything that is meddled with comes after it.
                if step == Step::Entry(b"bin/app") && !done.swap(true, Ordering::Relaxed) {
                    meddle(&shop.upload("1.0"));
                }
            })
            .unwrap_err();
        assert!(done.into_inner());
        assert!(matches!(error.reason(), "ReleaseChanged" | "ReleaseUnsafe"), "{what}: {error}");
        assert!(!error.to_string().contains("root:"), "{error}");
        assert!(shop.shelf().is_empty(), "{what}: {:?}", shop.shelf());
    }

    // The way on: looked at again, it is another revision, and is taken as that one.
    let shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    let before = shop.identify(&shop.folder("1.0")).unwrap();
    write(&shop.upload("1.0/index.html"), "two", 0o644);
    let error = shop.take_as(&shop.folder("1.0"), &before, &|_| {}).unwrap_err();
    assert_eq!((error.reason(), error.class()), ("ReleaseChanged", Class::Conflict));
    let taken = shop.take(&shop.folder("1.0")).unwrap();
    assert_eq!(look(&shop.release(taken.revision)), laid("two"));
}

#[test]
fn what_is_too_large_too_deep_or_too_long_is_refused() {
    let shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    let with = |change: fn(&mut bluegreen::platform::host::release::Limits)| {
        let mut limits = shop.limits;
        change(&mut limits);
        read_fingerprint(&shop.folder("1.0"), &shop.account, &limits).unwrap_err()
    };
    for error in [
        with(|limits| limits.bytes = 18),
        with(|limits| limits.entries = 7),
        with(|limits| limits.depth = 1),
        with(|limits| limits.path = 20),
    ] {
        assert_eq!(error.reason(), "ReleaseTooLarge", "{error}");
        assert!(error.to_string().contains("limit of"), "{error}");
    }
}

#[test]
fn a_record_cut_in_half_is_named_and_mended_by_taking_the_release_again() {
    let shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    let taken = shop.take(&shop.folder("1.0")).unwrap();
    let path = shop.site.release_json(taken.revision);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();

    let listed = list(&shop.site).unwrap();
    let [(revision, Err(error))] = &listed[..] else {
        panic!("{listed:?}");
    };
    assert_eq!(*revision, taken.revision);
    assert_eq!(error.reason(), "StateDamaged");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");

    shop.take(&shop.folder("1.0")).unwrap();
    let listed = list(&shop.site).unwrap();
    let [(_, Ok(record))] = &listed[..] else {
        panic!("{listed:?}");
    };
    assert_eq!((record.revision, &record.run), (taken.revision, &taken.run));
}

#[test]
fn a_site_of_nobodys_source_gets_no_list_from_a_folder_that_cannot_be_read() {
    let shop = Shop::new();
    assert!(list(&shop.site).unwrap().is_empty());
    fs::create_dir_all(shop.site.root()).unwrap();
    fs::write(shop.site.releases(), "not a folder").unwrap();
    assert_eq!(list(&shop.site).unwrap_err().reason(), "ReleasesNotRead");
    let source = ReleaseSource::Path(abs(&shop.upload("1.0")));
    lay(&shop.upload("1.0"), "one");
    shop.take(&source).unwrap_err();
}
