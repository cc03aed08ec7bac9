//! Archives: the good ones, those that are not whole, and those that mean harm.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

use bluegreen::api::site::ReleaseSource;
use bluegreen::platform::Class;
use bluegreen::platform::host::release::{Kind, Step};
use tar::EntryType;
use zip::write::SimpleFileOptions;

use super::kit::{Shop, Tar, abs, laid, lay, look, write};

/// A zip archive of [`lay`].
fn zipped(version: &str) -> Vec<u8> {
    let plain = SimpleFileOptions::default();
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("index.html", plain.unix_permissions(0o644)).unwrap();
    zip.write_all(version.as_bytes()).unwrap();
    zip.start_file("bin/app", plain.unix_permissions(0o755)).unwrap();
    zip.write_all(b"#!/bin/sh\n").unwrap();
    zip.add_directory("empty", plain).unwrap();
    zip.start_file("public/assets/app.css", plain.unix_permissions(0o644)).unwrap();
    zip.write_all(b"body{}").unwrap();
    zip.add_symlink("public/home", "../index.html", plain).unwrap();
    zip.finish().unwrap().into_inner()
}

/// A zip archive with one entry whose Unix mode is this one.
fn zip_of(name: &str, mode: u32) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(name, SimpleFileOptions::default().unix_permissions(0o644)).unwrap();
    zip.write_all(b"/etc/passwd").unwrap();
    let mut bytes = zip.finish().unwrap().into_inner();
    // The writer only makes ordinary files: put the mode where the reader looks for it, in the central directory.
    let at = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    bytes[at + 38..at + 42].copy_from_slice(&(mode << 16).to_le_bytes());
    bytes
}

#[test]
fn a_tar_a_zip_and_a_folder_with_the_same_content_become_the_same_release() {
    let shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    Tar::new().all(&shop.upload("1.0")).write(&shop.upload("1.0.tar.gz"));
    fs::copy(shop.upload("1.0.tar.gz"), shop.upload("copy.tgz")).unwrap();
    fs::write(shop.upload("1.0.zip"), zipped("one")).unwrap();
    for name in ["1.0.tar.gz", "copy.tgz", "1.0.zip"] {
        let taken = shop.take(&shop.archive(name)).unwrap();
        assert_eq!(look(&shop.release(taken.revision)), laid("one"), "{name}");
    }
    let of = |name| shop.identify(&shop.archive(name)).unwrap();
    assert_eq!(of("1.0.tar.gz"), of("copy.tgz"), "the name of an archive is no content");
    assert_eq!(shop.shelf().len(), 4, "{:?}", shop.shelf());
}

#[test]
fn archives_made_by_the_usual_programs_are_taken() {
    let shop = Shop::new();
    let from = shop.upload("1.0");
    lay(&from, "one");
    write(&from.join("a folder with a long name/".repeat(5)).join("file ü"), "deep", 0o644);
    fs::hard_link(from.join("index.html"), from.join("index2.html")).unwrap();
    for argv in [
        &["tar", "-czf", "../gnu.tar.gz", "."][..],
        &["tar", "--format=posix", "-czf", "../pax.tar.gz", "."],
        &["tar", "--format=oldgnu", "--sparse", "-czf", "../old.tar.gz", "."],
        &["zip", "-qry", "../info.zip", "."],
    ] {
        let made = std::process::Command::new(argv[0]).args(&argv[1..]).current_dir(&from).status();
        assert!(made.unwrap().success(), "{argv:?}");
    }
    let mut wanted = look_without_owner(&from);
    wanted.retain(|path| !path.is_empty());
    for name in ["gnu.tar.gz", "pax.tar.gz", "old.tar.gz", "info.zip"] {
        let taken = shop.take(&shop.archive(name)).unwrap();
        let release = shop.release(taken.revision);
        assert_eq!(look_without_owner(&release), wanted, "{name}");
        assert_eq!(fs::read(release.join("index2.html")).unwrap(), b"one");
        let (made, took) =
            (fs::metadata(from.join("index.html")).unwrap(), fs::metadata(release.join("index.html")).unwrap());
        if !name.ends_with(".zip") {
            assert_eq!(made.mtime(), took.mtime(), "{name}: a file keeps its time");
        }
    }
}

fn look_without_owner(at: &std::path::Path) -> Vec<String> {
    look(at).into_keys().collect()
}

#[test]
fn a_jar_is_a_release_of_one_file() {
    let shop = Shop::new();
    fs::write(shop.upload("shop.jar"), zipped("one")).unwrap();
    let taken = shop.take(&shop.archive("shop.jar")).unwrap();
    assert_eq!(taken.identity.fingerprint.kind, Kind::File("shop.jar".to_owned()));
    let jar = shop.release(taken.revision).join("shop.jar");
    assert_eq!(fs::read(&jar).unwrap(), zipped("one"));
    assert_eq!(fs::metadata(&jar).unwrap().mode() & 0o7777, 0o440);
    assert_eq!(shop.shelf().len(), 2);
}

#[test]
fn the_checksum_that_was_given_is_held_against_the_archive() {
    let shop = Shop::new();
    fs::write(shop.upload("1.0.zip"), zipped("one")).unwrap();
    let is = shop.identify(&shop.archive("1.0.zip")).unwrap().fingerprint.digest;
    let with =
        |sum: &str| ReleaseSource::Archive { file: abs(&shop.upload("1.0.zip")), sha256: Some(sum.parse().unwrap()) };
    let wrong = "0".repeat(64);
    let error = shop.take(&with(&wrong)).unwrap_err();
    assert_eq!((error.reason(), error.class()), ("ChecksumMismatch", Class::User));
    assert!(error.to_string().contains(&wrong) && error.to_string().contains(&is), "{error}");
    // Also when only the take finds out.
    let identity = shop.identify(&shop.archive("1.0.zip")).unwrap();
    assert_eq!(shop.take_as(&with(&wrong), &identity, &|_| {}).unwrap_err().reason(), "ChecksumMismatch");
    assert!(shop.shelf().is_empty());
    shop.take(&with(&is)).unwrap();
}

#[test]
fn a_half_uploaded_archive_is_incomplete_wherever_it_is_cut_and_taken_when_it_is_whole() {
    let shop = Shop::new();
    lay(&shop.upload("1.0"), "one");
    write(
        &shop.upload("1.0/large"),
        (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<u8>>(),
        0o644,
    );
    for (name, whole) in [("1.0.tar.gz", Tar::new().all(&shop.upload("1.0")).bytes()), ("1.0.zip", zipped("one"))] {
        let length = whole.len();
        let mut cuts =
            vec![1, 2, 10, length / 3, length / 2, length - 30, length - 9, length - 8, length - 4, length - 1];
        if name == "1.0.zip" {
            cuts.extend(11..length - 31);
        }
        let cuts: Vec<usize> =
            if cuts.len() > 60 { cuts.into_iter().step_by(9).chain([length - 1]).collect() } else { cuts };
        for cut in cuts {
            fs::write(shop.upload(name), &whole[..cut]).unwrap();
            let error = shop.take(&shop.archive(name)).unwrap_err();
            assert_eq!(
                (error.reason(), error.class()),
                ("ReleaseIncomplete", Class::User),
                "{name} cut at {cut}: {error}"
            );
            assert!(error.to_string().contains(name) && error.to_string().contains("upload it again"), "{error}");
        }
        fs::write(shop.upload(name), &whole).unwrap();
        shop.take(&shop.archive(name)).unwrap();
    }
    assert_eq!(shop.shelf().len(), 4, "{:?}", shop.shelf());
}

#[test]
fn an_archive_with_a_byte_changed_is_incomplete_and_not_taken_wrong() {
    let shop = Shop::new();
    let content: Vec<u8> = (0..50_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    let mut bytes = Tar::new().file("a", &content).bytes();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(shop.upload("a.tgz"), &bytes).unwrap();
    let error = shop.take(&shop.archive("a.tgz")).unwrap_err();
    assert_eq!(error.reason(), "ReleaseIncomplete", "{error}");
}

#[test]
fn an_archive_that_changes_while_it_is_taken_is_not_that_release_and_cannot_change_it_later() {
    let shop = Shop::new();
    let source = shop.archive("1.0.zip");
    fs::write(shop.upload("1.0.zip"), zipped("one")).unwrap();
    let identity = shop.identify(&source).unwrap();
    let meddle = |at: Step<'static>| {
        let done = AtomicBool::new(false);
        fs::write(shop.upload("1.0.zip"), zipped("one")).unwrap();
        let taken = shop.take_as(&source, &identity, &|step| {
            if step == at && !done.swap(true, Ordering::Relaxed) {
                fs::write(shop.upload("1.0.zip"), zipped("two")).unwrap();
            }
        });
        assert!(done.into_inner());
        taken
    };
    let error = meddle(Step::Opened).unwrap_err();
    assert_eq!((error.reason(), error.class()), ("ReleaseChanged", Class::Conflict));
    assert!(shop.shelf().is_empty());
    let taken = meddle(Step::Secured).unwrap();
    assert_eq!(look(&shop.release(taken.revision)), laid("one"));
}

#[test]
fn entries_that_mean_harm_are_refused_by_name_and_nothing_is_left() {
    let regular = EntryType::Regular;
    let cases: Vec<(&str, &str, Tar)> = vec![
        ("/etc/evil", "absolute", Tar::new().file("/etc/evil", "x")),
        ("../evil", "climbs", Tar::new().file("../evil", "x")),
        ("a/../../evil", "climbs", Tar::new().file("a/../../evil", "x")),
        ("up", "link to \"../x\"", Tar::new().link("up", "../x")),
        ("etc", "link to \"/etc\"", Tar::new().link("etc", "/etc")),
        ("a/bend", "link to \"b/../../x\"", Tar::new().link("a/bend", "b/../../x")),
        ("in/evil", "behind a link", Tar::new().file("real/x", "x").link("in", "real").file("in/evil", "x")),
        ("f/evil", "below something that is no folder", Tar::new().file("f", "x").file("f/evil", "x")),
        ("same", "twice", Tar::new().file("same", "x").file("same", "y")),
        ("same", "twice", Tar::new().file("same", "x").link("same", "x")),
        ("hard", "hard link to \"/etc/passwd\"", Tar::new().add(EntryType::Link, "hard", 0o644, "/etc/passwd", b"")),
        ("hard", "hard link to \"../x\"", Tar::new().add(EntryType::Link, "hard", 0o644, "../x", b"")),
        ("hard", "hard link to \"none\"", Tar::new().add(EntryType::Link, "hard", 0o644, "none", b"")),
        (
            "hard",
            "hard link to \"l\"",
            Tar::new().file("x", "x").link("l", "x").add(EntryType::Link, "hard", 0o644, "l", b""),
        ),
        ("null", "device", Tar::new().add(EntryType::Char, "null", 0o666, "", b"")),
        ("sda", "device", Tar::new().add(EntryType::Block, "sda", 0o666, "", b"")),
        ("pipe", "named pipe", Tar::new().add(EntryType::Fifo, "pipe", 0o666, "", b"")),
        ("su", "setuid", Tar::new().add(regular, "su", 0o4755, "", b"x")),
        ("sg", "setgid", Tar::new().add(regular, "sg", 0o2755, "", b"x")),
        ("a\\..\\evil", "no name for a file", Tar::new().file("a\\..\\evil", "x")),
    ];
    for (entry, words, tar) in cases {
        let shop = Shop::new();
        tar.write(&shop.upload("evil.tar.gz"));
        let error = shop.take(&shop.archive("evil.tar.gz")).unwrap_err();
        assert_eq!((error.reason(), error.class()), ("ReleaseUnsafe", Class::User), "{entry}: {error}");
        let message = error.to_string();
        assert!(
            message.contains("evil.tar.gz: ") && message.contains(&format!("{entry:?}")) && message.contains(words),
            "{message}"
        );
        assert!(shop.shelf().is_empty(), "{entry}: {:?}", shop.shelf());
        assert!(!std::path::Path::new("/etc/evil").exists());
    }
}

#[test]
fn entries_of_a_zip_that_mean_harm_are_refused_by_name() {
    for (name, mode, words) in [
        ("../evil", 0o100_644, "climbs"),
        ("/etc/evil", 0o100_644, "absolute"),
        ("a\\b", 0o100_644, "no name for a file"),
        ("dev", 0o020_666, "device"),
        ("blk", 0o060_666, "device"),
        ("pipe", 0o010_666, "named pipe"),
        ("sock", 0o140_666, "socket"),
        ("su", 0o104_755, "setuid"),
        ("link", 0o120_777, "link to \"/etc/passwd\""),
    ] {
        let shop = Shop::new();
        fs::write(shop.upload("evil.zip"), zip_of(name, mode)).unwrap();
        let error = shop.take(&shop.archive("evil.zip")).expect_err(name);
        assert_eq!(error.reason(), "ReleaseUnsafe", "{name}: {error}");
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert!(shop.shelf().is_empty());
    }
}

#[test]
fn a_bomb_of_bytes_is_refused_by_how_tightly_it_is_packed() {
    let shop = Shop::new();
    let zeros = vec![0; 80 << 20];
    Tar::new().file("bomb", &zeros).write(&shop.upload("bomb.tgz"));
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("bomb", SimpleFileOptions::default()).unwrap();
    zip.write_all(&zeros).unwrap();
    fs::write(shop.upload("bomb.zip"), zip.finish().unwrap().into_inner()).unwrap();
    for name in ["bomb.tgz", "bomb.zip"] {
        let mut shop = Shop::within(tempfile::tempdir_in(shop.dir.path()).unwrap());
        shop.limits.ratio = 10;
        fs::copy(shop.dir.path().parent().unwrap().join("upload").join(name), shop.upload(name)).unwrap();
        let error = shop.take(&shop.archive(name)).unwrap_err();
        assert_eq!((error.reason(), error.class()), ("ReleaseTooLarge", Class::User), "{error}");
        assert!(error.to_string().contains("\"bomb\"") && error.to_string().contains("bytes"), "{error}");
        assert!(shop.shelf().is_empty());
    }
}

#[test]
fn a_bomb_of_entries_of_depth_or_of_names_is_refused() {
    let mut shop = Shop::new();
    shop.limits.entries = 20;
    shop.limits.depth = 5;
    shop.limits.name = 30;
    shop.limits.path = 60;
    let many = (0..30).fold(Tar::new(), |tar, n| tar.file(&format!("f{n}"), ""));
    for (what, tar) in [
        ("20 files and folders", many),
        ("20 files and folders", (0..11).fold(Tar::new(), |tar, n| tar.file(&format!("d{n}/f"), ""))),
        ("5 folders deep", Tar::new().file(&format!("{}x", "a/".repeat(6)), "")),
        ("30 bytes in a name", Tar::new().file(&"n".repeat(31), "")),
        ("60 bytes in a path", Tar::new().file(&"nnnnnnnnnnnnnnnnnnnn/".repeat(3), "")),
    ] {
        tar.write(&shop.upload("bomb.tgz"));
        let error = shop.take(&shop.archive("bomb.tgz")).unwrap_err();
        assert_eq!(error.reason(), "ReleaseTooLarge", "{error}");
        assert!(error.to_string().contains(&format!("limit of {what}")), "{error}");
        assert!(shop.shelf().is_empty());
    }
}

#[test]
fn a_tar_that_promises_more_names_than_memory_stops_its_unpacker_and_nothing_else() {
    // A name of 768 MiB, which the parser would hold in memory. Packed as one member a MiB, each the same.
    let shop = Shop::new();
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..4].copy_from_slice(b"long");
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(768 << 20);
    header.set_cksum();
    let member = |content: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(content).unwrap();
        packer.finish().unwrap()
    };
    let mut bytes = member(header.as_bytes());
    bytes.extend(member(&vec![b'a'; 1 << 20]).repeat(768));
    fs::write(shop.upload("long.tgz"), bytes).unwrap();
    let error = shop.take(&shop.archive("long.tgz")).unwrap_err();
    assert_eq!(error.reason(), "ReleaseTooLarge", "{error}");
    assert!(error.to_string().contains("memory"), "{error}");
    assert!(shop.shelf().is_empty());
}
