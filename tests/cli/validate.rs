//! `validate` on bad and good files, by the real program.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn bluegreen() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bluegreen"));
    // Nothing here may reach an agent of the machine.
    command.env("BLUEGREEN_SOCKET", "/nonexistent/socket").env_remove("COLUMNS");
    command
}

fn validate(files: &[&Path]) -> (i32, String, String) {
    ended(bluegreen().arg("validate").arg("-f").args(files).output().expect("the program runs"))
}

fn ended(output: Output) -> (i32, String, String) {
    (
        output.status.code().expect("it ends by itself"),
        String::from_utf8(output.stdout).expect("text"),
        String::from_utf8(output.stderr).expect("text"),
    )
}

const GOOD: &str = include_str!("../../examples/shop.yaml");

#[test]
fn the_examples_are_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let (code, out, err) = validate(&[&folder]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("shop.yaml: site shop is sound"), "{out}");
}

#[test]
fn every_problem_of_every_file_is_said_and_the_exit_code_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = folder.path().join("first.yaml");
    let second = folder.path().join("second.yaml");
    fs::write(&first, GOOD.replace("user: shop", "user: root").replace("[8081, 8083]", "[8081, 8082]"))
        .expect("written");
    fs::write(&second, GOOD.replace("shop.example.com,", "'shop.example.com; }',").replace("bake:", "bakes:"))
        .expect("written");
    let (code, out, err) = validate(&[&first, &second]);
    assert_eq!((code, out.as_str()), (1, ""));
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 5, "{err}");
    for (line, expected) in lines.iter().zip([
        "first.yaml:18:17: spec.target.host.ports.green[0]: 8082 is spec.target.host.ports.blue[1] already: each instance needs a port of its own",
        "first.yaml:19:7: spec.target.host.user: a site never runs as root",
        "second.yaml:9:19: spec.target.host.hostnames[0]: \"shop.example.com; }\" is not a host name",
        "second.yaml:39:5: spec.strategy.bakes: there is no such field; did you mean bake?",
        "4 problems",
    ]) {
        assert!(line.contains(expected), "{line:?} has {expected:?}\n{err}");
    }
}

#[test]
fn sites_that_get_into_each_others_way_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.yaml"), GOOD).expect("written");
    fs::write(folder.path().join("b.yaml"), GOOD.replace("name: shop", "name: other")).expect("written");
    fs::write(folder.path().join("notes.txt"), "no manifest").expect("written");
    let (code, _, err) = validate(&[folder.path()]);
    assert_eq!(code, 1);
    assert!(
        err.contains("b.yaml: spec.target.host.hostnames[0]: the site shop answers to shop.example.com already"),
        "{err}"
    );
    assert!(err.contains("b.yaml: spec.target.host.ports.blue[0]: the site shop has port 8081 already"), "{err}");
    assert!(err.ends_with("6 problems\n"), "{err}");
    fs::write(folder.path().join("b.yaml"), GOOD).expect("written");
    let (code, _, err) = validate(&[folder.path()]);
    assert_eq!(code, 1);
    assert!(err.contains("the site shop is in"), "{err}");
}

#[test]
fn a_manifest_may_come_from_the_standard_input() {
    let mut child = bluegreen()
        .args(["validate", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("a pipe").write_all(b"a: [").expect("it reads");
    let (code, _, err) = ended(child.wait_with_output().expect("it ends"));
    assert_eq!(code, 1);
    assert!(err.starts_with("the standard input:1:") && err.contains("this is not YAML"), "{err}");
}

#[test]
fn a_file_that_is_missing_or_no_text_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, _, err) = validate(&[&folder.path().join("none.yaml")]);
    assert_eq!(code, 1);
    assert!(err.contains("none.yaml can't be read"), "{err}");
    let binary = folder.path().join("binary.yaml");
    fs::write(&binary, [0xff, 0xfe, 0x00]).expect("written");
    let (code, _, err) = validate(&[&binary]);
    assert_eq!(code, 1);
    assert!(err.contains("binary.yaml can't be read"), "{err}");
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).expect("made");
    let (code, _, err) = validate(&[&empty]);
    assert_eq!(code, 1, "{err}");
}

#[test]
fn what_needs_no_agent_works_without_one() {
    let (code, out, _) = ended(bluegreen().arg("crd").output().expect("runs"));
    assert_eq!(code, 0);
    assert!(out.contains("kind: CustomResourceDefinition"));
    let (code, out, _) = ended(bluegreen().args(["completion", "bash"]).output().expect("runs"));
    assert_eq!(code, 0);
    assert!(out.contains("_bluegreen"));
    let (code, out, _) = ended(bluegreen().arg("version").output().expect("runs"));
    assert_eq!(code, 0);
    assert!(out.starts_with("bluegreen 0."), "{out}");
    let (code, _, err) = ended(bluegreen().arg("aply").output().expect("runs"));
    assert_eq!(code, 2);
    assert!(err.contains("apply"), "it says what was probably meant: {err}");
}

#[test]
fn without_an_agent_everything_else_says_how_to_start_one() {
    for words in [
        vec!["get"],
        vec!["get", "-w"],
        vec!["describe", "shop"],
        vec!["history", "shop"],
        vec!["approve", "shop"],
        vec!["rollback", "shop"],
        vec!["delete", "shop"],
        vec!["logs", "shop"],
        vec!["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.yaml")],
    ] {
        let (code, out, err) = ended(bluegreen().args(&words).output().expect("runs"));
        assert_eq!((code, out.as_str()), (1, ""), "{words:?}");
        assert!(err.starts_with("error: "), "{words:?}: {err}");
        assert!(err.contains("systemctl start bluegreen"), "{words:?}: {err}");
    }
}
