//! Releases that are not whole, not what was said, or mean harm: each is told, none goes live, and the next good one does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use bluegreen_rig::process::run;
use notify::event::AccessKind;
use notify::{EventKind, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::kit::Served;
use crate::machine::{says, why};

#[test]
fn no_bad_archive_goes_live_and_the_good_one_after_it_does() {
    let served = Served::start();
    let agent = served.agent();
    let good = served.machine.release("v2");
    let at = |name: &str| agent.uploads().join(name);
    let whole = packed(&good, &[]);
    let sum = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let put = |name: &str, bytes: &[u8]| {
        fs::write(at(name), bytes).unwrap();
        at(name)
    };
    let evil = |name: &str, kind: EntryType, mode: u32, target: &str| packed(&good, &[(name, kind, mode, target)]);
    let rejected = "PreparationFailed";
    // Not told yet which revision it is: it is looked at again until it is whole.
    let stalled = "ChecksumMismatch";
    let other = sum(b"something else");
    // The name, the content, the checksum that is asked for, the reason, and words of the message.
    type Case<'a> = (&'a str, Vec<u8>, Option<&'a str>, &'a str, Vec<&'a str>);
    let cases: Vec<Case> = vec![
        ("half.tar.gz", whole[..whole.len() / 2].to_vec(), None, rejected, vec!["half.tar.gz", "upload it again"]),
        (
            "other.tar.gz",
            whole.clone(),
            Some(&other),
            stalled,
            vec!["other.tar.gz has the SHA-256", "spec.target.host.release.sha256"],
        ),
        (
            "climbs.tar.gz",
            evil("../evil", EntryType::Regular, 0o644, ""),
            None,
            rejected,
            vec!["\"../evil\"", "climbs"],
        ),
        (
            "root.tar.gz",
            evil("/etc/evil", EntryType::Regular, 0o644, ""),
            None,
            rejected,
            vec!["\"/etc/evil\"", "absolute"],
        ),
        (
            "link.tar.gz",
            evil("up", EntryType::Symlink, 0o777, "../../x"),
            None,
            rejected,
            vec!["\"up\"", "link to \"../../x\""],
        ),
        ("device.tar.gz", evil("dev", EntryType::Char, 0o666, ""), None, rejected, vec!["\"dev\"", "device"]),
        ("setuid.tar.gz", evil("su", EntryType::Regular, 0o4755, ""), None, rejected, vec!["\"su\"", "setuid"]),
        ("bomb.tar.gz", bomb(), None, rejected, vec!["\"bomb\"", "beyond the limit"]),
    ];
    for (name, bytes, checksum, reason, words) in cases {
        let file = put(name, &bytes);
        agent.apply(&served.site.clone().archive(&file, checksum)).unwrap();
        let all: Vec<&str> = words.into_iter().collect();
        let site = served.says(reason, &all);
        assert_eq!(site.pointer("/status/live/colour"), Some(&"blue".into()), "{name}: {site:#}");
        served.is_untouched();
    }
    assert!(!Path::new("/etc/evil").exists());
    // The half one is uploaded to its end, the good one has its right checksum.
    let file = put("half.tar.gz", &whole);
    agent.apply_and_wait(&served.site.clone().archive(&file, Some(&sum(&whole)))).unwrap();
    served.load().wait_for_version("v2").unwrap();
    served.ends_with_versions(&["v1", "v2"]);
}

#[test]
fn no_bad_folder_goes_live_and_it_does_once_it_is_mended() {
    let served = Served::start();
    let agent = served.agent();
    let folder = served.machine.release("v2");
    let site = served.site.clone().release(&folder);
    let bad = folder.join("bad");
    type Make<'a> = Box<dyn Fn() + 'a>;
    let cases: Vec<(&str, Make, &str)> = vec![
        ("\"bad\" is a link to \"../../etc\"", Box::new(|| symlink("../../etc", &bad).unwrap()), "ReleaseUnsafe"),
        (
            "device",
            Box::new(|| drop(run(Command::new("mknod").arg(&bad).args(["c", "1", "3"])).unwrap())),
            "ReleaseUnsafe",
        ),
        (
            "setuid",
            Box::new(|| {
                fs::write(&bad, "x").unwrap();
                fs::set_permissions(&bad, fs::Permissions::from_mode(0o4755)).unwrap();
            }),
            "ReleaseUnsafe",
        ),
        ("named pipe", Box::new(|| drop(run(Command::new("mkfifo").arg(&bad)).unwrap())), "ReleaseUnsafe"),
    ];
    for (words, make, reason) in cases {
        make();
        agent.apply(&site).unwrap();
        served.says(reason, &["\"bad\"", words]);
        served.is_untouched();
        fs::remove_file(&bad).unwrap();
    }
    agent.bluegreen(&["retry", "shop"]).unwrap();
    served.load().wait_for_version("v2").unwrap();
    served.ends_with_versions(&["v1", "v2"]);
}

#[test]
fn a_release_that_somebody_keeps_changing_is_taken_when_they_are_done() {
    let served = Served::start();
    let agent = served.agent();
    let folder = served.machine.release("v2");
    // The agent reads in the order of names: when it is at the first, the large one keeps it long enough for another to come.
    let first = folder.join("0-first");
    fs::write(&first, "x").unwrap();
    fs::File::create(folder.join("1-large")).unwrap().set_len(128 << 20).unwrap();
    let count = AtomicU32::new(0);
    let parts = folder.clone();
    let mut copying = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if matches!(event.unwrap().kind, EventKind::Access(AccessKind::Open(_))) {
            let part = count.fetch_add(1, Ordering::Relaxed);
            fs::write(parts.join(format!("upload.{part}")), "more").unwrap();
        }
    })
    .unwrap();
    copying.watch(&first, RecursiveMode::NonRecursive).unwrap();
    agent.apply(&served.site.clone().release(&folder)).unwrap();
    let told = |site: &serde_json::Value| why(site, "Ready") == "ReleaseChanged";
    let site = agent.wait_for("shop", "says that the release changes", told).unwrap();
    let message = says(&site, "Ready");
    println!("{message}");
    assert!(message.contains(&folder.display().to_string()) && message.contains("changed"), "{message}");
    assert!(agent.log().contains("changed while it was read"));
    served.is_untouched();
    drop(copying);
    // Nobody has to say anything: it is looked at again.
    served.load().wait_for_version("v2").unwrap();
    served.ends_with_versions(&["v1", "v2"]);
}

/// A folder as `tar` packs it, and these entries besides.
fn packed(folder: &Path, besides: &[(&str, EntryType, u32, &str)]) -> Vec<u8> {
    let packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(packer);
    for (name, kind, mode, target) in besides {
        let mut header = tar::Header::new_gnu();
        // Written past the library, which would not let such names pass.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_size(0);
        header.set_cksum();
        tar.append(&header, std::io::empty()).unwrap();
    }
    tar.append_dir_all(".", folder).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

/// 96 MiB of nothing in a tenth of a MiB.
fn bomb() -> Vec<u8> {
    let packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut tar = tar::Builder::new(packer);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(96 << 20);
    tar.append_data(&mut header, "bomb", std::io::Read::take(std::io::repeat(0), 96 << 20)).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}
