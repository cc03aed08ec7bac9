//! Configuration that isn't the site's, and sites of files alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use bluegreen_rig::load::Ask;
use bluegreen_rig::load::{Load, get};
use bluegreen_rig::manifest::Manifest;
use serde_json::json;

use crate::kit::{Served, said};
use crate::machine::{Machine, nothing_lost};

#[test]
fn a_file_of_somebody_elses_is_not_taken_as_configuration() {
    let served = Served::start();
    let agent = served.agent();
    let secret = agent.folder().join("secret.yml");
    fs::write(&secret, "password: of somebody else\n").unwrap();
    let set = |owner: u32, mode: u32| {
        chown(&secret, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
    };
    let v2 = served.machine.release("v2");
    let site = served.site.clone().release(&v2);
    let site = site.set("/spec/target/host/configFiles", json!([{ "path": secret }]));
    let name = secret.display().to_string();
    set(54_321, 0o600);
    agent.apply(&site).unwrap();
    served.says("ConfigurationRefused", &[&name, "belongs to user 54321, group 54321, with mode 0600", "chown root:"]);
    served.is_untouched();
    set(0, 0o644);
    agent.apply(&site).unwrap();
    let read = "belongs to user 0, group 0, with mode 0644";
    served.says("ConfigurationRefused", &[read, "may read it", "chmod 0640"]);
    served.is_untouched();
    assert!(!agent.log().contains("of somebody else"), "the log holds what the file holds");
    // As it was told to.
    set(0, 0o600);
    agent.bluegreen(&["retry", "shop"]).unwrap();
    served.load().wait_for_version("v2").unwrap();
    served.ends_with_versions(&["v1", "v2"]);
}

#[test]
fn a_site_of_files_alone_goes_live_moves_on_and_comes_back() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let site = files(&machine).strategy("standby", "1h");
    let folder = |version: &str| machine.release(version);
    agent.apply_and_wait(&site.clone().release(&folder("v1"))).unwrap();
    assert_eq!(agent.live_colour("docs").as_deref(), Some("blue"));
    let page = |path: &str| get(machine.address(), "docs.test", path).unwrap();
    let shows = |version: &str| String::from_utf8_lossy(&page("/").body).contains(version);
    assert!(shows("v1"));
    let load = Load::to(machine.address(), "docs.test").clients(4).of_any_app();
    let load = load.asks(vec![Ask::file("/"), Ask::file("/index.html")]).start().unwrap();
    load.wait_for_more(50).unwrap();
    agent.apply_and_wait(&site.clone().release(&folder("v2"))).unwrap();
    assert!(shows("v2"));
    for (path, status) in
        [("/none.html", 404), ("/.git/config", 404), ("/assets/../../VERSION", 400), ("/VERSION", 404)]
    {
        let got = page(path).status;
        assert!(got == status || (400..500).contains(&got), "{path}: {got}");
    }
    assert_eq!(page("/none.html").status, 404);
    agent.bluegreen(&["rollback", "docs"]).unwrap();
    bluegreen_rig::wait::until("the first version was back", bluegreen_rig::wait::PATIENCE, || {
        shows("v1").then_some(())
    })
    .unwrap();
    load.wait_for_more(50).unwrap();
    nothing_lost(&load.stop());
    assert_eq!(agent.apps(), Vec::<u32>::new(), "it runs nothing");
}

#[test]
fn a_site_of_files_alone_without_its_folder_of_files_does_not_go_live() {
    let machine = Machine::start();
    let agent = &machine.agent;
    let site = files(&machine);
    agent.apply_and_wait(&site.clone().release(&machine.release("v1"))).unwrap();
    let load = Load::to(machine.address(), "docs.test").clients(4).of_any_app().asks(vec![Ask::file("/")]);
    let load = load.start().unwrap();
    let bare = machine.release("v2");
    fs::remove_dir_all(bare.join("public")).unwrap();
    assert!(agent.apply_and_wait(&site.clone().release(&bare)).is_err());
    said(agent, "docs", "PreparationFailed", &["spec.target.host.static[0].root: the release has no folder public"]);
    load.wait_for_more(20).unwrap();
    agent.apply_and_wait(&site.release(&machine.release("v3"))).unwrap();
    load.wait_for_more(20).unwrap();
    nothing_lost(&load.stop());
}

fn files(machine: &Machine) -> Manifest {
    Manifest::files("docs", machine.address(), machine.user.name())
}
