//! What must never go live, and is said.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::kit::{Site, sum};
use crate::machine::why;

#[test]
fn a_wrong_checksum_is_said_and_changes_nothing_and_the_right_one_goes_live() {
    let site = Site::start();
    let file = site.archive("v2");
    let begun = site.begun();
    site.put("v2.tar.gz", &fs::read(&file).unwrap());
    site.put("v2.tar.gz.sha256", format!("{}  v2.tar.gz\n", "ab".repeat(32)).as_bytes());
    // Nothing outweighs it.
    site.put("v2.tar.gz.done", b"");
    let real = sum(&file);
    site.served.says("ChecksumMismatch", &["v2.tar.gz has the SHA-256", &real, &"ab".repeat(32), "v2.tar.gz.sha256"]);
    site.put("v2.tar.gz.sha256", format!("{real}  other.tar.gz\n").as_bytes());
    site.served.says("UploadRefused", &["v2.tar.gz.sha256", "other.tar.gz"]);
    site.served.is_untouched();
    assert_eq!(site.begun(), begun);
    site.put("v2.tar.gz.sha256", format!("{real}  v2.tar.gz\n").as_bytes());
    site.goes_live("v2");
    site.served.ends_with_versions(&["v1b", "v2"]);
}

#[test]
fn links_empty_and_huge_files_are_refused_and_a_name_that_is_none_is_not_looked_at() {
    let site = Site::start();
    let begun = site.begun();
    let file = site.archive("v2");
    let whole = fs::read(&file).unwrap();
    let at = |name: &str| site.folder.join(name);
    let secret = site.agent().folder().join("secret.tar.gz");
    fs::write(&secret, &whole).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();

    symlink(&file, at("link.tar.gz")).unwrap();
    site.put("link.tar.gz.done", b"");
    site.served.says("UploadRefused", &["link.tar.gz", "is a link"]);
    fs::hard_link(&secret, at("hard.tar.gz")).unwrap();
    site.put("hard.tar.gz.done", b"");
    site.served.says("ReleaseUnsafe", &["hard.tar.gz", "may not read"]);
    site.put("empty.tar.gz", b"");
    site.put("empty.tar.gz.done", b"");
    site.served.says("ReleaseIncomplete", &["empty.tar.gz", "is empty"]);
    fs::File::create(at("huge.tar.gz")).unwrap().set_len(5 << 30).unwrap();
    site.put("huge.tar.gz.done", b"");
    site.served.says("ReleaseTooLarge", &["huge.tar.gz"]);
    // A marker that is a link to something older or newer is none.
    site.put("mark.tar.gz", &whole);
    symlink("empty.tar.gz.done", at("mark.tar.gz.done")).unwrap();
    site.served.says("UploadRefused", &["mark.tar.gz.done"]);
    for name in ["..tar.gz", ".hidden.tar.gz", "a b.tar.gz", "$(id).tar.gz", "-rf.tar.gz", "v2.tar.gz.part"] {
        site.put(name, &whole);
        site.put(&format!("{name}.done"), b"");
    }
    site.served.is_untouched();
    assert_eq!(site.begun(), begun);

    // Half an archive whose marker came too early is rejected when it is unpacked, and the whole one goes live.
    site.put("v3.tar.gz", &whole[..whole.len() / 2]);
    site.put("v3.tar.gz.done", b"");
    site.served.says("PreparationFailed", &["v3.tar.gz"]);
    site.served.is_untouched();
    site.put("v4.tar.gz.part", &whole);
    fs::rename(at("v4.tar.gz.part"), at("v4.tar.gz")).unwrap();
    site.goes_live("v2");
    site.served.ends_with_versions(&["v1b", "v2"]);
}

#[test]
fn a_folder_that_everybody_may_write_in_is_refused_until_it_is_mended() {
    let site = Site::start();
    let begun = site.begun();
    fs::set_permissions(&site.folder, fs::Permissions::from_mode(0o777)).unwrap();
    site.put("v2.tar.gz.part", &fs::read(site.archive("v2")).unwrap());
    fs::rename(site.folder.join("v2.tar.gz.part"), site.folder.join("v2.tar.gz")).unwrap();
    site.served.says("UploadsUnsafe", &["chmod o-w"]);
    site.served.is_untouched();
    assert_eq!(site.begun(), begun);
    fs::set_permissions(&site.folder, fs::Permissions::from_mode(0o755)).unwrap();
    site.put("v2.tar.gz.done", b"");
    site.goes_live("v2");
    let now = site.agent().site("shop").unwrap();
    assert_eq!(why(&now, "Ready"), "Live");
    site.served.ends_with_versions(&["v1b", "v2"]);
}
