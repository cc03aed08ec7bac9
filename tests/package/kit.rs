//! Packages of the program under test, and machines to install them on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use bluegreen_rig::booted::{Booted, Image};

use super::vps::Vps;

pub const UNIT: &str = "bluegreen.service";

/// A package of the program under test with this version, in `folder`.
pub fn package(folder: &Path, version: &str) -> PathBuf {
    built("deb", folder, version)
}

/// The same for machines without dpkg.
pub fn tarball(folder: &Path, version: &str) -> PathBuf {
    built("tarball", folder, version)
}

fn built(kind: &str, folder: &Path, version: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/build-deb.sh");
    let output = Command::new(script)
        .args([kind, env!("CARGO_BIN_EXE_bluegreen"), version])
        .arg(folder)
        .env("DEB_COMPRESSION", "gzip")
        .output()
        .expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// A machine with the packages in /packages, and nothing of ours.
pub fn machine(image: Image, folder: &Path) -> Vps {
    let machine = Booted::boot_from(image, &[(folder, "/packages")]).expect("a machine");
    Vps { machine, load: None }
}

/// dpkg with both of what it printed.
pub fn dpkg(vps: &Vps, argv: &[&str]) -> String {
    let output = vps.machine.output(&[&["dpkg"], argv].concat()).expect("a run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", vps.log());
    said
}

pub fn install(vps: &Vps, package: &Path) -> String {
    let name = package.file_name().expect("a name").to_str().expect("text");
    dpkg(vps, &["--install", &format!("/packages/{name}")])
}

/// Every path of the machine, and more that a package may leave, but for dpkg's own records, what the test itself writes, and others' daemons.
pub fn listing(vps: &Vps) -> BTreeSet<String> {
    let not = "find / -xdev ( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/tmp -o -path /root -o -path /srv \
               -o -path /packages -o -path /var/lib/dpkg -o -path /var/log/journal -o -path /var/lib/nginx ) -prune -o -print";
    let lines = |kind: &'static str, argv: &[&str]| {
        let all = vps.run(argv);
        all.lines().map(|line| format!("{kind}{line}")).collect::<Vec<_>>()
    };
    let mut all: BTreeSet<String> = lines("", &not.split_whitespace().collect::<Vec<_>>()).into_iter().collect();
    // A file system of its own.
    all.extend(lines("", &["find", "/run", "-name", "*bluegreen*"]));
    all.extend(lines("group ", &["getent", "group"]));
    all.extend(lines("user ", &["getent", "passwd"]));
    all.extend(lines("nft ", &["nft", "list", "tables"]));
    all.extend(lines("unit ", &["systemctl", "list-units", "--all", "--plain", "--no-legend", "bluegreen*"]));
    all
}

/// Removes the package, and all that the machine has of it since `before`.
pub fn purge_leaves_nothing(vps: &Vps, before: &BTreeSet<String>) {
    dpkg(vps, &["--purge", "bluegreen"]);
    let after = listing(vps);
    let left: Vec<_> = after.difference(before).collect();
    assert!(left.is_empty(), "left behind: {left:#?}");
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(lost.is_empty(), "taken away: {lost:#?}");
}

pub fn agent(vps: &Vps) -> String {
    vps.run(&["systemctl", "show", "--property=MainPID", "--value", UNIT]).trim().to_owned()
}
