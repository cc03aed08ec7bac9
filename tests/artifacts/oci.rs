//! Images and artifacts of a real registry, pushed to by real clients (oras and curl).

use std::path::Path;
use std::process::Command;

use bluegreen_rig::cluster::tools;
use bluegreen_rig::process;
use serde_json::Value;

use crate::kit::{packed, sum, with};
use crate::machine::{Machine, nothing_lost, revision};
use crate::registry::{PASSWORD, Registry};
use crate::served::Served;

/// A layer: these files of a folder, by tar itself.
fn layer(folder: &Path) -> Vec<u8> {
    packed(folder)
}

#[test]
fn an_image_goes_live_under_load_with_its_whiteouts_once_for_all_sites() {
    let registry = Registry::start();
    let machine = Machine::start();
    let agent = &machine.agent;
    let work = tempfile::tempdir().unwrap();
    let (below, above) = (work.path().join("below"), work.path().join("above"));
    // What a base has, and no release may: it is not in /app.
    std::fs::create_dir_all(below.join("etc")).unwrap();
    std::os::unix::fs::symlink("/proc/mounts", below.join("etc/mtab")).unwrap();
    std::fs::rename(machine.release("v2"), below.join("app")).unwrap();
    std::fs::write(below.join("app/secret.txt"), "taken away later").unwrap();
    std::fs::create_dir_all(above.join("app")).unwrap();
    std::fs::write(above.join("app/.wh.secret.txt"), "").unwrap();
    std::fs::write(above.join("app/added.txt"), "added").unwrap();
    let image = registry.image(&[layer(&below), layer(&above)]);

    let site = machine.site("shop", 0);
    agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    let load = machine.load(&site);
    agent.apply_and_wait(&with(&site, registry.release(&image, Some("/app")))).unwrap();
    load.wait_for_version("v2").unwrap();
    nothing_lost(&load.stop());
    let release = agent.site_dir("shop").join("releases").join(revision(&machine, "v2"));
    assert!(release.join("added.txt").exists() && !release.join("secret.txt").exists());
    assert!(!release.join(".wh.secret.txt").exists() && !release.join("etc").exists());

    agent.apply_and_wait(&with(&machine.site("other", 1), registry.release(&image, Some("/app")))).unwrap();
    let log = registry.log();
    let asked = log.lines().filter(|line| line.contains("\"GET /v2/shop/blobs/") && line.contains("\" 200 ")).count();
    assert_eq!(asked, 2, "each layer once: {log}");
    assert!(!agent.log().contains(PASSWORD));
}

#[test]
fn an_artifact_that_oras_pushed_is_unpacked_if_it_is_one_archive_and_files_otherwise() {
    let registry = Registry::start();
    let machine = Machine::start();
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("v2.tar.gz"), packed(&machine.release("v2"))).unwrap();
    std::fs::create_dir(work.path().join("public")).unwrap();
    std::fs::write(work.path().join("public/index.html"), "<h1>of oras</h1>").unwrap();
    std::fs::write(work.path().join("notes.txt"), "notes").unwrap();
    let push = |tag: &str, files: &[&str]| {
        let mut oras = Command::new(tools::program("registry", "oras").unwrap());
        oras.args(["push", "--no-tty", "--username", "joe", "--password", PASSWORD, "--ca-file"])
            .arg(registry.authority.file("ca.pem"));
        oras.args(["--format", "json"])
            .arg(format!("{}/shop:{tag}", registry.host))
            .args(files)
            .current_dir(work.path());
        let output = process::run(&mut oras).unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        said["reference"].as_str().unwrap().to_owned()
    };
    let site = machine.site("shop", 0);
    machine.agent.apply_and_wait(&with(&site, registry.release(&push("one", &["v2.tar.gz"]), None))).unwrap();
    let load = machine.load(&site);
    load.wait_for_version("v2").unwrap();
    nothing_lost(&load.stop());

    let files = bluegreen_rig::manifest::Manifest::files("pages", machine.address(), machine.user.name());
    machine
        .agent
        .apply_and_wait(&with(&files, registry.release(&push("two", &["public/", "notes.txt"]), None)))
        .unwrap();
    let page = bluegreen_rig::load::get(machine.address(), &files.host(), "/index.html").unwrap();
    assert_eq!(String::from_utf8_lossy(&page.body), "<h1>of oras</h1>");
}

#[test]
fn an_evil_image_is_refused_and_the_site_goes_on() {
    let registry = Registry::start();
    let served = Served::start();
    let work = tempfile::tempdir().unwrap();
    let evil = work.path().join("evil");
    std::fs::rename(served.machine.release("v2"), &evil).unwrap();
    let refused = |image: &str, path: Option<&str>, words: &str| {
        let error = served.agent().apply_and_wait(&with(&served.site, registry.release(image, path))).unwrap_err();
        assert!(format!("{error:#}").contains(words), "{words}: {error:#}");
        served.is_untouched();
    };
    std::os::unix::fs::symlink("/etc/passwd", evil.join("link")).unwrap();
    refused(&registry.image(&[layer(&evil)]), None, "is a link to");
    refused(&registry.image(&[layer(&evil)]), Some("/srv/none"), "nothing is in it");
    std::fs::remove_file(evil.join("link")).unwrap();
    std::os::unix::fs::symlink("public", evil.join("link")).unwrap();
    // A later layer goes through a link of an earlier one.
    let above = work.path().join("above");
    std::fs::create_dir_all(above.join("link")).unwrap();
    std::fs::write(above.join("link/index.html"), "elsewhere").unwrap();
    let through = registry.image(&[layer(&evil), layer(&above)]);
    served.agent().apply_and_wait(&with(&served.site, registry.release(&through, None))).unwrap();
    let release = served.agent().site_dir("shop").join("releases").join(revision(&served.machine, "v2"));
    assert!(release.join("link").is_dir() && !release.join("link").is_symlink(), "the folder took the link's place");
    assert_ne!(std::fs::read_to_string(release.join("public/index.html")).unwrap(), "elsewhere");
    let gone = format!("{}/shop@sha256:{}", registry.host, sum(b"none"));
    let error = served.agent().apply_and_wait(&with(&served.site, registry.release(&gone, None))).unwrap_err();
    assert!(format!("{error:#}").contains("404"), "{error:#}");
    served.lost_nothing();
}
