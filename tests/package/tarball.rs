//! The tarball, installed by the steps that docs/install-host.md names.

use bluegreen_rig::booted::Image;

use super::kit::{UNIT, machine, tarball};

/// The numbered commands of the page.
fn steps() -> Vec<&'static str> {
    let page = include_str!("../../docs/install-host.md");
    let numbered =
        page.lines().filter_map(|line| line.split_once(". `").filter(|(number, _)| number.parse::<u8>().is_ok()));
    numbered.filter_map(|(_, rest)| rest.split('`').next()).collect()
}

#[test]
fn a_machine_that_unpacked_the_tarball_and_took_the_steps_of_the_page_serves_a_site() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = tarball(folder.path(), "0.1.0");
    let vps = machine(Image::Small, folder.path());
    vps.run(&["systemctl", "enable", "--now", "--quiet", "nginx.service"]);
    let name = archive.file_name().and_then(|name| name.to_str()).expect("a name");
    let unpacked = format!("/root/{}", name.strip_suffix(".tar.gz").expect("an archive"));
    vps.run(&["tar", "-xzf", &format!("/packages/{name}"), "-C", "/root"]);
    let steps = steps();
    assert!(steps.len() >= 5 && steps.iter().any(|step| step.starts_with("dnf ")), "{steps:?}");
    // Here the web server comes from another package manager, and is there.
    for step in steps.iter().filter(|step| !step.starts_with("dnf ")) {
        vps.run(&["sh", "-euc", &format!("cd {unpacked}; {step}")]);
    }
    assert!(vps.does(&["systemctl", "is-enabled", "--quiet", UNIT]));
    assert!(vps.does(&["getent", "group", "bluegreen"]), "{steps:?}");
    assert!(vps.run(&["bluegreen", "--version"]).starts_with("bluegreen "));
    for version in ["v1", "v2"] {
        vps.apply_and_wait(&vps.with(vps.site(), version, ""));
        vps.waits_for_answers_of(version);
    }
}
