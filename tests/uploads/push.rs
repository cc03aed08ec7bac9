//! `bluegreen push`, on this machine and over ssh.

use std::fs;
use std::process::Output;

use crate::kit::{Site, sum};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_push_over_ssh_goes_live_and_says_so_and_a_rejected_one_fails() {
    let site = Site::with_shell();
    let config = site.sshd.config();
    let push = |file: &std::path::Path, more: &[&str]| {
        let file = file.display().to_string();
        let mut words = vec!["push", &file, "shop", "--host", "root@site", "--ssh-config", &config];
        words.extend(more);
        // What crosses is all that the other side has: not where this agent is.
        site.agent().cli(&words).env_remove("BLUEGREEN_SOCKET").output().unwrap()
    };
    let good = site.archive("v2");
    let output = push(&good, &[]);
    let text = said(&output);
    println!("{text}");
    assert!(output.status.success(), "{text}");
    assert!(text.contains("v2.tar.gz uploaded") && text.contains(&sum(&good)), "{text}");
    site.served.load().wait_for_version("v2").unwrap();
    // Once more is no rollout.
    let begun = site.begun();
    let again = push(&good, &[]);
    assert!(again.status.success() && said(&again).contains("wanted already"), "{}", said(&again));
    assert_eq!(site.begun(), begun);
    let bad = push(&site.archive_that("v3", "never-ready"), &["--name", "shop-3.tar.gz"]);
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
    assert!(said(&bad).contains("did not go live") && said(&bad).contains("ReadyDeadlineExceeded"), "{}", said(&bad));
    // Neither side hands anything to a shell that is no word.
    for name in ["$(touch pwned).zip", "a;b.zip", "-o.zip", "../x.zip", "a b.zip"] {
        let refused = push(&good, &[&format!("--name={name}")]);
        assert!(!refused.status.success() && said(&refused).contains("is no name"), "{name}: {}", said(&refused));
    }
    let left: Vec<_> = fs::read_dir(&site.folder).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
    site.served.ends_with_versions(&["v1b", "v2"]);
}

#[test]
fn a_push_on_the_machine_itself_needs_no_ssh_and_a_cut_one_leaves_nothing() {
    let site = Site::start();
    let good = site.archive("v2");
    let file = good.display().to_string();
    let push = |words: &[&str]| site.agent().cli(words).output().unwrap();
    let wrong = push(&["push", &file, "shop", "--sha256", &"ab".repeat(32)]);
    assert!(!wrong.status.success() && said(&wrong).contains("was asked for"), "{}", said(&wrong));
    // What the other side of a connection that broke has: less than was said.
    let half = site.agent().folder().join("half");
    let whole = fs::read(&good).unwrap();
    fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    let words = ["push", "-", "shop", "--name", "v2.tar.gz", "--sha256", &sum(&good)];
    let cut = site.agent().cli(&words).stdin(fs::File::open(&half).unwrap()).output().unwrap();
    assert!(!cut.status.success() && said(&cut).contains("the upload was cut"), "{}", said(&cut));
    assert!(!site.folder.join("v2.tar.gz").exists());
    site.served.is_untouched();
    let done = push(&["push", &file, "shop"]);
    assert!(done.status.success(), "{}", said(&done));
    site.served.load().wait_for_version("v2").unwrap();
    let nowhere = push(&["push", &file, "blog"]);
    assert!(said(&nowhere).contains("there is no site \"blog\""), "{}", said(&nowhere));
    site.served.ends_with_versions(&["v1b", "v2"]);
}
