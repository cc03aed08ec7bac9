//! An upload that is cut, again and again.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use bluegreen_rig::process::Guarded;
use bluegreen_rig::wait;
use rustix::process::Signal;

use crate::kit::{Site, sum};

#[test]
fn an_upload_that_is_cut_at_every_tenth_of_its_length_starts_nothing_and_its_rest_goes_live() {
    let site = Site::start();
    let file = site.archive("v2");
    let whole = fs::metadata(&file).unwrap().len();
    let there = site.folder.join("shop-2.tar.gz");
    let arrived = || fs::metadata(&there).map_or(0, |meta| meta.len());
    let begun = site.begun();
    // It lies there from the beginning: the agent has every reason to look.
    site.put("shop-2.tar.gz.sha256", format!("{}  shop-2.tar.gz\n", sum(&file)).as_bytes());
    // Slow enough to be cut where it should be: some three seconds for all of it.
    let rate = (whole * 8 / 1000 / 3).to_string();
    for tenth in 1..10 {
        let resume = if tenth == 1 { "put" } else { "put -a" };
        let batch = site.agent().folder().join("batch");
        fs::write(&batch, format!("{resume} {} {}\n", file.display(), there.display())).unwrap();
        let mut sftp = site.sshd.client("sftp");
        sftp.args(["-l", &rate, "-b"]).arg(&batch).arg("site").stdin(Stdio::null()).stdout(Stdio::null());
        let mut sftp = Guarded::start(&mut sftp, Signal::TERM, Duration::from_secs(5)).unwrap();
        wait::until("a tenth more had arrived", wait::PATIENCE, || (arrived() >= whole * tenth / 10).then_some(()))
            .unwrap();
        sftp.kill();
        assert!(arrived() < whole, "it was cut before its end: {} of {whole}", arrived());
        site.served.is_untouched();
        assert_eq!(site.begun(), begun, "nothing began at {tenth} tenths");
    }
    site.served.says("ChecksumMismatch", &["shop-2.tar.gz has the SHA-256", "shop-2.tar.gz.sha256"]);
    site.served.is_untouched();
    site.sshd.sftp(&[format!("put -a {} {}", file.display(), there.display())]);
    assert_eq!(arrived(), whole);
    site.goes_live("v2");
    assert_eq!(site.begun(), begun + 1);
    site.served.ends_with_versions(&["v1b", "v2"]);
}
