//! The program of the Containerfile, before it is in a pod.

use std::fs;
use std::process::Command;

use bluegreen_rig::{binaries, process};

#[test]
#[ignore = "needs root and minutes: make test-node"]
fn the_program_of_the_image_starts_where_nothing_else_is() {
    let program = binaries::fixed("bluegreen").expect("it is built");
    let mut readelf = Command::new("readelf");
    let headers = process::run(readelf.args(["--wide", "--program-headers"]).arg(&program)).expect("it is a program");
    let headers = String::from_utf8_lossy(&headers.stdout).into_owned();
    assert!(headers.contains("LOAD") && !headers.contains("INTERP"), "it wants a loader:\n{headers}");
    // No loader, no library, no /proc: what an empty image has.
    let nothing = tempfile::tempdir().expect("a folder can be made");
    fs::copy(&program, nothing.path().join("bluegreen")).expect("it can be copied");
    let said = process::run(Command::new("chroot").arg(nothing.path()).args(["/bluegreen", "--version"]));
    let said = String::from_utf8_lossy(&said.expect("it starts").stdout).into_owned();
    assert_eq!(said.trim(), format!("bluegreen {}", env!("CARGO_PKG_VERSION")));
}
