//! From the installation to the purge.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use bluegreen_rig::booted::Booted;
use bluegreen_rig::wait;

use super::vps::Vps;

const UNIT: &str = "bluegreen.service";

/// A package of the program under test with this version, in `folder`.
fn package(folder: &Path, version: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/build-deb.sh");
    let output = Command::new(script)
        .args(["deb", env!("CARGO_BIN_EXE_bluegreen"), version])
        .arg(folder)
        .env("DEB_COMPRESSION", "gzip")
        .output()
        .expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// A machine with the packages in /packages, and nothing of ours.
fn machine(folder: &Path) -> Vps {
    let machine = Booted::boot(&[(folder, "/packages")]).expect("a machine");
    Vps { machine, load: None }
}

/// dpkg with both of what it printed.
fn dpkg(vps: &Vps, argv: &[&str]) -> String {
    let output = vps.machine.output(&[&["dpkg"], argv].concat()).expect("a run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", vps.log());
    said
}

fn install(vps: &Vps, package: &Path) -> String {
    let name = package.file_name().expect("a name").to_str().expect("text");
    dpkg(vps, &["--install", &format!("/packages/{name}")])
}

/// Every path of the machine, but for dpkg's own records, logs, and what the test itself and others' daemons write.
fn listing(vps: &Vps) -> BTreeSet<String> {
    let not = "find / -xdev ( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/tmp -o -path /root -o -path /srv \
               -o -path /packages -o -path /var/lib/dpkg -o -path /var/cache -o -path /var/log -o -path /var/lib/nginx ) -prune -o -print";
    let mut paths: BTreeSet<String> =
        vps.run(&not.split_whitespace().collect::<Vec<_>>()).lines().map(str::to_owned).collect();
    // A file system of its own.
    paths.extend(vps.run(&["find", "/run", "-name", "*bluegreen*"]).lines().map(str::to_owned));
    paths.extend(vps.run(&["getent", "group"]).lines().map(|line| format!("group {line}")));
    paths.extend(vps.run(&["getent", "passwd"]).lines().map(|line| format!("user {line}")));
    paths
}

fn agent(vps: &Vps) -> String {
    vps.run(&["systemctl", "show", "--property=MainPID", "--value", UNIT]).trim().to_owned()
}

#[test]
fn a_site_notices_neither_upgrade_nor_removal_and_a_purge_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (package(folder.path(), "0.1.0"), package(folder.path(), "0.1.1"));
    let mut vps = machine(folder.path());
    vps.run(&["systemctl", "enable", "--now", "--quiet", "nginx.service"]);
    let before = listing(&vps);

    install(&vps, &first);
    assert!(vps.does(&["systemctl", "is-active", "--quiet", UNIT]), "{}", vps.log());
    assert!(vps.does(&["systemctl", "is-enabled", "--quiet", UNIT]));
    assert!(vps.does(&["getent", "group", "bluegreen"]));
    assert!(vps.does(&["test", "-s", "/usr/share/man/man1/bluegreen-apply.1.gz"]));
    vps.apply_and_wait(&vps.with(vps.site(), "v1", ""));
    vps.begin_load();
    let (apps, old) = (vps.up("blue"), agent(&vps));
    assert_eq!(apps.len(), 2);

    install(&vps, &second);
    assert_eq!(vps.run(&["dpkg-query", "--show", "--showformat=${Version}", "bluegreen"]), "0.1.1");
    assert!(agent(&vps) != old && agent(&vps) != "0", "another agent runs: {}", vps.log());
    assert_eq!(vps.up("blue"), apps, "no app was touched: {}", vps.log());
    vps.settles_on("v1");
    vps.apply_and_wait(&vps.with(vps.site(), "v2", ""));
    let apps = vps.up("green");
    assert_eq!(apps.len(), 2);

    dpkg(&vps, &["--remove", "bluegreen"]);
    assert!(!vps.does(&["systemctl", "is-active", "--quiet", UNIT]));
    assert!(!vps.does(&["test", "-e", "/usr/bin/bluegreen"]));
    assert_eq!(vps.up("green"), apps, "the site serves on without the package");
    let requests = vps.end_load("an upgrade and a removal");
    println!("an upgrade and a removal: {requests} requests, 0 failed");

    install(&vps, &second);
    vps.settles_on("v2");
    assert_eq!(vps.up("green"), apps, "the site is found as it was");

    dpkg(&vps, &["--purge", "bluegreen"]);
    let after = listing(&vps);
    let left: Vec<_> = after.difference(&before).collect();
    assert!(left.is_empty(), "left behind: {left:#?}");
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(lost.is_empty(), "taken away: {lost:#?}");
    let units = vps.run(&["systemctl", "list-units", "--all", "--plain", "--no-legend", "bluegreen*"]);
    assert_eq!(units, "");
    let gone = |pid: &String| !vps.does(&["test", "-d", &format!("/proc/{pid}")]);
    assert!(apps.iter().all(gone), "an app still runs");
    wait::until("nginx has forgotten the site", wait::PATIENCE, || vps.answers().is_none().then_some(()))
        .expect("a reload");
}

#[test]
fn without_a_web_server_it_is_installed_and_says_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let only = package(folder.path(), "0.1.0");
    let vps = machine(folder.path());
    vps.run(&["rm", "/usr/sbin/nginx"]);
    let said = install(&vps, &only);
    assert!(said.contains("bluegreen: there is no web server yet; install one (apt install nginx)"), "{said}");
    assert!(vps.does(&["systemctl", "is-enabled", "--quiet", UNIT]));
    let told = || vps.log().contains("/usr/sbin/nginx").then_some(());
    wait::until("the agent names what is missing", wait::PATIENCE, told)
        .unwrap_or_else(|error| panic!("{error}\n{}", vps.log()));
    dpkg(&vps, &["--purge", "bluegreen"]);
}
