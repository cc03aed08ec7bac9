//! From the installation to the purge.

use std::fs;

use bluegreen_rig::booted::Image;
use bluegreen_rig::wait;

use super::kit::{UNIT, agent, dpkg, install, listing, machine, package, purge_leaves_nothing};

#[test]
fn a_site_notices_neither_upgrade_nor_removal_and_a_purge_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (package(folder.path(), "0.1.0"), package(folder.path(), "0.1.1"));
    let mut vps = machine(Image::Small, folder.path());
    vps.run(&["systemctl", "enable", "--now", "--quiet", "nginx.service"]);
    let before = listing(&vps);

    install(&vps, &first);
    assert!(vps.does(&["systemctl", "is-active", "--quiet", UNIT]), "{}", vps.log());
    assert!(vps.does(&["systemctl", "is-enabled", "--quiet", UNIT]));
    assert!(vps.does(&["getent", "group", "bluegreen"]));
    assert!(vps.does(&["test", "-s", "/usr/share/man/man1/bluegreen-apply.1.gz"]));
    vps.apply_and_wait(&vps.with(vps.site(), "v1", ""));
    let units = vps.doctor_is_content();
    for (port, unit) in [
        (80, "nginx.service"),
        (8081, "bluegreen-shop-blue@0.service"),
        (8082, "bluegreen-shop-blue@1.service"),
        (9415, UNIT),
    ] {
        assert_eq!(units.get(&port).map(String::as_str), Some(unit), "{units:?}");
    }
    vps.begin_load();
    let (apps, old) = (vps.up("blue"), agent(&vps));
    assert_eq!(apps.len(), 2);

    let config = vps.machine.root().join("etc/bluegreen/agent.yaml");
    let edited = format!("{}metrics:\n  listen: 127.0.0.1:9416\n", fs::read_to_string(&config).expect("a file"));
    fs::write(&config, &edited).expect("a file");
    // A question would end it: nobody is there to answer.
    install(&vps, &second);
    assert_eq!(fs::read_to_string(&config).expect("a file"), edited);
    assert_eq!(vps.run(&["ls", "/etc/bluegreen"]), "agent.yaml\nsites\n");
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

    // One that nobody edited is the new package's.
    let shipped = vps.machine.root().join("usr/share/bluegreen/agent.yaml");
    let text = fs::read_to_string(&shipped).expect("a file");
    for file in [&config, &shipped] {
        fs::write(file, "# An older package's.\n").expect("a file");
    }
    install(&vps, &second);
    assert_eq!(fs::read_to_string(&config).expect("a file"), text);

    purge_leaves_nothing(&vps, &before);
    let gone = |pid: &String| !vps.does(&["test", "-d", &format!("/proc/{pid}")]);
    assert!(apps.iter().all(gone), "an app still runs");
    wait::until("nginx has forgotten the site", wait::PATIENCE, || vps.answers().is_none().then_some(()))
        .expect("a reload");
}

#[test]
fn without_a_web_server_it_is_installed_and_says_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let only = package(folder.path(), "0.1.0");
    let vps = machine(Image::Small, folder.path());
    vps.run(&["rm", "/usr/sbin/nginx"]);
    let said = install(&vps, &only);
    assert!(said.contains("bluegreen: there is no web server yet; install one (apt install nginx)"), "{said}");
    assert!(vps.does(&["systemctl", "is-enabled", "--quiet", UNIT]));
    let told = || vps.log().contains("/usr/sbin/nginx").then_some(());
    wait::until("the agent names what is missing", wait::PATIENCE, told)
        .unwrap_or_else(|error| panic!("{error}\n{}", vps.log()));
    dpkg(&vps, &["--purge", "bluegreen"]);
}
